"""The figures of a run of `gpu.sh` in a few lines: `gpu_summary.py FOLDER`."""

import csv
import json
import sys
from pathlib import Path


def summary(folder: Path) -> list[str]:
    """What each benchmark, the rivals and the training found; nothing for what is not there."""
    lines = []
    for path in sorted(folder.glob("bench-*.json")):
        found = json.loads(path.read_text())
        settings = found["settings"]
        size = "{}x{}".format(*settings["working_size"])
        lines.append(f"{settings['device']}, {size}, batch {settings['batch']}, {settings['dtype']}:")
        for way in found["ways"]:
            lines.append(
                f"  {way['name']}: model {way['model_frames_per_second']:.1f} frames/s "
                f"({1e3 * way['model']['median']:.3f} ms), end to end {way['end_to_end_frames_per_second']:.1f}, "
                f"latency {1e3 * way['latency']['median']:.2f} ms, peak {(way['peak_bytes'] or 0) / 1e6:.0f} MB"
            )
        lines += [
            f"  {part['name']}: {1e3 * part['seconds']['median']:.3f} ms"
            for part in found["details"]
            if part["group"] in ("part of the network", "straightforward")
        ]
    rivals = folder / "rivals.json"
    if rivals.is_file():
        attention = json.loads(rivals.read_text())["local attention"]
        lines.append(f"local attention: floor {1e3 * attention['floor']['seconds']:.4f} ms")
        lines += [f"  {name}: {ran['milliseconds']:.4f} ms" for name, ran in attention["ran"].items()]
        lines += [f"  {reason}" for reason in attention["skipped"]]
    history = folder / "history.csv"
    if history.is_file():
        with history.open(newline="") as file:
            rows = list(csv.DictReader(file))
        if rows:
            last = rows[-1]
            lines.append(
                f"training: step {last['step']}, loss {last['loss']}, {last['images_per_second']} images/s, "
                f"{float(last['seconds']):.0f} s"
            )
    return lines


if __name__ == "__main__":
    print("\n".join(summary(Path(sys.argv[1]))))
