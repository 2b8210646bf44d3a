"""Real and broken files of other projects through the command, where the checkout has them beside it."""

import contextlib
import itertools
import json
import time

import av
import pytest
from conftest import SHARED
from test_cli import run_cli

from lmaseg.video import VideoReader

REAL = sorted(path for folder in ("odd", "clips") for path in (SHARED / folder).glob("*.*") if path.suffix != ".md")
# VP8 called VP9; Dolby Vision whose colours only its own metadata tells; two that were cut off before their frames.
UNREADABLE = {
    "androidx_invalid-bitstream.webm": "can be decoded",
    "androidx_video_dovi_3840x2160_30fps_dav1_10.mp4": "no decoder here reads",
    "m4p_bipbop_nonfragment_header.mp4": "can be decoded",
    "m4p_zero_empty_stsc.mp4": "can be decoded",
}
SECONDS = 5
PACE = 60 / 150  # CPU seconds a frame at most


def decoded(path, count):
    """(times of the first frames as FFmpeg gives them, size of the first one, its rotation).

    Times are pts, of H.264 in AVI dts, which the last few frames lack.
    """
    frames = []
    with av.open(path) as container:
        stream = container.streams.best("video")
        clock = "dts" if container.format.name == "avi" and stream.codec_context.name == "h264" else "pts"
        packets = (packet for packet in container.demux(stream) if packet.size)
        for packet in itertools.chain(packets, [None]):
            with contextlib.suppress(av.FFmpegError):
                frames += [
                    (getattr(frame, clock), (frame.width, frame.height), frame.rotation)
                    for frame in stream.decode(packet)
                ]
            if len(frames) >= count:
                break
    _, size, rotation = frames[0]
    return [pts for pts, _, _ in frames[:count]], size, rotation


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("path", REAL or [SHARED / "odd"], ids=lambda path: path.name)
def test_every_real_file_comes_out_whole_or_is_refused_in_a_sentence(path, shared_file, tmp_path, capsys):
    shared_file(f"{path.parent.name}/{path.name}")
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    began = time.process_time()
    code = run_cli("run", path, "-o", output, "--size", 180, "-t", SECONDS, "--report", report)
    taken = time.process_time() - began
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if path.name in UNREADABLE:
        assert code == 1
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert UNREADABLE[path.name] in said
        assert list(tmp_path.iterdir()) == []
        return
    assert code == 0
    told = json.loads(report.read_text())
    with VideoReader(path, end=SECONDS) as reader:
        frames = [(frame.pts, frame.time) for frame in reader]
        width, height = reader.width, reader.height
    with VideoReader(output) as reader:
        assert [frame.time for frame in reader] == [time for _, time in frames]
        assert (reader.width, reader.height) == (width + width % 2, height + height % 2)
    assert told["frames"] == len(frames) > 0
    original, size, rotation = decoded(path, len(frames))
    assert sum(before not in (None, pts) for (pts, _), before in zip(frames, original, strict=True)) == told["repaired"]
    assert (width, height) == (size[::-1] if abs(rotation) == 90 else size)
    assert decoded(output, 1)[2] == 0
    assert taken < PACE * max(150, len(frames))
