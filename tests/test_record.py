"""A card's record: its pinned id, its JSON, and malformed ones refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cards_deck.card import CardRecord
from cards_deck.errors import CardError

RECORD = CardRecord(
    network={"name": "resnet", "depth": 20, "width": 16},
    method={"name": "rigl", "drop": 0.3},
    quantizer={"name": "none"},
    augmentation={"name": "augmix", "severity": 3},
    density=0.1,
    bits=16,
    data={"name": "cifar10", "sha256": "0" * 64},
    schedule={"epochs": 40},
    seed=1,
    parents=("0123456789ab",),
)


def test_the_id_is_pinned() -> None:
    assert RECORD.id == "b1619de40a19"  # a change here orphans every released card


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(CardRecord)])
def test_every_field_changes_the_id(field: str) -> None:
    other: dict[str, Any] = {"density": 0.2, "bits": 32, "seed": 2, "parents": (), "augmentation": {"name": "gaussian"}}
    changed = dataclasses.replace(RECORD, **{field: other.get(field, {"name": "other"})})
    assert changed.id != RECORD.id


def test_a_record_survives_json() -> None:
    assert CardRecord.from_json(RECORD.to_json()) == RECORD
    assert dataclasses.replace(RECORD, parents=list(RECORD.parents)).id == RECORD.id  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"density": 0}, "density"),
        ({"density": 1.5}, "density"),
        ({"density": True}, "density"),
        ({"density": float("nan")}, "density"),
        ({"bits": 4}, "bits"),
        ({"seed": "1"}, "seed"),
        ({"parents": "0123"}, "parents"),
        ({"parents": (1,)}, "parents"),
        ({"network": ["resnet"]}, "network"),
        ({"augmentation": {}}, "augmentation"),
        ({"method": {"x": float("nan")}}, "plain JSON"),
        ({"method": {"x": object()}}, "plain JSON"),
    ],
)
def test_a_malformed_record_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(CardError, match=says):
        dataclasses.replace(RECORD, **fields)
