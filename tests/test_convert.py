"""Faithfulness: converted networks compute what the authors' code computes (see tests/data/README.md)."""

import os
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn
from upstream import CASES, DATA, errors, formula_weights, settings

from lmaseg import CITYSCAPES, CheckpointError, convert
from lmaseg.models.spec import IMAGENET_MEAN, IMAGENET_STD

MEMORY = ("kv_", "memory_fusion.")
AGREEMENT = 1e-4  # of the largest magnitude


def from_tensors(tensors, **options):
    with tempfile.TemporaryDirectory() as folder:
        return convert_saved(tensors, Path(folder, "net.pth"), **options)


def erfnet_weights():
    """ERFNet's own weights as they were published: without the memory, with its parallel wrapper's prefix, a head on
    the encoder and without what PyTorch counts since 0.4.1."""
    tensors = {
        name: tensor
        for name, tensor in formula_weights("erf_T4_R21").items()
        if not name.startswith(MEMORY) and not name.endswith("num_batches_tracked")
    }
    tensors |= {"encoder.output_conv.weight": torch.rand(20, 128, 1, 1), "encoder.output_conv.bias": torch.rand(20)}
    return {f"module.{name}": tensor for name, tensor in tensors.items()}


def semseg_weights():
    """PSPNet-101 as semseg saves it."""
    tensors = {
        name.removeprefix("encoder.").removeprefix("decoder."): tensor
        for name, tensor in formula_weights("psp101_T3_R21").items()
        if not name.startswith(MEMORY)
    }
    tensors |= {"aux.0.weight": torch.rand(256, 1024, 3, 3), "aux.4.bias": torch.rand(19)}
    tensors = {f"module.{name}": tensor for name, tensor in tensors.items()}
    return {"epoch": 200, "state_dict": tensors, "optimizer": {"param_groups": [{"lr": 0.01}]}}


def convert_saved(payload, path, **options):
    torch.save(payload, path)
    net, _ = convert.convert(path, **options)
    return net


@pytest.mark.parametrize("case", ["erf_T4_R21", "erf_T3_R9_simple"])  # PSPNet's turn is in test_cli_convert.py
def test_logits_equal_the_authors(case):
    found = errors(from_tensors(formula_weights(case), **settings(case)), DATA / f"{case}.safetensors")
    assert found.keys() == {"logits_first_frame", "logits_last_frame"}
    assert max(found.values()) < AGREEMENT, found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_authors_at_every_pixel(case, shared_file):
    file = shared_file(f"upstream/{case}.safetensors")
    found = errors(from_tensors(formula_weights(case), **settings(case)), file)
    assert max(found.values()) < AGREEMENT, found


def test_erfnet_alone(tmp_path):
    net = convert_saved(erfnet_weights(), tmp_path / "erfnet_pretrained.pth")
    assert not net.spec.has_memory
    assert (net.spec.backbone, net.spec.classes, net.labels) == ("erfnet", 19, CITYSCAPES)
    assert (net.preprocess.mean, net.preprocess.std, net.preprocess.size) == ((0, 0, 0), (1, 1, 1), (512, 1024))
    found = errors(net, DATA / "erf_T4_R21.safetensors")
    assert found.keys() == {"logits_first_frame"}
    assert max(found.values()) < AGREEMENT


@pytest.mark.slow
def test_pspnet_alone(tmp_path):
    net = convert_saved(semseg_weights(), tmp_path / "train_epoch_200.pth")
    assert not net.spec.has_memory
    assert (net.spec.backbone, net.spec.classes, net.labels) == ("pspnet101", 19, CITYSCAPES)
    assert (net.preprocess.mean, net.preprocess.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert errors(net, DATA / "psp101_T3_R21.safetensors")["logits_first_frame"] < AGREEMENT


@pytest.mark.slow
def test_pspnet_50_is_told_from_101_by_its_blocks():
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in semseg_weights()["state_dict"].items()
        if not any(name.startswith(f"module.layer3.{block}.") for block in range(6, 23))
    }
    assert from_tensors(tensors).spec.backbone == "pspnet50"


def test_fusion_is_told_from_the_tensors():
    assert from_tensors(formula_weights("erf_T4_R21")).spec.fusion == "sigmoid-do1"
    assert from_tensors(formula_weights("erf_T3_R9_simple")).spec.fusion == "sigmoid"


def test_the_ignored_output_is_dropped():
    tensors = formula_weights("erf_T4_R21")
    net = from_tensors(tensors)
    assert torch.equal(net.decoder.output_conv.weight, tensors["decoder.output_conv.weight"][:, :19])
    assert torch.equal(net.decoder.output_conv.bias, tensors["decoder.output_conv.bias"][:19])


