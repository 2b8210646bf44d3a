"""What stands beside the procedural street: buildings with roofs and flanks, gardens, fences, and the far skyline."""

from functools import lru_cache, partial

import numpy as np

from . import growth, textures
from .canvas import Canvas, Texture
from .layout import SIDES, Character, Fence, Kind, Plot
from .view import TOWARDS_CAMERA, Color, Floats, point

BUILDING, TREE, FENCE = 1, 5, 7

PAINTED = 110.0  # metres from the camera; fronts farther away are plain
HEIGHTS = {Fence.WALL: 1.0, Fence.RAILING: 1.15, Fence.PANELS: 1.7, Fence.HEDGE: 1.5}
ROOFS: tuple[Color, ...] = ((92, 74, 68), (84, 86, 92), (120, 74, 58), (70, 68, 70))
DEPTH = 9.0  # metres from a building's front to its back
CACHED_FRONTS = 64  # about twice what one frame shows; some 1 MB each with the reductions
CACHED_FLANKS = 32
CACHED_GARDENS = 256


class PlotPainter:
    """Draws the plots of one street; keeps the pictures of the most recent ones, up to a fixed number."""

    def __init__(self, character: Character) -> None:
        self.character = character
        # Free functions, not methods: a cache of its own methods would keep a finished street alive until collected.
        self.front = lru_cache(maxsize=CACHED_FRONTS)(partial(_front, character.walls))
        self.flank = lru_cache(maxsize=CACHED_FLANKS)(partial(_flank, character.walls))
        self.trees = lru_cache(maxsize=CACHED_GARDENS)(partial(_trees, character))
        self.fence = lru_cache(maxsize=18)(growth.fence)
        self.tree = lru_cache(maxsize=12)(growth.tree)

    def draw(self, canvas: Canvas, plot: Plot, nearer: Plot | None) -> None:
        """Draw a plot's building, then its garden, then its fence; `nearer` is the next plot towards the camera."""
        near = plot.start - float(canvas.camera.position[2])
        if _built(plot):
            if near > PAINTED:
                self._plain(canvas, plot)
            else:
                self._roof(canvas, plot)
                self._flank(canvas, plot, nearer)
                self._face(canvas, plot)
        self._garden(canvas, plot)
        if plot.fence is not Fence.NONE:
            self._fence(canvas, plot)

    def _plain(self, canvas: Canvas, plot: Plot) -> None:
        """A building far away."""
        color = textures.average(plot.seed, self.character.walls)
        inner, outer = plot.side * plot.front, plot.side * (plot.front + DEPTH)
        flank = ((inner, 0), (inner, plot.top), (outer, plot.top), (outer, 0))
        canvas.fill(np.array([(x, y, plot.start) for x, y in flank]), color, BUILDING, point(0, 0, -1))
        canvas.fill(_upright(plot, 0, plot.top), color, BUILDING, point(-plot.side, 0, 0))
        if plot.ridge and not plot.gable:
            canvas.fill(_slope(plot), _roof_color(plot), BUILDING, _slope_normal(plot))

    def _roof(self, canvas: Canvas, plot: Plot) -> None:
        """The roof's slope towards the street, and chimneys."""
        if not plot.ridge:
            return
        color = _roof_color(plot)
        if plot.gable:
            for corners in _gable_slopes(plot):
                canvas.fill(corners, color, BUILDING, point(0, 0.7, -0.7))
            return
        middle = plot.side * (plot.front + 4.5)
        base, top = plot.top + plot.ridge - 0.6, plot.top + plot.ridge + 1.3
        for z in (plot.start + 0.5, plot.end - 0.9):
            stack = [(middle - 0.7, base), (middle - 0.7, top), (middle + 0.7, top), (middle + 0.7, base)]
            canvas.fill(np.array([(x, y, z) for x, y in stack]), (138, 92, 76), BUILDING, point(0, 0, -1))
        canvas.fill(_slope(plot), color, BUILDING, _slope_normal(plot))

    def _flank(self, canvas: Canvas, plot: Plot, nearer: Plot | None) -> None:
        """The wall towards the camera, where the neighbour is lower or stands farther back."""
        low, depth, ridge = 0.0, DEPTH, plot.ridge * (not plot.gable)
        if nearer is not None and _built(nearer):
            higher = nearer.top >= plot.top and nearer.top + nearer.ridge * (not nearer.gable) >= plot.top + ridge
            recess = nearer.front - plot.front
            if recess <= 0 and higher:
                return
            if higher:
                depth, ridge = recess, 0.0
            elif recess <= 0:
                low = min(nearer.top, plot.top) - 0.3
        x, back, high = plot.side * plot.front, plot.side * (plot.front + depth), plot.top + plot.ridge
        outline = [(x, low), (x, plot.top), (back, plot.top), (back, low)]
        if ridge:
            outline.insert(2, ((x + back) / 2, high))
        corners = np.array([(across, up, plot.start) for across, up in outline])
        corner, across, down = point(x, high, plot.start), point(plot.side * DEPTH, 0, 0), point(0, -high, 0)
        canvas.surface(self.flank(plot), corner, across, down, BUILDING, point(0, 0, -1), outline=corners)

    def _face(self, canvas: Canvas, plot: Plot) -> None:
        """The front towards the street, with the shadow of the houses opposite."""
        x, middle = plot.side * plot.front, (plot.start + plot.end) / 2
        top = plot.top + (plot.ridge if plot.gable else 0.0)
        begin, end = (plot.start, plot.end) if plot.side < 0 else (plot.end, plot.start)
        outline = _upright(plot, 0, plot.top)
        if plot.gable:
            outline = np.insert(outline, 2, point(x, top, middle), axis=0)
        normal = point(-plot.side, 0, 0)
        canvas.surface(
            self.front(plot), point(x, top, begin), point(0, 0, end - begin), point(0, -top, 0), BUILDING, normal,
            outline=outline,
        )  # fmt: skip
        self._cast(canvas, plot)

    def _cast(self, canvas: Canvas, plot: Plot) -> None:
        """Shade the lower part of a sunlit front as far as the houses opposite hide the sun."""
        sun = canvas.light.sun
        toward = -plot.side * float(sun[0])
        if toward < 0.05 or canvas.light.sunlight[0] < 0.3:
            return
        span = plot.front + self.character.boundary(-plot.side)
        height = min(self.character.storeys * 3.1 - span * float(sun[1]) / toward, plot.top)
        if height > 0:
            canvas.shadow(_upright(plot, 0, height), 0.42)

    def _garden(self, canvas: Canvas, plot: Plot) -> None:
        """Trees and bushes behind the fence."""
        if plot.kind is Kind.PARK:
            self._hedge(canvas, plot, self.character.boundary(plot.side) + 24)
        for foot, height, seed in self.trees(plot):
            self.draw_tree(canvas, foot, height, seed)

    def _hedge(self, canvas: Canvas, plot: Plot, away: float) -> None:
        """A dark row of bushes at the back of a park."""
        x = plot.side * away
        corner, across = point(x, 3.2, plot.start - 1), point(0, 0, plot.end - plot.start + 2)
        canvas.surface(self.fence(Fence.HEDGE, 1), corner, across, point(0, -3.2, 0), TREE, point(-plot.side, 0, 0))

    def draw_tree(self, canvas: Canvas, foot: Floats, height: float, seed: int) -> None:
        """Draw one tree `height` metres high."""
        leafy = seed % 97 / 97 < self.character.leafy
        picture, region = self.tree(seed % 6, leafy=leafy)
        canvas.sprite(picture, region, foot, height / 1.4, height, TREE)

    def _fence(self, canvas: Canvas, plot: Plot) -> None:
        """The fence along the pavement, piece by piece."""
        x, height = plot.side * (self.character.boundary(plot.side) + 0.05), HEIGHTS[plot.fence]
        picture = self.fence(plot.fence, plot.seed % 4)
        label = TREE if plot.fence is Fence.HEDGE else FENCE
        eye, piece = float(canvas.camera.position[2]), growth.FENCE_LENGTH
        for z in np.arange(plot.start, plot.end, piece)[::-1]:
            end = min(z + piece, plot.end)
            if end < eye:
                continue
            outline = np.array(((x, 0, z), (x, height, z), (x, height, end), (x, 0, end)))
            canvas.surface(
                picture, point(x, height, z), point(0, 0, piece), point(0, -height, 0), label, point(-plot.side, 0, 0),
                outline=outline,
            )  # fmt: skip


