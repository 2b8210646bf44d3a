"""Pictures for the procedural street: building fronts and walls, each painted from a seed."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from .canvas import Texture
from .layout import Kind
from .noise import Plane, spectral_noise
from .view import Color

TEXELS = 40  # per metre, on fronts and walls
SHOP_COLORS: tuple[Color, ...] = (
    (28, 60, 48), (34, 42, 86), (122, 26, 32), (24, 24, 26), (222, 214, 196), (196, 142, 34), (70, 92, 112),
    (150, 60, 90), (44, 110, 92), (200, 66, 40),
)  # fmt: skip
DOORS: tuple[Color, ...] = ((34, 58, 44), (120, 28, 30), (26, 30, 40), (44, 62, 104), (90, 62, 40), (200, 196, 188))


def ink(color: Color, factor: float = 1.0) -> tuple[int, int, int]:
    """An 8-bit colour, brightened or darkened."""
    red, green, blue = (int(min(255, max(0, channel * factor))) for channel in color)
    return red, green, blue


@lru_cache(maxsize=1)
def _stains() -> Plane:
    """Soft noise (1024, 1024) float32 shared by all walls, which show different parts of it."""
    return spectral_noise(np.random.default_rng(11), 1024, 1.0)


def masonry(rng: np.random.Generator, width: int, height: int, color: Color, *, brick: bool) -> Image.Image:
    """A wall of `width` by `height` texels: bricks, or plaster with stains."""
    top, left = rng.integers(0, 1024, 2)
    stains = np.take(np.take(_stains(), (np.arange(height) + top) % 1024, 0), (np.arange(width) + left) % 1024, 1)
    tone = 1 + 0.05 * stains + rng.normal(0, 0.02, (height, width))
    if brick:
        courses, per_course = height // 3 + 1, width // 8 + 2
        bricks = rng.normal(0, 0.09, (courses, per_course)).repeat(3, axis=0)[:height].repeat(8, axis=1)
        bricks[3::6] = np.roll(bricks[3::6], 4, axis=1)
        tone += bricks[:, :width]
        tone[::3] += 0.1
    picture = np.asarray(color)[None, None] * tone[..., None]
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


class Front:
    """A building's front in the making: a picture, and a pen that counts in metres from the lower left corner."""

    def __init__(self, rng: np.random.Generator, width: float, height: float, color: Color, *, brick: bool) -> None:
        self.rng, self.width, self.height, self.color = rng, width, height, color
        size = max(8, round(width * TEXELS)), max(8, round(height * TEXELS))
        self.image = masonry(rng, *size, color, brick=brick)
        self.pen = ImageDraw.Draw(self.image)
        self.frame: Color = ((236, 234, 228), (228, 226, 220), (70, 60, 52), (50, 54, 58))[rng.integers(4)]

    def box(self, left: float, bottom: float, right: float, top: float, color: Color, factor: float = 1.0) -> None:
        """Fill a rectangle."""
        corners = (left * TEXELS, (self.height - top) * TEXELS, right * TEXELS - 1, (self.height - bottom) * TEXELS - 1)
        if corners[2] >= corners[0] and corners[3] >= corners[1]:
            self.pen.rectangle(corners, fill=ink(color, factor))

    def glass(self, left: float, bottom: float, right: float, top: float) -> None:
        """A pane: dark, with the sky's reflection above and perhaps a curtain."""
        tint = self.rng.uniform(0.7, 1.3)
        steps = 6
        for step in range(steps):
            low = bottom + (top - bottom) * step / steps
            shine = 38 + 15 * step
            high = bottom + (top - bottom) * (step + 1) / steps
            self.box(left, low, right, high, (shine * 0.9, shine, shine * 1.1), tint)
        if self.rng.random() < 0.35:
            share = self.rng.uniform(0.15, 0.3) * (right - left)
            for begin, end in ((left, left + share), (right - share, right)):
                self.box(begin, bottom, end, top, (196, 188, 174), self.rng.uniform(0.5, 0.95))
        elif self.rng.random() < 0.3:
            self.box(left, bottom + (top - bottom) * self.rng.uniform(0.4, 0.8), right, top, (214, 208, 194), 0.85)

    def window(self, left: float, bottom: float, right: float, top: float, *, bars: int = 1) -> None:
        """A window with lintel, sill, frame and glazing bars."""
        self.box(left - 0.12, top, right + 0.12, top + 0.18, self.color, 1.2 if sum(self.color) < 480 else 0.86)
        self.box(left - 0.1, bottom - 0.16, right + 0.1, bottom - 0.08, (40, 38, 36))
        self.box(left - 0.1, bottom - 0.09, right + 0.1, bottom, (218, 214, 205))
        self.box(left, bottom, right, top, self.frame, 0.8)
        self.box(left + 0.03, bottom, right - 0.03, top - 0.1, self.frame)
        self.box(left, top - 0.1, right, top, (30, 28, 28))
        self.glass(left + 0.09, bottom + 0.07, right - 0.09, top - 0.12)
        middle = (bottom + top) / 2
        self.box(left, middle - 0.035, right, middle + 0.035, self.frame)
        for bar in range(1, bars + 1):
            x = left + (right - left) * bar / (bars + 1)
            self.box(x - 0.03, bottom, x + 0.03, top - 0.1, self.frame)

    def door(self, left: float, top: float, width: float = 1.0) -> None:
        """A panelled door under a fanlight."""
        color = DOORS[self.rng.integers(len(DOORS))]
        self.box(left - 0.14, 0, left + width + 0.14, top + 0.14, (226, 222, 214), 0.95)
        self.box(left, 0.12, left + width, top, color, 0.75)
        self.box(left + 0.05, 0.12, left + width - 0.05, top - 0.38, color)
        for low, high in ((0.3, 0.9), (1.05, top - 0.5)):
            self.box(left + 0.16, low, left + width / 2 - 0.05, high, color, 0.72)
            self.box(left + width / 2 + 0.05, low, left + width - 0.16, high, color, 0.72)
        self.glass(left + 0.06, top - 0.32, left + width - 0.06, top - 0.05)

    def shopfront(self, top: float) -> None:
        """Fascia, display windows and an entrance across the whole width, up to `top` metres."""
        rng, color = self.rng, SHOP_COLORS[self.rng.integers(len(SHOP_COLORS))]
        self.box(0, 0, self.width, top, color, 0.8)
        fascia = top - 0.75
        self.box(0.1, fascia, self.width - 0.1, top - 0.06, color)
        self.box(0, top - 0.06, self.width, top + 0.08, color, 1.25)
        self.box(0, fascia - 0.07, self.width, fascia, color, 0.5)
        self._lettering(fascia + 0.18, top - 0.25, (238, 232, 214) if sum(color) < 400 else (40, 36, 40))
        panes = max(2, round(self.width / 1.9))
        entrance = int(rng.integers(panes))
        step = (self.width - 0.3) / panes
        for pane in range(panes):
            left = 0.15 + pane * step
            if pane == entrance:
                self.box(left + 0.1, 0.05, left + step - 0.1, fascia - 0.1, color, 0.55)
                self.glass(left + 0.25, 0.35, left + step - 0.25, fascia - 0.5)
            else:
                self._display(left + 0.06, 0.5, left + step - 0.06, fascia - 0.1)

    def _lettering(self, low: float, high: float, color: Color) -> None:
        """Strokes that look like a name from afar."""
        x = self.width * self.rng.uniform(0.1, 0.3)
        end = self.width * self.rng.uniform(0.65, 0.92)
        while x < end:
            stroke = self.rng.uniform(0.1, 0.26)
            if self.rng.random() < 0.85:
                self.box(x, low, x + stroke * 0.35, high, color)
                level = low + (high - low) * self.rng.uniform(0, 0.8)
                self.box(x, level, x + stroke * 0.8, level + 0.07, color)
                if self.rng.random() < 0.5:
                    self.box(x + stroke * 0.6, low, x + stroke * 0.9, high, color)
            x += stroke + 0.06

    def _display(self, left: float, bottom: float, right: float, top: float) -> None:
        """A shop window with goods, posters and lamps behind the glass."""
        rng = self.rng
        self.box(left, bottom, right, top, (210, 206, 196), 0.8)
        self.box(left + 0.05, bottom + 0.05, right - 0.05, top - 0.05, (40, 42, 46), rng.uniform(0.6, 1.5))
        for _ in range(int(rng.integers(3, 9))):
            x = rng.uniform(left + 0.1, max(left + 0.12, right - 0.5))
            high = rng.uniform(0.2, (top - bottom) * 0.7)
            goods = tuple(rng.uniform(50, 205, 3).tolist())
            self.box(x, bottom + 0.1, min(x + rng.uniform(0.1, 0.4), right - 0.1), bottom + high, goods, 0.8)
        self.box(
            left + 0.05, top - rng.uniform(0.25, 0.7), right - 0.05, top - 0.05, (150, 158, 168), rng.uniform(0.5, 1)
        )

    def trim(self) -> None:
        """Cornice and drainpipe, and the dirt of years."""
        self.box(0, self.height - 0.16, self.width, self.height, self.color, 0.62)
        self.box(0, self.height - 0.3, self.width, self.height - 0.18, (212, 208, 198), 0.9)
        if self.rng.random() < 0.6:
            x = self.rng.choice((0.08, self.width - 0.18))
            self.box(x, 0, x + 0.1, self.height - 0.3, (46, 44, 44))
        self.weather()

    def weather(self) -> None:
        """Darken the wall towards the ground and under the eaves."""
        fade = np.ones((self.image.height, 1, 1), np.float32)
        dirt = min(self.image.height, round(1.4 * TEXELS))
        fade[-dirt:, 0, 0] = np.linspace(1, 0.68, dirt) ** 1.2
        eaves = min(self.image.height, round(0.9 * TEXELS))
        fade[:eaves, 0, 0] *= np.linspace(0.72, 1, eaves)
        shaded = np.asarray(self.image, np.float32) * fade
        self.image = Image.fromarray(shaded.astype(np.uint8))


