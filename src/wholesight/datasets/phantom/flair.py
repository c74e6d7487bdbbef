"""From tissue to a FLAIR scan: contrast, shading, noise, whole numbers.

Axes: i j k voxels. Signals are relative to white matter, which is 1: fluid is dark, grey matter
a little brighter than white.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16
from scipy import ndimage

from wholesight.datasets.phantom.field import Grid, SmoothField, draw_field
from wholesight.datasets.phantom.head import Tissue

_BLUR_VOXELS = 0.45


class Scanner(NamedTuple):
    """How one head is imaged.

    gray, fluid : signal relative to white matter. rim, rim_mm : the bright lining of white
    matter along the ventricles, its height and its depth. texture : slow and fine variation
    inside a tissue. shading : the logarithm of the coil's sensitivity. white_units : white matter
    in the file.
    """

    gray: float
    fluid: float
    rim: float
    rim_mm: float
    texture: tuple[SmoothField, SmoothField]
    texture_sd: tuple[float, float]
    shading: SmoothField
    shading_sd: float
    noise_sd: float
    white_units: float


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """Draw a protocol and a coil."""
    return Scanner(
        gray=rng.uniform(1.12, 1.24),
        fluid=rng.uniform(0.16, 0.30),
        rim=rng.uniform(0.0, 0.30),
        rim_mm=rng.uniform(1.5, 3.0),
        texture=(draw_field(rng, 28.0), draw_field(rng, 7.0)),
        texture_sd=(rng.uniform(0.010, 0.025), rng.uniform(0.010, 0.020)),
        shading=draw_field(rng, 90.0),
        shading_sd=rng.uniform(0.03, 0.09),
        noise_sd=rng.uniform(0.018, 0.040),
        white_units=rng.uniform(250, 700),
    )


def flair_signal(tissue: Tissue, scanner: Scanner, grid: Grid) -> Float[np.ndarray, "i j k"]:
    """Signal without shading and noise; 0 outside the brain."""
    slow, fine = (field.on(grid)[0] for field in scanner.texture)
    varied = 1 + scanner.texture_sd[0] * slow + scanner.texture_sd[1] * fine
    rim = scanner.rim * np.exp(-np.clip(tissue.wall_mm, 0, None) / scanner.rim_mm)
    solid = tissue.white + scanner.gray * tissue.gray + rim * tissue.white
    signal = solid * varied + scanner.fluid * tissue.fluid
    sharp = (_BLUR_VOXELS, _BLUR_VOXELS, 0)
    return np.where(tissue.brain, ndimage.gaussian_filter(signal, sharp), 0)


def scan(
    signal: np.ndarray, scanner: Scanner, grid: Grid, rng: np.random.Generator
) -> Int16[np.ndarray, "i j k"]:
    """Image the signal: coil shading, Rician noise, whole numbers of at least 1 in the brain.

    The same generator gives the same noise, so a head and its copy with a lesion differ in the
    lesion only.
    """
    shaded = signal * np.exp(scanner.shading_sd * scanner.shading.on(grid)[0])
    real, imaginary = scanner.noise_sd * rng.standard_normal((2, *signal.shape))
    magnitude = np.hypot(shaded + real, imaginary) * scanner.white_units
    return np.where(signal > 0, np.clip(np.rint(magnitude), 1, None), 0).astype(np.int16)
