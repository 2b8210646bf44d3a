"""`lmaseg info`: for bug reports, and about checkpoints."""

import json
import os
from pathlib import Path

import av
import torch
from test_cli import run_cli

import lmaseg
from lmaseg import kernels
from lmaseg.checkpoint import BUNDLED
from lmaseg.environment import environment


def test_all_a_bug_report_needs(capsys):
    assert run_cli("info") == 0
    said = capsys.readouterr().out
    compiled = kernels.levels()[-1] if kernels.available() else kernels.why_missing()
    for expected in (lmaseg.__version__, torch.__version__, av.__version__, compiled, "libx264", BUNDLED.stem):
        assert expected in said
    for title in ("versions", "system", "devices", "kernels", "encoders", "weights"):
        assert f"\n{title}\n" in f"\n{said}"


def test_the_same_as_json(capsys):
    assert run_cli("info", "--json") == 0
    said = capsys.readouterr()
    assert said.err == ""
    found = json.loads(said.out)
    assert found == json.loads(json.dumps(environment()))
    assert found["versions"]["torch"] == torch.__version__
    assert found["devices"]["cpu"] in ("float32", "bfloat16")
    assert found["system"]["usable cores"] <= os.cpu_count()
    assert found["encoders"]["ffv1"] == "ffv1"
    weights = found["weights"][BUNDLED.stem]
    assert weights["classes"] == "19 (cityscapes)"
    assert "research" in weights["licence"]
    assert Path(weights["path"]) == BUNDLED


def test_what_is_not_there(monkeypatch):
    monkeypatch.setattr(kernels, "_load", lambda: "the C kernels were not built: install a C compiler")
    monkeypatch.setattr("lmaseg.attention.cuda.HAS_TRITON", False)
    monkeypatch.setattr("lmaseg.environment.OPTIONAL", ("no-such-package",))
    found = environment()
    assert found["kernels"]["C"] == "the C kernels were not built: install a C compiler"
    assert found["kernels"]["Triton"].startswith("not installed")
    assert environment()["versions"]["no-such-package"] is None


def test_the_device_that_auto_means():
    assert environment()["devices"]["auto"] in ("cpu", "cuda", "mps")


def test_a_checkpoint_as_json(capsys):
    assert run_cli("info", BUNDLED, "--json") == 0
    header = json.loads(capsys.readouterr().out)
    assert header["spec"]["backbone"] == "erfnet"
    assert header["labels"]["names"][0] == "road"


def test_the_model_card_by_name_and_by_path(capsys):
    for weights in (BUNDLED.stem, BUNDLED):
        assert run_cli("info", weights) == 0
        assert "Recipe" in capsys.readouterr().out


def test_a_name_that_is_nothing(capsys):
    assert run_cli("info", "erfnet-lma") == 1
    assert "there are no weights called erfnet-lma" in capsys.readouterr().err


def test_the_classes_that_a_text_or_a_file_names(tmp_path, capsys):
    path = tmp_path / "yard.toml"
    path.write_text("[[classes]]\nname = 'lane'\ncovers = ['road', 1]\n[[classes]]\nname = 'shed'\n")
    assert run_cli("info", "--classes", path) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "yard" in shown
    assert "lane" in shown
    assert "road, sidewalk" in shown
    assert run_cli("info", "--classes", "lawn,car", "--json") == 0
    assert json.loads(capsys.readouterr().out)["train_ids"] == [255, 13]
    assert run_cli("info", "--classes", "lawn") == 2
    assert run_cli("info", "net.safetensors", "--classes", "camvid") == 2