def front(kind: Kind, seed: int, width: float, height: float, walls: tuple[Color, ...]) -> Texture:
    """The front of a building of this kind, `width` by `height` metres."""
    rng = np.random.default_rng((seed, 5))
    color = walls[rng.integers(len(walls))]
    warm = color[0] > 1.25 * color[2]
    work = Front(rng, width, height, color, brick=bool(warm and rng.random() < 0.85))
    ground = 3.3 if kind is Kind.SHOP else 2.9
    storeys = max(1, round((height - 0.5 - ground) / 3.0))
    step = (height - 0.5 - ground) / storeys
    if kind is Kind.BLOCK:
        _modern(work, ground, storeys, step)
    else:
        _traditional(work, ground, storeys, step)
    if kind is Kind.SHOP or (kind is Kind.BLOCK and rng.random() < 0.5):
        work.shopfront(ground)
    else:
        _house_ground(work, ground)
    work.trim()
    return Texture(work.image)


def _traditional(work: Front, ground: float, storeys: int, step: float) -> None:
    """Rows of separate windows above the ground floor."""
    columns = max(2, round(work.width / work.rng.uniform(2.1, 2.9)))
    wide, high = work.rng.uniform(0.85, 1.25), min(step - 0.9, work.rng.uniform(1.4, 1.9))
    bars = int(work.rng.integers(0, 3))
    pitch = work.width / columns
    for storey in range(storeys):
        bottom = ground + storey * step + 0.65
        if work.rng.random() < 0.25:
            work.box(0, bottom - 0.45, work.width, bottom - 0.32, (216, 210, 198), 0.95)
        for column in range(columns):
            middle = (column + 0.5) * pitch
            work.window(middle - wide / 2, bottom, middle + wide / 2, bottom + high, bars=bars)


