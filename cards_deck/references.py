"""The gate's references and their file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck import files, tensorfile
from cards_deck.checks import is_text
from cards_deck.errors import InputError

FORMAT, VERSION = "cards-deck/references", "1"


@dataclass(frozen=True, eq=False)
class References:
    """What the gate knows of each augmentation.

    `log_amplitude` float32 [a, h, h//2+1]: mean log-amplitude spectrum of its images. `scale` float32 [a]: mean
    distance of its images to that. `quantiles` float32 [q]: quantiles, at q levels evenly spaced from 0 to 1, of the
    distance of all training images to their nearest reference. Raises InputError unless shapes fit and all is finite.
    """

    augmentations: tuple[str, ...]
    log_amplitude: NDArray[np.float32]
    scale: NDArray[np.float32]
    quantiles: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "augmentations", tuple(self.augmentations))
        count, size = len(self.augmentations), self.log_amplitude.shape[1] if self.log_amplitude.ndim == 3 else 0
        if count < 1 or len(set(self.augmentations)) != count:
            raise InputError(f"references need distinct augmentation names, got {self.augmentations!r:.200}")
        if not all(is_text(name, 100) for name in self.augmentations):
            raise InputError("an augmentation's name must be a text of 1 to 100 characters")
        if size < 1 or self.log_amplitude.shape != (count, size, size // 2 + 1) or self.scale.shape != (count,):
            raise InputError(f"references must be [{count}, h, h//2+1] with scale [{count}]")
        if self.quantiles.ndim != 1 or len(self.quantiles) < 2 or (np.diff(self.quantiles) < 0).any():
            raise InputError("quantiles must be a rising series of at least 2 values")
        for array in (self.log_amplitude, self.scale, self.quantiles):
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise InputError("references must be float32 and finite")

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels, that the references are of."""
        return int(self.log_amplitude.shape[1])

    def distance_at(self, quantile: float) -> float:
        """The distance that this fraction of the training images stays below (between levels: linear)."""
        return float(np.interp(quantile, np.linspace(0, 1, len(self.quantiles)), self.quantiles))


def references_bytes(references: References) -> bytes:
    """The references' file: equal references give equal bytes."""
    tensors = {
        "log_amplitude": references.log_amplitude,
        "quantiles": references.quantiles,
        "scale": references.scale,
    }
    names = files.canonical_json(references.augmentations)
    return tensorfile.encode(tensors, {"format": FORMAT, "version": VERSION, "augmentations": names})


def references_from_bytes(data: bytes) -> References:
    """The references in a file's bytes; ValueError says what is wrong with them."""
    tensors, metadata = tensorfile.decode(data)
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise ValueError(f"it must be {FORMAT!r} version {VERSION}")
    if set(tensors) != {"log_amplitude", "quantiles", "scale"}:
        raise ValueError("it must hold log_amplitude, quantiles and scale")
    names = files.strict_json(metadata.get("augmentations", ""))
    if not isinstance(names, list):
        raise ValueError("its augmentations must be a list of names")
    own: dict[str, Any] = {name: np.array(array) for name, array in tensors.items()}
    return References(tuple(names), **own)
