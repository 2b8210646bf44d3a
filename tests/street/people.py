"""People of the procedural street, on foot and on bicycles: jointed figures of rounded limbs."""

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Limb
from .view import Color, Floats, point

PEDESTRIAN, BICYCLIST = 9, 10

CLOTHES: tuple[Color, ...] = (
    (36, 38, 46), (62, 66, 82), (128, 34, 38), (44, 62, 100), (170, 160, 144), (72, 84, 58), (206, 204, 200),
    (96, 70, 50), (24, 24, 28), (150, 96, 60), (60, 110, 120), (214, 170, 60), (30, 34, 52), (84, 84, 88),
)  # fmt: skip
SKINS: tuple[Color, ...] = ((222, 180, 152), (198, 150, 120), (138, 96, 72), (230, 192, 168))
HAIRS: tuple[Color, ...] = ((40, 32, 28), (84, 60, 40), (150, 118, 72), (110, 106, 102))
DENIM: tuple[Color, ...] = ((40, 48, 70), (30, 30, 34), (70, 72, 80), (96, 86, 70), (52, 62, 92))


@dataclass(frozen=True)
class Pose:
    """Where a figure stands and faces; joints are given as (forwards, up, to its right) in metres."""

    x: float
    z: float
    forwards: Floats
    scale: float

    def joint(self, ahead: float, up: float, right: float = 0.0) -> Floats:
        """The world point of a joint."""
        sideways = point(self.forwards[2], 0, -self.forwards[0])
        return point(self.x, 0, self.z) + self.scale * (ahead * self.forwards + right * sideways + point(0, up, 0))


def person_shadow(canvas: Canvas, x: float, z: float) -> None:
    """Darken the ground at somebody's feet."""
    turns = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    canvas.shadow(np.stack((x + 0.32 * np.cos(turns), 0 * turns, z + 0.32 * np.sin(turns)), axis=1), 0.35)


def draw_pedestrian(canvas: Canvas, x: float, z: float, heading: float, stride: float, seed: int) -> None:
    """Draw somebody who walks towards `heading` (radians from z); `stride` in radians is how far the step has come."""
    rng = np.random.default_rng((seed, 9))
    coat, trousers = CLOTHES[rng.integers(len(CLOTHES))], DENIM[rng.integers(len(DENIM))]
    skin, hair = SKINS[rng.integers(len(SKINS))], HAIRS[rng.integers(len(HAIRS))]
    pose = Pose(x, z, point(np.sin(heading), 0, np.cos(heading)), rng.uniform(0.9, 1.08))
    joint, swing = pose.joint, 0.3 * np.sin(stride)
    dark: Color = (coat[0] * 0.8, coat[1] * 0.8, coat[2] * 0.8)
    hem = 0.62 if rng.random() < 0.3 else 0.86
    limbs = [
        Limb(joint(0, hem), joint(0.01, 1.34), 0.165, coat),
        Limb(joint(0, 1.36, -0.13), joint(0, 1.36, 0.13), 0.09, coat),
        Limb(joint(0.02, 1.46), joint(0.03, 1.58), 0.06, skin),
        Limb(joint(0.03, 1.6), joint(0.035, 1.65), 0.1, skin),
        Limb(joint(-0.02, 1.66), joint(0.0, 1.7), 0.105, hair),
    ]
    for side in (-1, 1):
        ahead = swing * side
        lift = 0.1 * max(0.0, np.cos(stride) * side)
        hip, knee = joint(0, 0.88, side * 0.09), joint(ahead * 0.55 + lift * 0.6, 0.48, side * 0.1)
        foot = joint(ahead - lift * 0.5, 0.07 + lift, side * 0.1)
        elbow = joint(-ahead * 0.45 - 0.05, 1.1, side * 0.24)
        hand = joint(-ahead * 0.6 + 0.08, 0.87, side * 0.22)
        limbs += [
            Limb(hip, knee, 0.085, trousers), Limb(knee, foot, 0.065, trousers),
            Limb(foot, foot + 0.14 * pose.forwards, 0.045, (28, 26, 26)),
            Limb(joint(0, 1.36, side * 0.19), elbow, 0.06, dark),
            Limb(elbow, hand, 0.05, dark), Limb(hand, hand - point(0, 0.07, 0), 0.042, skin),
        ]  # fmt: skip
    if rng.random() < 0.35:
        limbs.append(Limb(joint(-0.18, 1.0), joint(-0.18, 1.3), 0.13, CLOTHES[rng.integers(len(CLOTHES))]))
    canvas.limbs(limbs, PEDESTRIAN)


def draw_cyclist(canvas: Canvas, x: float, z: float, heading: int, crank: float, seed: int) -> None:
    """Draw somebody cycling along the road (`heading` 1) or against it (-1); `crank` in radians turns the pedals."""
    rng = np.random.default_rng((seed, 10))
    coat, trousers = CLOTHES[rng.integers(len(CLOTHES))], DENIM[rng.integers(len(DENIM))]
    skin, metal = SKINS[rng.integers(len(SKINS))], CLOTHES[rng.integers(len(CLOTHES))]
    hat = HAIRS[rng.integers(len(HAIRS))] if rng.random() < 0.5 else (214, 210, 60)
    pose = Pose(x, z, point(0, 0, heading), rng.uniform(0.95, 1.06))
    joint = pose.joint
    for ahead in (-0.52, 0.52):
        canvas.wheel(joint(ahead, 0.34), pose.forwards, 0.34 * pose.scale, 0.025, (30, 30, 32), BICYCLIST)
    pedals, seat, head = joint(-0.05, 0.3), joint(-0.22, 0.92), joint(0.38, 0.88)
    limbs = [Limb(a, b, 0.022, metal) for a, b in (
        (pedals, seat), (pedals, head), (seat, head), (head, joint(0.52, 0.34)), (pedals, joint(-0.52, 0.34)),
        (seat, joint(-0.52, 0.34)), (joint(0.42, 1.05, -0.26), joint(0.42, 1.05, 0.26)),
    )]  # fmt: skip
    limbs += [
        Limb(joint(-0.2, 0.98), joint(0.14, 1.4), 0.16, coat),
        Limb(joint(0.16, 1.42, -0.14), joint(0.16, 1.42, 0.14), 0.09, coat),
        Limb(joint(0.2, 1.5), joint(0.27, 1.66), 0.09, skin),
        Limb(joint(0.22, 1.68), joint(0.27, 1.72), 0.11, hat),
    ]
    for side in (-1, 1):
        turn = crank + (np.pi if side > 0 else 0)
        foot = joint(-0.05 + 0.17 * np.sin(turn), 0.3 + 0.17 * np.cos(turn), side * 0.11)
        knee = joint(0.2 + 0.08 * np.sin(turn), 0.72 + 0.09 * np.cos(turn), side * 0.12)
        grip, elbow = joint(0.42, 1.07, side * 0.24), joint(0.22, 1.15, side * 0.26)
        limbs += [
            Limb(joint(-0.2, 0.94, side * 0.1), knee, 0.085, trousers), Limb(knee, foot, 0.06, trousers),
            Limb(foot, foot + 0.14 * pose.forwards, 0.045, (28, 26, 26)),
            Limb(joint(0.15, 1.4, side * 0.19), elbow, 0.055, coat), Limb(elbow, grip, 0.045, skin),
        ]  # fmt: skip
    canvas.limbs(limbs, BICYCLIST)