def _modern(work: Front, ground: float, storeys: int, step: float) -> None:
    """Bands of glass between plain bands of wall."""
    panel = (int(work.rng.integers(60, 220)),) * 3
    for storey in range(storeys):
        bottom = ground + storey * step + 0.8
        if work.rng.random() < 0.5:
            work.box(0.2, bottom - 0.75, work.width - 0.2, bottom - 0.1, panel)
        count = max(2, round(work.width / 1.7))
        pitch = (work.width - 0.8) / count
        for column in range(count):
            left = 0.4 + column * pitch
            work.window(left + 0.1, bottom, left + pitch - 0.1, bottom + step - 1.15, bars=0)


def _house_ground(work: Front, ground: float) -> None:
    """A door and the windows beside it."""
    left = work.rng.uniform(0.4, 0.9) if work.rng.random() < 0.5 else work.width - work.rng.uniform(1.5, 1.9)
    work.door(left, 2.35)
    middle = left + 0.5
    for low, high in ((0.3, middle - 0.9), (middle + 0.9, work.width - 0.3)):
        count = int((high - low) / 2.0)
        for index in range(count):
            x = low + (high - low) * (index + 0.5) / count
            work.window(x - 0.65, 0.85, x + 0.65, min(2.35, ground - 0.4), bars=1)


def side_wall(seed: int, height: float, walls: tuple[Color, ...]) -> Texture:
    """The flank of the building whose front has this seed, 9 metres deep, with few windows or none."""
    rng = np.random.default_rng((seed, 5))
    color = walls[rng.integers(len(walls))]
    work = Front(rng, 9.0, height, color, brick=color[0] > 1.25 * color[2])
    for bottom in np.arange(1.0, height - 4.6, 3.1):
        for x in (1.6, 4.6, 7.0):
            if rng.random() < 0.35:
                work.window(x - 0.45, bottom, x + 0.45, bottom + 1.5)
    work.weather()
    return Texture(work.image)


def average(seed: int, walls: tuple[Color, ...]) -> Color:
    """About the mean colour of the front with this seed, for buildings far away."""
    color = walls[np.random.default_rng((seed, 5)).integers(len(walls))]
    red, green, blue = (channel * 0.66 + 28 for channel in color)
    return red, green, blue
