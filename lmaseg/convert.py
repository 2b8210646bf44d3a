"""From the authors' LMANet state dicts to lmaseg networks: one rename table per source."""

from collections.abc import Mapping

from torch import Tensor

from lmaseg.checkpoint import load_tensors
from lmaseg.labels import LabelSet
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, build

UNUSED = ""

# Prefixes of github.com/mattpfr/lmanet's ERFNet state dict, longest first; what is not named keeps its name.
# The authors' forward remembers the query's key and never calls kv_M_r4.Key, although it is in their weights.
LMANET_ERFNET = {
    "kv_M_r4.Key.": UNUSED,
    "kv_M_r4.Value.": "projections.memory_value.",
    "kv_Q_r4.Key.": "projections.query_key.",
    "kv_Q_r4.Value.": "projections.query_value.",
    "memory_fusion.conv_layer_1.": "fusion.query_content.",
    "memory_fusion.conv_layer_2.": "fusion.memory_content.",
    "memory_fusion.conv_layer_3.": "fusion.gates.query.",
    "memory_fusion.conv_layer_4.": "fusion.gates.memory.",
    "memory_fusion.bn1.": "fusion.query_bn.",
    "memory_fusion.bn2.": "fusion.memory_bn.",
    "memory_fusion.bn.": "fusion.bn.",
}


def rename(tensors: Mapping[str, Tensor], table: Mapping[str, str]) -> dict[str, Tensor]:
    """The same tensors with the prefixes of `table` exchanged, without those it calls unused."""
    renamed = {}
    for name, tensor in tensors.items():
        old = next((prefix for prefix in table if name.startswith(prefix)), "")
        new = table.get(old, name)
        if new != UNUSED:
            renamed[new + name.removeprefix(old) if old else name] = tensor
    return renamed


def from_lmanet_erfnet(
    tensors: Mapping[str, Tensor], *, memory_frames: int, window: int, labels: LabelSet, preprocess: Preprocess
) -> LocalMemoryNet:
    """The authors' ERFNet with its memory as a network in evaluation mode.

    Outputs beyond the label set (upstream's 20th, ignored channel) are dropped.

    Raises:
        CheckpointError: a tensor is missing, unknown or misshapen.
    """
    renamed = rename(tensors, LMANET_ERFNET)
    for name in ("decoder.output_conv.weight", "decoder.output_conv.bias"):
        if name in renamed:
            renamed[name] = renamed[name].narrow(-3 if renamed[name].ndim == 4 else 0, 0, len(labels))
    for kind in ("weight", "bias"):
        if f"projections.query_key.{kind}" in renamed:
            renamed[f"projections.memory_key.{kind}"] = renamed[f"projections.query_key.{kind}"]
    spec = ModelSpec(
        backbone="erfnet",
        classes=len(labels),
        memory_frames=memory_frames,
        window=window,
        key_channels=16,
        value_channels=64,
        fusion="sigmoid-do1" if "fusion.query_bn.weight" in renamed else "sigmoid",
    )
    net = build(spec, labels, preprocess)
    load_tensors(net, renamed, source="the LMANet state dict")
    return net.eval()
