"""A gate fitted to images without labels: what it may change, what it must not, and that the numbers are honest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gate_rows
import numpy as np
import pytest
from fitted_gates import KINDS, STRANGE, fitted_deck
from numpy.typing import NDArray
from photos import blurred, noisy

from cards_deck.deck import Deck, GateConfig, write_deck
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import GATES, Known, Observed, build_gate, fit_gate, judge
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import build_references, distances, log_amplitude
from cards_deck.tuning import BLOCKS, Tuned, _fit, needed, tune
from cards_deck.tuning._fit import BEYOND, VALUES
from cards_deck.tuning._references import refitted

Images = NDArray[np.uint8]


def augment(images: Images, description: Mapping[str, Any], seed: int) -> Images:
    """The fake deck's augmentations."""
    return noisy(images, 26, seed) if description["name"] == "gaussian" else np.rot90(images, axes=(1, 2)).copy()


def camera(count: int, seed: int = 5) -> Images:
    """Images unlike those of the deck: out of focus, and a little noisy."""
    return noisy(blurred(fake_images(count, seed=seed), 0.9), 3, seed)


def deck(**gate: Any) -> Deck:
    """With a threshold that 200 images are enough for."""
    return fake_deck(gate=GateConfig(**{"unknown_quantile": 0.99, **gate}))


def tuned(made: Deck | None = None, images: Images | None = None, **options: Any) -> Tuned:
    given = {"augment": augment, "engine": EngineKind.FAKE, **options}
    return tune(made or deck(), camera(200) if images is None else images, **given)


def fitted_on(count: int) -> NDArray[np.bool_]:
    """Every second block of neighbours."""
    return np.arange(count) * BLOCKS // count % 2 == 0


@pytest.fixture(scope="module")
def plain() -> Tuned:
    return tuned()


def test_images_unlike_the_deck_s_become_known_and_other_ones_do_not(plain: Tuned) -> None:
    assert plain.before.unknown > 0.9
    assert plain.after.unknown < 0.1
    gate = build_gate(plain.deck.gate, Known.of(plain.deck))
    new = camera(200, seed=77)
    assert gate.route(log_amplitude(new)).unknown.mean() < 0.1
    odd = np.full((2, 32, 32, 3), 9, np.uint8)
    odd[1, ::2] = 250
    assert gate.route(log_amplitude(odd)).unknown.all()


def test_after_agrees_no_less_and_costs_no_more(plain: Tuned) -> None:
    assert plain.after.cards_per_image <= plain.before.cards_per_image + 0.05
    assert plain.after.agreement >= plain.before.agreement - 0.02
    for measured in (plain.before, plain.after):
        assert sum(measured.choices.values()) == pytest.approx(1)
        assert measured.cards_per_image <= 2
        assert measured.gate_ms > 0


def test_the_numbers_are_of_images_that_the_fit_never_saw() -> None:
    """Other images in the half that is fitted on change the gate; other ones in the half measured on only numbers."""
    images, other = camera(200), fake_images(200, seed=50)
    fitted = fitted_on(200)[:, None, None, None]
    one = tuned(images=images)
    same_gate, other_gate = (
        tuned(images=np.where(fitted, images, other)),
        tuned(images=np.where(fitted, other, images)),
    )
    assert np.array_equal(one.deck.references.quantiles, same_gate.deck.references.quantiles)
    assert one.deck.gate == same_gate.deck.gate
    assert one.after.agreement != same_gate.after.agreement
    assert not np.array_equal(one.deck.references.quantiles, other_gate.deck.references.quantiles)
    assert (one.fitted, one.before.images) == (100, 100)


def test_before_is_what_the_deck_does_and_after_what_the_new_deck_does(plain: Tuned) -> None:
    images = camera(200)[~fitted_on(200)]
    for made, said in ((deck(), plain.before), (plain.deck, plain.after)):
        found = Predictor(made, engine=EngineKind.FAKE).predict(images)
        uniform = np.full(4, 0.25, np.float32)
        average = Predictor(made, engine=EngineKind.FAKE).predict(images, weights=uniform)
        assert said.unknown == found.unknown.mean()
        assert said.cards_per_image == found.ran.sum(axis=1).mean()
        assert said.agreement == pytest.approx((found.labels == average.labels).mean(), abs=0.006)
        for index, name in enumerate(made.references.augmentations):
            assert said.choices.get(name, 0) == (found.choice == index).mean()
        for index, card in enumerate(made.cards):
            assert said.ran.get(card.name, 0) == found.ran[:, index].mean()
        assert sum(said.ran.values()) == pytest.approx(said.cards_per_image)


def test_new_references_are_those_of_the_fitted_images_under_the_augmentations() -> None:
    images = camera(100)
    made = {name: augment(images, {"name": name}, 0) for name in ("augmix", "gaussian")}
    everything = np.concatenate([images, *made.values()])
    spectra = log_amplitude(everything)
    cell, nothing = np.repeat(np.arange(3), 100), np.zeros(300, np.int64)
    observed = Observed(spectra, np.zeros((4, 300, 10), np.float32), nothing, cell, ("clean", *made))
    found = refitted(deck().references, observed)
    by_hand = build_references(made)
    np.testing.assert_allclose(found["images"].log_amplitude, by_hand.log_amplitude, atol=1e-5)
    np.testing.assert_allclose(found["images"].scale, by_hand.scale, atol=1e-5)
    np.testing.assert_allclose(found["images"].tails, by_hand.tails, atol=1e-5)
    assert np.array_equal(found["thresholds"].log_amplitude, deck().references.log_amplitude)
    for known in found.values():
        near = distances(spectra, known.log_amplitude).min(axis=1)
        beyond = near > known.distance_at(0.99)
        assert max(beyond[:100].mean(), beyond[100:].mean()) == pytest.approx(0.01, abs=0.005)


