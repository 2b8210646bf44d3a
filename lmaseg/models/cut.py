"""A network in one piece, run in two: up to the end of a named layer, and on from there.

No tracing: the first run stops when the layer is done; the second runs the network's own code again, with every layer
that was done answering at once with what it returned the first time. So it works whatever the code does between
layers, and every layer computes once. While it runs, the layers are changed: one thread at a time. `torch.compile`
cannot look into this and leaves the network's own code as it is.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lmaseg.models.halves import Carrier, FirstHalf, SecondHalf
from lmaseg.models.lma import LocalMemoryNet


class UpTo(FirstHalf):
    """A network up to the end of its layer `at`.

    Carries the frames, and in order of the calls the names and outputs of the outermost layers done before.
    """

    def __init__(self, network: nn.Module, at: str) -> None:
        super().__init__()
        self.network = network
        self.at = at

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, frames: Tensor) -> Carrier:
        calls: list[tuple[str, Any]] = []
        with _recording(self.network, self.at, calls):
            try:
                self.network(frames)
            except _Reached:
                *before, (_, features) = calls
                return Carrier(features, (frames, before))
        raise ValueError(f"the network does not call its layer {self.at!r}: cut it after one that it does")


class OnFrom(SecondHalf):
    """The rest of a network after `UpTo`."""

    _first: tuple[UpTo]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def output(self, carrier: Carrier) -> Any:
        (first,) = self._first
        frames, before = carrier.rest
        with _answering(first.network, [*before, (first.at, carrier.tensor)]):
            return first.network(frames)

    def through(self, frames: Tensor, middle: Callable[[Carrier], Carrier]) -> Tensor:
        """Logits, from one uninterrupted run with `middle` where the cut is."""
        (first,) = self._first
        passed: list[Tensor] = []

        def change(layer: nn.Module, inputs: Any, features: Tensor) -> Tensor:
            passed.append(middle(Carrier(features, None)).tensor)
            return passed[0]

        with first.network.get_submodule(first.at).register_forward_hook(change):
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


class _Reached(Exception):  # noqa: N818
    """No error: the way out of a forward pass that has come far enough."""


@contextmanager
def _recording(network: nn.Module, at: str, calls: list[tuple[str, Any]]) -> Iterator[None]:
    """Every outermost layer that gets done, and its output, goes into `calls`; after the layer `at`, stop."""
    begun: list[int] = []

    def enter(layer: nn.Module, inputs: Any) -> None:
        begun.append(len(calls))

    def leave(name: str, output: Any) -> None:
        del calls[begun.pop() :]  # those inside this one
        calls.append((name, output))
        if name == at:
            raise _Reached

    with ExitStack() as hooks:
        for name, layer in network.named_modules():
            if name and not at.startswith(f"{name}."):
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
