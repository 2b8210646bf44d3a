"""Sky and ground of the procedural street: each pixel's ray is followed to the clouds or to the road."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .layout import CELL, SIDES, Character, Sky
from .noise import NoiseTile, Plane
from .view import UP, Bytes, Camera, Light

SKY, ROAD, PAVEMENT, TREE = 0, 3, 4, 5
FARTHEST = 330.0  # metres; the ground ends there, in haze


def band(x: Plane, low: float | Plane, high: float | Plane, width: Plane) -> Plane:
    """How much of a pixel `width` metres wide around x lies between low and high, in [0, 1]."""
    return np.clip((x - low) / width + 0.5, 0, 1) - np.clip((x - high) / width + 0.5, 0, 1)


def dashes(z: Plane, period: float, length: float, width: Plane) -> Plane:
    """How much of a pixel `width` metres deep around z lies on dashes of this length, in [0, 1]."""
    phase = z - np.floor(z * np.float32(1 / period)) * np.float32(period)  # several times as fast as %
    share = band(phase, (period - length) / 2, (period + length) / 2, width)
    far = np.clip((width / period - 0.5) * 2, 0, 1)
    return share * (1 - far) + far * np.float32(length / period)


@dataclass(frozen=True)
class Rays:
    """Where the pixels of some rows look: world direction (x, y, z), three planes (rows, W) float32."""

    x: Plane
    y: Plane
    z: Plane

    @classmethod
    def of(cls, camera: Camera, rows: slice) -> "Rays":
        """The rays through the pixel centres of these rows."""
        across = (np.arange(camera.width) + 0.5 - camera.width / 2) / camera.focal
        down = (np.arange(camera.height)[rows] + 0.5 - camera.height / 2) / camera.focal
        turn = camera.rotation
        x, y, z = (across[None] * turn[0, i] + down[:, None] * turn[1, i] + turn[2, i] for i in range(3))
        return cls(x.astype(np.float32), y.astype(np.float32), z.astype(np.float32))


@dataclass(frozen=True)
class Profile:
    """What lies along the visible road, cell by cell from `begin` metres: see `Stretch.profile`; (3, 2, cells)."""

    begin: float
    cells: NDArray[np.float32]

    def at(self, layer: int, side: int, z: Plane) -> Plane:
        """The value of one layer beside ground points at z metres."""
        index = ((z - np.float32(self.begin)) / np.float32(CELL)).astype(np.int32)
        return self.cells[layer, int(side > 0)][np.clip(index, 0, self.cells.shape[2] - 1)]


@dataclass(frozen=True)
class Patch:
    """Points of the ground, one a pixel, all planes of one shape: where they lie and how large the pixel is there.

    `x` and `z` are in metres, `across` and `along` the pixel's width and depth in metres, `grain` its roughness.
    """

    x: Plane
    z: Plane
    across: Plane
    along: Plane
    grain: Plane

    def where(self, chosen: tuple[NDArray[np.intp], ...]) -> "Patch":
        """Only the chosen points, as flat planes."""
        planes = (self.x, self.z, self.across, self.along, self.grain)
        x, z, across, along, grain = (plane[chosen] for plane in planes)
        return Patch(x, z, across, along, grain)


class Backdrop:
    """Paints what is behind all things of one street: the sky and the ground."""

    def __init__(self, seed: int, character: Character, sky: Sky, light: Light) -> None:
        rng = np.random.default_rng((seed, 4))
        self.character, self.sky, self.light = character, sky, light
        self.fine = NoiseTile(rng, 0.35, 0.012)
        self.coarse = NoiseTile(rng, 1.1, 0.09)
        self.clouds = NoiseTile(rng, 1.45, 0.01)
        self.cover = rng.uniform(-0.6, 0.7)
        self.patches = rng.random((64, 64)).astype(np.float32)
        self.worn = rng.uniform(0.55, 0.95)
        self.tile = rng.uniform(0.5, 0.9)
        self.wander = rng.uniform(0, 500, 2)

    def draw(self, camera: Camera, time: float, profile: Profile) -> tuple[Bytes, Bytes]:
        """The (H, W, 3) uint8 image and (H, W) uint8 labels of sky and ground alone."""
        image = np.empty((camera.height, camera.width, 3), np.float32)
        labels = np.empty((camera.height, camera.width), np.uint8)
        lowest, highest = self._horizon(camera)
        image[:lowest] = self._sky(Rays.of(camera, slice(0, lowest)), time)
        labels[:lowest] = SKY
        ground, names = self._ground(camera, Rays.of(camera, slice(highest, None)), profile)
        overlap = lowest - highest
        below = Rays.of(camera, slice(highest, lowest)).y < 0
        image[highest:lowest] = np.where(below[..., None], ground[:overlap], image[highest:lowest])
        labels[highest:lowest] = np.where(below, names[:overlap], SKY)
        image[lowest:], labels[lowest:] = ground[overlap:], names[overlap:]
        return np.clip(image, 0, 255).astype(np.uint8), labels

    @staticmethod
    def _horizon(camera: Camera) -> tuple[int, int]:
        """The first row that is all ground and the first that has any."""
        slopes = Rays.of(camera, slice(None)).y[:, [0, -1]]
        lowest, highest = (slopes >= 0).any(axis=1).sum(), (slopes >= 0).all(axis=1).sum()
        return int(lowest), int(highest)

    def _sky(self, rays: Rays, time: float) -> Plane:
        """(rows, W, 3): a clear gradient, with clouds drifting on a plane above, or a grey cover."""
        climb = np.clip(rays.y / np.hypot(rays.x, rays.z), 0.004, None)
        top, low = {
            Sky.CLEAR: ((98, 150, 214), (222, 232, 242)),
            Sky.CLOUDY: ((128, 168, 216), (230, 235, 240)),
            Sky.OVERCAST: ((222, 225, 229), (244, 245, 246)),
        }[self.sky]
        rise = np.clip(climb * 1.7, 0, 1)[..., None] ** np.float32(0.7)
        clear = np.array(low, np.float32) + (np.array(top, np.float32) - np.array(low, np.float32)) * rise
        height = climb + np.float32(0.09)
        drift = self.wander + time * 0.004
        u, v = rays.x / height + np.float32(drift[0]), rays.z / height + np.float32(drift[1])
        density = self.clouds.at(u, v, np.float32(0.006) / height**2)
        if self.sky is Sky.OVERCAST:
            return clear * (1 + 0.04 * density[..., None])
        cover = np.clip(density * 0.55 + (self.cover if self.sky is Sky.CLOUDY else -0.75), 0, 1)[..., None]
        white = np.array((246, 246, 247), np.float32) - 34 * np.clip(density[..., None] - 0.8, 0, 1.4)
        return clear + (white - clear) * cover * np.clip(climb[..., None] * 8, 0.25, 1)

    def _ground(self, camera: Camera, rays: Rays, profile: Profile) -> tuple[Plane, Bytes]:
        """(rows, W, 3) colours and (rows, W) labels of the ground plane."""
        height = np.float32(camera.position[1])
        reach = height / np.maximum(-rays.y, height / FARTHEST)
        x = reach * rays.x + np.float32(camera.position[0])
        z = reach * rays.z + np.float32(camera.position[2])
        across = reach / np.float32(camera.focal)
        along = np.minimum(across * reach / height, 40)
        grain = self.fine.at(x, z, (across * along) ** 0.5) * 0.09 + self.coarse.at(x, z, along) * 0.05
        patch = Patch(x, z, across, along, grain)
        color, labels = self._asphalt(patch), np.full(x.shape, ROAD, np.uint8)
        self._markings(patch, profile, color)
        for side in SIDES:
            beside = np.nonzero((x * side > self.character.kerb(side) - 0.5) & (profile.at(0, side, z) < 0.5))
            verge = patch.where(beside)
            lawn = (profile.at(1, side, verge.z) > 0.5) & (verge.x * side > self.character.boundary(side))
            color[beside] = self._verge(side, verge, lawn, color[beside])
            named = np.where(lawn, TREE, PAVEMENT)
            labels[beside] = np.where(verge.x * side >= self.character.kerb(side), named, labels[beside])
        lit = self._sunlit(patch, profile)[..., None]
        color *= self.light.ambient.astype(np.float32) + lit * (self.light.on(UP) - self.light.ambient).astype(
            np.float32
        )
        clear = np.exp(-reach / np.float32(self.light.reach))[..., None]
        return color * clear + self.light.haze.astype(np.float32) * (1 - clear), labels

    def _asphalt(self, patch: Patch) -> Plane:
        """The carriageway with its repairs and wheel tracks, (rows, W, 3)."""
        character = self.character
        cell = self.patches[(patch.z / 5.5).astype(np.int32) & 63, np.floor(patch.x / 1.7).astype(np.int32) & 63]
        grey = character.asphalt * (1 + patch.grain - 0.1 * (cell > 0.92) + 0.05 * (cell < 0.06))
        tracks = np.cos((np.abs(patch.x) - character.lane / 2) * np.float32(2 * np.pi / 1.55))
        grey *= 1 - 0.035 * tracks
        return np.stack((grey, grey * 0.995, grey * 0.985), axis=-1)

    def _markings(self, patch: Patch, profile: Profile, color: Plane) -> None:
        """Paint the lines on the carriageway into the colours, in place."""
        character, z, across, along = self.character, patch.z, patch.across, patch.along
        white = band(patch.x, -0.06, 0.06, across) * dashes(z, character.dash[1], character.dash[0], along)
        yellow = np.zeros_like(patch.x)
        for side in SIDES:
            kerb, beside = character.kerb(side), patch.x * side
            mouth = profile.at(0, side, z)
            white += mouth * band(beside, kerb - 0.25, kerb - 0.05, across) * dashes(z, 0.9, 0.6, along)
            if character.parking[side > 0]:
                lane = band(beside, character.lane + 0.02, character.lane + 0.1, across)
                white += (1 - mouth) * lane * dashes(z, 6.0, 2.4, along)
            for line in range(character.edge_lines):
                inner = kerb - 0.28 - 0.2 * line
                yellow += (1 - mouth) * band(beside, inner - 0.08, inner, across)
        keep = np.clip(self.worn + patch.grain * 1.6, 0, 1)
        color += (np.array((212, 212, 208), np.float32) - color) * (np.clip(white, 0, 1) * keep)[..., None]
        color += (np.array((196, 166, 74), np.float32) - color) * (np.clip(yellow, 0, 1) * keep)[..., None]

    def _verge(self, side: int, patch: Patch, lawn: NDArray[np.bool_], road: Plane) -> Plane:
        """Gutter, kerb, pavement and lawn over the road's colours, all (N, 3), on one side."""
        kerb, edge = self.character.kerb(side), self.character.boundary(side)
        beside, across = patch.x * side, patch.across
        road = road * (1 - 0.3 * band(beside, kerb - 0.3, kerb, across)[:, None])
        paving = self._paving(beside, patch)
        paving *= 1 - 0.22 * np.clip((beside - edge + 0.7) / 0.7, 0, 1)[:, None]
        paving *= 1 + 0.12 * band(beside, kerb, kerb + 0.14, across)[:, None]
        paving[lawn] = np.array((92, 112, 58), np.float32) * (1 + 2.2 * patch.grain[lawn])[:, None]
        on = np.clip((beside - kerb) / across + 0.5, 0, 1)[:, None]
        return (road + (paving - road) * on) * (1 - 0.4 * band(beside, kerb - 0.07, kerb + 0.01, across)[:, None])

    def _paving(self, beside: Plane, patch: Patch) -> Plane:
        """Slabs with their joints, (N, 3)."""
        joints = dashes(beside, self.tile, 0.014, patch.across) + dashes(patch.z, self.tile, 0.014, patch.along)
        cell = self.patches[(patch.z / self.tile).astype(np.int32) & 63, (beside / self.tile).astype(np.int32) & 63]
        uneven = 0.1 * (cell - 0.5) * np.clip(self.tile / patch.along, 0, 1)
        tone = (1 + patch.grain * 0.7) * (1 + uneven - 0.25 * np.clip(joints, 0, 1))
        return np.array(self.character.paving, np.float32) * tone[:, None]

    def _sunlit(self, patch: Patch, profile: Profile) -> Plane:
        """How much of the sun reaches ground points past the buildings, in [0, 1]."""
        sun = self.light.sun
        side = 1 if sun[0] > 0 else -1
        lean = max(abs(float(sun[0])), 0.05)
        away = np.maximum(self.character.boundary(side) + 0.8 - patch.x * side, 0)
        height = profile.at(2, side, patch.z + away * np.float32(sun[2] / lean))
        return np.clip((away * np.float32(sun[1] / lean) - height) / 0.35 + 0.5, 0, 1)
