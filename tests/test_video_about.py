"""Titles, chapters and languages on their way from a source into an output."""

from fractions import Fraction

import av
import numpy as np
import pytest

from lmaseg.video import VideoWriter

RATE = 25
TICK = Fraction(1, RATE)


def write_source(path, *, tags, chapters=2, attachment=False, subtitles=None):
    """A second of video and sound with titles and languages, and chapters of half a second."""
    with av.open(str(path), "w") as container:
        container.metadata.update(tags)
        names = ("One", "Two")[:chapters]
        half = {"time_base": Fraction(1, 1000)}
        container.set_chapters(
            [
                {**half, "id": i, "start": 500 * i, "end": 500 * i + 500, "metadata": {"title": n}}
                for i, n in enumerate(names)
            ]
        )
        video = container.add_stream("libx264", RATE, width=64, height=48, pix_fmt="yuv420p")
        video.metadata.update(title="Front", language="deu")
        sound = container.add_stream("aac", 44100)
        sound.metadata.update(title="Microphone", language="fra")
        if attachment:
            container.add_attachment("letters.ttf", "application/x-truetype-font", b"abc")
        for pts in range(RATE):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * pts, np.uint8))
            picture.pts, picture.time_base = pts, TICK
            container.mux(video.encode(picture))
        for block in range(40):
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            silence.sample_rate, silence.pts = 44100, 1024 * block
            container.mux(sound.encode(silence))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def write_like(source, path, **options):
    """An output beside the sound of a source; returns its warnings."""
    writer = VideoWriter(path, width=64, height=48, time_base=TICK, rate=RATE, copy_from=source, **options)
    with writer:
        for pts in range(RATE):
            writer.write(np.full((48, 64, 3), 5 * pts, np.uint8), pts)
    return writer.warnings


def lower(metadata):
    return {key.lower(): value for key, value in metadata.items()}


TAGS = {"title": "My drive", "artist": "Me", "creation_time": "2024-03-01T10:00:00.000000Z"}


@pytest.mark.parametrize("origin", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_titles_chapters_and_languages_are_kept(tmp_path, origin, suffix):
    source = write_source(tmp_path / f"source{origin}", tags=TAGS)
    output = tmp_path / f"out{suffix}"
    warnings = write_like(source, output)
    with av.open(str(output)) as written:
        assert TAGS.items() <= lower(written.metadata).items()
        chapters = [(c["start"] * c["time_base"], c["metadata"]["title"]) for c in written.chapters()]
        assert chapters == [(0, "One"), (Fraction(1, 2), "Two")]
        video, sound = (lower(stream.metadata) for stream in written.streams if stream.type in ("video", "audio"))
    assert (sound["language"], sound.get("title", sound.get("name"))) == ("fra", "Microphone")
    assert video.get("title", video.get("name")) == "Front"
    if ".mov" in (suffix, origin):  # which knows the languages of the Macintosh only
        assert warnings in ([], ["not kept: the video stream's language"])
    else:
        assert video["language"] == "deu"
        assert not warnings


def test_what_a_container_does_not_hold_is_told(tmp_path):
    source = write_source(tmp_path / "source.mkv", tags={**TAGS, "drone": "X1", "firmware": "7"})
    assert write_like(source, tmp_path / "out.mkv") == []
    (line,) = write_like(source, tmp_path / "out.mp4")
    assert line == "not kept: the file's drone, the file's firmware"


def test_only_the_chapters_of_the_part_taken_are_kept(tmp_path):
    source = write_source(tmp_path / "source.mkv", tags=TAGS)
    write_like(source, tmp_path / "out.mp4", start=0.6)
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert [chapter["metadata"]["title"] for chapter in written.chapters()] == ["Two"]


def test_a_stream_that_cannot_be_copied_is_told_with_what_would_hold_it(tmp_path):
    source = write_source(tmp_path / "source.mkv", tags={}, attachment=True)
    lines = write_like(source, tmp_path / "out.webm")
    assert any(
        "audio stream 1 (aac)" in line and "a name in .mp4, .mov or .mkv would hold it" in line for line in lines
    )
    assert any("attachment stream 2" in line and "a name in .mkv would hold it" in line for line in lines)
    assert not write_like(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as written:
        assert [stream.metadata["FILENAME".lower()] for stream in written.streams if stream.type == "attachment"] == [
            "letters.ttf"
        ]
