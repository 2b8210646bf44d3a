"""Street furniture: lamp posts, signs, traffic lights, bollards and guard rails."""

from functools import lru_cache

import numpy as np

from .canvas import Canvas, Limb, Texture
from .growth import FENCE_LENGTH, fence
from .layout import Fence
from .view import TOWARDS_CAMERA, Color, Floats, point

POLE, SIGN, FENCE = 2, 6, 7

STEEL: Color = (122, 126, 128)
BACK: Color = (128, 130, 132)


def _disc(centre: Floats, radius: float, corners: int, turn: float = 0.0) -> Floats:
    """A regular polygon that faces along the street, (corners, 3)."""
    angles = turn + np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return centre + radius * np.stack((np.sin(angles), np.cos(angles), 0 * angles), axis=1)


def _board(centre: Floats, width: float, height: float) -> Floats:
    """A rectangle that faces along the street, (4, 3)."""
    half = np.array(((-1, -1, 0), (-1, 1, 0), (1, 1, 0), (1, -1, 0))) / 2
    return centre + half * (width, height, 0)


def _post(x: float, z: float, height: float, radius: float, color: Color) -> list[Limb]:
    """An upright post, with a streak of light on one side."""
    lit: Color = (color[0] * 1.25, color[1] * 1.25, color[2] * 1.25)
    foot, streak = point(x, 0, z), point(x - radius * 0.4, 0, z - 0.01)
    rise = point(0, height, 0)
    return [Limb(foot, foot + rise, radius, color), Limb(streak, streak + rise, radius * 0.3, lit)]


def draw_lamp(canvas: Canvas, x: float, z: float, side: int, seed: int) -> None:
    """A street lamp whose arm reaches over the road."""
    rng = np.random.default_rng((seed, 14))
    high, arm = rng.uniform(6.5, 9.0), rng.uniform(0.9, 1.9)
    color: Color = ((128, 132, 134), (62, 74, 68), (88, 92, 96))[rng.integers(3)]
    tip = point(x - side * arm, high + 0.25, z)
    limbs = [*_post(x, z, high, 0.075, color), *_post(x, z, 1.2, 0.11, color)]
    limbs.append(Limb(point(x, high, z), tip, 0.045, color))
    limbs.append(Limb(tip, tip + point(-side * 0.6, 0.03, 0), 0.09, (176, 178, 176)))
    canvas.limbs(limbs, POLE)


def draw_bollard(canvas: Canvas, x: float, z: float, side: int, seed: int) -> None:
    """A short post at the kerb."""
    color: Color = ((34, 36, 38), (60, 62, 60), (150, 146, 138))[seed % 3]
    post = Limb(point(x, 0, z), point(x, 0.95, z), 0.085, color)
    collar = Limb(point(x, 0.78, z - 0.01), point(x, 0.86, z - 0.01), 0.09, (222, 222, 214))
    canvas.limbs([post, collar], POLE)


def draw_sign(canvas: Canvas, x: float, z: float, side: int, seed: int) -> None:
    """A traffic sign; those on the right face the oncoming traffic and show their grey backs, but some do not."""
    rng = np.random.default_rng((seed, 15))
    high = rng.uniform(2.1, 2.9)
    canvas.limbs(_post(x, z, high + 0.6, 0.042, STEEL), POLE)
    centre = point(x, high + 0.35, z - 0.06)
    back = side > 0 and rng.random() < 0.4
    (_round_sign, _warning_sign, _board_sign, _board_sign)[rng.integers(4)](canvas, centre, rng, back)
    if rng.random() < 0.35:
        canvas.fill(
            _board(centre - point(0, 0.62, 0), 0.55, 0.32), BACK if back else (232, 232, 228), SIGN, TOWARDS_CAMERA
        )


