"""An image and its label map, drawn as one: every shape goes into both, far shapes first.

The canvas is larger than the final frame by `OVERSAMPLING`, so that the image gains soft edges while each label stays
one exact sample. Colours are RGB in [0, 255] as floats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .view import NEAR, TOWARDS_CAMERA, UP, Bytes, Camera, Color, Floats, Light, cut_near

OVERSAMPLING = 2
SMALL = 16384  # pixels; below, arithmetic is faster than Pillow's way with a table

Outline = list[tuple[float, float]]
Box = tuple[int, int, int, int]


class Texture:
    """A picture (RGB) with its opacity (L; None: opaque), and the reduced versions in which distance shows it."""

    def __init__(self, image: Image.Image, opacity: Image.Image | None = None) -> None:
        self.size = image.size
        self.reduced: dict[tuple[int, int], tuple[Image.Image, Image.Image | None]] = {(1, 1): (image, opacity)}

    def at(self, across: float, down: float) -> tuple[Image.Image, Image.Image | None]:
        """The version for a surface that shows `across` by `down` texels per pixel; each factor is a power of two."""
        key = (_power(across, self.size[0]), _power(down, self.size[1]))
        if key not in self.reduced:
            image, opacity = self.reduced[1, 1]
            self.reduced[key] = (image.reduce(key), opacity and opacity.reduce(key))
        return self.reduced[key]


def _power(ratio: float, limit: int) -> int:
    """The power of two near `ratio`, at most `limit`; rather too fine than too coarse."""
    return int(min(2 ** max(0, round(np.log2(max(ratio, 1)) - 0.2)), limit))


@dataclass(frozen=True)
class Limb:
    """A rounded stick between two world points, `radius` metres thick."""

    start: Floats
    end: Floats
    radius: float
    color: Color


def _outline(pixels: Floats) -> Outline:
    """Points (N, 2) as Pillow takes them."""
    return [(x, y) for x, y in pixels.tolist()]


class Canvas:
    """The image and its label map; every shape is drawn into both, far shapes first."""

    def __init__(self, camera: Camera, light: Light, image: Bytes, labels: Bytes) -> None:
        """`image` (H, W, 3) and `labels` (H, W) at the final size are the background; `camera` is that of the frame."""
        self.camera = camera.scaled(OVERSAMPLING)
        self.light = light
        size = (self.camera.width, self.camera.height)
        self.image = Image.fromarray(image).resize(size, Image.Resampling.NEAREST)
        self.labels = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
        self.paint = ImageDraw.Draw(self.image)
        self.mark = ImageDraw.Draw(self.labels)

    def frame(self) -> tuple[Bytes, Bytes]:
        """(H, W, 3) uint8 image and (H, W) uint8 labels at the final size."""
        image = np.asarray(self.image.reduce(OVERSAMPLING))
        labels = np.asarray(self.labels)[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]
        return image, np.ascontiguousarray(labels)

    def seen(self, colors: Floats, normals: Floats, depth: float) -> list[tuple[int, int, int]]:
        """The 8-bit colours of lit surfaces, colours and normals (N, 3), behind `depth` metres of air."""
        clear = self.light.clearness(depth)
        shown = colors * self.light.on(normals) * clear + self.light.haze * (1 - clear)
        return [(red, green, blue) for red, green, blue in shown.clip(0, 255).astype(int).tolist()]

    def flat(self, outline: Outline, color: tuple[int, int, int], label: int) -> None:
        """Fill a polygon given in canvas pixels."""
        self.paint.polygon(outline, fill=color)
        self.mark.polygon(outline, fill=label)

    def fill(self, points: Floats, color: Color, label: int, normal: Floats) -> None:
        """Fill a convex world polygon (N, 3) with one lit colour."""
        points = cut_near(self.camera, points)
        if len(points) > 2:
            pixels, depths = self.camera.project(points)
            shown = self.seen(np.array((color,)), normal[None], float(depths.mean()))[0]
            self.flat(_outline(pixels), shown, label)

    def limbs(self, limbs: Sequence[Limb], label: int) -> None:
        """Draw rounded sticks, the farthest first."""
        depths = self.camera.depths(np.array([limb.start + limb.end for limb in limbs]) / 2)
        limbs = [limbs[index] for index in np.argsort(-depths, kind="stable").tolist()]
        points = np.array([end for limb in limbs for end in (limb.start, limb.end)])
        if self.camera.depths(points).min() < NEAR:
            return
        pixels, depths = self.camera.project(points)
        colors = np.array([limb.color for limb in limbs])
        shown = self.seen(colors, TOWARDS_CAMERA[None], float(depths.mean()))
        scales = self.camera.focal / depths.reshape(-1, 2).mean(axis=1)
        for index, (limb, ink) in enumerate(zip(limbs, shown, strict=True)):
            half = max(limb.radius * float(scales[index]), OVERSAMPLING / 2)
            self._stick(_outline(pixels[2 * index : 2 * index + 2]), half, ink, label)

    def _stick(self, ends: Outline, half: float, ink: tuple[int, int, int], label: int) -> None:
        """Draw a line of 2 * half pixels' width with round ends."""
        for draw, value in ((self.paint, ink), (self.mark, label)):
            draw.line(ends, fill=value, width=round(2 * half))
            if half > 1.5:
                for x, y in ends:
                    draw.ellipse((x - half, y - half, x + half, y + half), fill=value)

    def wheel(self, hub: Floats, along: Floats, radius: float, tyre: float, color: Color, label: int) -> None:
        """Draw an upright spoked wheel in the plane of `along`; the label fills the disc, spokes and gaps alike."""
        turns = np.linspace(0, 2 * np.pi, 20)
        rim = hub + radius * (np.cos(turns)[:, None] * along + np.sin(turns)[:, None] * UP)
        if self.camera.depths(rim).min() < NEAR:
            return
        pixels, depths = self.camera.project(rim)
        shown = self.seen(np.array((color,)), TOWARDS_CAMERA[None], float(depths.mean()))[0]
        outline = _outline(pixels)
        wide = max(OVERSAMPLING, round(2 * tyre * self.camera.focal / float(depths.mean())))
        self.paint.line(outline, fill=shown, width=wide, joint="curve")
        self.mark.polygon(outline, fill=label)
        self.mark.line(outline, fill=label, width=wide, joint="curve")

    def shadow(self, points: Floats, strength: float) -> None:
        """Darken what a convex world polygon (N, 3) covers by `strength` in [0, 1]; labels stay as they are."""
        points = cut_near(self.camera, points)
        if len(points) < 3:
            return
        pixels, _ = self.camera.project(points)
        box = self._box(pixels)
        if box is None:
            return
        self.image.paste((14, 15, 20), box, self._stencil(pixels, box, round(255 * strength)))

    def surface(
        self, texture: Texture, corner: Floats, across: Floats, down: Floats, label: int, normal: Floats,
        *, outline: Floats | None = None,
    ) -> None:  # fmt: skip
        """Draw a picture on a world parallelogram, or on the polygon `outline` (N, 3) within its plane.

        `corner` is the world point of the picture's upper left, `across` and `down` its two sides as vectors. Where the
        picture is transparent the image shows what lies behind, yet the whole polygon takes the label.
        """
        if outline is None:
            outline = np.stack((corner, corner + across, corner + across + down, corner + down))
        outline = cut_near(self.camera, outline)
        if len(outline) < 3:
            return
        pixels, depths = self.camera.project(outline)
        box = self._box(pixels)
        if box is None:
            return
        picture, opacity = self._pick(texture, pixels, outline, across, down)
        grid = np.stack((across / picture.width, down / picture.height, corner - self.camera.position), axis=1)
        inverse = np.linalg.inv(self.camera.matrix @ grid) @ np.array(((1, 0, box[0]), (0, 1, box[1]), (0, 0, 1)))
        coefficients = (inverse / inverse[2, 2]).ravel()[:8].tolist()
        size, region = (box[2] - box[0], box[3] - box[1]), self._stencil(pixels, box, 255)
        warp = (size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        mask = region if opacity is None else ImageChops.multiply(opacity.transform(*warp), region)
        self._show(picture.transform(*warp), box, mask, normal, float(np.median(depths)))
        self.labels.paste(label, box, region)

    def sprite(
        self, picture: Texture, region: Texture | None, foot: Floats, width: float, height: float, label: int
    ) -> None:
        """Stand a picture upright on `foot`, facing the camera.

        The label takes what is light in `region` (mode L), or what is opaque where there is none.
        """
        depth = float(self.camera.depths(foot[None])[0])
        if depth < NEAR:
            return
        scale = self.camera.focal / depth
        x, y = self.camera.project(foot[None])[0][0].tolist()
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = round(x - width * scale / 2), round(y - height * scale)
        box = (max(left, 0), max(top, 0), min(left + wide, self.camera.width), min(top + high, self.camera.height))
        if box[0] >= box[2] or box[1] >= box[3]:
            return
        ratios = (picture.size[0] / wide, picture.size[1] / high)
        part = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        image, opacity = picture.at(*ratios)
        mask = opacity and _stretched(opacity, (wide, high), part)
        covered = mask if region is None else _stretched(region.at(*ratios)[0], (wide, high), part)
        self._show(_stretched(image, (wide, high), part), box, mask, TOWARDS_CAMERA, depth)
        self.labels.paste(label, box, covered and covered.point([0] * 128 + [255] * 128))

    def _pick(
        self, texture: Texture, pixels: Floats, outline: Floats, across: Floats, down: Floats
    ) -> tuple[Image.Image, Image.Image | None]:
        """The version of the texture whose texels are about as large as this polygon's pixels."""
        spans = np.ptp(pixels, axis=0)
        shares = [np.ptp(outline @ side) / float(side @ side) for side in (across, down)]
        texels = [share * size for share, size in zip(shares, texture.size, strict=True)]
        if abs(down[1]) > 0.1:
            return texture.at(texels[0] / max(spans[0], 1), texels[1] / max(spans[1], 1))
        return texture.at(max(texels) / max(*spans, 1), max(texels) / max(*spans, 1))

    def _box(self, pixels: Floats) -> Box | None:
        """The part of the canvas that a polygon may touch: left, top, right, bottom; None if there is none."""
        low = np.clip(np.floor(pixels.min(axis=0)), 0, None)
        high = np.minimum(np.ceil(pixels.max(axis=0)) + 1, (self.camera.width, self.camera.height))
        left, top, right, bottom = (int(value) for value in (*low, *high))
        return (left, top, right, bottom) if left < right and top < bottom else None

    def _stencil(self, pixels: Floats, box: Box, value: int) -> Image.Image:
        """A mask of the box (mode L) that holds `value` inside the polygon."""
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        ImageDraw.Draw(mask).polygon(_outline(pixels - box[:2]), fill=value)
        return mask

    def _show(self, picture: Image.Image, box: Box, mask: Image.Image | None, normal: Floats, depth: float) -> None:
        """Light a picture and put it into the image where the mask lets it."""
        clear = self.light.clearness(depth)
        gain, offset = self.light.on(normal) * clear, self.light.haze * (1 - clear)
        if picture.width * picture.height < SMALL:
            lit = np.asarray(picture, np.float32) * gain.astype(np.float32) + offset.astype(np.float32)
            shown = Image.fromarray(lit.clip(0, 255).astype(np.uint8))
        else:
            table = np.arange(256)[None] * gain[:, None] + offset[:, None]
            shown = picture.point(table.clip(0, 255).astype(int).ravel().tolist())
        self.image.paste(shown, box, mask)


def _stretched(picture: Image.Image, size: tuple[int, int], part: Box) -> Image.Image:
    """The part of the picture, given in pixels of the picture scaled to `size`, at that scale."""
    ratio = (picture.width / size[0], picture.height / size[1])
    left, top, right, bottom = (edge * ratio[index % 2] for index, edge in enumerate(part))
    target = (part[2] - part[0], part[3] - part[1])
    return picture.resize(target, Image.Resampling.BILINEAR, box=(left, top, right, bottom))
