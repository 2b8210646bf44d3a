"""Where everything stands in the procedural street: drawn from a seed, one stretch of road at a time.

A stretch depends on (seed, its index) alone, so any part of an endless street can be laid out without the parts before.
Sides are -1 (left) and +1 (right); distances from the road's axis are positive on either side.
"""

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from .view import Color, Light, point

STRETCH = 48.0  # metres of road laid out together
CELL = 0.25  # metres; the step of the profiles along the road
SIDES = (-1, 1)


class Kind(Enum):
    """What a plot beside the road holds."""

    SHOP = auto()
    TERRACE = auto()
    HOUSE = auto()
    BLOCK = auto()
    PARK = auto()
    JUNCTION = auto()


class Fence(Enum):
    """What separates a plot from the pavement."""

    NONE = auto()
    WALL = auto()
    RAILING = auto()
    PANELS = auto()
    HEDGE = auto()


class Thing(Enum):
    """What stands at one point of the street."""

    TREE = auto()
    LAMP = auto()
    SIGN = auto()
    LIGHTS = auto()
    BOLLARD = auto()
    GUARD = auto()
    CAR = auto()


class Sky(Enum):
    """The kinds of daylight."""

    CLEAR = auto()
    CLOUDY = auto()
    OVERCAST = auto()


@dataclass(frozen=True)
class Plot:
    """A piece of land beside the road, from `start` to `end` metres; the building begins `front` metres off."""

    side: int
    start: float
    end: float
    kind: Kind
    front: float
    top: float
    ridge: float
    gable: bool
    fence: Fence
    seed: int


@dataclass(frozen=True)
class Fixture:
    """A thing that does not move, at ground position (x, z); `seed` decides its looks."""

    thing: Thing
    x: float
    z: float
    side: int
    seed: int


@dataclass(frozen=True)
class Stretch:
    """One stretch of the street; `profile` (3, 2, STRETCH / CELL) float32 holds for the left and right side, cell by
    cell: 1 where a side street opens, 1 where grass lies behind the pavement, and the height of the building."""

    plots: tuple[Plot, ...]
    fixtures: tuple[Fixture, ...]
    profile: NDArray[np.float32]


@dataclass(frozen=True)
class Character:
    """What stays the same all along one street; widths in metres, pairs are (left, right)."""

    lane: float
    parking: tuple[float, float]
    pavement: tuple[float, float]
    kinds: tuple[tuple[float, ...], tuple[float, ...]]
    storeys: float
    walls: tuple[Color, ...]
    leafy: float
    tree_gap: float
    lamp_gap: float
    sign_gap: float
    parked: float
    asphalt: float
    paving: Color
    dash: tuple[float, float]
    edge_lines: int
    people_gap: float
    lead_gap: float

    def kerb(self, side: int) -> float:
        """Distance of the kerb on one side from the road's axis."""
        return self.lane + self.parking[side > 0]

    def boundary(self, side: int) -> float:
        """Distance of the pavement's far edge on one side from the road's axis."""
        return self.kerb(side) + self.pavement[side > 0]


WALLS: tuple[Color, ...] = (
    (150, 84, 66), (171, 105, 78), (126, 74, 62), (194, 164, 120), (205, 186, 142), (178, 158, 128), (226, 220, 205),
    (214, 205, 184), (190, 178, 165), (160, 150, 140), (143, 132, 122), (222, 200, 180),
    (198, 206, 210), (172, 128, 98),
)  # fmt: skip


