"""One writer at a time."""

import json
import os
import subprocess
import sys

import pytest

from lmaseg import VideoError
from lmaseg.lock import SILENCE, Lock


def lock_of(folder):
    return Lock(folder / "lock", folder)


def test_the_second_is_refused_and_the_next_one_is_not(tmp_path):
    with (
        lock_of(tmp_path),
        pytest.raises(VideoError, match=f"by process {os.getpid()} on .*: wait for it"),
        lock_of(tmp_path),
    ):
        pass
    with lock_of(tmp_path):
        pass


def test_a_dead_process_holds_nothing_and_its_note_is_read(tmp_path):
    code = "import os, sys; from pathlib import Path; from lmaseg.lock import Lock; folder = Path(sys.argv[1])"
    code += "; lock = Lock(folder / 'lock', folder); lock.__enter__(); lock.write_note({'how': 1}); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    assert "pid" in json.loads((tmp_path / "lock").read_text())
    with lock_of(tmp_path) as lock:
        assert lock.note == {"how": 1}
    assert json.loads((tmp_path / "lock").read_text()) == {"note": {"how": 1}}


def test_a_writer_elsewhere_is_believed_while_it_gives_signs_of_life(tmp_path):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(VideoError, match="process 1 on elsewhere"), lock_of(tmp_path):
        pass
    long_ago = path.stat().st_mtime - SILENCE - 1
    os.utime(path, (long_ago, long_ago))
    with lock_of(tmp_path) as lock:
        lock.beat()
        assert path.stat().st_mtime > long_ago + SILENCE


def test_a_lock_that_was_taken_away_does_not_hold_the_next_one_s_file(tmp_path):
    with lock_of(tmp_path) as first:
        first.remove()
        with lock_of(tmp_path):
            assert (tmp_path / "lock").exists()