def _front(walls: tuple[Color, ...], plot: Plot) -> Texture:
    """The picture of a plot's front, with its gable if it has one."""
    height = plot.top + (plot.ridge if plot.gable else 0.0)
    return textures.front(plot.kind, plot.seed, plot.end - plot.start, height, walls)


def _flank(walls: tuple[Color, ...], plot: Plot) -> Texture:
    """The picture of a plot's flank, as high as its ridge."""
    return textures.side_wall(plot.seed, plot.top + plot.ridge, walls)


def _trees(character: Character, plot: Plot) -> list[tuple[Floats, float, int]]:
    """Foot, height and seed of each tree on the plot, the farthest first."""
    rng = np.random.default_rng((plot.seed, 12))
    edge, park = character.boundary(plot.side), plot.kind is Kind.PARK
    count = {Kind.PARK: 5, Kind.HOUSE: 2, Kind.BLOCK: 1}.get(plot.kind, 0)
    deep = 22.0 if park else max(plot.front - edge, 1.5)
    trees = []
    for z in np.sort(rng.uniform(plot.start, plot.end, count))[::-1].tolist():
        foot = point(plot.side * (edge + rng.uniform(0.4, 1) * deep), 0, z)
        trees.append((foot, rng.uniform(5, 10) if park else rng.uniform(2.0, 4.5), int(rng.integers(2**31))))
    return trees


