"""Soft versions of the learned gates: the preference of the hard ones, gradients, and what attacks on them reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import gate_rows
import numpy as np
import pytest
import torch
from eval_gates import fitted_gate, gentle, with_threshold
from fitted_gates import STRANGE, with_a_referee
from torch import Tensor

from cards_deck.gate_config import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import fit_gate
from cards_deck.inference.gates._base import BaseGate
from cards_deck.inference.gates._confidence import lead
from cards_deck.inference.gates._profile import ring_means
from cards_deck.inference.gates.refereed_cascade import RefereedCascadeGate
from cards_deck.inference.pooling import softmax
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Images, log_amplitude
from eval.attacks import soft_gates
from eval.attacks.aims import MoreCards, OtherCards, WrongThroughTheGate
from eval.attacks.pgd import pgd
from eval.attacks.smooth import SmoothDeck
from eval.attacks.soft_gates import KINDS, SoftGate, ring_matrix, soft_gate
from eval.attacks.soft_referee import heard
from eval.measure import looked_up

SIZE, COUNT = 16, 32
DECK = fake_deck(SIZE, 4)


def _images(seed: int = 5) -> Images:
    """From clean to noisy, so that the gates choose differently."""
    images, random = fake_images(COUNT, SIZE, seed), np.random.default_rng(seed)
    noise = np.linspace(0, 30, COUNT)[:, None, None, None] * random.normal(size=images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def _planes(images: Images, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype) / 255


@pytest.fixture(scope="module")
def gates() -> Mapping[str, BaseGate]:
    """Each kind, fitted on the deck's answers to a few images."""
    found = {kind: fitted_gate(DECK, _images(), kind) for kind in KINDS}
    return {**found, **{kind: gentle(found[kind], log_amplitude(_images())) for kind in STRANGE}}


def test_rings_are_a_matrix() -> None:
    spectra = log_amplitude(_images())
    np.testing.assert_allclose(spectra.reshape(COUNT, -1) @ ring_matrix(SIZE), ring_means(spectra), rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "cascade"])
def test_the_soft_preference_is_the_gates(kind: str, gates: Mapping[str, BaseGate]) -> None:
    spectra = log_amplitude(_images())
    found = SoftGate(gates[kind]).preference(torch.from_numpy(spectra)).numpy()
    np.testing.assert_allclose(found, gates[kind].route(spectra).preference, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_soft_weights_are_shares_with_a_gradient(kind: str, gates: Mapping[str, BaseGate]) -> None:
    soft = SoftGate(gates[kind])
    cards = torch.log_softmax(torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 4))), dim=2)
    spectra = torch.from_numpy(log_amplitude(_images()[:3])).double().requires_grad_()
    answers = cards.clone().requires_grad_()
    weights = soft.weights(spectra, answers)
    assert weights.sum(dim=1).detach().numpy() == pytest.approx(np.ones(3))
    assert (weights >= 0).all()
    total = weights[:, 0].sum() + soft.passes(spectra, answers).sum()
    slopes = torch.autograd.grad(total, (spectra, answers), allow_unused=True)
    assert all(torch.isfinite(slope).all() for slope in slopes if slope is not None)
    assert any(slope is not None and slope.abs().max() > 0 for slope in slopes)


def test_an_unsure_answer_brings_the_second_card(gates: Mapping[str, BaseGate]) -> None:
    gate = with_threshold(gates["cascade"], 0.8)
    sure, unsure = torch.tensor([0.97, 0.01, 0.01, 0.01]).log(), torch.full((4,), 0.25).log()
    cards = torch.stack([sure, unsure]).expand(4, 2, 4)
    passes = SoftGate(gate).passes(torch.zeros(2, SIZE, SIZE // 2 + 1), cards)
    assert passes[0] < 1.5 < passes[1] <= 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "cascade" in kind])
def test_at_the_end_of_softness_it_is_the_hard_gate(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soft_gates, "SOFTNESS", 1e-7)
    monkeypatch.setattr(soft_gates, "SHARPNESS", 1e5)
    images, predictor = _images(), Predictor(DECK, engine=EngineKind.TORCH)
    logits = 8 * np.stack([predictor.card_logits(images, card) for card in range(4)])
    gate = fitted_gate(DECK, images, kind)
    if kind in STRANGE:
        gate = gentle(gate, log_amplitude(images), enough=float(np.median([lead(softmax(card)) for card in logits])))
    else:
        first = logits[int(gate.config.arrays["order"][0])] if kind == "cascade" else logits
        gate = with_threshold(gate, float(np.median(softmax(first).max(axis=-1))))
    gate = type(gate)(replace(gate.config, max_cards=3), gate.known)
    spectra = log_amplitude(images)
    hard = looked_up(gate, spectra, logits)
    known = ~hard.routing.unknown
    planes, answers = torch.from_numpy(spectra).double(), torch.from_numpy(logits).double().log_softmax(dim=2)
    soft = SoftGate(gate)
    counts = hard.ran.sum(axis=1)[known]
    assert len(set(counts)) > 1
    np.testing.assert_allclose(soft.passes(planes, answers).numpy()[known], counts, atol=1e-3)
    np.testing.assert_allclose(soft.weights(planes, answers).numpy()[known], hard.weights[known], atol=1e-3)


