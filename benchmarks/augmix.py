"""AugMix in images per second on one CPU thread: ours on a batch, torchvision's on one image at a time.

Both mix 3 chains of 1 to 3 operations at severity 3, bilinear, from the list that shares none with CIFAR-10-C.
torchvision draws its operations once per call, so images that are to differ go through it one by one, as in a data
loader; it is measured on PIL images and on tensors, in its first and its second version, and the fastest of the four is
the yardstick. The images are generated, with the spectrum of photographs (1/f).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import v2

from benchmarks.harness import ratio, row, save, time_in_turns
from cards_deck.training.augmentations.augmix import AugMix

SEVERITY, WIDTH, DEPTH = 3, 3, 3
OURS = "ours, batched"


def photographs(n: int, size: int = 32) -> np.ndarray:
    """Seeded uint8 [n, size, size, 3] images whose amplitude falls as 1/f."""
    noise = np.fft.rfft2(np.random.default_rng(0).normal(size=(n, 3, size, size)))
    rows, columns = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    images = np.fft.irfft2(noise / np.maximum(np.hypot(rows, columns), 1 / size), s=(size, size))
    images = 127 + 50 * images / images.std(axis=(1, 2, 3), keepdims=True)
    return np.ascontiguousarray(images.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def candidates(images: np.ndarray, batch: int) -> dict[str, Callable[[], object]]:
    """Name -> a call that maps every one of uint8 [n, h, w, 3] images."""
    tensors = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    pictures = [Image.fromarray(image) for image in images]
    ours, generator = AugMix(width=WIDTH, depth=DEPTH, severity=SEVERITY), torch.Generator().manual_seed(0)
    settings = {"severity": SEVERITY, "mixture_width": WIDTH, "chain_depth": -1, "all_ops": False}
    first, second = transforms.AugMix(**settings), v2.AugMix(**settings)
    return {
        OURS: lambda: [ours.mix(rows, generator) for rows in tensors.split(batch)],
        "torchvision, PIL images": lambda: [first(picture) for picture in pictures],
        "torchvision, tensors": lambda: [first(tensor) for tensor in tensors],
        "torchvision v2, PIL images": lambda: [second(picture) for picture in pictures],
        "torchvision v2, tensors": lambda: [second(tensor) for tensor in tensors],
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512, help="images each maps per round (default 512)")
    parser.add_argument("--batch", type=int, default=128, help="images in one of our batches (default 128)")
    parser.add_argument("--repeats", type=int, default=15, help="rounds (default 15)")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    seconds = time_in_turns(candidates(photographs(options.images), options.batch), repeats=options.repeats)
    rows = [row(name, "images/s", [options.images / s for s in rounds]) for name, rounds in seconds.items()]
    others = {entry.name: entry.median for entry in rows if entry.name != OURS}
    ratios = {f"{OURS} / {name}": ratio(seconds[name], seconds[OURS]) for name in others}
    ratios[f"{OURS} / fastest of torchvision"] = ratios[f"{OURS} / {max(others, key=others.__getitem__)}"]
    save("augmix", rows, ratios, packages=("torch", "torchvision"))


if __name__ == "__main__":
    main()
