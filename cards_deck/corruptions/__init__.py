"""The corruptions of robustness benchmarks, made here: `corrupt(images, "fog", 3)`.

`CORRUPTIONS` are the 15 of CIFAR-10-C and `VALIDATION_CORRUPTIONS` the 4 that its authors set aside for tuning:
Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019;
constants and algorithms from ImageNet-C/create_c/make_cifar_c.py of github.com/hendrycks/robustness.
`CBAR_CORRUPTIONS` are the 10 of CIFAR-10-C-bar: Mintun, Kirillov and Xie, "On Interaction Between Augmentations and
Corruptions in Natural Corruption Robustness", NeurIPS 2021. `RESERVE_CORRUPTIONS` are the other twenty of the thirty
that they made for CIFAR-10: they are in no benchmark here, so that what is chosen on them was chosen on nothing that is
reported, though some are akin to what is: chromatic_abberation and blue_noise have relatives in CIFAR-10-C-bar. Five of
them are in ImageNet-C-bar; severities are every second of the ten levels that they give.
`HELD_BACK_CORRUPTIONS` are both kinds that no suite measures: gates are fitted and judged on these.

Severities are defined at 32 x 32; for a larger image every length in pixels grows with size / 32, as each corruption
says. The published images cannot be made again bit for bit (their script seeds nothing), so results on these are called
"CIFAR-10-C (regenerated, seed S)". numpy, scipy and Pillow only.

A new corruption is a new file here with a registered frozen dataclass.
"""

from __future__ import annotations

import numpy as np

from cards_deck.corruptions._base import PUBLISHED_SIZE, REGISTRY, Corruption, Draws, Images
from cards_deck.corruptions._checks import check_images, checked_integer
from cards_deck.corruptions._textures import frost_source
from cards_deck.errors import InputError
from cards_deck.registry import discover

__all__ = [
    "CBAR_CORRUPTIONS",
    "CORRUPTIONS",
    "HELD_BACK_CORRUPTIONS",
    "NOISE",
    "REGISTRY",
    "RESERVE_CORRUPTIONS",
    "SEVERITIES",
    "VALIDATION_CORRUPTIONS",
    "Corruption",
    "Draws",
    "corrupt",
    "frost_source",
]

discover(__name__, __path__)

CORRUPTIONS: tuple[str, ...] = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
VALIDATION_CORRUPTIONS: tuple[str, ...] = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
CBAR_CORRUPTIONS: tuple[str, ...] = (
    "blue_noise_sample",
    "brownish_noise",
    "checkerboard_cutout",
    "circular_motion_blur",
    "inverse_sparkles",
    "lines",
    "pinch_and_twirl",
    "ripple",
    "sparkles",
    "transverse_chromatic_abberation",
)
RESERVE_CORRUPTIONS: tuple[str, ...] = (
    "single_frequency_greyscale",
    "cocentric_sine_waves",
    "plasma_noise",
    "perlin_noise",
    "caustic_refraction",
    "blue_noise",
    "scatter",
    "chromatic_abberation",
    "hue_shift",
    "color_dither",
    "voronoi_noise",
    "caustic_noise",
    "fish_eye",
    "water_drop",
    "perspective_no_bars",
    "quadrilateral_no_bars",
    "bleach_bypass",
    "technicolor",
    "pseudocolor",
    "color_balance",
)
HELD_BACK_CORRUPTIONS = (*VALIDATION_CORRUPTIONS, *RESERVE_CORRUPTIONS)
NOISE = CORRUPTIONS[:3]
SEVERITIES = (1, 2, 3, 4, 5)

_CHUNK_PIXELS = 64 * PUBLISHED_SIZE**2  # images worked on at once: a few float64 copies stay in the cache


def corrupt(images: Images, name: str, severity: int, *, seed: int = 0) -> Images:
    """Corrupt each image by itself: the same pixels in any subset, order, batch, thread or process.

    images: uint8 [n, size, size, 3], size >= 32; name: a registered corruption; severity: 1 to 5; seed: any integer.
    Returns a new uint8 array of the same shape. Raises InputError for anything else.
    """
    corruption = REGISTRY.build(name)
    severity, seed = checked_integer("severity", severity), checked_integer("seed", seed)
    if severity not in SEVERITIES:
        raise InputError(f"severity must be 1, 2, 3, 4 or 5, not {severity}")
    check_images(images)
    out = np.empty_like(images, order="C")
    _keep_freed_memory()
    step = max(1, _CHUNK_PIXELS // max(1, images.shape[1] ** 2))
    for start in range(0, len(images), step):
        chunk = np.ascontiguousarray(images[start : start + step])
        out[start : start + step] = corruption(chunk, severity, Draws(chunk, name, severity, seed))
    return out


def _keep_freed_memory() -> None:
    """glibc maps an array of some 100 kB anew each time, which costs more than the arithmetic on it, until a larger one
    was freed: from then on it keeps what is smaller for the next array."""
    np.empty(16 << 20, np.uint8)
