"""The scripts around `gpu.sh`, which `.ci/run` rehearses as a whole."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import gpu_data
import gpu_steps
import gpu_summary
import numpy as np
import pytest
from PIL import Image

from lmaseg.bench.report import Benchmark, Detail, Settings, Spread, Way

HERE = Path(__file__).parent


def draw(path, size, *, labels=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.stem))
    pixels = rng.integers(0, 19, size, np.uint8) if labels else rng.integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def shared(tmp_path):
    """Two pictures of CamVid, two stills and two stretches of video, one of each but the first held out."""
    root = tmp_path / "shared"
    for name in ("0001TP_006690", "0001TP_006720"):
        draw(root / f"camvid/train/{name}.jpg", (36, 48))
        draw(root / f"street/camvid19/{name}.png", (36, 48), labels=True)
    for name in ("town__000", "town__001"):
        draw(root / f"street/stills/images/{name}.jpg", (40, 90))
        draw(root / f"street/stills/labels/{name}.png", (40, 90), labels=True)
    for stretch in ("road", "path"):
        for number in range(2):
            draw(root / f"street/videos/{stretch}/images/{number:06d}.jpg", (36, 64))
            draw(root / f"street/videos/{stretch}/labels/{number:06d}.png", (36, 64), labels=True)
    (root / "street/val.txt").write_text("stills/town__001\nvideos/path\n")
    return root


def prepare(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu_data.py", *map(str, arguments)])
    gpu_data.main()


def test_what_is_carried_fits_and_leaves_out_what_is_judged_by(shared, tmp_path, monkeypatch, capsys):
    out = tmp_path / "carried"
    prepare(monkeypatch, shared, "-o", out, "--megabytes", "0.03", "--longest", "60")
    names = ["0001TP_006690", "0001TP_006720", "road_000000", "road_000001", "town__000-still"]
    assert sorted(path.stem for path in (out / "images").iterdir()) == names
    assert sorted(path.stem for path in (out / "labels").iterdir()) == names
    assert sum(path.stat().st_size for path in out.rglob("*.*")) <= 30_000
    assert Image.open(out / "images/town__000-still.webp").size == (60, 27)
    assert Image.open(out / "labels/town__000-still.png").size == (60, 27)
    kept, original = out / "labels/road_000001.png", shared / "street/videos/road/labels/000001.png"
    assert np.asarray(Image.open(kept)).max() <= 18
    assert "5 pictures with labels, WebP quality" in capsys.readouterr().out
    prepare(monkeypatch, shared, "-o", out, "--longest", "64")
    assert (np.asarray(Image.open(kept)) == np.asarray(Image.open(original))).all()


def test_too_little_room_and_nothing_to_carry_are_told(shared, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"more than 0\.001 MB"):
        prepare(monkeypatch, shared, "-o", tmp_path / "carried", "--megabytes", "0.001")
    with pytest.raises(SystemExit, match="nothing to prepare"):
        prepare(monkeypatch, tmp_path / "absent", "-o", tmp_path / "carried")


def test_steps_that_fit_go_by_the_later_half():
    rows = [{"step": str(10 * i), "seconds": str(30 + i)} for i in range(1, 9)]  # 10 steps a second after 30 to start
    assert gpu_steps.steps_that_fit(rows, 100) == int(gpu_steps.SPARE * 1000)
    assert gpu_steps.steps_that_fit([], 100) == 1
    assert gpu_steps.steps_that_fit(rows[:1], 31) == int(gpu_steps.SPARE * 10)
    assert gpu_steps.steps_that_fit(rows[:2], 100) == int(gpu_steps.SPARE * 1000)


def test_the_summary_names_every_figure(tmp_path):
    one = Spread(0.002, 0.001, 0.003, 5)
    settings = Settings("a GPU", "erfnet", 11, (512, 1024), (512, 1024), 4, 21, 8, "bfloat16", 20.0)
    way = Way("memory on", 4, one, one, one, 500.0, 123.0, 2_000_000)
    report = Benchmark({}, settings, (way,), one, (Detail("part of the network", "attend", one, one),))
    (tmp_path / "bench-512x1024-8.json").write_text(json.dumps(asdict(report)))
    (tmp_path / "rivals.json").write_text(
        json.dumps(
            {
                "local attention": {
                    "floor": {"seconds": 1e-5},
                    "ran": {"lmaseg in bfloat16": {"milliseconds": 0.0234}},
                    "skipped": ["flex_attention does not run here"],
                }
            }
        )
    )
    (tmp_path / "history.csv").write_text(
        "step,epoch,loss,learning_rate,images_per_second,seconds\n9,1,0.5,0,1234,60.2\n"
    )
    text = "\n".join(gpu_summary.summary(tmp_path))
    for figure in ("a GPU, 512x1024, batch 8, bfloat16", "500.0 frames/s (2.000 ms)", "end to end 123.0", "peak 2 MB"):
        assert figure in text
    for figure in ("attend: 2.000 ms", "floor 0.0100 ms", "lmaseg in bfloat16: 0.0234 ms", "1234 images/s, 60 s"):
        assert figure in text
    assert gpu_summary.summary(tmp_path / "absent") == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no bash")
def test_gpu_sh_is_well_formed():
    subprocess.run(["bash", "-n", HERE / "gpu.sh"], check=True)
