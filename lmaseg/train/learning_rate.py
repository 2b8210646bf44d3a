"""The learning rate as a function of the step."""

import math

from lmaseg.train_options import Fall

WARMEST = 0.1  # share of all steps that may be spent warming up
POWER = 0.9  # of the poly schedule, as in DeepLab (Chen et al. 2017)


def rate_factor(step: int, steps: int, *, warm_up: int, schedule: Fall) -> float:
    """What the peak rate is multiplied by in step 0 .. steps - 1: up in a straight line, then down to nearly zero."""
    warm_up = min(warm_up, int(steps * WARMEST))
    if step < warm_up:
        return (step + 1) / warm_up
    left = 1 - (step - warm_up) / max(1, steps - warm_up)
    return left**POWER if schedule == "poly" else (1 - math.cos(math.pi * left)) / 2
