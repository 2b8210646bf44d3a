"""Faithfulness: our network computes what the authors' code computes (see tests/data/README.md)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from lmaseg import CITYSCAPES, CheckpointError, convert
from lmaseg.models import FeatureMemory, Preprocess

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared" / "upstream"
CASES = ("erf_T4_R21", "erf_T3_R9_simple")


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


def formula_weights(case):
    shapes = json.loads((DATA / "lmanet_erfnet_shapes.json").read_text())[case]
    return {
        name: torch.tensor(0) if name.endswith("num_batches_tracked") else formula_tensor(name, shape)
        for name, shape in shapes.items()
    }


def convert_case(tensors, case):
    window, frames = case["corr_size"], case["stm_queue_size"]
    return convert.from_lmanet_erfnet(
        tensors, memory_frames=int(frames), window=int(window), labels=CITYSCAPES, preprocess=Preprocess()
    )


@torch.inference_mode()
def first_and_last(net, case):
    shape = 1, int(case["frames"]), 3, int(case["height"]), int(case["width"])
    frames = np.random.default_rng(int(case["input_seed"])).random(shape, dtype=np.float32)
    memory = FeatureMemory(net.spec.memory_frames)
    logits = []
    for i in range(shape[1]):
        out, key, value = net(torch.from_numpy(frames[:, i]), *memory.read())
        memory.push(key, value)
        logits.append(out[0])
    return {"logits_first_frame": logits[0], "logits_last_frame": logits[-1]}


def check(archive, step):
    case = archive.metadata()
    ours = first_and_last(convert_case(formula_weights(case["case"]), case), case)
    for name, logits in ours.items():
        theirs = archive.get_tensor(name)[:19]
        difference = (logits[:, ::step, ::step] - theirs).abs().max() / theirs.abs().max()
        assert difference < 1e-4, name


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_authors(case):
    with safe_open(DATA / f"{case}.safetensors", "pt") as archive:
        check(archive, int(archive.metadata()["step"]))


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_authors_at_every_pixel(case):
    file = SHARED / f"{case}.safetensors"
    if not file.is_file():
        pytest.skip(f"needs the full outputs in {SHARED}, which is not part of the project")
    with safe_open(file, "pt") as archive:
        check(archive, 1)


def test_fusion_is_told_from_the_tensors():
    case = {"corr_size": 21, "stm_queue_size": 4}
    assert convert_case(formula_weights("erf_T4_R21"), case).spec.fusion == "sigmoid-do1"
    assert convert_case(formula_weights("erf_T3_R9_simple"), case).spec.fusion == "sigmoid"


def test_the_ignored_output_is_dropped():
    net = convert_case(formula_weights("erf_T4_R21"), {"corr_size": 21, "stm_queue_size": 4})
    assert net.spec.classes == 19
    assert net.decoder.output_conv.weight.shape == (16, 19, 2, 2)


def test_missing_and_unknown_tensors_are_named():
    tensors = formula_weights("erf_T4_R21")
    tensors["stray.weight"] = tensors.pop("encoder.layers.3.bn1.weight")
    with pytest.raises(CheckpointError, match=r"encoder\.layers\.3\.bn1\.weight is missing; stray\.weight is unknown"):
        convert_case(tensors, {"corr_size": 21, "stm_queue_size": 4})
