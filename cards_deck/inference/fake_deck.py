"""A tiny valid deck with random weights and real reference spectra, made in a moment and without torch: for tests."""

from __future__ import annotations

import numpy as np

from cards_deck.card import Card, CardRecord
from cards_deck.deck import Deck, GateConfig
from cards_deck.graph import Graph, Node
from cards_deck.spectrum import Floats, Images, build_references

WIDTH = 8


def fake_images(count: int, image_size: int = 32, seed: int = 0) -> Images:
    """uint8 [count, s, s, 3] with the falling spectrum (1/f) of natural images."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(image_size), np.fft.rfftfreq(image_size)
    radius = np.maximum(np.hypot(rows[:, None], columns), 1 / image_size)
    noise = np.fft.rfft2(rng.normal(size=(count, 3, image_size, image_size)))
    planes = np.fft.irfft2(noise / radius, s=(image_size, image_size))
    planes /= planes.std(axis=(2, 3), keepdims=True) + 1e-12
    return _uint8(0.5 + 0.2 * planes.transpose(0, 2, 3, 1))


def fake_deck(
    image_size: int = 32,
    classes: int = 10,
    *,
    cards_per_augmentation: int = 2,
    gate: GateConfig | None = None,
    seed: int = 0,
) -> Deck:
    """A deck of "augmix" (here: turned images) and "gaussian" (noise of 0.1) cards with random, sparse weights."""
    rng = np.random.default_rng(seed)
    clean = fake_images(128, image_size, seed)
    noisy = clean / 255 + rng.normal(0, 0.1, clean.shape)
    references = build_references({"augmix": np.rot90(clean, axes=(1, 2)), "gaussian": _uint8(noisy)})
    cards = [
        fake_card(f"{augmentation}_{replica + 1}", augmentation, classes=classes, seed=100 * seed + replica)
        for replica in range(cards_per_augmentation)
        for augmentation in references.augmentations
    ]
    names = tuple(f"class_{index}" for index in range(classes))
    return Deck("fake", "1", names, image_size, tuple(cards), references, gate or GateConfig())


def fake_card(name: str, augmentation: str = "augmix", *, classes: int = 10, seed: int = 0, bits: int = 16) -> Card:
    """A card of one residual block with random weights, half of its conv and head weights kept."""
    rng = np.random.default_rng([seed, len(augmentation), *augmentation.encode()])
    tensors: dict[str, Floats] = {
        "stem.weight": _normal(rng, (WIDTH, 3, 3, 3)),
        "conv.weight": _normal(rng, (WIDTH, WIDTH, 3, 3)),
        "head.weight": _normal(rng, (classes, WIDTH)),
        "head.bias": _normal(rng, (classes,)),
        "bn.weight": 1 + 0.1 * _normal(rng, (WIDTH,)),
        "bn.bias": 0.1 * _normal(rng, (WIDTH,)),
        "bn.running_mean": 0.1 * _normal(rng, (WIDTH,)),
        "bn.running_var": 1 + np.abs(_normal(rng, (WIDTH,))),
    }
    masks = {key: rng.random(tensors[key].shape) < 0.5 for key in ("stem.weight", "conv.weight", "head.weight")}
    for key, mask in masks.items():
        tensors[key] = np.where(mask, tensors[key].astype(np.float16), 0).astype(np.float32)
    kept = sum(int(mask.sum()) for mask in masks.values())
    record = CardRecord(
        network={"name": "fake", "width": WIDTH},
        method={"name": "random"},
        quantizer={"name": "none"},
        augmentation={"name": augmentation},
        density=kept / sum(mask.size for mask in masks.values()),
        bits=bits,
        data={"name": "none"},
        schedule={"epochs": 0},
        seed=seed,
    )
    return Card(name, record, _graph(), tensors, masks)


def _graph() -> Graph:
    norm = {role: f"bn.{role}" for role in ("weight", "bias", "running_mean", "running_var")}
    nodes = (
        Node("normalize", ("images",), "x0", attrs={"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}),
        Node("conv2d", ("x0",), "x1", {"weight": "stem.weight"}, {"stride": 2, "padding": 1}),
        Node("conv2d", ("x1",), "x2", {"weight": "conv.weight"}, {"padding": 1}),
        Node("batch_norm", ("x2",), "x3", norm),
        Node("relu", ("x3",), "x4"),
        Node("add", ("x4", "x1"), "x5"),
        Node("global_avg_pool", ("x5",), "x6"),
        Node("linear", ("x6",), "logits", {"weight": "head.weight", "bias": "head.bias"}),
    )
    return Graph("images", "logits", nodes)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    fan_in = int(np.prod(shape[1:])) or 1
    return rng.normal(0, 1 / np.sqrt(fan_in), shape).astype(np.float32)


def _uint8(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Images:
    return np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)
