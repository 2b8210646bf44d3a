"""`lmaseg batch` and its parts, without Ray."""

import errno
import json
import os
import sys
import threading
import zlib
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from marks import slow
from media import CLOCK, TIMES, broken_copy, packets, write_video
from PIL import Image
from test_cli import run_cli
from torch import nn

import lmaseg
from lmaseg import CAMVID, Segmenter, kernels
from lmaseg.batch import executor
from lmaseg.batch.chunk import Chunk, ChunkResult, Ends, disagreement, run_chunk
from lmaseg.batch.executor import Failure, InProcess, Outcome, Worker
from lmaseg.batch.folder import check_outputs
from lmaseg.batch.join import Join, Joined
from lmaseg.batch.manifest import NAME, Manifest, history, records
from lmaseg.batch.package import Package, own_package
from lmaseg.batch.plan import Plan, PlanTask
from lmaseg.batch.schedule import Schedule
from lmaseg.batch.sources import find_sources
from lmaseg.cluster import require_same
from lmaseg.errors import BatchError, VideoError
from lmaseg.job import Job
from lmaseg.models import Preprocess
from lmaseg.segmentation import make_segmenter
from lmaseg.unfinished import identify
from lmaseg.video import VideoReader

SMALL = ("--size", "32")


@pytest.fixture(scope="module")
def segmenter():
    return make_segmenter(Job("", size=32))


def jobs_for(folder, paths, **settings):
    """The jobs of a batch into a folder, by name."""
    folder.mkdir(exist_ok=True)
    stems = {path.stem: path for path in paths}
    return {
        name: Job(str(path), video=folder / f"{name}.mp4", maps=folder / name, size=32, **settings)
        for name, path in stems.items()
    }


def job_of(path, folder):
    return jobs_for(folder, [path])[path.stem]


def name_of(task):
    """What the outputs of a task's source are called."""
    return Path(task.job.source).stem


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

    def __init__(self, names=("a", "b"), behave=lambda worker, task: None):
        self.workers, self._names, self._behave = len(names), list(names), behave
        self._doer = Worker()
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


def work(folder, paths, behave=lambda worker, task: None, *, names=("a", "b"), steps=None, seconds=2.0, **settings):
    """Run a batch, for some steps only if asked to; (the batch, the tasks done)."""
    executor = Workers(names, behave)
    jobs = jobs_for(folder, paths, **settings)
    with Manifest(folder) as manifest:
        job = Schedule(jobs, folder, manifest, history(folder), executor, seconds=seconds)
        for step, _ in enumerate(job.run(threading.Event()), start=1):
            if step == steps:
                break
    return job, [task for _, task in executor.done]


def plain(path, folder):
    """What `lmaseg run` makes of a video: (its output, its label maps)."""
    assert run_cli("run", path, "-o", folder / "plain.mp4", "--labels", folder / "plain", *SMALL, "-y") == 0
    return folder / "plain.mp4", folder / "plain"


class TestOneVideo:
    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("times", ["variable", "long", *(slow(name) for name in TIMES if name != "variable")])
    def test_chunks_give_what_a_plain_run_gives(self, tmp_path, times):
        path = tmp_path / "in.mp4"
        if times == "long":
            long_video(path, 40, audio=4.0)
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
    @pytest.mark.parametrize("codec", ["hevc", slow("av1"), slow("vp9")])
    def test_codecs_are_joined(self, tmp_path, codec):
        path = long_video(tmp_path / "in.mp4", 40)
        assert run_cli("batch", path, "-o", tmp_path / "out", "--chunk", "2", "--codec", codec, *SMALL) == 0
        assert video_pts(tmp_path / "out" / "in.mp4") == video_pts(path)

    @pytest.mark.slow
    @pytest.mark.timeout(120)
    def test_a_damaged_video_is_read_as_a_whole(self, tmp_path):
        path = broken_copy(long_video(tmp_path / "whole.mp4", 120), "in.mp4", 0.4, 0.42)
        video, maps = plain(path, tmp_path)
        job, _ = work(tmp_path / "out", [path], seconds=1.0)
        assert "read again as a whole" in job.states[0].warnings[0]
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
        plan = Plan("1", chunks=3, seconds=0.7)
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
            ends, frames = Ends(2), list(reader)
        for frame in frames:
            ends.observe(frame)
        assert ends.before() == [(frame.pts, zlib.crc32(frame.image)) for frame in frames[:2]]
        assert ends.tail() == [(frame.pts, zlib.crc32(frame.image)) for frame in frames[-2:]]
        assert len({crc for _, crc in ends.before() + ends.tail()}) == 4

    def test_a_time_without_frames_is_an_empty_chunk(self, make_video, tmp_path, segmenter):
        path = make_video(pts=[0, 1, 2, 100, 101])
        chunk = Chunk(job_of(path, tmp_path), str(tmp_path / "chunks"), 1, 1.0, 2.0)
        assert run_chunk(chunk, segmenter) == ChunkResult(0, segmenter.memory.frames, [], [])
        assert not (tmp_path / "chunks").exists()

    @pytest.mark.parametrize(("whole", "chunks"), [(False, 12), (True, 1)])
    def test_a_source_that_is_not_trusted_is_one_chunk(self, tmp_path, whole, chunks):
        path = long_video(tmp_path / "in.mp4", 120)
        plan = PlanTask(job_of(path, tmp_path), 1.0, whole).run()
        assert (plan.chunks, plan.whole) == (chunks, whole)
        assert plan.frames == 120
        assert PlanTask(job_of(path, tmp_path), 9.0, False, plan).run() is plan

    def test_times_before_zero_are_left_to_one_chunk(self, tmp_path):
        path = write_video(tmp_path / "in.mkv", range(-10, 90), Fraction(1, 25))
        assert PlanTask(job_of(path, tmp_path), 1.0).run().chunks in (1, 4)


