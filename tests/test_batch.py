"""`lmaseg batch` and its parts, without Ray."""

import errno
import json
import os
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import CLOCK, TIMES, broken_copy, packets, write_video
from PIL import Image
from test_cli import run_cli

from lmaseg.batch.chunk import Chunk, ChunkResult, Watched, disagreement, run_chunk
from lmaseg.batch.executor import Failure, InProcess, Outcome, Worker
from lmaseg.batch.job import check_outputs
from lmaseg.batch.join import Join, Joined
from lmaseg.batch.lock import SILENCE, Lock
from lmaseg.batch.making import Making, make_segmenter
from lmaseg.batch.manifest import NAME, Manifest, history, planned, records, result_as_record
from lmaseg.batch.plan import FROM_START, Mode, Plan, PlanTask
from lmaseg.batch.schedule import Batch
from lmaseg.batch.sources import Identity, Source, find_sources, identify
from lmaseg.errors import BatchError
from lmaseg.video import VideoReader

SMALL = ("--size", "32")


@pytest.fixture(scope="module")
def segmenter():
    return make_segmenter(Making(output="", size=32))


def making_for(folder, **settings):
    folder.mkdir(exist_ok=True)
    return Making(output=str(folder), size=32, **{"labels": True, **settings})


def long_video(path, frames=60, **options):
    """Uneven times, ten frames a second."""
    return write_video(path, [i * 9000 + i % 3 * 400 for i in range(frames)], CLOCK, rate=10, keyframes=12, **options)


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def video_pts(path):
    with av.open(path) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


class Workers:
    """An executor whose workers answer at once, by `behave(worker, task)` where that is not None."""

    def __init__(self, making, names=("a", "b"), behave=lambda worker, task: None):
        self.workers, self._names, self._behave = len(names), list(names), behave
        self._doer = Worker(making)
        self._given = {}
        self.done = []

    def alive(self):
        return self._names

    def idle(self):
        return [name for name in self._names if name not in self._given]

    def submit(self, worker, task):
        self._given[worker] = task

    def wait(self, seconds):
        outcomes = []
        for worker, task in self._given.items():
            result = self._behave(worker, task)
            outcomes.append(Outcome(worker, task, self._doer.run(task) if result is None else result))
            self.done.append((worker, task))
        self._given.clear()
        return outcomes

    def under_way(self):
        return 0

    def close(self, *, at_once):
        pass


def work(folder, sources, making, behave=lambda worker, task: None, *, names=("a", "b"), steps=None, seconds=2.0):
    """Run a job, for some steps only if asked to; (job, the tasks done)."""
    executor = Workers(making, names, behave)
    with Manifest(folder) as manifest:
        job = Batch(sources, making, manifest, history(folder), executor, seconds=seconds)
        for step, _ in enumerate(job.run(threading.Event()), start=1):
            if step == steps:
                break
    return job, [task for _, task in executor.done]


def source_of(path):
    return Source(str(path), Path(path).stem)


def plain(path, folder):
    """What `lmaseg run` makes of a video: (its output, its label maps)."""
    assert run_cli("run", path, "-o", folder / "plain.mp4", "--labels", folder / "plain", *SMALL, "-y") == 0
    return folder / "plain.mp4", folder / "plain"