def _built(plot: Plot) -> bool:
    """Whether a building stands on the plot."""
    return plot.kind not in (Kind.JUNCTION, Kind.PARK)


def _upright(plot: Plot, low: float, high: float) -> Floats:
    """A rectangle of the front between two heights, (4, 3)."""
    x = plot.side * plot.front
    return np.array(((x, low, plot.start), (x, high, plot.start), (x, high, plot.end), (x, low, plot.end)))


def _slope(plot: Plot) -> Floats:
    """The roof's side towards the street, (4, 3)."""
    low, high = plot.side * (plot.front - 0.25), plot.side * (plot.front + 4.5)
    bottom, top = plot.top, plot.top + plot.ridge
    return np.array(
        ((low, bottom, plot.start), (high, top, plot.start), (high, top, plot.end), (low, bottom, plot.end))
    )


def _slope_normal(plot: Plot) -> Floats:
    """The normal of `_slope`."""
    steep = np.hypot(plot.ridge, 4.75)
    return point(-plot.side * plot.ridge / steep, 4.75 / steep, 0)


def _gable_slopes(plot: Plot) -> list[Floats]:
    """The two sides of a roof whose gable faces the street; the far one first."""
    low, high = plot.side * (plot.front - 0.2), plot.side * (plot.front + DEPTH)
    top, middle = plot.top + plot.ridge, (plot.start + plot.end) / 2
    return [
        np.array(((low, plot.top, z), (low, top, middle), (high, top, middle), (high, plot.top, z)))
        for z in (plot.end, plot.start)
    ]


def _roof_color(plot: Plot) -> Color:
    """Slate or tile."""
    return ROOFS[plot.seed % len(ROOFS)]


@lru_cache(maxsize=8)
def _skyline(seed: int) -> tuple[tuple[Floats, Color, int], ...]:
    """Outline (N, 3) relative to the point straight ahead, colour and label of each tree and house on the horizon."""
    rng = np.random.default_rng((seed, 13))
    shapes: list[tuple[Floats, Color, int]] = []
    steps = np.linspace(0, 1, 9)
    for side in SIDES:
        x = 0.0
        while x < 300:
            wide, high = rng.uniform(8, 26), rng.uniform(5, 15)
            rise, label, color = np.full(9, high), BUILDING, (150.0, 140.0, 132.0)
            if rng.random() < 0.6:
                rise = high * rng.uniform(0.7, 1, 9) * np.sin(np.pi * (0.08 + 0.84 * steps)) ** 0.4
                label, color = TREE, (84.0, 98.0, 72.0)
            top = np.stack((side * (x + wide * steps), rise), axis=1)
            base = np.array(((side * (x + wide), -1.5), (side * x, -1.5)))
            shapes.append((np.pad(np.concatenate((top, base)), ((0, 0), (0, 1))), color, label))
            x += wide * rng.uniform(0.7, 1.0)
    return tuple(shapes)


def draw_skyline(canvas: Canvas, seed: int) -> None:
    """Draw what closes the view: trees and houses so far off that they never come nearer."""
    ahead = canvas.camera.position * (1, 0, 1) + point(0, 0, 320)
    for outline, color, label in _skyline(seed):
        canvas.fill(outline + ahead, color, label, TOWARDS_CAMERA)
