"""Putting the chunks of a source together."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from lmaseg.batch.chunk import ChunkResult
from lmaseg.errors import BatchError
from lmaseg.images import is_image_source
from lmaseg.job import Job
from lmaseg.outputs import make_writer
from lmaseg.segmentation import open_reader
from lmaseg.video.media import open_media, video_stream

LABELS = "labels"  # the folder that label maps of all chunks are gathered in
REPLACED = "replaced"  # the folder for label maps of an earlier state of the source


@dataclass(frozen=True)
class Joined:
    """The outcome of joining a source."""

    frames: int
    seconds: float
    skipped_streams: tuple[str, ...] = ()
    fault: str | None = None
    """Why the chunks cannot be joined; nothing was published then."""


@dataclass(frozen=True)
class Join:
    """Make a source's outputs of its chunks. Run again after having been killed, it goes on."""

    job: Job
    """The job of the whole source."""
    folder: str
    """The source's folder of chunks."""
    pieces: Sequence[ChunkResult]

    def run(self) -> Joined:
        """Publish the video and the label maps; the chunks' folder is left to the caller to remove. Raises VideoError,
        BatchError: the outputs cannot be written."""
        began = time.monotonic()
        frames = sum(piece.frames for piece in self.pieces)
        skipped: list[str] = []
        try:
            if self.job.video:
                skipped = self._join_videos(frames)
            if self.job.maps:
                self._gather_maps()
        except LostError as error:
            return Joined(0, 0.0, fault=str(error))
        except OSError as error:
            raise BatchError(f"outputs cannot be put in place ({error}): check the permissions there") from error
        return Joined(frames, round(time.monotonic() - began, 3), tuple(skipped))

    def _join_videos(self, frames: int) -> list[str]:
        output, folder = self.job.video, Path(self.folder)
        assert output is not None
        videos = [folder / piece.video for piece in self.pieces if piece.video]
        lost = [video for video in videos if not video.exists()]
        alone = len(self.pieces) == 1  # it has its sound already
        if lost and not (alone and output.exists()):
            raise LostError(f"{lost[0]} is gone")
        if alone:
            if not lost:
                videos[0].replace(output)
            return []
        with open_reader(self.job) as reader:
            writer = make_writer(self.job, reader, _size_of(videos[0]), overwrite=True)
        with writer:
            for video in videos:
                writer.append(video)
            if writer.frames != frames:
                raise LostError(f"the chunks hold {writer.frames} frames and not {frames}")
        return writer.skipped_streams

    def _gather_maps(self) -> None:
        """Move the chunks' label maps, numbered through, into one folder; then put this in its place."""
        folder, output = Path(self.folder), self.job.maps
        assert output is not None
        gathered = folder / LABELS
        moves = list(self._moves())
        if not gathered.exists() and not any(old.exists() for old, _ in moves):
            if output.exists():  # published before a kill
                return
            raise LostError(f"the label maps in {folder} are gone")
        gathered.mkdir(exist_ok=True)
        for old, name in moves:
            new = gathered / name
            if old.exists():
                old.replace(new)
            elif not new.exists():
                raise LostError(f"{old} is gone")
        if output.exists():
            shutil.rmtree(folder / REPLACED, ignore_errors=True)
            output.rename(folder / REPLACED)
        gathered.rename(output)

    def _moves(self) -> Iterator[tuple[Path, str]]:
        """(a chunk's label map, its name among all)."""
        folder, named = Path(self.folder), is_image_source(self.job.source)
        firsts = accumulate((piece.frames for piece in self.pieces), initial=0)
        for first, piece in zip(firsts, self.pieces, strict=False):
            if not piece.maps:
                continue
            if named:
                yield from ((map_, map_.name) for map_ in sorted((folder / piece.maps).iterdir()))
            else:
                numbers = range(piece.frames)
                yield from ((folder / piece.maps / f"{i:06d}.png", f"{first + i:06d}.png") for i in numbers)


class LostError(Exception):
    """Outputs of a chunk are missing or incomplete."""


def _size_of(video: Path) -> tuple[int, int]:
    """(width, height) in pixels."""
    with open_media(video) as container:
        stream = video_stream(container, video)
        return stream.width, stream.height