class TestOneVideo:
    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("times", [*TIMES, "long"])
    def test_chunks_give_what_a_plain_run_gives(self, tmp_path, times):
        path = tmp_path / "in.mp4"
        if times == "long":
            long_video(path, audio=6.0)
        else:
            write_video(path, TIMES[times], CLOCK, rate=30, keyframes=7)
        video, maps = plain(path, tmp_path)
        output = tmp_path / "out"
        assert run_cli("batch", path, "-o", output, "--labels", "--chunk", "0.7", *SMALL) == 0
        assert files(output / "in") == files(maps)
        assert video_pts(output / "in.mp4") == video_pts(video)
        if times == "long":
            assert packets(output / "in.mp4") == packets(path)
        assert not (output / ".chunks").exists()

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("codec", ["hevc", "av1", "vp9"])
    def test_codecs_are_joined(self, tmp_path, codec):
        path = long_video(tmp_path / "in.mp4")
        assert run_cli("batch", path, "-o", tmp_path / "out", "--chunk", "2", "--codec", codec, *SMALL) == 0
        assert video_pts(tmp_path / "out" / "in.mp4") == video_pts(path)

    @pytest.mark.timeout(120)
    def test_a_damaged_video_is_read_from_its_start(self, tmp_path):
        path = broken_copy(long_video(tmp_path / "whole.mp4", 120), "in.mp4", 0.4, 0.42)
        video, maps = plain(path, tmp_path)
        making = making_for(tmp_path / "out")
        job, _ = work(tmp_path / "out", [source_of(path)], making, seconds=1.0)
        assert "read again from its start" in job.states[0].warnings[0]
        assert files(tmp_path / "out" / "in") == files(maps)
        assert video_pts(tmp_path / "out" / "in.mp4") == video_pts(video)

    @pytest.mark.timeout(120)
    def test_images_are_cut_by_frames(self, tmp_path):
        (tmp_path / "frames").mkdir()
        for i in range(12):
            level = np.random.default_rng(i).integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(level).save(tmp_path / "frames" / f"f{i}.png")
        assert run_cli("run", tmp_path / "frames", "-o", tmp_path / "maps", *SMALL) == 0
        output = tmp_path / "out"
        assert run_cli("batch", tmp_path / "frames", "-o", output, "--labels-only", "--chunk", "0.1", *SMALL) == 0
        assert files(output / "frames") == files(tmp_path / "maps")
        assert not (output / "frames.mp4").exists()


class TestChunks:
    def test_every_frame_is_in_one_chunk(self):
        plan = Plan(Identity(1, ""), chunks=3, seconds=0.7)
        assert [plan.span(i) for i in range(3)] == [(None, 0.7), (0.7, 1.4), (1.4, None)]

    def test_a_chunk_that_does_not_fit_its_neighbour_is_found(self):
        def result(before, tail, frames=5):
            return ChunkResult(frames, 2, before, tail)

        first = result([], [(3, 30), (4, 40)])
        assert disagreement([first, result([(3, 30), (4, 40)], [])]) is None
        empty = result([], [], frames=0)
        assert disagreement([first, empty, result([(3, 30), (4, 40)], [])]) is None
        for before in ([(4, 40)], [(3, 30), (4, 41)], [(3, 30), (5, 40)], []):
            assert "chunk 1" in disagreement([first, result(before, [])])

    def test_ends_are_told_by_time_and_picture(self, make_video):
        with VideoReader(make_video(), warm_up=2, start=0.2) as reader:
            watched = Watched(reader, 2)
            frames = list(watched)
        assert watched.before == [(frame.pts, zlib.crc32(frame.image)) for frame in frames[:2]]
        assert watched.tail() == [(frame.pts, zlib.crc32(frame.image)) for frame in frames[-2:]]
        assert len({crc for _, crc in watched.before + watched.tail()}) == 4

    def test_a_time_without_frames_is_an_empty_chunk(self, make_video, tmp_path, segmenter):
        path = make_video(pts=[0, 1, 2, 100, 101])
        chunk = Chunk(source_of(path), making_for(tmp_path), str(tmp_path / "chunks"), 1, 1.0, 2.0)
        assert run_chunk(chunk, segmenter) == ChunkResult(0, 4, [], [])
        assert not (tmp_path / "chunks").exists()

    @pytest.mark.parametrize(("mode", "chunks"), [(Mode.SEEK, 12), (Mode.START, FROM_START), (Mode.WHOLE, 1)])
    def test_the_less_a_source_is_trusted_the_fewer_chunks(self, tmp_path, mode, chunks):
        path = long_video(tmp_path / "in.mp4", 120)
        plan = PlanTask(source_of(path), making_for(tmp_path), 1.0, mode).run()
        assert (plan.chunks, plan.mode) == (chunks, mode)
        assert plan.frames == 120
        assert PlanTask(source_of(path), making_for(tmp_path), 9.0, Mode.SEEK, plan).run() is plan

    def test_times_before_zero_are_left_to_one_chunk(self, tmp_path):
        path = write_video(tmp_path / "in.mkv", range(-10, 90), Fraction(1, 25))
        assert PlanTask(source_of(path), making_for(tmp_path), 1.0).run().chunks in (1, 4)