def _round_sign(canvas: Canvas, centre: Floats, rng: np.random.Generator, back: bool) -> None:
    """An order: a red ring around white, or blue."""
    rims: tuple[tuple[Color, Color], ...] = (((188, 28, 32), (236, 234, 228)), ((226, 228, 230), (28, 84, 160)))
    rim, field = rims[rng.integers(2)]
    if back:
        rim, field = (BACK, BACK)
    canvas.fill(_disc(centre, 0.34, 18), rim, SIGN, TOWARDS_CAMERA)
    canvas.fill(_disc(centre, 0.25, 18), field, SIGN, TOWARDS_CAMERA)
    if not back:
        canvas.fill(_board(centre, 0.12, 0.26), (30, 30, 34), SIGN, TOWARDS_CAMERA)


def _warning_sign(canvas: Canvas, centre: Floats, rng: np.random.Generator, back: bool) -> None:
    """A red triangle."""
    canvas.fill(_disc(centre, 0.42, 3), BACK if back else (188, 28, 32), SIGN, TOWARDS_CAMERA)
    if not back:
        canvas.fill(_disc(centre, 0.28, 3), (238, 236, 230), SIGN, TOWARDS_CAMERA)
        canvas.fill(_board(centre - point(0, 0.02, 0), 0.07, 0.2), (26, 26, 28), SIGN, TOWARDS_CAMERA)


def _board_sign(canvas: Canvas, centre: Floats, rng: np.random.Generator, back: bool) -> None:
    """A board with lines of text."""
    color: Color = ((24, 96, 70), (30, 78, 150), (234, 232, 224), (222, 178, 40), (110, 70, 44))[rng.integers(5)]
    wide, high = rng.uniform(0.5, 1.5), rng.uniform(0.5, 1.1)
    text: Color = (34, 34, 36) if sum(color) > 420 else (238, 238, 234)
    canvas.fill(_board(centre, wide + 0.08, high + 0.08), BACK if back else text, SIGN, TOWARDS_CAMERA)
    canvas.fill(_board(centre, wide, high), BACK if back else color, SIGN, TOWARDS_CAMERA)
    if back:
        return
    for line in range(int(high / 0.24)):
        y = high / 2 - 0.17 - 0.24 * line
        length = wide * rng.uniform(0.4, 0.85)
        canvas.fill(_board(centre + point((length - wide) / 2 + 0.08, y, 0), length, 0.09), text, SIGN, TOWARDS_CAMERA)


def draw_lights(canvas: Canvas, x: float, z: float, side: int, seed: int) -> None:
    """A traffic light."""
    canvas.limbs(_post(x, z, 3.3, 0.06, (48, 50, 50)), POLE)
    centre = point(x, 2.9, z - 0.12)
    canvas.fill(_board(centre, 0.52, 1.2), (222, 222, 220), SIGN, TOWARDS_CAMERA)
    canvas.fill(_board(centre, 0.46, 1.14), (22, 22, 24), SIGN, TOWARDS_CAMERA)
    lit = seed % 3
    colors: tuple[Color, ...] = ((255, 60, 40), (255, 180, 40), (70, 255, 150))
    for lamp, color in enumerate(colors):
        shown = color if lamp == lit else (color[0] * 0.18, color[1] * 0.18, color[2] * 0.18)
        canvas.fill(_disc(centre + point(0, 0.36 - 0.36 * lamp, 0), 0.14, 12), shown, SIGN, TOWARDS_CAMERA)


@lru_cache(maxsize=1)
def _bars() -> Texture:
    """Galvanised bars."""
    return fence(Fence.RAILING, 3)


def draw_guard(canvas: Canvas, x: float, z: float, side: int, seed: int) -> None:
    """Seven metres of guard rail along the kerb; the gaps between its bars count as fence."""
    begin, end = z - 3.5, z + 3.5
    panel = np.array(((x, 0, begin), (x, 1.1, begin), (x, 1.1, end), (x, 0, end)))
    corner, across, down = point(x, 1.1, begin), point(0, 0, FENCE_LENGTH), point(0, -1.1, 0)
    canvas.surface(_bars(), corner, across, down, FENCE, point(-side, 0, 0), outline=panel)
