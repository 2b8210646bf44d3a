"""Networks of the Hugging Face hub, or of a folder in its form: any semantic segmentation model of transformers."""

import inspect
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmaseg.attachment import PROBE, attach_or_leave
from lmaseg.errors import BackendError, CheckpointError
from lmaseg.labels import LABEL_SETS, LabelSet, own_label_set
from lmaseg.models import LocalMemoryNet, Preprocess
from lmaseg.models.spec import HUB_PREFIX

BICUBIC = 3  # among the numbers Pillow has for ways to resample
USUAL_SIDE = 512  # pixels, of networks that do not say what they were trained at


def hub_network(name: str) -> LocalMemoryNet:
    """A network with its own weights and an untrained memory; one that cannot be cut has none, with a warning.

    What its classes are called and how frames are prepared is what its configuration and its image processor say. No
    code of the hub is run.

    Args:
        name: "owner/name" on the hub, kept in its cache once fetched, or a folder that `save_pretrained` wrote.

    Raises:
        BackendError: transformers is not installed.
        CheckpointError: no such network, no connection, or not a trained network for semantic segmentation.
    """
    try:
        import transformers
    except ImportError as error:
        raise BackendError(f"{HUB_PREFIX}{name} needs transformers: pip install 'lmaseg[hf]'") from error
    folder = network_folder(name)
    with _quiet(transformers):
        try:
            model, info = transformers.AutoModelForSemanticSegmentation.from_pretrained(
                folder, output_loading_info=True, dtype=torch.float32
            )
            processor = _processor(transformers, folder, model.config)
            net = attach_or_leave(
                HubNetwork(model, bgr=bool(getattr(processor, "do_flip_channel_order", False))).eval(),
                labels=_labels(name, [model.config.id2label[i] for i in range(model.config.num_labels)]),
                preprocess=_preprocess(processor, model.config),
                builder=f"{HUB_PREFIX}{name}",
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{name} is no usable network for semantic segmentation ({reason})") from error
    _require_weights(net, info["missing_keys"], name)
    return net


class HubNetwork(nn.Module):
    """A model of transformers as a function (B, 3, H, W) RGB -> logits (B, classes, ., .), for frames of any size.

    Args:
        model: for semantic segmentation; loses its auxiliary head, which only training uses.
        bgr: whether it was trained on blue, green, red.
    """

    def __init__(self, model: nn.Module, *, bgr: bool) -> None:
        super().__init__()
        if getattr(model, "auxiliary_head", None) is not None:
            model.auxiliary_head = None  # type: ignore[assignment]
        self.model = model
        self._channels = [2, 1, 0] if bgr else [0, 1, 2]
        # Transformers of a fixed grid have to be asked to take others.
        taken = inspect.signature(model.forward).parameters
        self._options = {name: True for name in ("interpolate_pos_encoding",) if name in taken}
        neck = getattr(model, "neck", None)
        self._is_dpt = neck is not None and "patch_height" in inspect.signature(neck.forward).parameters

    def forward(self, frames: Tensor) -> Tensor:
        with self._grid_told(frames):
            logits: Tensor = self.model(frames[:, self._channels], return_dict=True, **self._options).logits
        return logits

    @contextmanager
    def _grid_told(self, frames: Tensor) -> Iterator[None]:
        """DPT's model takes its patches for a square unless its neck is told how many there are; it never tells it."""
        if not self._is_dpt:
            yield
            return
        rows, columns = (side // int(self.model.config.patch_size) for side in frames.shape[-2:])  # type: ignore[union-attr, arg-type]

        def tell(_: nn.Module, inputs: Any, options: Any) -> Any:
            return inputs, options | {"patch_height": rows, "patch_width": columns}

        with self.model.neck.register_forward_pre_hook(tell, with_kwargs=True):  # type: ignore[union-attr]
            yield


def network_folder(name: str) -> str:
    """Where a network lies on this machine, fetched from the hub if it has to be. Raises CheckpointError: no such
    network, or no connection."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise CheckpointError(f"the folder {name} has no config.json: give one that save_pretrained wrote")
        return name
    try:
        for weights in ("model*.safetensors*", "pytorch_model*"):
            folder = snapshot_download(name, allow_patterns=["*config.json", weights])
            if any(Path(folder).glob(weights)):
                return folder
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise CheckpointError(
            f"there is no folder {name} here and no network of that name for everybody on the Hugging Face hub: names "
            "there look like nvidia/segformer-b0-finetuned-cityscapes-1024-1024"
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{name} is neither a folder here nor fetched before, and the Hugging Face hub cannot be reached: try "
            "again with a connection, or give the folder of a network"
        ) from error
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{name} cannot be fetched from the hub ({reason}): try again later") from error
    raise CheckpointError(f"{name} has no weights for PyTorch on the Hugging Face hub: take another network")


def _processor(transformers: Any, folder: str, config: Any) -> Any:
    """The image processor of a network, or of its architecture if it has none; None where neither has."""
    if any((Path(folder) / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        return transformers.AutoImageProcessor.from_pretrained(folder)
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    kinds: Any = IMAGE_PROCESSOR_MAPPING
    return kinds[type(config)]["pil"]() if type(config) in kinds else None


# How the classes of the ADE20K benchmark begin, and the colours in which they are usually drawn (Zhou et al. 2017).
ADE20K_BEGINS = ("wall", "building", "sky", "floor", "tree")
ADE20K_COLORS = bytes.fromhex(
    "787878b4787806e6e650323204c8037878508c8c8ccc05ffe6e6e604fa07e005ffebff0796053d78784608ff33ff06528fff8cccff04"
    "ff3307cc46030066c83de6faff06330b66ffff0747ff09e00907e6dcdcdcff095c7009ff08ffd607ffe0ffb8060aff47ff290a07ffff"
    "e0ff086608ffff3d06ffc207ff7a0800ff14ff0829ff05990633ffeb0cffa0961400a3ff8c8c8cfa0a0f14ff001fff00ff1f00ffe000"
    "99ff000000ffff470000ebff00adff1f00ff0bc8c8ff520000fff5003dff00ff7000ff85ff0000ffa300ff6600c2ff00008fff33ff00"
    "0052ff00ff2900ffad0a00ffadff0000ff99ff5c00ff00ffff00f5ff0066ffad00ff0014ffb8b8001fff00ff3d0047ffff00cc00ffc2"
    "00ff52000aff0070ff3300ff00c2ff007aff00ffa3ff990000ff0aff70008fff005200ffa3ff00ffeb0008b8aa8500ff00ff5cb800ff"
    "ff001f00b8ff00d6ffff00705cff0000e0ff70e0ff46b8a0a300ff9900ff47ff00ff00a3ffcc00ff008f00ffeb85ff00ff00ebf500ff"
    "ff007afff5000abed4d6ff0000ccff1400ffffff000099ff0029ff00ffcc2900ff29ff00ad00ff00f5ff4700ff7a00ff00ffb8005cff"
    "b8ff000085ffffd60019c2c266ff005c00ff"
)


def _labels(name: str, names: Sequence[str]) -> LabelSet:
    """The label set of classes known by their names alone; lmaseg's own where these are its names. Raises ValueError:
    more classes than fit into a label map."""
    plain = tuple(each.strip().lower() for each in names)
    for known in LABEL_SETS.values():
        if plain == known.names:
            return known
    classes: list[dict[str, Any]] = [
        {"name": each if plain.count(each) == 1 else f"{each} {i}"} for i, each in enumerate(plain)
    ]
    if len(plain) == len(ADE20K_COLORS) // 3 and plain[:5] == ADE20K_BEGINS:
        colors = zip(*[iter(ADE20K_COLORS)] * 3, strict=True)
        classes = [each | {"color": list(color)} for each, color in zip(classes, colors, strict=True)]
    return own_label_set(name, classes)


def _preprocess(processor: Any, config: Any) -> Preprocess:
    """What the image processor does, but for its crop and, of a fixed width and height, the change of proportions."""
    normalised = getattr(processor, "do_normalize", False) and processor.image_mean is not None
    return Preprocess(
        mean=_triple(processor.image_mean) if normalised else (0.0, 0.0, 0.0),
        std=_triple(processor.image_std) if normalised else (1.0, 1.0, 1.0),
        scale=float(processor.rescale_factor) if getattr(processor, "do_rescale", True) else 1.0,
        size=_trained_size(processor, config),
        resample="bicubic" if getattr(processor, "resample", None) == BICUBIC else "bilinear",
        as_pillow=getattr(processor, "backend", None) == "pil",
    )


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _trained_size(processor: Any, config: Any) -> tuple[int, int]:
    """Height and width in pixels."""
    size = dict(getattr(processor, "size", None) or {}) if getattr(processor, "do_resize", False) else {}
    side = size.get("shortest_edge") or getattr(config, "image_size", None) or USUAL_SIDE
    square = (side, side) if isinstance(side, int) else tuple(side)
    return int(size.get("height") or square[0]), int(size.get("width") or square[1])


def _require_weights(net: LocalMemoryNet, missing: Iterable[str], name: str) -> None:
    """Weights that the files lack and that matter are an error; transformers would leave them to chance."""
    state = net.state_dict()
    lacking = [key for key in state if any(key.endswith(f"model.{each}") for each in missing)]
    for key in lacking:
        state[key].fill_(float("nan") if state[key].is_floating_point() else 0)
    with torch.no_grad():
        complete = bool(net(torch.zeros(1, 3, *PROBE))[0].isfinite().all())
    if not complete:
        why = f"lacks tensors that its labels depend on ({', '.join(lacking)[:100]})"
        raise CheckpointError(f"{name} {why}: it was not trained for segmentation, take one that was")
    for key in lacking:
        state[key].zero_()


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the remarks and progress bars of transformers."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
