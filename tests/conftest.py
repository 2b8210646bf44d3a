"""Fixtures for tests that need media."""

from pathlib import Path

import pytest
import torch
from media import write_video

SHARED = Path(__file__).parents[2] / "shared"  # real and broken files, where the checkout has them beside it


@pytest.fixture
def make_video(tmp_path):
    """`make_video(name, **options)` writes a small video into the test's folder; see `write_video`."""

    def make(name="in.mp4", **options):
        return write_video(tmp_path / name, **options)

    return make


@pytest.fixture
def shared_file():
    """`shared_file("odd/x.mp4")`: a file beside the checkout; skips the test where there is none."""

    def find(name):
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"{path} is not there")
        return path

    return find


@pytest.fixture(scope="module")
def one_thread():
    """Tensors as small as those of tests gain nothing from a second thread, and lose seconds to it when busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
