"""Checkpoints: one safetensors file that says what it is and rebuilds its network, loaded strictly."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lmaseg.errors import BackendError, CheckpointError
from lmaseg.labels import CAMVID, LabelSet
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, build
from lmaseg.models.remembering import with_spec
from lmaseg.models.spec import HUB_PREFIX
from lmaseg.paths import part_path, publish

FORMAT = "lmaseg-1"
Builder = Callable[[], nn.Module]
FOREIGN = {".pth", ".pt", ".ckpt", ".tar", ".bin", ".pkl"}  # suffixes of weights that torch.save wrote
ELSEWHERE = (
    "lmaseg convert takes what is published at github.com/mattpfr/lmanet, github.com/Eromera/erfnet_pytorch and "
    "github.com/hszhao/semseg, and hf:NAME as the net takes networks of huggingface.co with their own weights"
)
BUNDLED = Path(__file__).parent / "weights" / "lma-street.safetensors"


@dataclass(frozen=True)
class Header:
    """The description in a checkpoint, read without its tensors."""

    spec: ModelSpec
    labels: LabelSet
    preprocess: Preprocess
    about: dict[str, str] = field(default_factory=dict)
    """Free text by topic: training data, licence, scores."""
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Least and largest values of activations, which int8 needs; see `LocalMemoryNet.ranges`."""

    @classmethod
    def of(cls, net: LocalMemoryNet, about: Mapping[str, str]) -> "Header":
        """The description of a network."""
        return cls(net.spec, net.labels, net.preprocess, dict(about), net.ranges)

    @property
    def metadata(self) -> dict[str, str]:
        """What a file says of the network in it: "format", and the fields as JSON."""
        return {"format": FORMAT} | {key: json.dumps(value) for key, value in asdict(self).items()}


def load(
    path: str | os.PathLike[str] | None = None, device: str = "cpu", net: str | Builder | None = None
) -> LocalMemoryNet:
    """A network in evaluation mode and float32: that of a checkpoint, or somebody else's around which a memory goes.

    Args:
        path: a file that `save` wrote, or the name of one that comes with lmaseg. None means the weights of `net`, with
            an untrained memory; without `net` those bundled.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        net: for any but lmaseg's own networks: "hf:NAME" of the Hugging Face hub or "hf:FOLDER" (see `hub_network`), or
            what builds the network, or its import string "package.module:function". It returns a single-frame network
            or what `lmaseg.attach` made of one. A checkpoint may name the function, too, but no file has code imported
            by itself.

    Raises:
        CheckpointError: no such file, not an lmaseg checkpoint, tensors that do not fit its own description, or an
            attached network without what builds it, or that cannot be used.
        BackendError: a device that is not there, or what the Hugging Face hub needs.
    """
    target = choose_device(device)
    if path is None and net is not None:
        return build_network(net).eval().to(target)
    file = BUNDLED if path is None else weights_file(path)
    header = read_header(file)
    network = _unfilled(header, net, file)
    network.ranges = header.ranges
    load_tensors(network, _tensors(file), source=str(file))
    return network.eval().to(target)


def save(net: LocalMemoryNet, path: str | os.PathLike[str], *, about: Mapping[str, str], half: bool = False) -> None:
    """Write a network with its description; the file appears under its name only when it is complete.

    Args:
        about: free text by topic: training data, licence, scores.
        half: store floating point tensors as float16.

    Raises:
        CheckpointError: the file cannot be written.
    """
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous().cpu()
        for name, tensor in net.state_dict().items()
    }
    _write(tensors, path, Header.of(net, about))


def save_ranges(
    path: str | os.PathLike[str],
    ranges: Mapping[str, tuple[float, float]],
    output: str | os.PathLike[str],
    *,
    about: Mapping[str, str],
) -> None:
    """Write a checkpoint anew with other ranges of its activations and more free text; its tensors stay as they are.
    Raises CheckpointError: no such file, not an lmaseg checkpoint, or the output cannot be written."""
    header = read_header(path)
    header = replace(header, ranges=dict(ranges), about={**header.about, **about})
    _write(_tensors(Path(path)), output, header)


def _write(tensors: dict[str, Tensor], path: str | os.PathLike[str], header: Header) -> None:
    part = part_path(Path(path))
    try:
        save_file(tensors, part, header.metadata)
        part.chmod(0o644)  # safetensors keeps its files to their owner; weights are for sharing
        publish(Path(path))
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(f"the weights cannot be written to {path} ({error}): write elsewhere") from error


def read_header(path: str | os.PathLike[str]) -> Header:
    """The description in a checkpoint. Raises CheckpointError: no such file, or not an lmaseg checkpoint."""
    with _open(Path(path)) as archive:
        metadata: dict[str, str] = archive.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} does not say that it is an lmaseg checkpoint ({FORMAT}): convert it first")
    try:
        return _parse_header({key: json.loads(text) for key, text in metadata.items() if key != "format"})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a damaged description ({error}): fetch or convert it again") from error