def test_spectra_of_the_images_are_taken_unless_the_deck_s_agree_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fit, "WORTH", 1.0)
    assert tuned().references == "images"
    monkeypatch.setattr(_fit, "WORTH", -1.0)
    assert tuned().references == "thresholds"


@pytest.mark.parametrize("kind", KINDS)
def test_only_scalars_of_the_gate_change_and_they_agree_best(kind: str) -> None:
    made = fitted_deck(kind, 2, 0.99)
    found = tuned(made)
    learned, unjudged = ", ".join(made.gate.arrays), ", ".join(GATES[kind].FROM_LABELS)
    said = (
        f"{learned}: learned from labels" * bool(learned),
        f"{unjudged}: cannot be judged without labels" * bool(unjudged),
    )
    assert found.left_out == tuple(one for one in said if one)
    new = found.deck.gate
    assert dataclasses.replace(new, parameters=made.gate.parameters) == made.gate
    assert set(new.parameters) <= set(GATES[kind].PARAMETERS)
    fixed = GATES[kind].FROM_LABELS
    assert {n: v for n, v in new.parameters.items() if n in fixed} == {
        n: v for n, v in made.gate.parameters.items() if n in fixed
    }
    assert set(new.parameters.values()) <= {*VALUES, *sum(BEYOND.values(), ()), *made.gate.parameters.values()}
    assert found.deck.cards == made.cards
    assert found.after.agreement >= found.before.agreement - 0.02


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("reliability", "power", {0.0, 1.0, 2.0, 4.0, 8.0}),
        *((kind, "risk", {0.0, 0.001, 0.005, 0.1}) for kind in STRANGE),
    ],
)
def test_a_scalar_that_is_no_share_is_tried_over_its_own_range(
    kind: str, name: str, values: set[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = set()

    def watched(config: GateConfig, known: Known) -> Any:
        tried.add(config.parameters.get(name))
        return build_gate(config, known)

    monkeypatch.setattr(_fit, "build_gate", watched)
    tuned(fitted_deck(kind, 2, 0.99))
    assert tried >= values


@pytest.mark.parametrize("budget", [1.2, 2.0])
@pytest.mark.parametrize("kind", sorted({*GATES.names()} - {"uniform"}))
def test_no_other_value_of_the_last_scalar_agrees_better(kind: str, budget: float) -> None:
    """And all together never less than the gate agreed before."""
    rows, seen = gate_rows.observed(), gate_rows.known()
    given = fit_gate(kind, rows, GateConfig(max_cards=2), seen, most_cards=2.0).config
    found = _fit._best_scalars(given, seen, gate_rows.observed(seed=1), budget).config

    def reached(config: GateConfig) -> tuple[bool, float]:
        one = judge(build_gate(config, seen), gate_rows.observed(seed=1)).score
        return (True, round(one.score, 9)) if one.cards <= budget + 1e-9 else (False, -round(one.cards, 9))

    last = [name for name in GATES[kind].PARAMETERS if name not in GATES[kind].FROM_LABELS][-1]
    for value in (*VALUES, *BEYOND.get(last, ())):
        if last == "places" and (value != int(value) or value > 2):
            continue
        other = dataclasses.replace(found, parameters={**found.parameters, last: value})
        assert reached(other) <= reached(found)
    assert reached(given) <= reached(found)


def test_a_budget_of_cards_is_kept() -> None:
    made = fake_deck(cards_per_augmentation=1, gate=GateConfig(unknown_quantile=0.99, parameters={"margin": 1.2}))
    free, bounded = tuned(made, most_cards=2.0), tuned(made, most_cards=1.0)
    assert bounded.after.cards_per_image <= 1.02
    assert free.after.cards_per_image > bounded.after.cards_per_image
    assert free.after.agreement >= bounded.after.agreement


def test_without_augmentations_thresholds_only_rise_and_it_is_said() -> None:
    found = tuned(augment=None)
    assert found.references == "thresholds"
    assert found.after.agreement_augmented is None
    assert any("torch" in text for text in found.left_out)
    old, new = deck().references, found.deck.references
    assert np.array_equal(old.log_amplitude, new.log_amplitude)
    assert (new.quantiles >= old.quantiles).all()
    assert found.after.unknown < 0.05 < found.before.unknown


def test_what_needs_labels_is_left_and_said() -> None:
    found = tuned(deck(abstain_below=0.4))
    assert found.deck.gate.abstain_below == 0.4
    assert found.left_out == ("abstain_below: needs labels",)


def test_the_same_images_give_the_same_deck(plain: Tuned, tmp_path: Path) -> None:
    one, two = write_deck(plain.deck, tmp_path / "one"), write_deck(tuned().deck, tmp_path / "two")
    assert (one / "deck.json").read_bytes() == (two / "deck.json").read_bytes()


def test_too_few_images_are_refused_with_the_number_needed() -> None:
    assert [needed(GateConfig(unknown_quantile=q)) for q in (0.9, 0.995, 0.998, 1.0)] == [200, 400, 1000, 2000]
    with pytest.raises(
        InputError, match="200 images are needed to tune this gate and to measure it on others, not 199"
    ):
        tuned(images=camera(199))
    with pytest.raises(InputError, match="32 pixels"):
        tuned(images=fake_images(200, 48))