def draw_character(seed: int) -> Character:
    """The character of the street with this seed."""
    rng = np.random.default_rng((seed, 1))
    parking = tuple(2.1 if rng.random() < 0.6 else 0.0 for _ in SIDES)
    urban = rng.random()
    appetite = np.array((3 * urban, 1.2, 2.4 * (1 - urban), 0.4 + urban * 0.7, 1.5 * (1 - urban) + 0.15))
    kinds = tuple(_mix(appetite * rng.uniform(0.2, 1, 5), 0.1) for _ in SIDES)
    grey = rng.uniform(128, 165)
    return Character(
        lane=rng.uniform(2.9, 3.7),
        parking=(parking[0], parking[1]),
        pavement=(rng.uniform(1.9, 3.8), rng.uniform(1.9, 3.8)),
        kinds=(kinds[0], kinds[1]),
        storeys=rng.uniform(2.0, 3.9),
        walls=tuple(WALLS[index] for index in rng.choice(len(WALLS), 5, replace=False)),
        leafy=float(rng.choice((1.0, 1.0, 0.6, 0.0))),
        tree_gap=float(rng.choice((9.0, 14.0, 22.0, 40.0))),
        lamp_gap=rng.uniform(18, 30),
        sign_gap=rng.uniform(11, 24),
        parked=rng.uniform(0.35, 0.9),
        asphalt=rng.uniform(72, 118),
        paving=(grey, grey * rng.uniform(0.95, 1.0), grey * rng.uniform(0.86, 0.98)),
        dash=((2.0, 6.0), (4.0, 6.0), (3.0, 9.0))[rng.integers(3)],
        edge_lines=int(rng.integers(0, 3)),
        people_gap=rng.uniform(6, 16),
        lead_gap=rng.uniform(11, 26) if rng.random() < 0.55 else 0.0,
    )