class TestSchedule:
    @pytest.fixture(autouse=True)
    def tiny(self, monkeypatch):
        """A network of two layers: what labels the frames makes no difference here, and this is quick."""
        net = lmaseg.attach(
            nn.Conv2d(3, 8, 8, stride=8),
            nn.ConvTranspose2d(8, 11, 8, stride=8),
            labels=CAMVID,
            window=3,
            preprocess=Preprocess(size=(32, 48)),
        ).eval()
        monkeypatch.setattr(executor, "make_segmenter", lambda job: Segmenter(net, size=job.size, memory=job.memory))

    @pytest.fixture
    def videos(self, tmp_path):
        return [long_video(tmp_path / f"v{i}.mp4", 40) for i in range(2)]

    @pytest.mark.timeout(120)
    def test_a_failed_chunk_goes_to_another_worker(self, tmp_path, videos):
        failed = []

        def behave(worker, task):
            if isinstance(task, Chunk) and task.index == 1 and worker == "a":
                failed.append(task)
                return Failure("no luck")
            return None

        out = tmp_path / "out"
        job, tasks = work(out, videos, behave)
        assert [state.done for state in job.states] == [True, True]
        assert len(failed) <= 2
        assert job.progress().retries == len(failed)
        attempts = {(name_of(t), t.index): t.attempt for t in tasks if isinstance(t, Chunk)}
        assert all(attempts[name_of(chunk), 1] == 2 for chunk in failed)

    @pytest.mark.timeout(120)
    def test_after_three_retries_the_rest_goes_on(self, tmp_path, videos):
        def behave(worker, task):
            return Failure("hopeless") if isinstance(task, Chunk) and name_of(task) == "v0" else None

        out = tmp_path / "out"
        job, tasks = work(out, videos, behave)
        assert [state.error for state in job.states] == ["hopeless", None]
        assert sum(isinstance(task, Chunk) and name_of(task) == "v0" for task in tasks) == 2 * 4
        assert {path.name for path in out.iterdir() if path.suffix == ".mp4"} == {"v1.mp4"}
        assert history(out)["v0"].errors == {0: "hopeless", 1: "hopeless"}
        job, tasks = work(out, videos)  # once it is mended
        assert all(state.done for state in job.states)
        assert {name_of(task) for task in tasks if isinstance(task, Chunk)} == {"v0"}

    @pytest.mark.timeout(120)
    def test_a_second_start_does_only_the_rest(self, tmp_path, videos):
        out = tmp_path / "out"
        _, before = work(out, videos, steps=3, names=("a",))
        assert [type(task) for task in before] == [PlanTask, PlanTask, Chunk]
        job, after = work(out, videos)
        chunks = [(name_of(task), task.index) for task in before + after if isinstance(task, Chunk)]
        assert len(chunks) == len(set(chunks)) == 4
        assert all(state.done for state in job.states)
        job, again = work(out, videos)
        assert [type(task) for task in again] == [PlanTask, PlanTask]
        assert all(state.found_done for state in job.states)

    @pytest.mark.timeout(120)
    def test_what_changed_is_done_again(self, tmp_path, videos):
        out = tmp_path / "out"
        work(out, videos)
        long_video(videos[0], 30)
        _, tasks = work(out, videos)
        assert {name_of(task) for task in tasks if isinstance(task, Chunk)} == {"v0"}
        assert len(files(out / "v0")) == 30
        _, tasks = work(out, videos, memory=1)
        assert {name_of(task) for task in tasks if isinstance(task, Chunk)} == {"v0", "v1"}
        (out / "v1.mp4").unlink()
        _, tasks = work(out, videos, memory=1)
        assert {name_of(task) for task in tasks if isinstance(task, Chunk)} == {"v1"}

    @pytest.mark.timeout(120)
    def test_a_full_disk_ends_the_job_at_once(self, tmp_path, videos):
        def behave(worker, task):
            return Failure("no space", disk_full=True) if isinstance(task, Chunk) and task.index == 1 else None

        out = tmp_path / "out"
        job, tasks = work(out, videos, behave, names=("a",))
        assert job.full
        assert sum(isinstance(task, Chunk) for task in tasks) == 2
        job, tasks = work(out, videos)
        assert all(state.done for state in job.states)
        assert sum(isinstance(task, Chunk) for task in tasks) == 3

    @pytest.mark.timeout(120)
    def test_a_seam_that_does_not_fit_has_the_source_read_again(self, tmp_path, videos):
        def behave(worker, task):
            if isinstance(task, Chunk) and task.index == 1:
                return ChunkResult(20, 4, [(0, 0)] * 4, [], video="x", maps="x")
            return None

        out = tmp_path / "out"
        job, tasks = work(out, videos[:1], behave)
        assert job.states[0].done
        assert [task.whole for task in tasks if isinstance(task, PlanTask)] == [False, True]
        assert job.progress().chunks == job.progress().chunks_done == 1
        assert len(files(out / "v0")) == 40

    @pytest.mark.timeout(120)
    def test_what_cannot_be_joined_is_done_as_a_whole_in_the_end(self, tmp_path, videos):
        def behave(worker, task):
            return Joined(0, 0, fault="lost") if isinstance(task, Join) and len(task.pieces) > 1 else None

        out = tmp_path / "out"
        job, tasks = work(out, videos[:1], behave)
        assert [task.whole for task in tasks if isinstance(task, PlanTask)] == [False, True]
        assert job.states[0].done

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("chunks", [2, slow(1)])
    def test_a_join_killed_at_any_point_is_continued(self, tmp_path, videos, chunks, monkeypatch):
        """Some renaming, or some frame's move, is the last thing that a driver did."""
        whole = tmp_path / "whole"
        work(whole, videos[:1], seconds=2.0 if chunks == 2 else 9.0)
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
                work(out, videos[:1], behave, seconds=2.0 if chunks == 2 else 9.0)
            except KeyboardInterrupt:
                fuse = 10**9
                _, tasks = work(out, videos[:1], behave, seconds=2.0 if chunks == 2 else 9.0)
                assert not any(isinstance(task, Chunk) for task in tasks)
                assert files(out / "v0") == files(whole / "v0")
                assert video_pts(out / "v0.mp4") == video_pts(whole / "v0.mp4")
                at += 1 if at < 2 else 40
                continue
            break
        assert at > 2