class TestSchedule:
    @pytest.fixture
    def videos(self, tmp_path):
        return [source_of(long_video(tmp_path / f"v{i}.mp4", 40)) for i in range(2)]

    @pytest.mark.timeout(120)
    def test_a_failed_chunk_goes_to_another_worker(self, tmp_path, videos):
        failed = []

        def behave(worker, task):
            if isinstance(task, Chunk) and task.index == 1 and worker == "a":
                failed.append(task)
                return Failure("no luck")
            return None

        out = tmp_path / "out"
        job, tasks = work(out, videos, making_for(out), behave)
        assert [state.done for state in job.states] == [True, True]
        assert len(failed) <= 2
        assert job.progress().retries == len(failed)
        attempts = {(t.source.name, t.index): t.attempt for t in tasks if isinstance(t, Chunk)}
        assert all(attempts[chunk.source.name, 1] == 2 for chunk in failed)

    @pytest.mark.timeout(120)
    def test_after_three_retries_the_rest_goes_on(self, tmp_path, videos):
        def behave(worker, task):
            return Failure("hopeless") if isinstance(task, Chunk) and task.source.name == "v0" else None

        out = tmp_path / "out"
        job, tasks = work(out, videos, making_for(out), behave)
        assert [state.error for state in job.states] == ["hopeless", None]
        assert sum(isinstance(task, Chunk) and task.source.name == "v0" for task in tasks) == 2 * 4
        assert {path.name for path in out.iterdir() if path.suffix == ".mp4"} == {"v1.mp4"}
        assert history(out)["v0"].errors == {0: "hopeless", 1: "hopeless"}
        job, tasks = work(out, videos, making_for(out))  # once it is mended
        assert all(state.done for state in job.states)
        assert {task.source.name for task in tasks if isinstance(task, Chunk)} == {"v0"}

    @pytest.mark.timeout(120)
    def test_a_second_start_does_only_the_rest(self, tmp_path, videos):
        out = tmp_path / "out"
        _, before = work(out, videos, making_for(out), steps=3, names=("a",))
        assert [type(task) for task in before] == [PlanTask, PlanTask, Chunk]
        job, after = work(out, videos, making_for(out))
        chunks = [(task.source.name, task.index) for task in before + after if isinstance(task, Chunk)]
        assert len(chunks) == len(set(chunks)) == 4
        assert all(state.done for state in job.states)
        job, again = work(out, videos, making_for(out))
        assert [type(task) for task in again] == [PlanTask, PlanTask]
        assert all(state.found_done for state in job.states)

    @pytest.mark.timeout(120)
    def test_what_changed_is_done_again(self, tmp_path, videos):
        out = tmp_path / "out"
        work(out, videos, making_for(out))
        long_video(Path(videos[0].path), 30)
        _, tasks = work(out, videos, making_for(out))
        assert {task.source.name for task in tasks if isinstance(task, Chunk)} == {"v0"}
        assert len(files(out / "v0")) == 30
        _, tasks = work(out, videos, making_for(out, memory=1))
        assert {task.source.name for task in tasks if isinstance(task, Chunk)} == {"v0", "v1"}
        (out / "v1.mp4").unlink()
        _, tasks = work(out, videos, making_for(out, memory=1))
        assert {task.source.name for task in tasks if isinstance(task, Chunk)} == {"v1"}

    @pytest.mark.timeout(120)
    def test_a_full_disk_ends_the_job_at_once(self, tmp_path, videos):
        def behave(worker, task):
            return Failure("no space", disk_full=True) if isinstance(task, Chunk) and task.index == 1 else None

        out = tmp_path / "out"
        job, tasks = work(out, videos, making_for(out), behave, names=("a",))
        assert job.full
        assert sum(isinstance(task, Chunk) for task in tasks) == 2
        job, tasks = work(out, videos, making_for(out))
        assert all(state.done for state in job.states)
        assert sum(isinstance(task, Chunk) for task in tasks) == 3

    @pytest.mark.timeout(120)
    def test_a_seam_that_does_not_fit_has_the_source_read_again(self, tmp_path, videos):
        def behave(worker, task):
            if isinstance(task, Chunk) and task.index == 1 and task.mode is Mode.SEEK:
                return ChunkResult(20, 4, [(0, 0)] * 4, [], video="x", maps="x")
            return None

        out = tmp_path / "out"
        job, tasks = work(out, videos[:1], making_for(out), behave)
        assert job.states[0].done
        assert [task.mode for task in tasks if isinstance(task, PlanTask)] == [Mode.SEEK, Mode.START]
        assert job.progress().chunks == job.progress().chunks_done == 2
        assert len(files(out / "v0")) == 40

    @pytest.mark.timeout(120)
    def test_what_cannot_be_joined_is_done_as_a_whole_in_the_end(self, tmp_path, videos):
        def behave(worker, task):
            return Joined(0, 0, fault="lost") if isinstance(task, Join) and len(task.pieces) > 1 else None

        out = tmp_path / "out"
        job, tasks = work(out, videos[:1], making_for(out), behave)
        assert [task.mode for task in tasks if isinstance(task, PlanTask)] == list(Mode)
        assert job.states[0].done

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("chunks", [1, 2])
    def test_a_join_killed_at_any_point_is_gone_on_with(self, tmp_path, videos, chunks, monkeypatch):
        """Every renaming, and every frame's move, is once the last thing that a driver did."""
        whole = tmp_path / "whole"
        work(whole, videos[:1], making_for(whole), seconds=2.0 if chunks == 2 else 9.0)
        moves = 0
        for name in ("replace", "rename"):
            original = getattr(Path, name)

            def counted(path, target, original=original):
                nonlocal moves, fuse
                if "Join" in phase:
                    moves += 1
                    fuse -= 1
                    if fuse < 0:
                        raise KeyboardInterrupt
                return original(path, target)

            monkeypatch.setattr(Path, name, counted)
        phase, fuse, at = set(), 10**9, 0

        def behave(worker, task):
            phase.clear()
            phase.add(type(task).__name__)

        while True:
            out, fuse = tmp_path / f"out{at}", at
            try:
                work(out, videos[:1], making_for(out), behave, seconds=2.0 if chunks == 2 else 9.0)
            except KeyboardInterrupt:
                fuse = 10**9
                _, tasks = work(out, videos[:1], making_for(out), behave, seconds=2.0 if chunks == 2 else 9.0)
                assert not any(isinstance(task, Chunk) for task in tasks)
                assert files(out / "v0") == files(whole / "v0")
                assert video_pts(out / "v0.mp4") == video_pts(whole / "v0.mp4")
                at += 1 if at < 3 else 20
                continue
            break
        assert at > 2


