"""Pictures of what borders the procedural street's pavements, painted from a seed: fences, hedges and trees."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import Texture
from .layout import Fence
from .noise import spectral_noise
from .textures import TEXELS, ink, masonry
from .view import Bytes, Color

FENCE_LENGTH = 12  # metres


def fence(kind: Fence, seed: int) -> Texture:
    """`FENCE_LENGTH` metres of fence, 40 texels a metre; railings are transparent between the bars."""
    rng = np.random.default_rng((seed, 6))
    wide = FENCE_LENGTH * TEXELS
    if kind is Fence.WALL:
        color = ((150, 90, 70), (170, 150, 120), (140, 132, 122))[rng.integers(3)]
        image = masonry(rng, wide, TEXELS, color, brick=True)
        ImageDraw.Draw(image).rectangle((0, 0, wide, 4), fill=ink(color, 1.25))
    elif kind is Fence.PANELS:
        image = _panels(rng, wide)
    elif kind is Fence.HEDGE:
        image = Image.fromarray(foliage(rng, TEXELS, wide, (58, 86, 38)))
    else:
        return _railing(rng, wide)
    return Texture(image)


def _panels(rng: np.random.Generator, wide: int) -> Image.Image:
    """Upright boards between posts."""
    color = ((136, 104, 72), (110, 92, 76), (92, 104, 84))[rng.integers(3)]
    image = Image.new("RGB", (wide, TEXELS), ink(color))
    pen = ImageDraw.Draw(image)
    for x in range(0, wide, 5):
        pen.rectangle((x, 0, x + 3, TEXELS), fill=ink(color, rng.uniform(0.8, 1.15)))
    for x in range(0, wide, 2 * TEXELS):
        pen.rectangle((x, 0, x + 5, TEXELS), fill=ink(color, 0.6))
    return image


def _railing(rng: np.random.Generator, wide: int) -> Texture:
    """Iron bars with two rails."""
    color = ink(((28, 30, 34), (36, 52, 46), (150, 152, 154))[rng.integers(3)])
    high = TEXELS * 2
    opacity = Image.new("L", (wide, high))
    pen = ImageDraw.Draw(opacity)
    for x in range(0, wide, 5):
        pen.rectangle((x, 4, x + 1, high), fill=255)
    for top in (6, high - 16):
        pen.rectangle((0, top, wide, top + 4), fill=255)
    for x in range(0, wide, 2 * TEXELS):
        pen.rectangle((x, 0, x + 4, high), fill=255)
    return Texture(Image.new("RGB", (wide, high), color), opacity)


def foliage(rng: np.random.Generator, height: int, width: int, color: Color) -> Bytes:
    """Leaves (height, width, 3) uint8: clumps lit from above, and speckles."""
    size = 512
    clumps, leaves = spectral_noise(rng, size, 1.5), spectral_noise(rng, size, 0.4)
    lit = (clumps - np.roll(clumps, 7, axis=0)) * 0.9 + 0.16 * clumps + 0.3 * leaves
    tone = np.clip(0.78 + 0.34 * lit, 0.16, 1.75)[:height, :width, None]
    tint = np.asarray(color) * tone + np.array((16, 12, -4)) * np.clip(tone - 1, 0, 1) * 3
    return np.clip(tint, 0, 255).astype(np.uint8)


GREENS: tuple[Color, ...] = ((84, 108, 48), (66, 96, 44), (98, 112, 50), (74, 88, 46), (112, 104, 50))


def tree(seed: int, *, leafy: bool) -> tuple[Texture, Texture | None]:
    """A tree 1 wide by 1.4 high, and the region (mode L) that counts as tree where gaps between bare twigs do."""
    rng = np.random.default_rng((seed, 7))
    wood = Image.new("L", (320, 448))
    grown = (150.0, 13.0, 3) if leafy else (128.0, 11.0, 7)
    _branch(ImageDraw.Draw(wood), rng, (160.0, 448.0), -np.pi / 2, *grown)
    bark = masonry(rng, 320, 448, (82, 71, 60), brick=False)
    if not leafy:
        return Texture(bark, wood), Texture(wood.filter(ImageFilter.MaxFilter(5)))
    leaves, inside = _crown(rng)
    bark.paste(leaves, (0, 0))
    wood.paste(255, (0, 0), inside)
    return Texture(bark, wood), None


def _crown(rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Leaves (330, 320) RGB, and where they are (L)."""
    leaves = foliage(rng, 330, 320, GREENS[rng.integers(len(GREENS))])
    y, x = np.mgrid[0:330, 0:320].astype(np.float32)
    radius = np.hypot((x - 160) / 150, (y - 160) / rng.uniform(140, 160))
    bumps = spectral_noise(rng, 512, 1.25)[:330, :320] * 0.13 + spectral_noise(rng, 512, 0.5)[:330, :320] * 0.05
    inside = (radius + bumps < 0.86) & (y > 2) & (y < 326) & (x > 2) & (x < 317)
    ball = np.clip(1.2 - 0.5 * (y / 330) ** 1.3 - 0.16 * radius**2, 0.45, 1.35)[..., None]
    picture = np.clip(leaves * ball, 0, 255).astype(np.uint8)
    return Image.fromarray(picture), Image.fromarray((inside * 255).astype(np.uint8))


def _branch(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, root: tuple[float, float], angle: float, length: float,
    thickness: float, depth: int,
) -> None:  # fmt: skip
    """Draw a branch and those that spring from it; `angle` in radians, lengths in texels."""
    tip = (root[0] + np.cos(angle) * length, root[1] + np.sin(angle) * length)
    pen.line((root, tip), fill=255, width=max(1, round(thickness)))
    if depth == 0 or length < 6:
        return
    for turn in rng.normal(0, 0.16, 1) if depth == 7 else ():
        _branch(pen, rng, tip, angle + turn * 0.4, length * 0.62, thickness * 0.82, depth - 1)
    for turn in (-1, 1) if depth > 5 else (-1, 0.2, 1):
        bend = angle + turn * rng.uniform(0.25, 0.62)
        _branch(pen, rng, tip, bend, length * rng.uniform(0.55, 0.8), thickness * 0.66, depth - 1)
