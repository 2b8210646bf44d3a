"""Cars of the procedural street: faceted solids, lit face by face."""

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np

from .canvas import Canvas
from .view import NEAR, Color, Floats, point

CAR = 8

PAINTS: tuple[Color, ...] = (
    (184, 188, 192), (120, 124, 130), (46, 48, 54), (226, 228, 228), (128, 24, 28), (36, 56, 112), (24, 62, 52),
    (92, 30, 44), (62, 92, 140), (176, 160, 130), (200, 52, 36), (74, 78, 84), (196, 200, 204), (30, 32, 36),
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A car's outline from the side, (z, y) in metres, hind end first: the body, then the cabin on top of it."""

    body: tuple[tuple[float, float], ...]
    cabin: tuple[tuple[float, float], ...]
    half_width: float
    axles: tuple[float, float]


HATCHBACK = Shape(
    ((-1.85, 0.26), (-1.98, 0.52), (-1.92, 0.92), (0.85, 0.95), (1.72, 0.8), (1.92, 0.58), (1.88, 0.24)),
    ((-1.88, 0.92), (-1.6, 1.4), (-1.2, 1.46), (0.0, 1.45), (0.9, 0.94)),
    0.84, (-1.22, 1.24),
)  # fmt: skip
SALOON = Shape(
    ((-2.15, 0.28), (-2.25, 0.54), (-2.15, 0.94), (-1.3, 0.96), (0.9, 0.94), (1.95, 0.8), (2.2, 0.57), (2.12, 0.26)),
    ((-1.75, 0.95), (-1.0, 1.38), (-0.6, 1.42), (0.1, 1.4), (1.0, 0.93)),
    0.87, (-1.35, 1.35),
)  # fmt: skip
TALL = Shape(
    ((-2.1, 0.32), (-2.2, 0.6), (-2.15, 1.02), (1.0, 1.04), (1.85, 0.95), (2.1, 0.62), (2.05, 0.32)),
    ((-2.13, 1.02), (-2.0, 1.66), (-1.6, 1.74), (0.2, 1.72), (1.1, 1.03)),
    0.9, (-1.3, 1.35),
)  # fmt: skip
VAN = Shape(
    ((-2.45, 0.36), (-2.5, 0.65), (-2.48, 1.15), (1.5, 1.15), (2.2, 1.05), (2.45, 0.7), (2.4, 0.36)),
    ((-2.48, 1.15), (-2.44, 2.1), (-2.3, 2.2), (1.0, 2.18), (1.75, 1.14)),
    0.96, (-1.5, 1.55),
)  # fmt: skip
BUS = Shape(
    ((-5.0, 0.4), (-5.1, 0.8), (-5.08, 1.25), (4.85, 1.25), (5.0, 1.15), (5.05, 0.7), (5.0, 0.4)),
    ((-5.08, 1.25), (-5.05, 2.75), (-4.9, 2.9), (4.65, 2.9), (4.9, 1.25)),
    1.2, (-3.1, 3.2),
)  # fmt: skip
PARKED = (HATCHBACK, HATCHBACK, SALOON, SALOON, TALL, VAN)
DRIVEN = (*PARKED, *PARKED, BUS)

FIXED: dict[str, Color] = {
    "glass": (46, 54, 62), "sky glass": (112, 124, 136), "dark": (30, 30, 33), "tyre": (24, 24, 26),
    "hub": (124, 126, 130), "side glass": (34, 40, 46), "front lamp": (232, 236, 238), "rear lamp": (168, 22, 26), 
    "front plate": (236, 236, 230), "rear plate": (226, 190, 50),
}  # fmt: skip


@dataclass
class Mesh:
    """Flat faces with a material each; those added later lie over those added before."""

    vertices: list[Floats] = field(default_factory=list)
    faces: list[slice] = field(default_factory=list)
    materials: list[str] = field(default_factory=list)
    normals: list[Floats] = field(default_factory=list)

    def add(self, corners: Floats, material: str, inside: Floats) -> None:
        """Add a convex face (N, 3) that shows only on the side away from the point `inside`."""
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normal = normal / max(float(np.linalg.norm(normal)), 1e-9)
        if normal @ (corners.mean(axis=0) - inside) < 0:
            normal = -normal
        self.faces.append(slice(len(self.vertices), len(self.vertices) + len(corners)))
        self.vertices.extend(corners)
        self.materials.append(material)
        self.normals.append(normal)


def _strip(low: tuple[float, float], high: tuple[float, float], low_half: float, high_half: float) -> Floats:
    """The face across the car between two points of its outline, (4, 3)."""
    return np.array(
        ((-low_half, low[1], low[0]), (-high_half, high[1], high[0]),
         (high_half, high[1], high[0]), (low_half, low[1], low[0]))
    )  # fmt: skip


def _shrunk(corners: Floats, share: float) -> Floats:
    """A face drawn in towards its middle."""
    middle = corners.mean(axis=0)
    return middle + (corners - middle) * share


def _body(mesh: Mesh, shape: Shape) -> None:
    """The lower body: bumpers, bonnet, boot and flanks."""
    centre = point(0, 0.6, 0)
    half = shape.half_width
    outline = shape.body
    mesh.add(_strip(outline[-1], outline[0], half, half), "dark", centre)
    last = len(outline) - 2
    for index, (low, high) in enumerate(pairwise(outline)):
        taper = half - 0.04 if index in (0, last) else half
        mesh.add(_strip(low, high, taper, taper), "bumper" if index in (0, last) else "paint", centre)
    for side in (-1, 1):
        mesh.add(np.array([(side * half, y, z) for z, y in outline]), "paint", centre)
        waist = [(z, min(y, 0.62)) for z, y in outline]
        mesh.add(np.array([(side * (half + 0.003), y, z) for z, y in waist]), "shade", centre)
        sill = [(side * (half + 0.005), y, z) for z, y in ((outline[0][0], 0.3), (outline[-1][0], 0.3))]
        sill += [(side * (half + 0.005), y, z) for z, y in ((outline[-1][0], 0.42), (outline[0][0], 0.42))]
        mesh.add(np.array(sill), "bumper", centre)


def _cabin(mesh: Mesh, shape: Shape) -> None:
    """Roof, pillars and windows."""
    outline = shape.cabin
    base, roof = outline[0][1], max(y for _, y in outline)
    centre = point(0, base, 0)

    def half(y: float) -> float:
        return shape.half_width - 0.05 - 0.17 * (y - base) / (roof - base)

    for low, high in pairwise(outline):
        mesh.add(_strip(low, high, half(low[1]), half(high[1])), "paint", centre)
    for low, high, tint in ((outline[0], outline[1], "glass"), (outline[-1], outline[-2], "sky glass")):
        window = _shrunk(_strip(low, high, half(low[1]), half(high[1])), 0.84)
        mesh.add(window, tint, centre)
        seats = window.copy()
        seats[1:3] = seats[[0, 3]] + (seats[1:3] - seats[[0, 3]]) * 0.5
        mesh.add(seats + 0.01 * (window[:1] - centre) * (0, 0, 1), "side glass", centre)
    for side in (-1, 1):
        mesh.add(np.array([(side * half(y), y, z) for z, y in outline]), "paint", centre)
        for pane in _panes(shape, base + 0.05, roof - 0.1):
            mesh.add(np.array([(side * (half(y) + 0.01), y, z) for z, y in pane]), "glass", centre)
            seats_seen = [(z, min(y, base + 0.24)) for z, y in pane]
            mesh.add(np.array([(side * (half(y) + 0.014), y, z) for z, y in seats_seen]), "side glass", centre)


def _panes(shape: Shape, low: float, high: float) -> list[list[tuple[float, float]]]:
    """The side windows behind and before the middle pillar, (z, y)."""
    (back, _), (back_top, _) = shape.cabin[0], shape.cabin[1]
    (front_top, _), (front, _) = shape.cabin[-2], shape.cabin[-1]
    middle = (back_top + front_top) / 2
    rear = [(back + 0.2, low), (back_top + 0.12, high), (middle - 0.05, high), (middle - 0.05, low)]
    fore = [(middle + 0.05, low), (middle + 0.05, high), (front_top - 0.05, high), (front - 0.22, low)]
    return [fore] if shape is VAN else [rear, fore]


def _wheels(mesh: Mesh, shape: Shape) -> None:
    """Wheels as discs on the flanks."""
    turns = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    for side in (-1, 1):
        for axle in shape.axles:
            for radius, material, out in (
                (0.38, "dark", 0.012),
                (0.31, "tyre", 0.02),
                (0.2, "hub", 0.03),
                (0.07, "dark", 0.04),
            ):
                rim = [
                    (
                        side * (shape.half_width + out),
                        max(0.31 + radius * np.sin(turn), 0),
                        axle + radius * np.cos(turn),
                    )
                    for turn in turns
                ]
                mesh.add(np.array(rim), material, point(0, 0.3, axle))


def _tyres(mesh: Mesh, shape: Shape) -> None:
    """The tyres as they show below the bumpers, from in front and from behind."""
    for side in (-1, 1):
        for axle, way in zip(shape.axles, (-1, 1), strict=True):
            x, z = side * (shape.half_width - 0.12), axle + way * 0.3
            tread = np.array(((x - 0.11, 0, z), (x - 0.11, 0.5, z), (x + 0.11, 0.5, z), (x + 0.11, 0, z)))
            mesh.add(tread, "tyre", point(0, 0.2, 0))


def _end_face(shape: Shape, way: int, outline: tuple[tuple[float, float], ...]) -> Floats:
    """Points (x, share of the height) of the car's hind (`way` -1) or front end face as world offsets (N, 3)."""
    low, high = (shape.body[1], shape.body[2]) if way < 0 else (shape.body[-2], shape.body[-3])
    rise, run = high[1] - low[1], high[0] - low[0]
    return np.array([(x, low[1] + rise * share, low[0] + run * share + way * 0.012) for x, share in outline])


def _lamps(mesh: Mesh, shape: Shape) -> None:
    """Lamps and number plates."""
    half, inside = shape.half_width, point(0, 0.6, 0)
    lamp = ((half - 0.03, 0.4), (half - 0.03, 0.95), (half - 0.3, 0.95), (half - 0.34, 0.5))
    plate = ((-0.26, 0.05), (-0.26, 0.33), (0.26, 0.33), (0.26, 0.05))
    for way, end in ((-1, "rear"), (1, "front")):
        for side in (-1, 1):
            mesh.add(_end_face(shape, way, tuple((side * x, share) for x, share in lamp)), f"{end} lamp", inside)
        mesh.add(_end_face(shape, way, plate), f"{end} plate", inside)


@dataclass(frozen=True)
class Model:
    """A finished car at the origin, heading along z: vertices (V, 3), normals and centres (F, 3)."""

    vertices: Floats
    faces: tuple[slice, ...]
    materials: tuple[str, ...]
    normals: Floats
    centres: Floats


@lru_cache(maxsize=len(DRIVEN))
def model(shape: Shape) -> Model:
    """The solid of a shape."""
    mesh = Mesh()
    for part in (_tyres, _body, _cabin, _wheels, _lamps):
        part(mesh, shape)
    vertices = np.array(mesh.vertices)
    centres = np.array([vertices[face].mean(axis=0) for face in mesh.faces])
    return Model(vertices, tuple(mesh.faces), tuple(mesh.materials), np.array(mesh.normals), centres)


def car_shadow(canvas: Canvas, x: float, z: float, shape: Shape) -> None:
    """Darken the ground under a car."""
    for grow, strength in ((0.25, 0.25), (0.1, 0.35), (-0.1, 0.5)):
        half, reach = shape.half_width + grow, shape.body[-2][0] + grow
        corners = ((-half, -reach), (half, -reach), (half, reach), (-half, reach))
        canvas.shadow(np.array([(x + side, 0.0, z + way) for side, way in corners]), strength)


def draw_car(canvas: Canvas, x: float, z: float, heading: int, seed: int, shape: Shape) -> None:
    """Draw a car that stands at (x, z) and drives towards growing z (`heading` 1) or towards the camera (-1)."""
    rng = np.random.default_rng((seed, 8))
    solid = model(shape)
    paint = PAINTS[rng.integers(len(PAINTS))]
    plastic = paint if rng.random() < 0.6 else (44, 44, 48)
    colors = FIXED | {
        "paint": paint,
        "shade": tuple(0.8 * channel for channel in paint),
        "bumper": tuple(0.85 * channel for channel in plastic),
    }
    turn = np.array((heading, 1, heading))
    offset = point(x, 0, z)
    vertices, normals = solid.vertices * turn + offset, solid.normals * turn
    outwards = np.einsum("ij,ij->i", normals, canvas.camera.position - (solid.centres * turn + offset))
    depths = canvas.camera.depths(vertices)
    if depths.max() < NEAR:
        return
    whole = bool(depths.min() > NEAR)
    pixels = canvas.camera.project(vertices)[0].tolist() if whole else []
    depth = max(NEAR, float(depths.mean()))
    shown = np.nonzero(outwards > 0)[0].tolist()
    tints = np.array([colors[solid.materials[index]] for index in shown]).reshape(-1, 3)
    inks = canvas.seen(tints, normals[shown], depth)
    for index, tint, ink in zip(shown, tints.tolist(), inks, strict=True):
        if whole:
            canvas.flat([(across, down) for across, down in pixels[solid.faces[index]]], ink, CAR)
        else:
            canvas.fill(vertices[solid.faces[index]], (tint[0], tint[1], tint[2]), CAR, normals[index])