def test_both_roles_have_the_querys_key_unless_told_otherwise(tmp_path):
    tensors = formula_weights("erf_T4_R21")
    own, query = tensors["kv_M_r4.Key.weight"], tensors["kv_Q_r4.Key.weight"]
    torch.save(tensors, tmp_path / "net.pth")
    net, about = convert.convert(tmp_path / "net.pth")
    assert torch.equal(net.projections.memory_key.weight, query)
    assert torch.equal(net.projections.query_key.weight, query)
    assert about["memory keys"] == "kv_Q_r4's in both roles"
    net, about = convert.convert(tmp_path / "net.pth", own_keys=True)
    assert torch.equal(net.projections.memory_key.weight, own)
    assert torch.equal(net.projections.query_key.weight, query)
    assert about["memory keys"] == "kv_M_r4's own"
    tensors |= {f"kv_M_r4.Key.{kind}": tensors[f"kv_Q_r4.Key.{kind}"] for kind in ("weight", "bias")}
    torch.save(tensors, tmp_path / "net.pth")
    assert "memory keys" not in convert.convert(tmp_path / "net.pth")[1]


def test_what_does_not_fit_is_listed_under_the_files_names(tmp_path):
    tensors = formula_weights("erf_T4_R21")
    tensors["stray.weight"] = tensors.pop("encoder.layers.3.bn1.weight")
    tensors["kv_Q_r4.Value.bias"] = torch.zeros(7)
    del tensors["kv_M_r4.Key.bias"]
    with pytest.raises(CheckpointError) as caught:
        convert_saved(tensors, tmp_path / "net.pth")
    assert str(caught.value) == (
        f"the tensors of {tmp_path / 'net.pth'} do not fit the network it describes: "
        "encoder.layers.3.bn1.weight is missing; kv_M_r4.Key.bias is missing; "
        "kv_Q_r4.Value.bias is (7,) instead of (64,); stray.weight is unknown"
    )


def test_other_numbers_of_classes_are_refused():
    tensors = formula_weights("erf_T4_R21")
    tensors["decoder.output_conv.weight"] = torch.zeros(16, 12, 2, 2)
    tensors["decoder.output_conv.bias"] = torch.zeros(12)
    with pytest.raises(CheckpointError, match=r"decoder\.output_conv\.bias is \(12,\) instead of \(19,\)"):
        from_tensors(tensors)


def test_state_dicts_are_found_in_what_is_wrapped_around_them(tmp_path):
    path, tensors = tmp_path / "net.pth", {"a": torch.zeros(2), "module.module.b": torch.ones(2)}
    for payload in (tensors, {"model": tensors}, {"state_dict": {"model": {"state_dict": tensors}}, "epoch": 3}):
        torch.save(payload, path)
        assert list(convert.read_state_dict(path)) == ["a", "b"]
    torch.save(tensors, path, _use_new_zipfile_serialization=False)  # as PyTorch wrote files before 1.6
    assert list(convert.read_state_dict(path)) == ["a", "b"]


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("save", [torch.save, lambda payload, path: path.write_bytes(pickle.dumps(payload))])
def test_code_in_a_file_is_not_run(tmp_path, save):
    save({"state_dict": {}, "extra": Trap(tmp_path / "trap")}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"net\.pth (holds code besides|is not a whole)"):
        convert.convert(tmp_path / "net.pth")
    assert not (tmp_path / "trap").exists()


def test_whole_networks_are_refused_with_the_remedy(tmp_path):
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"code besides tensors \(torch\.nn\.modules\.conv\.Conv2d\).*state_dict"):
        convert.convert(tmp_path / "net.pth")


def containing_itself():
    payload = {}
    payload["model"] = payload
    return payload


@pytest.mark.parametrize("payload", [[1, 2], {"epoch": 3}, {3: torch.zeros(1)}, containing_itself()])
def test_files_without_a_state_dict_are_refused(tmp_path, payload):
    torch.save(payload, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        convert.convert(tmp_path / "net.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0, 1, 60, -1])
def test_truncated_files_are_refused(tmp_path, zipped, kept):
    path = tmp_path / "net.pth"
    torch.save({"a": torch.rand(1000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"net\.pth is not a whole PyTorch checkpoint: fetch it again"):
        convert.convert(path)


@pytest.mark.parametrize("text", ["<!DOCTYPE html><html>", "no checkpoint " * 50])
def test_files_of_another_kind_are_refused(tmp_path, text):
    (tmp_path / "net.pth").write_text(text)
    with pytest.raises(CheckpointError, match="is not a whole PyTorch checkpoint"):
        convert.convert(tmp_path / "net.pth")


def test_other_networks_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"another network.*LMANet with ERFNet.*semseg"):
        convert.convert(tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="there are no weights at"):
        convert.convert(tmp_path / "nowhere.pth")
