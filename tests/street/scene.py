"""A procedural street seen from a driving car: frames at any time with their exact CamVid labels.

Everything is drawn from the seed: the street's layout stretch by stretch, its daylight, and who moves along it. A frame
depends on (seed, time, size) alone, never on the frames drawn before it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from . import fixtures
from .canvas import Canvas
from .cars import DRIVEN, PARKED, Shape, car_shadow, draw_car
from .ground import Backdrop, Profile
from .layout import (
    SIDES,
    STRETCH,
    Character,
    Fixture,
    Plot,
    Stretch,
    Thing,
    draw_character,
    draw_daylight,
    lay_out,
)
from .people import draw_cyclist, draw_pedestrian, person_shadow
from .plots import PlotPainter, draw_skyline
from .view import Bytes, Camera, looking, point

SIGHT = 250.0  # metres; plots farther away are lost in the skyline
FURNITURE = 120.0  # metres; cars, people and signs farther away are but a few pixels high
TALL = 200.0  # metres; the same for trees and lamps
CACHED_STRETCHES = 12
SMALLEST = 32

Draw = Callable[[Canvas], None]


@dataclass(frozen=True)
class Actor:
    """Something on the ground at (x, z), how it is drawn, and its shadow if it has one."""

    z: float
    draw: Draw
    shadow: Draw | None = None


@dataclass(frozen=True)
class Procession:
    """An endless row of movers, `gap` metres apart on average, that keep to one track at one speed (m/s along z)."""

    tag: int
    gap: float
    speed: float
    chance: float

    def at(self, seed: int, time: float, begin: float, end: float) -> Iterator[tuple[float, np.random.Generator]]:
        """Position along the road and private random numbers of each mover between begin and end metres."""
        shift = self.speed * time
        for number in range(int((begin - shift) // self.gap), int((end - shift) // self.gap) + 1):
            rng = np.random.default_rng((seed, self.tag, 2 * number if number >= 0 else -2 * number - 1))
            if rng.random() < self.chance:
                yield (number + rng.uniform(0.1, 0.9)) * self.gap + shift, rng


class Street:
    """A street, laid out once from a seed; any moment of the drive through it can be drawn."""

    def __init__(self, seed: int = 0, *, speed: float = 8.0) -> None:
        """`seed` is a whole number, `speed` that of the camera's car in m/s; ValueError if either is negative."""
        if seed < 0 or speed < 0:
            raise ValueError(f"a street needs a seed and a speed of at least 0, not {seed} and {speed}")
        self.seed, self.speed = seed, speed
        self.character: Character = draw_character(seed)
        self.sky, self.light, self.exposure = draw_daylight(seed)
        self.backdrop = Backdrop(seed, self.character, self.sky, self.light)
        self.painter = PlotPainter(self.character)
        self.stretches: OrderedDict[int, Stretch] = OrderedDict()
        self.sway = np.random.default_rng((seed, 16)).uniform(0, 2 * np.pi, (6, 3))
        mount = np.random.default_rng((seed, 17))
        self.pitch, self.eye = mount.uniform(-0.045, 0.03), mount.uniform(1.25, 1.55)
        self.zoom = mount.uniform(0.9, 1.2)

    def frame(self, time: float, *, height: int = 360, width: int = 640) -> tuple[Bytes, Bytes]:
        """(H, W, 3) uint8 RGB image and (H, W) uint8 CamVid class ids at `time` seconds.

        The drive is endless; the same arguments give the same bytes. Raises ValueError for a negative or infinite time
        and for sides under 32 pixels.
        """
        if not 0 <= time < float("inf"):
            raise ValueError(f"a frame's time must be 0 seconds or later, not {time}")
        if height < SMALLEST or width < SMALLEST:
            raise ValueError(f"a frame must be at least {SMALLEST} pixels high and wide, not {height} x {width}")
        camera = self._camera(time, height, width)
        image, labels = self.backdrop.draw(camera, time, self._profile(camera))
        canvas = Canvas(camera, self.light, image, labels)
        draw_skyline(canvas, self.seed)
        actors = sorted(self._actors(time, camera), key=lambda actor: -actor.z)
        for actor in actors:
            if actor.shadow is not None:
                actor.shadow(canvas)
        plots = self._plots(camera)
        for side in SIDES:
            row = [plot for plot in plots if plot.side == side]
            for plot, nearer in zip(row, [*row[1:], None], strict=True):
                self.painter.draw(canvas, plot, nearer)
        for actor in actors:
            actor.draw(canvas)
        image, labels = canvas.frame()
        return self._sensed(image, time), labels

    def _camera(self, time: float, height: int, width: int) -> Camera:
        """The camera at this time: it follows its lane and sways with the car."""
        rates = np.array((0.31, 0.83, 1.9))
        waves = (np.sin(2 * np.pi * rates * time + self.sway) * (0.6, 0.3, 0.15)).sum(axis=1)
        yaw, pitch, roll, aside, bounce, surge = (float(wave) for wave in waves)
        lane = -self.character.lane / 2
        position = point(lane + 0.16 * aside, self.eye + 0.015 * bounce, self.speed * time + 0.25 * surge)
        rotation = looking(0.011 * yaw, self.pitch + 0.006 * pitch, 0.006 * roll)
        return Camera(position, rotation, self.zoom * (height * width) ** 0.5, height, width)

    def _stretch(self, index: int) -> Stretch:
        """A stretch of the street, laid out now or remembered."""
        if index not in self.stretches:
            self.stretches[index] = lay_out(self.seed, self.character, index)
        self.stretches.move_to_end(index)
        while len(self.stretches) > CACHED_STRETCHES:
            self.stretches.popitem(last=False)
        return self.stretches[index]

    def _visible(self, camera: Camera) -> list[Stretch]:
        """The stretches from just behind the camera to where sight ends."""
        first = int(camera.position[2] // STRETCH) - 1
        return [self._stretch(index) for index in range(first, first + int(SIGHT // STRETCH) + 3)]

    def _profile(self, camera: Camera) -> Profile:
        """What lies along the visible road, cell by cell."""
        first = int(camera.position[2] // STRETCH) - 1
        cells = np.concatenate([stretch.profile for stretch in self._visible(camera)], axis=2)
        return Profile(first * STRETCH, cells)

    def _plots(self, camera: Camera) -> list[Plot]:
        """The visible plots, far ones first."""
        eye = float(camera.position[2])
        plots = [plot for stretch in self._visible(camera) for plot in stretch.plots]
        plots = [plot for plot in plots if plot.end > eye and plot.start < eye + SIGHT]
        return sorted(plots, key=lambda plot: -plot.start)

    def _actors(self, time: float, camera: Camera) -> Iterator[Actor]:
        """All that stands or moves between the fences on either side."""
        eye = float(camera.position[2])
        for stretch in self._visible(camera):
            for fixture in stretch.fixtures:
                reach = TALL if fixture.thing in (Thing.TREE, Thing.LAMP) else FURNITURE
                if eye - 4 < fixture.z < eye + reach:
                    yield self._fixture(fixture)
        yield from self._traffic(time, eye)
        yield from self._walkers(time, eye)
        yield from self._cyclists(time, eye)

    def _fixture(self, fixture: Fixture) -> Actor:
        """A thing that does not move."""
        x, z, side, seed = fixture.x, fixture.z, fixture.side, fixture.seed
        if fixture.thing is Thing.CAR:
            return _car(x, z, -side if seed % 5 else side, seed, PARKED)
        if fixture.thing is Thing.TREE:
            height = 5.0 + seed % 31 / 10
            return Actor(z, lambda canvas: self.painter.draw_tree(canvas, point(x, 0, z), height, seed))
        draw = {
            Thing.LAMP: fixtures.draw_lamp,
            Thing.SIGN: fixtures.draw_sign,
            Thing.LIGHTS: fixtures.draw_lights,
            Thing.BOLLARD: fixtures.draw_bollard,
            Thing.GUARD: fixtures.draw_guard,
        }[fixture.thing]
        return Actor(z, lambda canvas: draw(canvas, x, z, side, seed))

    def _traffic(self, time: float, eye: float) -> Iterator[Actor]:
        """The car ahead, if there is one, and oncoming cars."""
        lane = self.character.lane / 2
        if self.character.lead_gap:
            gap = self.character.lead_gap + 4.0 * np.sin(0.35 * time + self.sway[0, 0])
            yield _car(-lane, eye + gap, 1, 7 * self.seed, DRIVEN)
        oncoming = Procession(18, 34.0, -8.5, 0.75)
        for z, rng in oncoming.at(self.seed, time, eye - 6, eye + TALL):
            yield _car(lane + rng.uniform(-0.2, 0.2), z, -1, int(rng.integers(2**31)), DRIVEN)

    def _walkers(self, time: float, eye: float) -> Iterator[Actor]:
        """People on both pavements, in both directions."""
        for number, (side, way) in enumerate((side, way) for side in SIDES for way in SIDES):
            walk = Procession(20 + number, self.character.people_gap * 2, 1.35 * way, 0.8)
            for z, rng in walk.at(self.seed, time, eye, eye + FURNITURE):
                room = self.character.pavement[side > 0] - 1.2
                x = side * (self.character.kerb(side) + 0.95 + rng.uniform(0, 1) * room)
                stride = time * 6.2 + rng.uniform(0, 2 * np.pi)
                yield _walker(x, z, 0.0 if way > 0 else np.pi, stride, int(rng.integers(2**31)))

    def _cyclists(self, time: float, eye: float) -> Iterator[Actor]:
        """Cyclists near the kerb, along with the traffic on either side."""
        for side in SIDES:
            ride = Procession(30 + (side > 0), 30.0, -side * 4.6, 0.7)
            for z, rng in ride.at(self.seed, time, eye, eye + FURNITURE):
                x = side * (self.character.lane - 0.55 + rng.uniform(-0.1, 0.1))
                yield _rider(x, z, -side, time * 7 + rng.uniform(0, 6), int(rng.integers(2**31)))

    def _sensed(self, image: Bytes, time: float) -> Bytes:
        """What the sensor makes of the picture: vignette, drifting exposure, clipped highlights and noise."""
        height, width = image.shape[:2]
        rng = np.random.default_rng((self.seed, 40, int(np.float64(time + 0.0).view(np.uint64))))
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        drift = 1 + 0.035 * np.sin(0.5 * time + self.sway[1, 0]) + 0.02 * np.sin(1.7 * time + self.sway[1, 1])
        gain = (1 - 0.16 * (0.55 * x * x + 0.45 * y * y)) * np.float32(self.exposure * drift)
        sensed = image * gain[..., None]
        sensed += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(2.4)
        return np.clip(sensed, 0, 255).astype(np.uint8)


def _car(x: float, z: float, heading: int, seed: int, shapes: tuple[Shape, ...]) -> Actor:
    """A car of one of these shapes as an actor."""
    shape = shapes[seed // 7 % len(shapes)]
    return Actor(
        z,
        lambda canvas: draw_car(canvas, x, z, heading, seed, shape),
        lambda canvas: car_shadow(canvas, x, z, shape),
    )


def _walker(x: float, z: float, heading: float, stride: float, seed: int) -> Actor:
    """Somebody on foot as an actor."""
    return Actor(
        z,
        lambda canvas: draw_pedestrian(canvas, x, z, heading, stride, seed),
        lambda canvas: person_shadow(canvas, x, z),
    )


def _rider(x: float, z: float, heading: int, crank: float, seed: int) -> Actor:
    """Somebody on a bicycle as an actor."""
    return Actor(
        z,
        lambda canvas: draw_cyclist(canvas, x, z, heading, crank, seed),
        lambda canvas: person_shadow(canvas, x, z),
    )


def street_clip(
    seed: int = 0, *, frames: int = 150, fps: float = 30, height: int = 360, width: int = 640, start: float = 0.0
) -> Iterator[tuple[Bytes, Bytes]]:
    """Yield `frames` pairs of image and labels as `Street.frame` gives them, `fps` a second from `start` seconds on.

    Raises ValueError for a rate that is not above 0, and what `Street` raises.
    """
    if not fps > 0:
        raise ValueError(f"a clip needs more than 0 frames a second, not {fps}")
    street = Street(seed)
    for index in range(frames):
        yield street.frame(start + index / fps, height=height, width=width)
