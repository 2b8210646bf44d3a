"""One step of a video network for other runtimes: an ONNX file or a `torch.export` program.

Inputs: frame (batch, 3, height, width), preprocessed; keys (batch, memory, C, rows, columns) and values (batch, memory,
D, rows, columns) of past frames, in any order. Outputs: logits (batch, classes, height, width), and this frame's key
(batch, C, rows, columns) and value (batch, D, rows, columns). The caller keeps the memory: it passes the last
`memory_frames` keys and values along, none at first. The same graph serves an empty memory and a full one: it fuses
in both cases and chooses what the decoder gets, by the number of past frames. A network without memory has only frame
and logits.
"""

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lmaseg.attention import portable
from lmaseg.checkpoint import Header
from lmaseg.errors import BackendError, first_line
from lmaseg.models import LocalMemoryNet, fold
from lmaseg.models.cut import run_through
from lmaseg.models.halves import where
from lmaseg.paths import part_path, publish

OPSET = 20
NEEDED = ("onnx", "onnxscript")  # to write ONNX
SMALLEST = 96  # pixels: exported for all sizes, smaller frames would have maps of a single cell somewhere
METADATA = "lmaseg.json"  # name of the metadata in a .pt2 archive


def export(
    net: LocalMemoryNet,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a network's step; the file appears under its name only when it is complete.

    Args:
        path: .onnx or .pt2, which chooses the format. Either carries the metadata of a checkpoint.
        size: (height, width) of frames in pixels, both fitting the network; None exports for all that do.
        about: free text by topic, as in a checkpoint.

    Raises:
        ValueError: another suffix, or a size that does not fit the network.
        BackendError: the exporter is not installed, cannot trace this network, or cannot write the file.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"{path} ends in none of {' '.join(WRITERS)}: these are the formats to export to")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if path.suffix == ".onnx" and missing:
        raise BackendError(f"{' and '.join(missing)} must be there to write ONNX: pip install 'lmaseg[export]'")
    program = trace(net, size)
    part = part_path(path)
    try:
        WRITERS[path.suffix](program, Header.of(net, about or {}).metadata, part)
        publish(path)
    except (OSError, RuntimeError) as error:  # no such folder, for example
        part.unlink(missing_ok=True)
        message = f"cannot write {path} ({first_line(error)}): write elsewhere, or in the other format"
        if isinstance(error, torch.onnx.OnnxExporterError):  # which says on many lines how to report it to torch
            message = f"cannot write {path}: ONNX does not take this network, export it as .pt2 or take another network"
        raise BackendError(message) from error


def trace(net: LocalMemoryNet, size: tuple[int, int] | None = None) -> ExportedProgram:
    """The step as a `torch.export` program, on the CPU in float32.

    Raises:
        ValueError: a size that does not fit the network.
        BackendError: torch cannot trace this network.
    """
    net = fold(net).float().cpu()
    example, shapes = _example(net, size)
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(Step(net), example, dynamic_shapes=shapes)
    except Exception as error:  # whatever a tracer may stumble over in somebody's network
        remedy = "give one size" if size is None else "only networks without such code can leave torch"
        raise BackendError(f"torch cannot trace this network ({first_line(error)}): {remedy}") from error


class Step(nn.Module):
    """`LocalMemoryNet.forward` in operators that trace, for frames that fit; without a memory, of frames alone."""

    def __init__(self, net: LocalMemoryNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: Tensor, keys: Tensor | None = None, values: Tensor | None = None) -> tuple[Tensor, ...]:
        remembered: list[Tensor] = []

        def attend(features: Any) -> Any:
            if keys is None or values is None:
                return features
            encoded = self.net.projections(features)
            past = self.net.past_of(encoded, keys, values)
            attended = portable.local_attention(encoded.query, *past, self.net.spec.window)
            empty = keys.new_ones(keys.shape[1]).sum() == 0
            fused = where(empty, features, self.net.fusion(encoded.query_value, attended))
            remembered.extend((encoded.key, self.net.value_of(encoded, fused)))
            return fused

        logits = run_through(self.net, frame, attend)
        return self.net.at_pixels(logits, frame.shape[-2:]), *remembered


def _example(
    net: LocalMemoryNet, size: tuple[int, int] | None
) -> tuple[tuple[Tensor, ...], tuple[dict[int, Any], ...]]:
    """Inputs to trace with, and which of their dimensions vary."""
    multiple, remainder = net.multiple, int(getattr(net.encoder, "remainder", 0))
    extra = 1 if remainder else 0  # cells for the remainder
    if size and any(side % multiple != remainder or side < multiple for side in size):
        rest = f" plus {remainder}" if remainder else ""
        raise ValueError(f"a frame of {size[0]}x{size[1]} pixels does not fit: take multiples of {multiple}{rest}")
    cells = multiple // net.stride  # as a side grows by a multiple
    fewest_cells = max(portable.TILE + 1, getattr(net.encoder, "fewest_cells", 1))
    fewest = max(-(-fewest_cells // cells), -(-SMALLEST // multiple)) + extra
    height, width = size or tuple((count - extra) * multiple + remainder for count in (fewest + 2, fewest + 5))
    rows, columns = height // net.stride + extra, width // net.stride + extra
    spec = net.spec
    inputs = (
        torch.rand(2, 3, height, width),
        torch.rand(2, 2, spec.key_channels, rows, columns),
        torch.rand(2, 2, spec.value_channels, rows, columns),
    )
    batch = Dim("batch")
    frame, past = {0: batch}, {0: batch, 1: Dim("memory", min=0, max=max(2, spec.memory_frames))}
    if size is None:
        sides = Dim("rows", min=fewest), Dim("columns", min=fewest)
        past |= {axis: cells * side for axis, side in enumerate(sides, start=3)}
        frame |= {axis: multiple * side + (remainder - extra * multiple) for axis, side in enumerate(sides, start=2)}
    shapes = (frame, past, dict(past))
    return (inputs, shapes) if spec.has_memory else (inputs[:1], shapes[:1])


def _write_onnx(program: ExportedProgram, metadata: Mapping[str, str], path: Path) -> None:
    with _quiet():
        onnx = torch.onnx.export(program, dynamo=True, opset_version=OPSET, optimize=True, verbose=False)
    assert onnx is not None
    graph = onnx.model.graph
    for names, values in ((INPUTS, graph.inputs), (OUTPUTS, graph.outputs)):
        for (name, axes), value in zip(names.items(), values, strict=False):
            value.name = name
            assert value.shape is not None
            for axis, label in enumerate(axes):
                if not value.shape.is_static(axis):
                    value.shape[axis] = label
    onnx.model.metadata_props.update(metadata)
    onnx.save(path)


WRITERS: dict[str, Callable[[ExportedProgram, Mapping[str, str], Path], None]] = {
    ".onnx": _write_onnx,
    ".pt2": lambda program, about, path: torch.export.save(program, path, extra_files={METADATA: json.dumps(about)}),
}
"""From a suffix to what writes that format."""

INPUTS = {
    "frame": ("batch", "rgb", "height", "width"),
    "keys": ("batch", "memory", "key_channels", "rows", "columns"),
    "values": ("batch", "memory", "value_channels", "rows", "columns"),
}
OUTPUTS = {
    "logits": ("batch", "classes", "height", "width"),
    "key": ("batch", "key_channels", "rows", "columns"),
    "value": ("batch", "value_channels", "rows", "columns"),
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracers' remarks on their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
