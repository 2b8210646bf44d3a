"""How many training steps fit: `gpu_steps.py HISTORY SECONDS`, from the history of a short trial.

The first rows are left out: in them kernels are chosen and compiled.
"""

import csv
import sys
from pathlib import Path

SPARE = 0.93  # of the time: saving, and a machine that is not always as fast


def steps_that_fit(rows: list[dict[str, str]], seconds: float) -> int:
    """By the time between the middle and the last row, at least one; one, too, if the trial came to no row."""
    if not rows:
        return 1
    middle, last = rows[(len(rows) - 1) // 2] if len(rows) > 1 else {"step": "0", "seconds": "0"}, rows[-1]
    taken = float(last["seconds"]) - float(middle["seconds"])
    return max(1, int(SPARE * seconds * (int(last["step"]) - int(middle["step"])) / taken))


if __name__ == "__main__":
    with Path(sys.argv[1]).open(newline="") as file:
        print(steps_that_fit(list(csv.DictReader(file)), float(sys.argv[2])))