def test_a_chunk_is_given_up_at_once_when_the_job_is_interrupted(tmp_path):
    making = making_for(tmp_path / "out")
    chunk = Chunk(source_of(long_video(tmp_path / "in.mp4", 250)), making, str(tmp_path / "chunks"), 0, None, None)
    executor = InProcess(making)
    assert (executor.idle(), executor.wait(0), executor.under_way()) == (["here"], [], 0)
    executor.submit("here", chunk)
    while executor.under_way() == 0:
        assert executor.wait(0.01) == []
    assert (executor.idle(), executor.alive()) == ([], ["here"])
    executor.close(at_once=True)
    assert not (tmp_path / "chunks" / "00000-1.mp4").exists()


class TestManifest:
    def test_a_torn_line_is_passed_over(self, tmp_path):
        plan = Plan(Identity(3, "ab"), chunks=2, seconds=1.0, frames=9)
        result = ChunkResult(5, 2, [(1, 2)], [(3, 4)], video="00000-1.mp4")
        with Manifest(tmp_path) as manifest:
            manifest.append(source="v", **planned("key", plan))
            manifest.append(source="v", chunk=0, state="started", attempt=2)
            manifest.append(source="v", chunk=0, state="done", result=result_as_record(result))
        with (tmp_path / NAME).open("a") as stream:
            stream.write('{"source": "v", "sta')
        with Manifest(tmp_path) as manifest:
            manifest.append(source="v", chunk=1, state="started", attempt=1)
        past = history(tmp_path)["v"]
        assert (past.plan, past.results, past.attempts) == (plan, {0: result}, {0: 2, 1: 1})
        assert past.running == 1
        assert len(list(records(tmp_path))) == 4

    def test_lines_of_others_are_passed_over(self, tmp_path):
        (tmp_path / NAME).write_text('7\n{"source": "v"}\n{"source": "v", "state": "planned"}\n{"else": 1}\n')
        assert history(tmp_path)["v"].plan is None

    def test_a_full_disk_is_one_sentence(self, tmp_path, monkeypatch):
        with Manifest(tmp_path) as manifest:
            monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
            with pytest.raises(BatchError, match=r"takes no more \(No space left\): make room"):
                manifest.append(source="v", state="done")


