"""From published PyTorch weights to lmaseg networks: one rename table per source."""

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmaseg.checkpoint import load_tensors
from lmaseg.errors import CheckpointError
from lmaseg.labels import CITYSCAPES, LabelSet
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, build, with_memory
from lmaseg.models.spec import IMAGENET_MEAN, IMAGENET_STD

UNUSED = ""
KEYS = [(f"projections.memory_key.{kind}", f"projections.query_key.{kind}") for kind in ("weight", "bias")]
WRAPPERS = ("state_dict", "model")
DEEPEST = 4  # wrappers around a state dict: more than any training script makes, and a file may contain itself


@dataclass(frozen=True)
class Source:
    """A kind of published weights."""

    title: str
    marks: tuple[str, ...]
    """Prefixes of its tensors' names, by which it is recognised."""
    table: Mapping[str, str]
    """Prefixes of its names and of ours; what is not named keeps its name."""
    preprocess: Preprocess


MEMORY = {
    "kv_M_r4.Key.": "projections.memory_key.",
    "kv_M_r4.Value.": "projections.memory_value.",
    "kv_Q_r4.Key.": "projections.query_key.",
    "kv_Q_r4.Value.": "projections.query_value.",
    "memory_fusion.conv_layer_3.": "fusion.gates.query.",
    "memory_fusion.conv_layer_4.": "fusion.gates.memory.",
    "memory_fusion.bn.": "fusion.bn.",
}
ERFNET_MEMORY = MEMORY | {
    "memory_fusion.conv_layer_1.": "fusion.query_content.",
    "memory_fusion.conv_layer_2.": "fusion.memory_content.",
    "memory_fusion.bn1.": "fusion.query_bn.",
    "memory_fusion.bn2.": "fusion.memory_bn.",
}
PSPNET_MEMORY = MEMORY | {
    "memory_fusion.conv_layer_1.": "fusion.reduce.",
    "memory_fusion.conv_layer_2.": UNUSED,  # the authors' code reduces both inputs with the first
    "memory_fusion.bn0.": "fusion.reduced_bn.",
    "ppm.": "decoder.ppm.",
}
ERFNET = {"encoder.output_conv.": UNUSED}  # the head that taught the encoder before there was a decoder
PSPNET = {"layer": "encoder.layer", "ppm.": "decoder.ppm.", "cls.": "decoder.cls.", "aux.": UNUSED}

ERFNET_INPUT = Preprocess(size=(512, 1024))
PSPNET_INPUT = Preprocess(mean=IMAGENET_MEAN, std=IMAGENET_STD, size=(1025, 2049))

SOURCES = (
    Source(
        "LMANet with ERFNet, github.com/mattpfr/lmanet", ("kv_", "encoder.initial_block."), ERFNET_MEMORY, ERFNET_INPUT
    ),
    Source("LMANet with PSPNet, github.com/mattpfr/lmanet", ("kv_", "encoder.layer0."), PSPNET_MEMORY, PSPNET_INPUT),
    Source("ERFNet, github.com/Eromera/erfnet_pytorch", ("encoder.initial_block.",), ERFNET, ERFNET_INPUT),
    Source("PSPNet, github.com/hszhao/semseg", ("layer0.", "ppm."), PSPNET, PSPNET_INPUT),
)
"""The kinds of weights that can be converted; those with more marks come first."""


