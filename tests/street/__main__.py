"""`python -m tests.street DIR`: streets as folders that `lmaseg train --folder DIR/images DIR/labels` reads.

`python -m tests.street assets --sample` draws the sample clip and its labels as they stand in the repository.
"""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

from .files import draw_folders, draw_sample


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.split("x"))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no size: write HEIGHTxWIDTH such as 360x480") from None
    return height, width


def main() -> None:
    """Draw what the command line asks for."""
    parser = ArgumentParser(prog="python -m tests.street", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sample", action="store_true", help="draw DIR/street.mp4 and DIR/street_labels/ instead")
    parser.add_argument("--streets", type=int, default=16, help="clips, each of another street (16)")
    parser.add_argument("--frames", type=int, default=8, help="frames of each clip (8)")
    parser.add_argument("--rate", type=float, default=1.0, help="frames per second (1)")
    parser.add_argument("--size", type=_size, default=(360, 480), metavar="HxW", help="pixels (360x480)")
    parser.add_argument("--seed", type=int, default=0, help="another number draws other streets (0)")
    given = vars(parser.parse_args())
    folder, sample = given.pop("folder"), given.pop("sample")
    if sample:
        draw_sample(folder)
    else:
        draw_folders(folder, **given)


if __name__ == "__main__":
    main()