class TestLock:
    def test_two_jobs_in_one_folder(self, tmp_path):
        with (
            Lock(tmp_path),
            pytest.raises(BatchError, match=f"by process {os.getpid()} on .*: wait for it"),
            Lock(tmp_path),
        ):
            pass
        with Lock(tmp_path):
            pass

    def test_a_dead_process_holds_nothing(self, tmp_path):
        code = "import os, sys; from pathlib import Path; from lmaseg.batch.lock import Lock"
        code += "; Lock(Path(sys.argv[1])).__enter__(); os._exit(9)"
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
        assert "pid" in json.loads((tmp_path / ".lock").read_text())
        with Lock(tmp_path):
            pass

    def test_a_driver_elsewhere_is_believed_while_it_gives_signs_of_life(self, tmp_path):
        path = tmp_path / ".lock"
        path.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
        with pytest.raises(BatchError, match="process 1 on elsewhere"), Lock(tmp_path):
            pass
        long_ago = path.stat().st_mtime - SILENCE - 1
        os.utime(path, (long_ago, long_ago))
        with Lock(tmp_path) as lock:
            lock.beat()
            assert path.stat().st_mtime > long_ago + SILENCE


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("list.txt", '"my a.mp4"\n# remark\n\nb.mkv  # at night\n', ["my a", "b"]),
        ("list.txt", "'my a.mp4' # remark\ntake #3.mp4\n", ["my a", "take #3"]),
        ("list.csv", 'source;name\n"my a.mp4"; first\n# remark\nb.mkv;\n', ["first", "b"]),
        ("list.csv", "source\tname\nmy a.mp4\tfirst # remark\nb.mkv\n", ["first", "b"]),
        ("list.tsv", "my a.mp4\nb.mkv\n", ["my a", "b"]),
        ("list.csv", "source, name\n'my a.mp4', 'first'\n\"b.mkv\"\n", ["first", "b"]),
    ],
)
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(b"", "utf-8"), (b"", "utf-8-sig"), (b"", "utf-16"), (b"", "utf-16-le"), (b"\xfe\xff", "utf-16-be")],
)
def test_lists_as_people_and_their_programs_write_them(tmp_path, monkeypatch, name, text, found, mark, encoding):
    monkeypatch.chdir(tmp_path)
    for each in ("my a.mp4", "b.mkv", "take #3.mp4"):
        (tmp_path / each).touch()
    (tmp_path / name).write_bytes(mark + text.replace("\n", "\r\n").encode(encoding))
    sources = find_sources([], Path(name))
    assert [source.name for source in sources] == found
    assert all(Path(source.path).is_file() for source in sources)


def test_typing_errors_and_clutter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for each in ("a.mp4", "._a.mp4", "Thumbs.db", ".DS_Store"):
        (tmp_path / each).touch()
    assert [source.name for source in find_sources(["*"])] == ["a"]
    with pytest.raises(BatchError, match=r"the list lsit\.txt does not exist"):
        find_sources([], Path("lsit.txt"))
    with pytest.raises(BatchError, match=r"b\.mp4 does not exist"):
        identify(find_sources(["b.mp4"])[0])


