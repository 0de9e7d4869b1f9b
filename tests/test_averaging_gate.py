"""A deck that gets an average gets a gate that knows it: fitted anew, with the old one's limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_family import TRAIN, VALIDATION, bench, cards  # noqa: F401  (fixtures)
from tiny_training import one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.__main__ import main
from cards_deck.card import Card
from cards_deck.corruptions import HELD_BACK_CORRUPTIONS
from cards_deck.data import save_npz
from cards_deck.deck import Deck, read_deck, write_deck
from cards_deck.inference.gates import Observed, gate_for, score
from cards_deck.training import decks
from cards_deck.training.averaging.blends import Bench, blend_cards
from cards_deck.training.decks import make_deck, refit_gate
from cards_deck.training.trials import Domains, Trial, augmentations_of, measure

Family = tuple[Card, Card, Card]
FEW = 10  # validation images under each corruption


@pytest.fixture(scope="module")
def deck(cards: Family) -> Deck:  # noqa: F811
    """With a gate that has learned something for each card, and limits of its own."""
    made = make_deck(
        "tiny", "1", cards, TRAIN, VALIDATION,
        gate="router", max_cards=3, most_cards=1.5, reference_images=50, corrupted_images=FEW,
    )  # fmt: skip
    return replace(made, gate=replace(made.gate, abstain_below=0.4, seconds=5.0))


@pytest.fixture(scope="module")
def blended(deck: Deck, bench: Bench) -> Deck:  # noqa: F811
    return blend_cards(
        deck, ("base", "noisy"), bench, alpha=0.5, statistics="averaged", name="half", allow_barrier=True
    )


def only(place: int, observed: Observed) -> Observed:
    """The same rows, on which this card is always right and the others never are."""
    logits = np.zeros_like(observed.logits)
    for card in range(len(logits)):
        wanted = observed.labels if card == place else (observed.labels + 1) % logits.shape[2]
        logits[card, np.arange(len(wanted)), wanted] = 5
    return replace(observed, logits=logits)


def test_an_average_that_is_best_is_asked(blended: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blended.gate.kind == "uniform"
    place = [card.name for card in blended.cards].index("half")

    def doctored(cards: tuple[Card, ...], domains: Domains) -> tuple[tuple[Trial, ...], Observed]:  # noqa: F811
        trials, observed = measure(cards, domains)
        return trials, only(place, observed)

    monkeypatch.setattr(decks, "measure", doctored)
    new, observed = refit_gate(blended, VALIDATION, most_cards=3.0, corrupted_images=FEW)
    decision = observed.decide(gate_for(new))
    assert decision.ran[:, place].all()
    assert (decision.weights[~decision.routing.unknown].argmax(axis=1) == place).all()
    assert new.measured["gate"]["chosen"]["clean"] == 1


def test_the_limits_of_the_old_gate_stay(deck: Deck, blended: Deck) -> None:
    new, observed = refit_gate(blended, VALIDATION, "router", corrupted_images=FEW)
    assert (new.gate.kind, new.gate.arrays["bias"].shape) == ("router", (4,))
    for field in ("max_cards", "abstain_below", "seconds", "unknown_quantile"):
        assert getattr(new.gate, field) == getattr(deck.gate, field)
    assert new.measured["gate"]["most_cards"] == deck.measured["gate"]["most_cards"] == 1.5
    assert new.measured["gate"]["cells"] == deck.measured["gate"]["cells"] == list(observed.names)
    assert {card.id: new.measured[card.id] for card in new.cards} == {
        card.id: blended.measured[card.id] for card in new.cards
    }
    assert refit_gate(blended, VALIDATION, "router", most_cards=1.0, corrupted_images=FEW)[0].measured["gate"][
        "most_cards"
    ] == 1.0  # fmt: skip


def test_the_command_fits_a_gate_and_says_before_and_after(
    deck: Deck, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_npz(replace(TRAIN, images=np.concatenate([TRAIN.images, VALIDATION.images]),
                     labels=np.concatenate([TRAIN.labels, VALIDATION.labels])), tmp_path)  # fmt: skip
    folder, out = write_deck(deck, tmp_path / "deck"), tmp_path / "blended"
    argv = ["blend", str(folder), "--data", str(tmp_path), "--name", "patterns", "--images", "60", "--out", str(out)]
    argv += ["--of", "base,noisy", "--alpha", "0.5", "--card-name", "half", "--batch-norm", "averaged"]
    argv += ["--allow-barrier", "--gate", "router", "--gate-seconds", "none", "--abstain-below", "0.5"]
    assert main(argv) == 0
    new, said = read_deck(out), capsys.readouterr().out
    assert (new.gate.kind, new.gate.arrays["bias"].shape) == ("router", (4,))
    assert (new.gate.abstain_below, new.gate.seconds, new.gate.max_cards) == (0.5, None, 3)
    from cards_deck.training.run import training_data

    _, validation = training_data(tmp_path, "patterns")
    described = augmentations_of(deck.cards)
    domains = Domains(validation, described, corruptions=HELD_BACK_CORRUPTIONS)
    before, after = (score(gate_for(each), measure(each.cards, domains)[1]) for each in (deck, new))
    chosen = new.measured["gate"]["chosen"]
    assert f"gate router: validation score {chosen['score']:.2%} at {chosen['cards']:.2f} cards per image" in said
    assert f"fitted on or not: {after.score:.2%} at {after.cards:.2f}" in said
    assert f"before, with the router gate of 3 cards: {before.score:.2%} at {before.cards:.2f}" in said
    assert "half answers " in said


def test_the_command_says_where_the_new_card_never_runs(
    deck: Deck, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_npz(TRAIN, tmp_path)
    tuned = {**deck.measured, "gate": {**deck.measured["gate"], "tuned": {}}}
    folder = write_deck(replace(deck, measured=tuned), tmp_path / "deck")
    argv = ["blend", str(folder), "--data", str(tmp_path), "--name", "patterns", "--images", "60", "--of", "base,noisy"]
    argv += ["--alpha", "0.5", "--card-name", "half", "--batch-norm", "averaged", "--allow-barrier"]
    assert main([*argv, "--gate", "uniform", "--out", str(tmp_path / "blended")]) == 0
    said = capsys.readouterr().out
    assert "half answers 0.0% of them: try another --gate" in said
    assert "use `cards-deck tune-gate`" in said