def test_a_chunk_is_given_up_at_once_when_the_job_is_interrupted(tmp_path):
    job = job_of(long_video(tmp_path / "in.mp4", 250), tmp_path / "out")
    chunk = Chunk(job, str(tmp_path / "chunks"), 0, None, None)
    executor = InProcess()
    assert (executor.idle(), executor.wait(0), executor.under_way()) == (["here"], [], 0)
    executor.submit("here", chunk)
    while executor.under_way() == 0:
        assert executor.wait(0.01) == []
    assert (executor.idle(), executor.alive()) == ([], ["here"])
    executor.close(at_once=True)
    assert not (tmp_path / "chunks" / "00000-1.mp4").exists()


class TestManifest:
    def test_a_torn_line_is_passed_over(self, tmp_path):
        plan = Plan("3 ab", chunks=2, seconds=1.0, frames=9)
        result = ChunkResult(5, 2, [(1, 2)], [(3, 4)], video="00000-1.mp4")
        with Manifest(tmp_path) as manifest:
            manifest.append(source="v", state="planned", key="key", plan=asdict(plan))
            manifest.append(source="v", chunk=0, state="started", attempt=2)
            manifest.append(source="v", chunk=0, state="done", result=asdict(result))
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
    assert list(sources) == found
    assert all(Path(path).is_file() for path in sources.values())