def draw_daylight(seed: int) -> tuple[Sky, Light, float]:
    """The sky, the light and the exposure over the street with this seed."""
    rng = np.random.default_rng((seed, 71))
    sky = (Sky.CLEAR, Sky.CLOUDY, Sky.OVERCAST)[rng.integers(3)]
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(22, 58))
    sun = point(np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
    warmth = float(np.clip((np.radians(45) - elevation) * 0.3, 0, 0.2))
    strength = {Sky.CLEAR: 0.75, Sky.CLOUDY: 0.4, Sky.OVERCAST: 0.06}[sky]
    ambient = {Sky.CLEAR: (0.5, 0.54, 0.62), Sky.CLOUDY: (0.64, 0.66, 0.7), Sky.OVERCAST: (0.8, 0.81, 0.83)}[sky]
    haze = {Sky.CLEAR: (205, 216, 230), Sky.CLOUDY: (208, 213, 220), Sky.OVERCAST: (206, 208, 211)}[sky]
    sunlight = strength * np.array((1.0, 0.95 - warmth * 0.5, 0.86 - warmth))
    light = Light(sun, sunlight, np.array(ambient), np.array(haze, dtype=float), rng.uniform(170, 480))
    return sky, light, rng.uniform(0.98, 1.42)


def lay_out(seed: int, character: Character, index: int) -> Stretch:
    """Stretch number `index` (0 begins at z = 0; negative ones lie behind it) of the street with this seed."""
    rng = np.random.default_rng((seed, 3, _natural(index)))
    plots = tuple(plot for side in SIDES for plot in _plots(rng, character, side, index * STRETCH))
    fixtures = tuple(
        fixture
        for side in SIDES
        for fixture in _fixtures(rng, character, side, index * STRETCH)
        if not _in_junction(fixture, plots)
    )
    corners = tuple(f for plot in plots if plot.kind is Kind.JUNCTION for f in _corner(rng, character, plot))
    return Stretch(plots, fixtures + corners, _profile(plots, index * STRETCH))


def _natural(index: int) -> int:
    """Number the integers 0, -1, 1, -2, 2 ... from zero, as seeds must not be negative."""
    return 2 * index if index >= 0 else -2 * index - 1


def _mix(appetite: NDArray[np.float64], junction: float) -> tuple[float, ...]:
    """The chances of each kind of plot, side streets last."""
    chances = appetite / appetite.sum() * (1 - junction)
    return (*map(float, chances), junction)


def _plots(rng: np.random.Generator, character: Character, side: int, begin: float) -> list[Plot]:
    """Plots that fill one side of a stretch without a gap between them."""
    plots: list[Plot] = []
    start, end = begin, begin + STRETCH
    while start < end:
        kind = Kind(int(rng.choice(6, p=character.kinds[side > 0])) + 1)
        if kind is Kind.JUNCTION and (not plots or plots[-1].kind is Kind.JUNCTION):
            kind = Kind.TERRACE
        low, high = {Kind.SHOP: (5, 10), Kind.TERRACE: (5, 7), Kind.HOUSE: (9, 14), Kind.BLOCK: (14, 22)}.get(
            kind, (9, 12)
        )
        stop = start + rng.uniform(low, high)
        stop = end if end - stop < 5 else stop
        plots.append(_plot(rng, character, side, start, stop, kind))
        start = stop
    return plots


def _plot(rng: np.random.Generator, character: Character, side: int, start: float, end: float, kind: Kind) -> Plot:
    """One plot with its building's proportions and its fence."""
    setback = {Kind.SHOP: 0.0, Kind.TERRACE: rng.choice((0.0, 1.6)), Kind.HOUSE: rng.uniform(4, 6.5)}
    storeys = character.storeys + rng.uniform(-0.9, 0.9) + {Kind.BLOCK: 1.2, Kind.HOUSE: -0.6}.get(kind, 0)
    low = (Fence.NONE, Fence.WALL, Fence.RAILING, Fence.PANELS, Fence.HEDGE)
    back = float(setback.get(kind, rng.uniform(1.0, 4.0)))
    fence = Fence.NONE
    if back > 0.5 and kind is not Kind.JUNCTION:
        fence = low[rng.choice(5, p=(0.1, 0.3, 0.3, 0.12, 0.18))]
    if kind is Kind.PARK:
        fence = (Fence.RAILING, Fence.HEDGE, Fence.WALL)[rng.choice(3, p=(0.6, 0.2, 0.2))]
    return Plot(
        side, start, end, kind, character.boundary(side) + back,
        top=max(2, round(storeys)) * rng.uniform(2.8, 3.3) + 0.4,
        ridge=0.0 if kind is Kind.BLOCK else rng.uniform(2.0, 3.6),
        gable=bool(kind is not Kind.BLOCK and end - start < 11 and rng.random() < 0.3),
        fence=fence,
        seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _fixtures(rng: np.random.Generator, character: Character, side: int, begin: float) -> list[Fixture]:
    """What stands along the kerb on one side of a stretch."""
    kerb = side * (character.kerb(side) + 0.45)
    rows = (
        (Thing.LAMP, kerb, character.lamp_gap, 1.0),
        (Thing.TREE, kerb + side * 0.3, character.tree_gap, 0.8),
        (Thing.SIGN, kerb, character.sign_gap, 0.9),
        (Thing.BOLLARD, kerb - side * 0.1, 15.0, 0.4),
        (Thing.GUARD, kerb - side * 0.2, 34.0, 0.5),
        (Thing.CAR, side * (character.kerb(side) - 1.02), 6.1, character.parked * (character.parking[side > 0] > 0)),
    )
    fixtures: list[Fixture] = []
    for thing, x, gap, chance in rows:
        count = max(1, round(STRETCH / gap))
        for step in range(count):
            z = begin + (step + 0.5 + rng.uniform(-0.06, 0.06)) * STRETCH / count
            if rng.random() < chance:
                fixtures.append(Fixture(thing, x + rng.uniform(-0.1, 0.1), z, side, int(rng.integers(2**31))))
    return fixtures


def _in_junction(fixture: Fixture, plots: tuple[Plot, ...]) -> bool:
    """Whether a thing would stand in the mouth of a side street."""
    return any(
        plot.kind is Kind.JUNCTION and plot.side == fixture.side and plot.start - 2.5 < fixture.z < plot.end + 2.5
        for plot in plots
    )


def _corner(rng: np.random.Generator, character: Character, plot: Plot) -> list[Fixture]:
    """Traffic lights or a sign where a side street opens."""
    thing = Thing.LIGHTS if rng.random() < 0.6 else Thing.SIGN
    return [
        Fixture(thing, side * (character.kerb(side) + 0.5), plot.start - 1.2, side, int(rng.integers(2**31)))
        for side in SIDES
    ]


def _profile(plots: tuple[Plot, ...], begin: float) -> NDArray[np.float32]:
    """The stretch cell by cell; see `Stretch`."""
    profile = np.zeros((3, 2, round(STRETCH / CELL)), np.float32)
    for plot in plots:
        cells = slice(round((plot.start - begin) / CELL), round((plot.end - begin) / CELL))
        open_land = plot.kind in (Kind.JUNCTION, Kind.PARK)
        profile[0, int(plot.side > 0), cells] = plot.kind is Kind.JUNCTION
        profile[1, int(plot.side > 0), cells] = plot.kind is Kind.PARK
        profile[2, int(plot.side > 0), cells] = 0 if open_land else plot.top + plot.ridge * 0.6
    return profile
