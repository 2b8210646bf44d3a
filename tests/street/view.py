"""How the procedural street is seen: a pinhole camera and the daylight.

World axes: x to the right, y up, z along the street, in metres. Colours are RGB in [0, 255] as floats.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

NEAR = 0.4  # metres; what lies closer to the lens is cut off

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Color = tuple[float, float, float]


def point(x: float, y: float, z: float) -> Floats:
    """A world point, (3,) float64."""
    return np.array((x, y, z), dtype=np.float64)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: `rotation` (3, 3) turns the world's axes into x right, y down, z forward; pixels."""

    position: Floats
    rotation: Floats
    focal: float
    height: int
    width: int

    @cached_property
    def matrix(self) -> Floats:
        """(3, 3): a world offset from the camera to homogeneous pixel coordinates."""
        intrinsic = np.array(((self.focal, 0, self.width / 2), (0, self.focal, self.height / 2), (0, 0, 1)))
        return intrinsic @ self.rotation

    def scaled(self, factor: int) -> "Camera":
        """The same view on a grid `factor` times as fine."""
        return Camera(self.position, self.rotation, self.focal * factor, self.height * factor, self.width * factor)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixels (N, 2) and depths (N,) in metres of world points (N, 3), all of them in front of the camera."""
        homogeneous = (points - self.position) @ self.matrix.T
        depth = homogeneous[:, 2]
        return homogeneous[:, :2] / depth[:, None], depth

    def depths(self, points: Floats) -> Floats:
        """Depths (N,) in metres along the optical axis; negative behind the camera."""
        return (points - self.position) @ self.rotation[2]


def looking(yaw: float, pitch: float, roll: float) -> Floats:
    """The (3, 3) world-to-camera rotation of a view along z, turned by angles in radians: right, up, clockwise."""
    cos, sin = np.cos, np.sin
    turn = np.array(((cos(yaw), 0, -sin(yaw)), (0, 1, 0), (sin(yaw), 0, cos(yaw))))
    nod = np.array(((1, 0, 0), (0, cos(pitch), -sin(pitch)), (0, sin(pitch), cos(pitch))))
    lean = np.array(((cos(roll), sin(roll), 0), (-sin(roll), cos(roll), 0), (0, 0, 1)))
    return lean @ np.diag((1.0, -1.0, 1.0)) @ nod @ turn


@dataclass(frozen=True)
class Light:
    """Daylight: `sun` the unit vector towards the sun, colours as factors of a surface's own, and the air between."""

    sun: Floats
    sunlight: Floats
    ambient: Floats
    haze: Floats
    reach: float  # metres after which 63 % of a surface is lost in haze

    def on(self, normals: Floats) -> Floats:
        """Factors (..., 3) by which surfaces with these unit normals (..., 3) show their own colours.

        The sky lights upper faces more than lower ones.
        """
        facing = np.maximum(normals @ self.sun, 0.0)[..., None]
        return self.ambient * (0.8 + 0.2 * normals[..., 1:2]) + self.sunlight * facing

    def clearness(self, depth: float) -> float:
        """The share of a surface's colour that is left after `depth` metres of air."""
        return float(np.exp(-depth / self.reach))


UP = point(0, 1, 0)
TOWARDS_CAMERA = point(0, 0.2, -0.98)


def cut_near(camera: Camera, points: Floats) -> Floats:
    """The part of a convex polygon (N, 3) that lies beyond the near plane, (M, 3)."""
    depths = camera.depths(points) - NEAR
    if (depths > 0).all():
        return points
    kept: list[Floats] = []
    for index in range(len(points)):
        here, there = depths[index - 1], depths[index]
        if (here > 0) != (there > 0):
            kept.append(points[index - 1] + (points[index] - points[index - 1]) * (here / (here - there)))
        if there > 0:
            kept.append(points[index])
    return np.array(kept).reshape(-1, 3)
