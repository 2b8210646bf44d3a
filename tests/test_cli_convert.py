"""`lmaseg convert`, and what can be done with what it writes."""

import pytest
import torch
from marks import slow
from street.files import draw_folders
from test_cli import run_cli
from test_convert import AGREEMENT, Trap, erfnet_weights, semseg_weights
from upstream import DATA, errors, formula_weights, settings

from lmaseg import checkpoint


@pytest.fixture
def erfnet_file(tmp_path):
    torch.save(erfnet_weights(), tmp_path / "erfnet_pretrained.pth")
    return tmp_path / "erfnet_pretrained.pth"


def convert_case(case, folder):
    weights, output = folder / f"{case}.pth", folder / f"{case}.safetensors"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in formula_weights(case).items()}}, weights)
    memory = settings(case)
    options = ["--memory-frames", memory["memory_frames"], "--window", memory["window"], "--labels", "cityscapes"]
    assert run_cli("convert", weights, "-o", output, *options) == 0
    return output


def info(path, capsys):
    capsys.readouterr()
    assert run_cli("info", path) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("case", ["erf_T4_R21", slow("erf_T3_R9_simple"), slow("psp101_T3_R21")])
def test_converted_weights_give_the_authors_logits(case, tmp_path, capsys):
    output = convert_case(case, tmp_path)
    assert "see --own-keys" in capsys.readouterr().err
    found = errors(checkpoint.load(output), DATA / f"{case}.safetensors")
    assert found.keys() == {"logits_first_frame", "logits_last_frame"}
    assert max(found.values()) < AGREEMENT
    assert "cityscapes" in info(output, capsys)


def test_a_single_frame_network_says_so(erfnet_file, tmp_path, capsys):
    output = tmp_path / "erfnet.safetensors"
    assert run_cli("convert", erfnet_file, "-o", output) == 0
    assert f"lmaseg train --stage memory --init {output}" in " ".join(capsys.readouterr().err.split())
    said = info(output, capsys)
    for expected in ("erfnet, single frame", "none: lmaseg train --stage memory", "19 (cityscapes)", "512x1024"):
        assert expected in said
    assert "fusion" not in said


@pytest.mark.slow
def test_training_adds_a_memory_to_a_single_frame_network(erfnet_file, tmp_path):
    single, run = tmp_path / "erfnet.safetensors", tmp_path / "run"
    assert run_cli("convert", erfnet_file, "-o", single) == 0
    data = draw_folders(tmp_path, streets=1, frames=1, rate=1, size=(64, 96), seed=0)
    small = ["--size", "64x96", "--crop", "64x64", "--batch", 1, "--steps", 1, "--no-bfloat16"]
    arguments = ["--stage", "memory", "--init", single, "--folder", *data, "--window", 3, *small, "--device", "cpu"]
    assert run_cli("train", *arguments, "-o", run) == 0
    before, after = checkpoint.load(single), checkpoint.load(run / "final.safetensors")
    assert (after.spec.memory_frames, after.spec.window, after.spec.fusion) == (1, 3, "blend")
    for name, tensor in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], tensor), name


def test_outputs_that_exist_are_kept(erfnet_file, tmp_path, capsys):
    output = tmp_path / "out.safetensors"
    output.write_text("precious")
    assert run_cli("convert", erfnet_file, "-o", output) == 1
    assert "already exists: add -y" in capsys.readouterr().err
    assert output.read_text() == "precious"
    assert run_cli("convert", erfnet_file, "-o", output, "-y") == 0
    assert checkpoint.load(output).spec.backbone == "erfnet"


def truncated(path):
    path.write_bytes(path.read_bytes()[:-500])


def of_another_network(path):
    torch.save({"conv1.weight": torch.zeros(3)}, path)


def with_code(path):
    torch.save({"state_dict": erfnet_weights(), "extra": Trap(path.parent / "trap")}, path)


def with_a_tensor_too_many(path):
    torch.save(erfnet_weights() | {"module.decoder.extra": torch.zeros(3)}, path)


def of_another_shape(path):
    tensors = semseg_weights()
    tensors["state_dict"]["module.cls.4.weight"] = torch.zeros(21, 512, 1, 1)
    torch.save(tensors, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncated, "is not a whole PyTorch checkpoint"),
        (of_another_network, "holds weights of another network"),
        (with_code, "holds code besides tensors"),
        (with_a_tensor_too_many, "decoder.extra is unknown"),
        slow(of_another_shape, "cls.4.weight is (21, 512, 1, 1) instead of (19, 512, 1, 1)"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_line(spoil, message, erfnet_file, tmp_path, capsys):
    spoil(erfnet_file)
    assert run_cli("convert", erfnet_file, "-o", tmp_path / "out.safetensors") == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert message in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == [erfnet_file]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--window", "20"], "window must be an odd number of feature cells, not 20"),
        (["--memory-frames", "0"], "--memory-frames"),
        (["--labels", "voc"], "'voc' names no classes"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments, message, tmp_path, capsys):
    torch.save(formula_weights("erf_T3_R9_simple"), tmp_path / "net.pth")
    assert run_cli("convert", tmp_path / "net.pth", "-o", tmp_path / "out.safetensors", *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "net.pth"]
