"""The outputs of the authors' code, and the weights and inputs they were computed from (see tests/data/README.md)."""

import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from lmaseg.models import FeatureMemory

DATA = Path(__file__).parent / "data"
CASES = ("erf_T4_R21", "erf_T3_R9_simple", "psp101_T3_R21")


def formula_tensor(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    z = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        z = 0.5 + abs(z)
    elif name.endswith("running_mean"):
        z = 0.1 * z
    elif len(shape) == 1:
        z = 1 + 0.1 * z if name.endswith("weight") else 0.05 * z
    else:
        z = z * np.float32(np.sqrt(0.6 / np.prod(shape[1:])))
    return torch.from_numpy(np.asarray(z, np.float32))


@cache
def _weights(case):
    shapes = json.loads((DATA / f"lmanet_{'erfnet' if case.startswith('erf') else 'pspnet'}_shapes.json").read_text())
    return {
        name: torch.tensor(0) if name.endswith("num_batches_tracked") else formula_tensor(name, shape)
        for name, shape in shapes[case].items()
    }


def formula_weights(case):
    """The state dict of a case, under the authors' names; a new dict of the same tensors at each call."""
    return dict(_weights(case))


def settings(case):
    """Window and memory frames of a case."""
    with safe_open(DATA / f"{case}.safetensors", "pt") as archive:
        return {
            "window": int(archive.metadata()["corr_size"]),
            "memory_frames": int(archive.metadata()["stm_queue_size"]),
        }


@torch.inference_mode()
def errors(net, file):
    """How far a network's logits are from a file's, as shares of the largest magnitude, by the tensor's name.

    Those of the first frame, and with a memory those of the last.
    """
    with safe_open(file, "pt") as archive:
        case, theirs = archive.metadata(), {name: archive.get_tensor(name)[:19] for name in archive.keys()}  # noqa: SIM118
    shape = int(case["frames"]), 1, 3, int(case["height"]), int(case["width"])
    frames = torch.from_numpy(np.random.default_rng(int(case["input_seed"])).random(shape, dtype=np.float32))
    memory, ours = FeatureMemory(net.spec.memory_frames), {}
    for number, frame in enumerate(frames):
        logits, key, value = net(frame, *memory.read())
        memory.push(key, value)
        ours["logits_last_frame" if number else "logits_first_frame"] = logits[0]
        if not net.spec.has_memory:
            break
    step = int(case.get("step", 1))
    return {
        name: float((logits[:, ::step, ::step] - theirs[name]).abs().max() / theirs[name].abs().max())
        for name, logits in ours.items()
    }
