"""The gate's references and their file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck import files, tensorfile
from cards_deck.checks import is_text
from cards_deck.errors import InputError

FORMAT, VERSION = "cards-deck/references", "2"
_TENSORS = {"1": {"log_amplitude", "quantiles", "scale"}, "2": {"log_amplitude", "quantiles", "scale", "tails"}}


@dataclass(frozen=True, eq=False)
class References:
    """What the gate knows of each augmentation.

    `log_amplitude` float32 [a, h, h//2+1]: mean log-amplitude spectrum of its images. `scale` float32 [a]: mean
    distance of its images to that. `quantiles` float32 [q]: quantiles, at q levels evenly spaced from 0 to 1, of the
    distance of all training images to their nearest reference. `tails` float32 [a, q]: the same of the distance of each
    augmentation's own images to its own reference; files of version 1 lack it (None). Raises InputError unless shapes
    fit and all is finite.
    """

    augmentations: tuple[str, ...]
    log_amplitude: NDArray[np.float32]
    scale: NDArray[np.float32]
    quantiles: NDArray[np.float32]
    tails: NDArray[np.float32] | None = None

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
        arrays = [self.log_amplitude, self.scale, self.quantiles]
        if self.tails is not None:
            arrays.append(self.tails)
            if self.tails.ndim != 2 or len(self.tails) != count or self.tails.shape[1] < 2:
                raise InputError(f"tails must be [{count}, q] with q at least 2, not {list(self.tails.shape)}")
            if (np.diff(self.tails, axis=1) < 0).any():
                raise InputError("each row of tails must rise")
        for array in arrays:
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise InputError("references must be float32 and finite")

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels, that the references are of."""
        return int(self.log_amplitude.shape[1])

    def distance_at(self, quantile: float) -> float:
        """The distance that this fraction of the training images stays below (between levels: linear)."""
        return float(np.interp(quantile, np.linspace(0, 1, len(self.quantiles)), self.quantiles))

    def calibrated(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n, a] in [0, 1] from distances [n, a]: the share of that augmentation's own training images that lie
        nearer to its reference, so 0.99 is "farther than 99 % of them".

        Without `tails` (version 1) the quantiles of all images stand in, stretched to the augmentation's mean distance.
        """
        tails = self.tails
        if tails is None:
            tails = self.quantiles * (self.scale / max(float(self.quantiles.mean()), 1e-12))[:, None]
        levels = np.linspace(0, 1, tails.shape[1])
        columns = [np.interp(own, tail, levels) for own, tail in zip(distances.T, tails, strict=True)]
        return np.stack(columns, axis=1).astype(np.float32)


def references_bytes(references: References) -> bytes:
    """The references' file: equal references give equal bytes; version 1 where there are no tails."""
    tensors = {
        "log_amplitude": references.log_amplitude,
        "quantiles": references.quantiles,
        "scale": references.scale,
    }
    if references.tails is not None:
        tensors["tails"] = references.tails
    names = files.canonical_json(references.augmentations)
    version = "1" if references.tails is None else VERSION
    return tensorfile.encode(tensors, {"format": FORMAT, "version": version, "augmentations": names})


def references_from_bytes(data: bytes) -> References:
    """The references in a file's bytes; ValueError says what is wrong with them."""
    tensors, metadata = tensorfile.decode(data)
    wanted = _TENSORS.get(metadata.get("version", ""))
    if metadata.get("format") != FORMAT or wanted is None:
        raise ValueError(f"it must be {FORMAT!r} version {' or '.join(_TENSORS)}")
    if set(tensors) != wanted:
        raise ValueError(f"it must hold {', '.join(sorted(wanted))}")
    names = files.strict_json(metadata.get("augmentations", ""))
    if not isinstance(names, list):
        raise ValueError("its augmentations must be a list of names")
    own: dict[str, Any] = {name: np.array(array) for name, array in tensors.items()}
    return References(tuple(names), **own)