class TestSources:
    def test_arguments_patterns_and_lists(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("a.mp4", "b.mkv", "frames/1.png", "frames/2.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "list.txt").write_text("# some\na.mp4\n\nframes/*.png\n")
        (tmp_path / "list.csv").write_text("name,source\n")
        named = [source.name for source in find_sources(["*.m*", "a.mp4"])]
        assert named == ["a", "b"]
        assert [source.name for source in find_sources([], Path("list.txt"))] == ["a", "frames"]
        (tmp_path / "list.csv").write_text("source,name\na.mp4,first\nb.mkv,\n")
        assert [s.name for s in find_sources([], Path("list.csv"))] == ["first", "b"]
        assert all(os.path.isabs(source.path) for source in find_sources(["a.mp4"]))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "no source is named"),
            (["*.avi"], "matches nothing"),
            (["x/a.mp4", "y/a.mkv"], "both called a: give them names of their own in a CSV"),
        ],
    )
    def test_what_cannot_be(self, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(BatchError, match=message):
            find_sources(arguments)

    def test_identity_is_of_the_head_and_the_size(self, tmp_path):
        path = tmp_path / "a.mp4"
        path.write_bytes(b"1" * 100)
        first = identify(source_of(path))
        path.write_bytes(b"1" * 101)
        longer = identify(source_of(path))
        path.write_bytes(b"2" + b"1" * 99)
        assert len({first, longer, identify(source_of(path))}) == 3
        assert first.size == 100

    def test_what_is_not_the_jobs_own_is_not_overwritten(self, tmp_path):
        making = making_for(tmp_path / "out")
        source = Source(str(tmp_path / "v.mp4"), "v")
        check_outputs([source], making, {})
        (tmp_path / "out" / "v.mp4").touch()
        with pytest.raises(BatchError, match="is not of this job: add -y"):
            check_outputs([source], making, {})
        check_outputs([source], making, {}, overwrite=True)
        with pytest.raises(BatchError, match="is a source itself"):
            check_outputs([replace(source, path=str(tmp_path / "out" / "v.mp4"))], making, {}, overwrite=True)


class TestCommand:
    @pytest.mark.timeout(120)
    def test_a_corrupt_source_among_good_ones(self, tmp_path, capsys):
        for i in range(2):
            write_video(tmp_path / f"v{i}.mp4", range(5))
        (tmp_path / "bad.mp4").write_text("no video")
        output = tmp_path / "out"
        assert run_cli("batch", str(tmp_path / "*.mp4"), "-o", output, *SMALL) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "2 of 3 sources done (0 before), 10 frames" in said
        assert "1 failed" in said
        assert sorted(path.name for path in output.iterdir() if path.suffix == ".mp4") == ["v0.mp4", "v1.mp4"]
        report = json.loads((output / "report.json").read_text())
        assert (report["complete"], report["sources_done"], report["frames"]) == (False, 2, 10)
        assert list(report["failed"]) == [str(tmp_path / "bad.mp4")]
        assert "is not a video" in report["failed"][str(tmp_path / "bad.mp4")]
        assert run_cli("batch", "--status", output) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert "sources: 2 done of 3" in said
        write_video(tmp_path / "bad.mp4", range(4))
        assert run_cli("batch", str(tmp_path / "*.mp4"), "-o", output, *SMALL) == 0
        assert "3 of 3 sources done (2 before), 4 frames" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize(
        ("arguments", "message", "code"),
        [
            (["in.mp4"], "name the folder for the outputs", 2),
            (["in.mp4", "-o", "out", "--chunk", "0"], "a chunk must last longer than nothing", 2),
            (["in.mp4", "-o", "out", "--codec", "ffv1"], "cannot hold ffv1", 1),
            (["in.mp4", "-o", "out", "--size", "8"], "is not between", 2),
            (["in.mp4", "-o", "out", "--classes", "unicorn"], "know no class unicorn", 2),
            (["--status", "nowhere"], "holds no job that has begun", 1),
            (["-o", "out"], "no source is named", 1),
        ],
    )
    def test_wrong_command_lines(self, tmp_path, monkeypatch, capsys, arguments, message, code):
        monkeypatch.chdir(tmp_path)
        assert run_cli("batch", *arguments) == code
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()