def load_tensors(
    net: nn.Module, tensors: Mapping[str, Tensor], *, source: str, call: Callable[[str], str] = str
) -> None:
    """Fill a network with exactly its own tensors; `call` gives the names under which the source knows them. Raises
    CheckpointError: names every tensor that is missing, unknown or misshapen; the network is left as it was."""
    own = net.state_dict()
    faults = [f"{call(name)} is missing" for name in own.keys() - tensors.keys()]
    faults += [f"{call(name)} is unknown" for name in tensors.keys() - own.keys()]
    faults += [
        f"{call(name)} is {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if tensors[name].shape != own[name].shape
    ]
    if faults:
        more = f"; and {len(faults) - 8} more" if len(faults) > 8 else ""
        shown = "; ".join(sorted(faults)[:8]) + more
        raise CheckpointError(f"the tensors of {source} do not fit the network it describes: {shown}")
    net.load_state_dict(dict(tensors))


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is the best one here. Raises BackendError: a name torch does not know, or a
    device this machine lacks."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BackendError(f"the device {name!r} is not available here: use --device auto or --device cpu") from error
    return device


def _unfilled(header: Header, builder: str | Builder | None, file: Path) -> LocalMemoryNet:
    """The network a header describes, with any weights: one of lmaseg's own, or an attached one."""
    backbone = header.spec.backbone
    if backbone and ":" not in backbone:
        if builder:
            raise CheckpointError(f"{file} holds weights of lmaseg's own {backbone}: leave --net out")
        try:
            return build(header.spec, header.labels, header.preprocess)
        except ValueError as error:
            raise CheckpointError(f"{file}: {error}; it may be from another version of lmaseg") from error
    if not builder and backbone.startswith(HUB_PREFIX):  # data, no code
        builder = backbone
    if not builder:
        name = backbone or "PACKAGE.MODULE:FUNCTION"
        raise CheckpointError(f"{file} holds weights of an attached network: name what builds it, --net {name}")
    net = build_network(builder)
    if net.spec.classes != header.spec.classes:
        classes = f"{header.spec.classes} classes, but the function given builds a network of {net.spec.classes}"
        raise CheckpointError(f"{file} is for {classes}: give the right one")
    net = with_spec(net, header.spec)
    net.labels, net.preprocess = header.labels, header.preprocess
    return net


def build_network(net: str | Builder) -> LocalMemoryNet:
    """A network with its own weights and an untrained memory; `net` as in `load`.

    Raises:
        CheckpointError: there is no such network, or it cannot be used.
        BackendError: the Hugging Face hub needs what is not installed.
    """
    if isinstance(net, str) and net.startswith(HUB_PREFIX):
        from lmaseg.hub import hub_network

        return hub_network(net.removeprefix(HUB_PREFIX))
    made = (_imported(net) if isinstance(net, str) else net)()
    if isinstance(made, LocalMemoryNet):
        return made
    if not isinstance(made, nn.Module):
        raise CheckpointError(f"{net} returns {made!r}: it must return a torch.nn.Module")
    from lmaseg.attachment import attach_or_leave  # takes a while, which lmaseg's own networks need not wait for

    try:
        return attach_or_leave(made, builder=net if isinstance(net, str) else "")
    except ValueError as error:
        raise CheckpointError(f"the network of {net} cannot be used: {error}") from error


def weights_file(name: str | os.PathLike[str]) -> Path:
    """The file of weights named by its path, or by its own name if it comes with lmaseg. Raises CheckpointError: there
    is none, or it is of another kind; says where weights can be had."""
    path, own = Path(name), {file.stem: file for file in sorted(BUNDLED.parent.glob("*.safetensors"))}
    if path.suffix in FOREIGN and path.is_file():
        raise CheckpointError(f"lmaseg did not write {path}: try lmaseg convert {path} -o net.safetensors")
    if path.suffix or path.exists():
        return path
    if str(name) not in own:
        raise CheckpointError(f"there are no weights called {name}: lmaseg has {', '.join(own)}; {ELSEWHERE}")
    return own[str(name)]


def _imported(name: str) -> Builder:
    """The function of an import string "package.module:function"."""
    module, _, function = name.partition(":")
    try:
        builder: Builder = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        forms = "package.module:function, or hf:NAME for a network of the Hugging Face hub"
        raise CheckpointError(f"cannot import {name!r} ({error}): write {forms}") from error
    return builder


def _tensors(path: Path) -> dict[str, Tensor]:
    with _open(path) as archive:
        return {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118


def _open(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}: give the path of a .safetensors file")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}): fetch it again") from error


def _parse_header(raw: dict[str, Any]) -> Header:
    preprocess = raw["preprocess"]
    return Header(
        spec=ModelSpec(**raw["spec"]),
        labels=_parse_labels(raw["labels"]),
        preprocess=Preprocess(**preprocess | {key: tuple(preprocess[key]) for key in ("mean", "std", "size")}),
        about=dict(raw["about"]),
        ranges={path: (low, high) for path, (low, high) in raw.get("ranges", {}).items()},
    )


def _parse_labels(raw: dict[str, Any]) -> LabelSet:
    names = tuple(raw["names"])
    unsaid = CAMVID.covers if names == CAMVID.names else ()  # older files do not say what their classes cover
    return LabelSet(
        **raw
        | {"names": names, "train_ids": tuple(raw["train_ids"])}
        | {"colors": tuple((r, g, b) for r, g, b in raw["colors"])}
        | {"covers": tuple(map(tuple, raw.get("covers", unsaid)))}
    )