def convert(
    path: Path, *, memory_frames: int = 4, window: int = 21, labels: LabelSet = CITYSCAPES, own_keys: bool = False
) -> tuple[LocalMemoryNet, dict[str, str]]:
    """The network of published weights, recognised by the names of their tensors, in evaluation mode, and what its
    checkpoint is to say about it.

    Args:
        path: a .pth file, see `read_state_dict`.
        memory_frames, window: of LMANet's memory, as its weights do not say; single-frame weights have none.
        labels: what the outputs are, without the ignored one that ERFNet has at the end.
        own_keys: remember the keys of `kv_M_r4`. The authors' code lets both roles share one tensor at first: on a CPU
            that lasts, and `kv_Q_r4`, loaded later, stands for both, as here by default; moving the network to a GPU
            parts them, and then `kv_M_r4` counts.

    Raises:
        CheckpointError: what `read_state_dict` raises; another network than those in `SOURCES`; tensors that are
            missing, unknown or misshapen.
        ValueError: a memory of less than one frame, or an even window.
    """
    tensors, file = read_state_dict(path), str(path)
    source = next((each for each in SOURCES if all(_has(tensors, mark) for mark in each.marks)), None)
    if source is None:
        known = "; ".join(each.title for each in SOURCES)
        raise CheckpointError(f"{file} holds weights of another network than those that can be converted: {known}")
    renamed = {new: tensor for name, tensor in tensors.items() if (new := rename(name, source.table)) != UNUSED}
    about = {"origin": f"{path.name}: {source.title}", "licence": "that of the original weights"}
    pairs = [(own, query) for own, query in KEYS if own in renamed and query in renamed]
    if not all(torch.equal(renamed[own], renamed[query]) for own, query in pairs):
        about["memory keys"] = "kv_M_r4's own" if own_keys else "kv_Q_r4's in both roles"
    if not own_keys:
        renamed.update({own: renamed[query] for own, query in pairs})
    _drop_ignored_output(renamed, len(labels))
    net = build(_spec(renamed, memory_frames, window, len(labels)), labels, source.preprocess)
    for name, tensor in net.state_dict().items():
        if name.endswith(".num_batches_tracked"):  # weights from before PyTorch 0.4.1 lack it; evaluation needs none
            renamed.setdefault(name, tensor)
    theirs = {new: old for old, new in source.table.items() if new != UNUSED}
    load_tensors(net, renamed, source=file, call=lambda name: rename(name, theirs))
    return net.eval(), about


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth file by name, without what training scripts wrap around them; runs no code in it. Raises
    CheckpointError: no such file, a damaged one, one with code in it or without a state dict."""
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}: give the path of a .pth file")
    payload = _unpickle(path)
    for _ in range(DEEPEST):
        if isinstance(payload, Mapping):
            payload = next((payload[key] for key in WRAPPERS if isinstance(payload.get(key), Mapping)), payload)
    if not isinstance(payload, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in payload.items()
    ):
        raise CheckpointError(f"{path} holds no state dict: save the network's state_dict() with torch.save")
    return {re.sub(r"^(module\.)+", "", name): tensor for name, tensor in payload.items()}


def _unpickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged pickle leads to
        refused = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused:
            code = f"holds code besides tensors ({refused[1]}), which is not run"
            raise CheckpointError(f"{path} {code}: save the network's state_dict() alone") from error
        raise CheckpointError(f"{path} is not a whole PyTorch checkpoint: fetch it again") from error


def rename(name: str, table: Mapping[str, str]) -> str:
    """The name with its prefix exchanged; `UNUSED` if the table says so."""
    old = next((prefix for prefix in table if name.startswith(prefix)), None)
    if old is None:
        return name
    return table[old] and table[old] + name.removeprefix(old)


def _has(tensors: Mapping[str, Tensor], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)


def _drop_ignored_output(tensors: dict[str, Tensor], classes: int) -> None:
    for name, axis in (("decoder.output_conv.weight", 1), ("decoder.output_conv.bias", 0)):
        tensor = tensors.get(name)
        if tensor is not None and tensor.ndim > axis and tensor.shape[axis] == classes + 1:
            tensors[name] = tensor.narrow(axis, 0, classes)


def _spec(tensors: Mapping[str, Tensor], memory_frames: int, window: int, classes: int) -> ModelSpec:
    """The spec of the network that has these tensors, given under our names."""
    if _has(tensors, "encoder.initial_block."):
        backbone, fusion = "erfnet", "sigmoid-do1" if _has(tensors, "fusion.query_bn.") else "sigmoid"
    else:
        backbone, fusion = "pspnet101" if _has(tensors, "encoder.layer3.6.") else "pspnet50", "sigmoid-down1"
    spec = ModelSpec(backbone, classes)
    if not _has(tensors, "projections."):
        return spec
    channels = tensors["projections.query_key.weight"].shape[1]
    return with_memory(spec, channels, memory_frames=memory_frames, window=window, fusion=fusion)