def test_a_soft_guarded_cascade_knows_what_averages_stand_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four cards, of which the last is the average of the first two and is asked first by many images."""
    rows = gate_rows.observed(seed=2)
    fitted = fit_gate("guarded_cascade", rows, GateConfig(max_cards=3), gate_rows.known(), most_cards=1.8)
    rows = gate_rows.observed(seed=4)  # others: those of the fit lie on its thresholds
    spectra = rows.spectra.astype(np.float32)
    gate = gentle(fitted, spectra)
    hard = looked_up(gate, spectra, rows.logits)
    known = ~hard.routing.unknown
    first = hard.routing.weights[known].argmax(axis=1)
    assert 10 < (first == 3).sum() < known.sum() - 10
    planes, answers = torch.from_numpy(spectra[known]).double(), torch.from_numpy(rows.logits[:, known]).double()
    cards = answers.log_softmax(dim=2)
    soft = SoftGate(gate)
    np.testing.assert_allclose(soft.preference(planes).numpy(), hard.routing.preference[known], atol=1e-5)
    seen = planes.clone().requires_grad_()
    joined = (first == 3) & (hard.ran[known].sum(axis=1) > 1)
    slopes = torch.autograd.grad(soft.weights(seen, cards)[torch.from_numpy(joined), 3].sum(), seen)[0]
    assert torch.isfinite(slopes).all()
    assert (slopes[joined].abs().amax(dim=(1, 2)) > 1e-6).all()  # the average can be pushed out
    monkeypatch.setattr(soft_gates, "SOFTNESS", 1e-7)
    monkeypatch.setattr(soft_gates, "SHARPNESS", 1e5)
    np.testing.assert_allclose(soft.passes(planes, cards).numpy(), hard.ran[known].sum(axis=1), atol=1e-3)
    np.testing.assert_allclose(soft.weights(planes, cards).numpy(), hard.weights[known], atol=1e-3)


@pytest.mark.parametrize("trust", [0.75, 1.0])
def test_what_cards_say_is_weighed_as_by_the_gate_and_has_a_gradient(trust: float) -> None:
    """Of four cards, of which the last is an average of two augmentations, in every set of them."""
    rows = gate_rows.observed(seed=2)
    fitted = with_a_referee(fit_gate("refereed_cascade", rows, GateConfig(max_cards=3), gate_rows.known()).config)
    gate = RefereedCascadeGate(replace(fitted, parameters={**fitted.parameters, "trust": trust}), gate_rows.known())
    count = rows.logits.shape[1]
    ran = np.arange(1, 16).repeat(count // 15)[:, None] >> np.arange(4) & 1 == 1
    preference = np.random.default_rng(3).dirichlet([1, 1, 1], count).astype(np.float32)
    preference = np.column_stack([preference, np.zeros(count, np.float32)])
    hard = gate.hearing(preference, rows.logits, ran)
    cards = torch.from_numpy(rows.logits).double().log_softmax(dim=2).requires_grad_()
    soft = heard(gate, torch.from_numpy(preference).double(), cards, torch.from_numpy(ran).double())
    np.testing.assert_allclose(soft.detach().numpy(), hard, atol=1e-5)
    slopes = torch.autograd.grad(soft.square().sum(), cards)[0]
    assert torch.isfinite(slopes).all()
    assert (slopes[0].abs().amax(dim=1)[torch.from_numpy(ran[:, 0] & ran[:, 1])] > 1e-9).float().mean() > 0.9


def test_only_known_kinds_are_softened() -> None:
    assert soft_gate(Predictor(DECK, engine=EngineKind.FAKE).gate) is None


def _ran(gate: BaseGate, predictor: Predictor, images: Images) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    logits = np.stack([predictor.card_logits(images, card) for card in range(4)])
    return looked_up(gate, log_amplitude(images), logits).ran


def test_attacks_on_routing_and_cost_stay_within_the_limit(gates: Mapping[str, BaseGate]) -> None:
    images, predictor = _images(), Predictor(DECK, engine=EngineKind.TORCH)
    chances = softmax(np.stack([predictor.card_logits(images, card) for card in range(4)])).max(axis=2)
    gate = with_threshold(gates["spectrum_cascade"], float(np.median(chances)))
    deck, before = SmoothDeck(DECK, gate), _ran(gate, predictor, images)
    other = pgd(OtherCards(deck, gate, before), images, 6, steps=10)
    more = pgd(MoreCards(deck, gate), images, 6, steps=10)
    assert (_ran(gate, predictor, other) != before).any(axis=1).sum() > 0
    cost = _ran(gate, predictor, more).sum(axis=1)
    assert cost.mean() > before.sum(axis=1).mean()
    assert cost.max() <= gate.limit == 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_attack_through_each_gate_turns_answers(kind: str, gates: Mapping[str, BaseGate]) -> None:
    images, gate = _images(), gates[kind]
    if kind in STRANGE:  # the first card of each augmentation, whatever it is shown, says the same class
        gate = gentle(gate, log_amplitude(images), enough=0.99)
        gate = type(gate)(replace(gate.config, max_cards=4), gate.known)
    predictor = Predictor(DECK, engine=EngineKind.TORCH, gate=gate)
    labels = predictor.predict(images).labels
    found = pgd(WrongThroughTheGate(SmoothDeck(DECK, gate), gate, labels), images, 12, steps=5)
    assert np.abs(found.astype(int) - images).max() <= 12
    assert (predictor.predict(found).labels != labels).sum() > 2
