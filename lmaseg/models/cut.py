"""A network in one piece, run in two: up to the start or the end of a named layer, and on from there.

No tracing: the first run stops when it gets there; the second runs the network's own code again, with every layer
that was done answering at once with what it returned the first time. So it works whatever the code does between
layers, and every layer computes once. While it runs, the layers are changed: one thread at a time. `torch.compile`
cannot look into this and leaves the network's own code as it is.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lmaseg.models.halves import Carrier, FirstHalf, SecondHalf, logits_of
from lmaseg.models.lma import LocalMemoryNet


class UpTo(FirstHalf):
    """A network up to the end of its layer `at`, or up to its start: `before`.

    Carries the frames, and in order of the calls the names and outputs of the outermost layers done before.
    """

    def __init__(self, network: nn.Module, at: str, *, before: bool = False) -> None:
        super().__init__()
        self.network = network
        self.at = at
        self.before = before

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, frames: Tensor) -> Carrier:
        calls: list[tuple[str, Any]] = []
        with _recording(self.network, self.at, calls), self.changing(_stop):
            try:
                self.network(frames)
            except _Reached as reached:
                return Carrier(reached.features, (frames, calls))
        raise ValueError(f"the network does not call its layer {self.at!r}: cut it after one that it does")

    def changing(self, change: Callable[[Tensor], Tensor]) -> RemovableHandle:
        """While it is entered, the network goes on with `change` of the features at the cut."""
        layer = self.network.get_submodule(self.at)
        if self.before:
            return layer.register_forward_pre_hook(lambda _, inputs: (change(inputs[0]), *inputs[1:]))
        return layer.register_forward_hook(lambda _, __, output: change(output))


class OnFrom(SecondHalf):
    """The rest of a network after `UpTo`."""

    _first: tuple[UpTo]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def output(self, carrier: Carrier) -> Any:
        (first,) = self._first
        frames, done = carrier.rest
        if not first.before:
            done = [*done, (first.at, carrier.tensor)]
        with _answering(first.network, done), first.changing(lambda _: carrier.tensor):
            return first.network(frames)

    def through(self, frames: Tensor, middle: Callable[[Carrier], Carrier]) -> Tensor:
        """Logits, from one uninterrupted run with `middle` where the cut is."""
        (first,) = self._first
        passed: list[Tensor] = []

        def change(features: Tensor) -> Tensor:
            passed.append(middle(Carrier(features, None)).tensor)
            return passed[0]

        with first.changing(change):
            output = first.network(frames)
        return self.finished(output, passed[0])


def run_through(net: LocalMemoryNet, frames: Tensor, middle: Callable[[Any], Any]) -> Tensor:
    """What the decoder makes of (B, 3, H, W) frames, H and W as the encoder wants them; `middle` changes what it gets.

    One run of the network even if it was cut in two: what can be traced.
    """
    if isinstance(net.decoder, OnFrom):
        return net.decoder.through(frames, middle)
    logits: Tensor = net.decoder(middle(net.encoder(frames)))
    return logits


def last_layer(network: nn.Module, frame: Tensor) -> str:
    """The layer that makes a network's class channels, with all there is of them in its output: what to cut before.

    Args:
        network: in evaluation mode; whatever it takes and returns, its class channels are those of `logits_of`.
        frame: (1, 3, H, W) that it takes.

    Raises:
        ValueError: no such layer, or several side by side, which it lists.
    """
    logits = logits_of(network(frame))
    outputs = _class_outputs(network, frame, logits.shape[1])

    def matters(name: str, held: Sequence[str] = ()) -> bool:
        """Whether the logits depend on what a layer returns, while those held return what they did."""
        changes: dict[str, Callable[[Tensor], Tensor]] = {name: lambda output: output.flip(-1) * 2 + 1}
        changes |= {other: lambda _, kept=outputs[other]: kept for other in held}  # type: ignore[misc]
        with _outputs_changed(network, changes):
            return not torch.equal(logits_of(network(frame)), logits)

    makers = [name for name in outputs if matters(name)]
    if not makers:
        raise ValueError(f'no layer of the network is seen to make its {logits.shape[1]} classes: say at="layer.name"')
    last = makers[-1]
    if aside := [name for name in makers[:-1] if matters(name, [last])]:
        listed = ", ".join([*aside, last])
        raise ValueError(f'several layers side by side make the classes, {listed}: say at="layer.name" where they meet')
    return last


def _class_outputs(network: nn.Module, frame: Tensor, classes: int) -> dict[str, Tensor]:
    """Names and outputs, in order, of the innermost layers with weights that make a map of the classes from another."""
    found: dict[str, Tensor] = {}

    def look(name: str, layer: nn.Module, inputs: Any, output: Any) -> None:
        maps = [part for part in (*inputs[:1], output) if isinstance(part, Tensor) and part.ndim == 4]
        if len(maps) == 2 and maps[0].shape[1] != classes == maps[1].shape[1] and any(True for _ in layer.parameters()):
            found[name] = output

    with ExitStack() as hooks:
        for name, layer in network.named_modules():
            if name:
                hooks.enter_context(layer.register_forward_hook(partial(look, name)))
        network(frame)
    return {name: found[name] for name in found if not any(other.startswith(f"{name}.") for other in found)}


@contextmanager
def _outputs_changed(network: nn.Module, changes: dict[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    with ExitStack() as hooks:
        for name, change in changes.items():
            layer = network.get_submodule(name)
            hooks.enter_context(layer.register_forward_hook(lambda _, __, output, change=change: change(output)))
        yield


class _Reached(Exception):  # noqa: N818
    """No error: the way out of a forward pass that has come far enough, with what there is then."""

    def __init__(self, features: Tensor) -> None:
        self.features = features


def _stop(features: Tensor) -> Tensor:
    raise _Reached(features)


@contextmanager
def _recording(network: nn.Module, at: str, calls: list[tuple[str, Any]]) -> Iterator[None]:
    """Every outermost layer that gets done before the layer `at`, and its output, goes into `calls`."""
    begun: list[int] = []

    def enter(layer: nn.Module, inputs: Any) -> None:
        begun.append(len(calls))

    def leave(name: str, output: Any) -> None:
        del calls[begun.pop() :]  # those inside this one
        calls.append((name, output))

    with ExitStack() as hooks:
        for name, layer in network.named_modules():
            if name and not (f"{at}.".startswith(f"{name}.") or name.startswith(f"{at}.")):
                hooks.enter_context(layer.register_forward_pre_hook(enter))
                hooks.enter_context(layer.register_forward_hook(lambda _, __, output, name=name: leave(name, output)))
        yield


@contextmanager
def _answering(network: nn.Module, calls: Sequence[tuple[str, Any]]) -> Iterator[None]:
    """The layers named answer their next calls with these outputs; once those are used up they work as ever."""
    outputs: dict[str, deque[Any]] = {}
    for name, output in calls:
        outputs.setdefault(name, deque()).append(output)
    with ExitStack() as stack:
        for name, waiting in outputs.items():
            layer = network.get_submodule(name)
            stack.callback(_set_forward, layer, vars(layer).get("forward"))
            _set_forward(layer, _answer(waiting, layer.forward))
        yield


def _answer(waiting: deque[Any], forward: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *inputs, **options: waiting.popleft() if waiting else forward(*inputs, **options)


def _set_forward(layer: nn.Module, forward: Callable[..., Any] | None) -> None:
    """Give this one layer a forward of its own; None gives it that of its class again."""
    if forward:
        layer.forward = forward
    else:
        del layer.forward
