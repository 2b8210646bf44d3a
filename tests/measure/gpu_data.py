"""The folder that `gpu.sh` trains on, made small enough to be carried to a machine without a network.

    python tests/measure/gpu_data.py ../shared -o gpu-data --megabytes 45

Takes CamVid train with its labels in 19 classes, and the stills and videos with 19-class labels but for those named in
`street/val.txt`, which are there to judge by. Pictures become WebP of the highest quality with which everything fits,
labels PNG. A video's frames keep the number at the end of their names, so that neighbours in time stay neighbours.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image

QUALITIES = (95, 92, 90, 87, 84, 80, 75, 70, 64, 57, 50, 40, 30)
SAMPLED = 12  # one picture in so many tells which quality fits
SPARE = 0.97  # of the limit that the sample may fill: it is only a sample


class Pair(NamedTuple):
    """A picture and its label map."""

    name: str
    image: Path
    labels: Path


def pairs(shared: Path) -> Iterator[Pair]:
    """What is there to train on."""
    street, camvid = shared / "street", shared / "camvid" / "train"
    held_out = set((street / "val.txt").read_text().split())
    for image in sorted(camvid.iterdir()):
        yield Pair(image.stem, image, street / "camvid19" / f"{image.stem}.png")
    for image in sorted((street / "stills" / "images").iterdir()):
        if f"stills/{image.stem}" not in held_out:
            yield Pair(f"{image.stem}-still", image, street / "stills" / "labels" / f"{image.stem}.png")
    for stretch in sorted((street / "videos").iterdir()):
        if f"videos/{stretch.name}" not in held_out:
            for image in sorted((stretch / "images").iterdir()):
                yield Pair(f"{stretch.name}_{image.stem}", image, stretch / "labels" / f"{image.stem}.png")


def encoded(pair: Pair, quality: int, longest: int) -> tuple[bytes, bytes]:
    """The picture as WebP and its labels as PNG, scaled down to `longest` pixels a side where they are larger."""
    with Image.open(pair.image) as image, Image.open(pair.labels) as labels:
        scale = min(1.0, longest / max(image.size))
        size = (round(image.width * scale), round(image.height * scale))
        picture, ids = io.BytesIO(), io.BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(picture, "WEBP", quality=quality, method=4)
        labels.resize(size, Image.Resampling.NEAREST).save(ids, "PNG", optimize=True)
    return picture.getvalue(), ids.getvalue()


def fitting_quality(chosen: list[Pair], limit: int, longest: int) -> int:
    """The highest quality with which a sample says that everything fits into `limit` bytes; the lowest if none does."""
    sample = chosen[::SAMPLED]
    for quality in QUALITIES:
        taken = sum(len(part) for pair in sample for part in encoded(pair, quality, longest))
        if taken / len(sample) * len(chosen) <= SPARE * limit:
            return quality
    return QUALITIES[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, help="the folder that holds street/ and camvid/")
    parser.add_argument("-o", "--out", type=Path, default=Path("gpu-data"))
    parser.add_argument("--megabytes", type=float, default=45)
    parser.add_argument("--longest", type=int, default=720, help="pixels of a picture's longer side")
    given = parser.parse_args()
    if not (given.shared / "street" / "val.txt").is_file():
        sys.exit(f"{given.shared} holds no street/val.txt: there is nothing to prepare")
    chosen, limit = list(pairs(given.shared)), round(given.megabytes * 1e6)
    quality = fitting_quality(chosen, limit, given.longest)
    images, labels = given.out / "images", given.out / "labels"
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
    total = 0
    with ThreadPoolExecutor(2) as pool:
        for pair, (picture, ids) in zip(
            chosen, pool.map(lambda pair: encoded(pair, quality, given.longest), chosen), strict=True
        ):
            (images / f"{pair.name}.webp").write_bytes(picture)
            (labels / f"{pair.name}.png").write_bytes(ids)
            total += len(picture) + len(ids)
    print(f"{len(chosen)} pictures with labels, WebP quality {quality}: {total / 1e6:.1f} MB in {given.out}")
    if total > limit:
        sys.exit(f"that is more than {given.megabytes:g} MB: allow more, or a smaller --longest")


if __name__ == "__main__":
    main()