def test_typing_errors_and_clutter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for each in ("a.mp4", "._a.mp4", "Thumbs.db", ".DS_Store"):
        (tmp_path / each).touch()
    assert list(find_sources(["*"])) == ["a"]
    with pytest.raises(BatchError, match=r"the list lsit\.txt does not exist"):
        find_sources([], Path("lsit.txt"))
    with pytest.raises(VideoError, match=r"b\.mp4 does not exist"):
        identify(find_sources(["b.mp4"])["b"])


class TestSources:
    def test_arguments_patterns_and_lists(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("a.mp4", "b.mkv", "frames/1.png", "frames/2.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "list.txt").write_text("# some\na.mp4\n\nframes/*.png\n")
        (tmp_path / "list.csv").write_text("name,source\n")
        named = list(find_sources(["*.m*", "a.mp4"]))
        assert named == ["a", "b"]
        assert list(find_sources([], Path("list.txt"))) == ["a", "frames"]
        (tmp_path / "list.csv").write_text("source,name\na.mp4,first\nb.mkv,\n")
        assert list(find_sources([], Path("list.csv"))) == ["first", "b"]
        (tmp_path / "list.csv").write_text("Filename,weather\na.mp4,rain\n")
        assert list(find_sources([], Path("list.csv"))) == ["a"]
        assert all(map(os.path.isabs, find_sources(["a.mp4"]).values()))

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

    def test_what_is_not_the_jobs_own_is_not_overwritten(self, tmp_path):
        out = tmp_path / "out"
        jobs = jobs_for(out, [tmp_path / "v.mp4"])
        check_outputs(jobs, out, {})
        (out / "v.mp4").touch()
        with pytest.raises(BatchError, match="is not of this job: add -y"):
            check_outputs(jobs, out, {})
        check_outputs(jobs, out, {}, overwrite=True)
        with pytest.raises(BatchError, match="is a source itself"):
            check_outputs(jobs_for(out, [out / "v.mp4"]), out, {}, overwrite=True)


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
            (["in.mp4", "-o", "out", "--chunk", "0"], "a chunk must be longer than 0 seconds", 2),
            (["in.mp4", "-o", "out", "--codec", "ffv1"], "cannot hold ffv1", 1),
            (["in.mp4", "-o", "out", "--size", "8"], "is not between", 2),
            (["in.mp4", "-o", "out", "--classes", "unicorn"], "know no class unicorn", 2),
            (["--status", "nowhere"], "holds no batch that has begun", 1),
            (["-o", "out"], "no source is named", 1),
        ],
    )
    def test_wrong_command_lines(self, tmp_path, monkeypatch, capsys, arguments, message, code):
        monkeypatch.chdir(tmp_path)
        assert run_cli("batch", *arguments) == code
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()


class TestPackage:
    OWN = Package("here", "/site/lmaseg", "1.0", "abc", kernels=True)

    @pytest.mark.parametrize(
        ("other", "why"),
        [
            ({}, None),
            ({"host": "there", "path": "/home/lmaseg"}, None),
            ({"path": "/checkout/lmaseg"}, "it has the lmaseg in /checkout/lmaseg, not the one in /site/lmaseg"),
            ({"version": "1.1"}, "it has another lmaseg, 1.1 in /site/lmaseg, than 1.0"),
            ({"sources": "def", "host": "there"}, "it has another lmaseg"),
            ({"kernels": False, "host": "there"}, "the lmaseg in /site/lmaseg on there has no C kernels"),
        ],
    )
    def test_what_must_not_compute_beside_another(self, other, why):
        difference = self.OWN.difference(replace(self.OWN, **other))
        assert difference is None if why is None else why in difference

    def test_a_worker_with_another_package_is_refused(self):
        require_same("here:1", own_package())
        with pytest.raises(BatchError, match=r"the worker here:1 would compute otherwise \(.*\): install the same"):
            require_same("here:1", replace(own_package(), version="0.0"))


def test_kernels_that_an_installed_package_has_are_missed(tmp_path, monkeypatch, capsys):
    """A source tree without C kernels comes before an installed package that has some."""
    folder = tmp_path / "lmaseg" / "kernels"
    folder.mkdir(parents=True)
    (folder / "_native.abi3.so").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(kernels, "_load", lambda: "none were built")
    assert kernels.overlooked() == folder
    write_video(tmp_path / "in.mp4", range(2))
    assert run_cli("run", tmp_path / "in.mp4", "-o", tmp_path / "maps", *SMALL) == 0
    assert f"no C kernels, although {folder} has some" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(kernels, "_load", lambda: None)
    assert kernels.overlooked() is None
