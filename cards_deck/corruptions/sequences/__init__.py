"""The ten perturbation sequences of CIFAR-10-P, made here: `perturb(images, "tilt")`.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
section 3; constants from ImageNet-P/create_p/make_cifar_p.py of github.com/hendrycks/robustness, at its lowest
difficulty. A robust classifier gives one answer to all frames. The public files seed nothing, so results on these are
called "CIFAR-10-P (regenerated, seed S)".

Most sequences move by small steps, and a frame is compared with the one before it. The frames of the two NOISE
sequences are drawn independently, and each is compared with the first, which is clean. Only these, and zoom_blur, begin
with the clean image. A new perturbation is a new file here.
"""

from __future__ import annotations

import numpy as np

from cards_deck.corruptions._base import Draws, Images
from cards_deck.corruptions._checks import check_images, checked_integer
from cards_deck.corruptions.sequences._base import REGISTRY, Frames, Perturbation, empty_frames
from cards_deck.errors import InputError
from cards_deck.registry import discover

__all__ = ["NOISE", "PERTURBATIONS", "REGISTRY", "Perturbation", "frames_of", "perturb"]

discover(__name__, __path__)

PERTURBATIONS: tuple[str, ...] = (
    "gaussian_noise",
    "shot_noise",
    "motion_blur",
    "zoom_blur",
    "spatter",
    "brightness",
    "translate",
    "rotate",
    "tilt",
    "scale",
)
NOISE = PERTURBATIONS[:2]

_CHUNK_PIXELS = 16 * 32**2  # images worked on at once


def frames_of(name: str) -> int:
    """How many frames a published sequence of `name` has."""
    return REGISTRY.build(name).frames


def perturb(images: Images, name: str, *, frames: int | None = None, seed: int = 0) -> Frames:
    """A sequence of frames for each image by itself: the same pixels in any subset, order, batch or process.

    images: uint8 [n, size, size, 3], size >= 32; name: one of PERTURBATIONS; frames: how many, from the first on (None:
    all that were published); seed: any integer. Returns uint8 [n, frames, size, size, 3]. Raises InputError for
    anything else.
    """
    perturbation = REGISTRY.build(name)
    seed = checked_integer("seed", seed)
    count = perturbation.frames if frames is None else checked_integer("frames", frames)
    if not 1 <= count <= perturbation.frames:
        raise InputError(f"frames must be 1 to {perturbation.frames} for {name}, not {count}")
    check_images(images)
    out = empty_frames(images, count)
    step = max(1, _CHUNK_PIXELS // max(1, images.shape[1] ** 2))
    for start in range(0, len(images), step):
        chunk = np.ascontiguousarray(images[start : start + step])
        out[start : start + step] = perturbation(chunk, count, Draws(chunk, f"{name} sequence", 0, seed))
    return out
