"""Tileable noise, the stuff of the procedural street's asphalt, clouds, leaves and stains."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]  # float32 in all that is drawn pixel by pixel

GRAIN = 512  # texels along a side of the noise tiles


def spectral_noise(rng: np.random.Generator, size: int, slope: float) -> Plane:
    """Tileable noise (size, size) float32 of mean 0 and deviation 1 whose amplitude falls as frequency^-slope."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    phases = rng.uniform(0, 2 * np.pi, frequency.shape)
    noise = np.fft.irfft2(frequency**-slope * np.exp(1j * phases), s=(size, size))
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


class NoiseTile:
    """A tile of noise in all the resolutions in which distance may show it; it repeats without a seam."""

    def __init__(self, rng: np.random.Generator, slope: float, texel: float) -> None:
        """`texel` is the size in metres of the finest resolution's texels."""
        levels = [spectral_noise(rng, GRAIN, slope)]
        while levels[-1].shape[0] > 1:
            fine = levels[-1]
            levels.append((fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]) / 4)
        self.texel = texel
        self.flat = np.concatenate([level.ravel() for level in levels])
        self.offsets = np.cumsum([0] + [level.size for level in levels[:-1]]).astype(np.int32)

    def at(self, x: Plane, z: Plane, footprint: Plane) -> Plane:
        """The noise at ground points, averaged over about `footprint` metres; all of one shape."""
        deepest = len(self.offsets) - 1
        level = np.clip(np.log2(np.maximum(footprint / self.texel, 1)), 0, deepest).astype(np.int32)
        size = GRAIN >> level
        scale = size.astype(np.float32) / np.float32(GRAIN * self.texel)
        column = np.floor(x * scale).astype(np.int32) & (size - 1)
        row = np.floor(z * scale).astype(np.int32) & (size - 1)
        return self.flat[self.offsets[level] + row * size + column]
