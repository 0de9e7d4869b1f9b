"""Each kind's rule on small cases worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
from gate_rows import CLASSES, SIZE, known

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import build_gate, decide
from cards_deck.inference.gates._confidence import lead, unsure
from cards_deck.inference.gates._profile import ring_count
from cards_deck.inference.gates.softmax import ring_differences


def test_softmax_weights_by_hand() -> None:
    arrays = {
        "radial": np.full(ring_count(SIZE), 1 / ring_count(SIZE), np.float32),
        "temperatures": np.array([0.5, 2.0], np.float32),
        "offsets": np.array([0.0, 0.1, -0.2, 99.0], np.float32),
    }
    gate = build_gate(GateConfig("softmax", max_cards=4, arrays=arrays), known())
    spectra = np.full((1, SIZE, SIZE // 2 + 1), 0.25, np.float32)
    plain, noise = 0.25**2 / 0.5, 0.75**2 / 2.0
    wanted = np.exp([-plain, -noise + 0.1, -noise - 0.2])
    np.testing.assert_allclose(gate.route(spectra).weights[0], [*(wanted / wanted.sum()), 0], rtol=1e-5)
    two = build_gate(GateConfig("softmax", max_cards=2, arrays=arrays), known()).route(spectra)
    np.testing.assert_allclose(two.weights[0], [*(wanted[:2] / wanted[:2].sum()), 0, 0], rtol=1e-5)
    np.testing.assert_allclose(two.preference[0, :3], wanted / wanted.sum(), rtol=1e-5)
    one = dataclasses.replace(gate.config, parameters={"least": 0.95})
    assert (build_gate(one, known()).route(spectra).weights > 0).sum() == 1
    differences = ring_differences(spectra, known().references.log_amplitude)
    np.testing.assert_allclose(differences[0], [[0.0625] * ring_count(SIZE), [0.5625] * ring_count(SIZE)], rtol=1e-5)


def test_a_cascade_by_hand() -> None:
    """Card 2 first: sure of the first image; card 0 joins for the second, which is then sure; the third takes all."""
    arrays = {"order": np.array([2, 0, 1], np.float32), "temperatures": np.array([1, 1, 2, 1], np.float32)}
    gate = build_gate(GateConfig("cascade", max_cards=3, parameters={"threshold": 0.8}, arrays=arrays), known())
    logits = np.zeros((4, 3, CLASSES), np.float32)
    logits[2, :, 1] = [6, 4, 0]
    logits[0, :, 1] = [0, 5, 0]
    done = decide(gate, np.zeros((3, SIZE, SIZE // 2 + 1), np.float32), lambda card, rows: logits[card, rows])
    np.testing.assert_allclose(done.weights, [[0, 0, 1, 0], [0.5, 0, 0.5, 0], [1 / 3] * 3 + [0]], rtol=1e-6)
    # softmax(6 / 2) = 0.91 is enough; softmax(4 / 2) = 0.79 is not, with softmax(5) = 0.99 it is; equal ones never are
    assert done.ran.sum(axis=1).tolist() == [1, 2, 3]


def test_reliability_reweighs_by_the_class_that_a_card_names() -> None:
    arrays = {
        "weights": np.zeros((ring_count(SIZE), 4), np.float32),
        "bias": np.array([1, 1, -9, -9], np.float32),
        "reliability": np.full((4, CLASSES), 0.5, np.float32),
    }
    arrays["reliability"][0] = [0.9, 0.1, 0.5]
    gate = build_gate(GateConfig("reliability", parameters={"power": 1.0}, arrays=arrays), known())
    logits = np.zeros((4, 2, CLASSES), np.float32)
    logits[0, [0, 1], [0, 1]] = 3
    logits[1, :, 2] = 3
    done = decide(gate, np.zeros((2, SIZE, SIZE // 2 + 1), np.float32), lambda card, rows: logits[card, rows])
    np.testing.assert_allclose(done.weights[:, :2], [[0.9 / 1.4, 0.5 / 1.4], [0.1 / 0.6, 0.5 / 0.6]], rtol=1e-5)
    flat = dataclasses.replace(gate.config, parameters={"power": 0.0})
    same = decide(build_gate(flat, known()), np.zeros((2, SIZE, 5), np.float32), lambda card, rows: logits[card, rows])
    np.testing.assert_allclose(same.weights[:, :2], 0.5, rtol=1e-6)


def linear(kind: str, bias: list[float], **fields: object):  # type: ignore[no-untyped-def]
    arrays = {"weights": np.zeros((ring_count(SIZE), 4), np.float32), "bias": np.array(bias, np.float32)}
    if kind.endswith("_cascade"):
        arrays["temperatures"] = np.ones(4, np.float32)
    return build_gate(GateConfig(kind, arrays=arrays, **fields), known())  # type: ignore[arg-type]


def test_router_weights_by_hand() -> None:
    spectra = np.zeros((2, SIZE, SIZE // 2 + 1), np.float32)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    bias = np.log(shares).tolist()
    np.testing.assert_allclose(linear("router", bias).route(spectra).preference, [shares] * 2, rtol=1e-5)
    np.testing.assert_allclose(linear("router", bias).route(spectra).weights[1], [4 / 7, 3 / 7, 0, 0], rtol=1e-5)
    three = linear("router", bias, max_cards=3, parameters={"least": 0.6}).route(spectra)
    np.testing.assert_allclose(three.weights[0], [4 / 7, 3 / 7, 0, 0], rtol=1e-5)
    assert (linear("router", bias, parameters={"least": 1.0}).route(spectra).weights[0] == [1, 0, 0, 0]).all()


def test_a_router_follows_its_rings() -> None:
    """Weight on the highest ring alone: the corner of the plane, whatever the rest."""
    gate = linear("router", [0, 0, 0, 0])
    gate.config.arrays["weights"][-1, 2] = 1
    spectra = np.zeros((2, SIZE, SIZE // 2 + 1), np.float32)
    spectra[1, SIZE // 2, SIZE // 2] = np.log(5)
    wanted = [[0.25] * 4, [1 / 8, 1 / 8, 5 / 8, 1 / 8]]
    np.testing.assert_allclose(gate.route(spectra).preference, wanted, rtol=1e-5)


def test_a_spectrum_cascade_by_hand() -> None:
    """The preferred card 1 is sure of the first image; of the second it is not, nor with card 3: then card 0."""
    bias = np.log([0.2, 0.5, 0.05, 0.25]).tolist()
    gate = linear("spectrum_cascade", bias, max_cards=3, parameters={"threshold": 0.9})
    logits = np.zeros((4, 2, CLASSES), np.float32)
    logits[1, 0, 2] = 4
    logits[3, 1, 2] = 9
    done = decide(gate, np.zeros((2, SIZE, SIZE // 2 + 1), np.float32), lambda card, rows: logits[card, rows])
    np.testing.assert_allclose(done.weights, [[0, 1, 0, 0], [1 / 3, 1 / 3, 0, 1 / 3]], rtol=1e-6)
    assert done.ran.tolist() == [[False, True, False, False], [True, True, False, True]]


def test_a_hedged_cascade_asks_another_augmentation() -> None:
    """Cards 1 and 2 were trained on noise: after 1 comes 0, which has less preference than 2, and then 3, the mixture;
    a fourth one is of an augmentation that has answered."""
    bias = np.log([0.2, 0.4, 0.3, 0.1]).tolist()
    nothing = np.zeros((4, 1, CLASSES), np.float32)
    for most, asked in ((1, [1]), (2, [0, 1]), (3, [0, 1, 3]), (4, [0, 1, 2, 3])):
        gate = linear("hedged_cascade", bias, max_cards=most)
        done = decide(gate, np.zeros((1, SIZE, SIZE // 2 + 1), np.float32), lambda card, rows: nothing[card, rows])
        assert np.flatnonzero(done.ran[0]).tolist() == asked
        np.testing.assert_allclose(done.weights[0, asked], 1 / most, rtol=1e-6)
        far = gate.route(np.full((1, SIZE, SIZE // 2 + 1), 40, np.float32))
        assert far.unknown.all()
        assert np.flatnonzero(far.weights[0]).tolist() == asked


def test_an_unknown_spectrum_fills_every_place_whether_two_references_are_near_or_one() -> None:
    """Between the two references, farther than known from both: the nearer one's card, then both of the other."""
    middle = np.full((1, SIZE, SIZE // 2 + 1), 0.5, np.float32)
    for margin in (0.0, 0.1):
        gate = build_gate(GateConfig("spectral", 3, 0.1, parameters={"margin": margin}), known())
        routing = gate.route(middle - np.float32(20))
        assert routing.unknown.all()
        np.testing.assert_allclose(routing.weights, [[1 / 3, 1 / 3, 1 / 3, 0]], rtol=1e-6)


def test_a_lead_is_that_of_the_first_class_over_the_second() -> None:
    answers = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [1, 0, 0], [0.5, np.nan, 0.5]], np.float32)
    found = lead(answers)
    np.testing.assert_allclose(found[:3], [0.2, 0, 1], atol=1e-7)
    assert np.isnan(found[3])
    assert unsure(found, np.zeros(4)).tolist() == [False, False, False, True]
    assert lead(np.ones((2, 1), np.float32)).tolist() == [1, 1]
