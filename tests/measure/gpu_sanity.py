"""Whether a machine is worth going on with, in half a minute: versions, the rates of its device, a frame's labels."""

import sys
import time

import torch
from floors import Yardsticks

import lmaseg
from lmaseg.bench.timing import Stopwatch
from lmaseg.bench.workload import drawn_frames
from lmaseg.environment import environment

GROUP = "yardsticks"


def main(device: str) -> None:
    for name, section in environment().items():
        print(f"{name}: {section}")
    target = torch.device(device)
    dtype = torch.bfloat16 if target.type == "cuda" else torch.float32
    yardsticks = Yardsticks(target, dtype)
    times = Stopwatch(target, {GROUP: 2 if target.type == "cuda" else 0}).race(GROUP, yardsticks.contenders)
    rates = yardsticks.rates(times)
    print(f"matrix product in {dtype}: {rates.flops / 1e12:.1f} TFLOP/s; copy: {rates.bytes / 1e9:.0f} GB/s")
    size = (512, 1024) if target.type == "cuda" else (64, 96)
    segmenter = lmaseg.Segmenter(lmaseg.load(device=device))
    began = time.perf_counter()
    for _, frame in zip(range(8), drawn_frames(*size), strict=False):
        labels = segmenter(frame)
    print(
        f"8 frames of {size[0]}x{size[1]} in {time.perf_counter() - began:.1f} s, labels {labels.shape} {labels.dtype}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
