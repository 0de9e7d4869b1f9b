"""How large everything is: settings for a CPU of one core and minutes, and for a GPU; the arms are the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cards_deck.errors import InputError
from cards_deck.registry import describe
from cards_deck.training.augmentations import AUGMENTATIONS
from cards_deck.training.networks import NETWORKS
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets import METHODS
from eval.tickets.cells import Cell, Setting
from eval.tickets.controls import CONTROLS

Json = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """Sizes that all claims share.

    Attributes:
        name: `small` or `full`.
        network: of most arms.
        schedule: of each training run, where a claim has none of its own.
        images: training images; None: all.
        density: of most tickets.
        sparse: where a claim is about high sparsity.
        rate: share of the survivors that a level of iterative pruning takes.
        rewind: epochs that networks are rewound to, or train before they part.
        interval: steps between updates of moving masks.
        noisy_images: training images of the study of label noise.
        noisy_epochs: its epochs.
        measured: further fields of `Setting`.
        attack: of the adversarial arms: radius in grey levels, steps in training and in the test, images tested.
    """

    name: str
    network: Json
    schedule: Schedule
    images: int | None
    density: float
    sparse: float
    rate: float
    rewind: int
    interval: int
    noisy_images: int | None
    noisy_epochs: int
    measured: Mapping[str, Any] = field(default_factory=dict)
    attack: Mapping[str, int] = field(default_factory=dict)

    def with_epochs(self, factor: float, **changes: Any) -> Schedule:
        """The schedule with `factor` times the epochs and other fields changed."""
        return replace(self.schedule, epochs=max(1, round(factor * self.schedule.epochs)), **changes)

    def setting(self, schedule: Schedule | None = None, augmentation: Json | None = None, **changes: Any) -> Setting:
        """The setting of a cell; `changes` are fields of `Setting`."""
        values: dict[str, Any] = {"images": self.images, **self.measured, **changes}
        crop = describe(AUGMENTATIONS.build("crop_flip"))
        return Setting(self.network, augmentation or crop, (schedule or self.schedule).describe(), **values)


def described(method: str, **fields: Any) -> Json:
    """A ticket method or a control with these fields, as a cell holds it."""
    return describe((CONTROLS if method in CONTROLS else METHODS).build(method, **fields))


def cell(
    name: str,
    scale: Scale,
    seed: int,
    method: Json,
    *,
    given: Cell | None = None,
    procedure: str = "tickets",
    options: Json | None = None,
    setting: Setting | None = None,
) -> Cell:
    """A cell of `scale`, in its usual setting where none is given."""
    return Cell(name, setting or scale.setting(), method, seed, given, procedure, options or {})


SMALL = Scale(
    name="small",
    network=describe(NETWORKS.build("resnet", widths=(16, 32, 64), blocks=(1, 1, 1))),
    schedule=Schedule(epochs=10, batch_size=64, warmup=0.1, sizes=((0.5, 16), (0.85, 24))),
    images=5000,
    density=0.1,
    sparse=0.03,
    rate=0.37,
    rewind=2,
    interval=25,
    noisy_images=300,
    noisy_epochs=120,
    measured={"validation": 2000, "corrupted": 1000, "test": None, "test_corrupted": 500},
    attack={"levels": 4, "train_steps": 2, "steps": 10, "images": 500},
)

FULL = Scale(
    name="full",
    network=describe(NETWORKS.build("resnet", widths=(16, 32, 64), blocks=(3, 3, 3))),
    schedule=Schedule(epochs=160, batch_size=128, warmup=0.03, decay="step", milestones=(0.5, 0.75), weight_decay=1e-4),
    images=None,
    density=0.1,
    sparse=0.02,
    rate=0.2,
    rewind=6,
    interval=100,
    noisy_images=None,
    noisy_epochs=160,
    measured={"validation": 5000, "corrupted": 2000, "test": None, "test_corrupted": 2000},
    attack={"levels": 8, "train_steps": 3, "steps": 20, "images": 2000},
)

SCALES: Mapping[str, Scale] = {scale.name: scale for scale in (SMALL, FULL)}


def scale_named(name: str) -> Scale:
    """The scale, or InputError listing them."""
    if name not in SCALES:
        raise InputError(f"unknown scale {name!r}: choose one of {', '.join(SCALES)}")
    return SCALES[name]


def steps_of(scale: Scale, epochs: int) -> int:
    """Steps of so many epochs; all of CIFAR-10's training images are 45,000 once validation images are held out."""
    return epochs * ((scale.images or 45_000) // scale.schedule.batch_size)


def fields_for(scale: Scale, method: str) -> Json:
    """What a method needs to suit a scale's epochs: how far it prunes at a time, how often masks move."""
    moving: Json = {"interval": scale.interval}
    suited: dict[str, Json] = {
        "lottery": {"rate": scale.rate, "rewind": steps_of(scale, scale.rewind)},
        "lr_rewinding": {"rate": scale.rate},
        "levels": {"rate": scale.rate},
        "colt": {"rate": scale.rate},
        "double_win": {"rate": scale.rate},
        "gradual_magnitude": moving,
        "rigl": moving,
        "set": moving,
        "dst_ee": moving,
        "free_tickets": moving,
        "sup_tickets": moving | {"share": 0.4 if scale.name == "small" else 0.1},
        "tost": {"rescale_steps": 30 if scale.name == "small" else 180},
    }
    return suited.get(method, {})
