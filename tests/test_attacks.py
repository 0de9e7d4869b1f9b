"""Attacks: the soft gate against the hard one, gradients against differences, and what PGD and Square must find."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gate_rows import as_parts
from torch import Tensor

from cards_deck.deck import Deck, GateConfig
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import Known, SpectralGate, UniformGate
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Images, References, distances, log_amplitude
from eval.attacks.aims import Bools, OtherChoice, WrongAtFixedWeights, WrongThroughTheGate
from eval.attacks.chunks import CHUNK, Rows
from eval.attacks.pgd import pgd
from eval.attacks.smooth import SmoothDeck, SmoothGate, margin, pooled
from eval.attacks.square import margins, side, square

SIZE = 16


@pytest.fixture(scope="module")
def deck() -> Deck:
    return fake_deck(SIZE, 4)


def _between(count: int = 24) -> Images:
    """Images from clean to noisy, so that every choice of the gate occurs, alone and mixed."""
    images, random = fake_images(count, SIZE, 5), np.random.default_rng(5)
    noise = np.linspace(0, 30, count)[:, None, None, None] * random.normal(size=images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def _planes(images: Images, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype) / 255


def _gate(margin: float, max_cards: int, augmentations: int = 3) -> SpectralGate:
    """A gate whose references are scaled spectra of its own images; cards are shuffled over augmentations."""
    spectrum = log_amplitude(fake_images(8, SIZE)).mean(axis=0)
    shifted = np.stack([spectrum + 0.4 * step for step in range(augmentations)]).astype(np.float32)
    names = tuple("abc"[:augmentations])
    ones = np.ones(augmentations, np.float32)
    references = References(names, shifted, ones, np.linspace(0, 9, 11, dtype=np.float32))
    cards = [name for name in ("b", "a", "c", "a", "b", "c") if name in names]
    config = GateConfig(max_cards=max_cards, parameters={"margin": margin})
    return SpectralGate(config, Known(references, tuple(cards), tuple(range(len(cards))), as_parts(np.eye(len(cards)))))


def test_soft_distances_are_the_gates(deck: Deck) -> None:
    gate, images = SpectralGate.from_deck(deck), _between()
    expected = distances(log_amplitude(images), deck.references.log_amplitude)
    np.testing.assert_allclose(SmoothGate(gate).distances(_planes(images)).numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("gap", "max_cards", "augmentations"), [(0, 1, 3), (0, 2, 3), (0.5, 2, 3), (0.5, 3, 3), (1e6, 2, 2), (0.1, 2, 1)]
)
def test_cold_soft_gate_is_the_hard_gate(gap: float, max_cards: int, augmentations: int) -> None:
    gate, images = _gate(gap, max_cards, augmentations), _between()
    hard, soft = (
        gate.route(log_amplitude(images)).weights,
        SmoothGate(gate, 1e-7).weights(_planes(images, torch.float64)),
    )
    np.testing.assert_allclose(soft.numpy(), hard, atol=1e-6)
    warm = SmoothGate(gate, 0.5).weights(_planes(images)).numpy()
    np.testing.assert_allclose(warm.sum(axis=1), 1, atol=1e-6)
    assert (warm >= 0).all()


def test_gradients_of_the_soft_gate_agree_with_differences() -> None:
    smooth = SmoothGate(_gate(0.5, 2), 0.3)
    planes = _planes(fake_images(2, SIZE, 3), torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(smooth.weights, (planes,), fast_mode=True)
    assert torch.autograd.gradcheck(smooth.distances, (planes,), fast_mode=True)
    black = torch.zeros_like(planes).requires_grad_()
    (slope,) = torch.autograd.grad(smooth.weights(black)[:, 0].sum(), black)
    assert torch.isfinite(slope).all()


def test_gradient_through_cards_and_gate_agrees_with_differences(deck: Deck) -> None:
    smooth = SmoothDeck(deck, SpectralGate.from_deck(deck))
    for network in smooth.networks:
        network.tensors = {name: tensor.double() for name, tensor in network.tensors.items()}
    labels = torch.tensor([0, 3])

    def loss(planes: Tensor) -> Tensor:
        cards = smooth.card_log_probabilities(planes, [0, 1, 2, 3])
        return margin(pooled(cards, smooth.gate_weights(planes, cards)), labels)

    planes = _planes(_between()[[0, 20]], torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(loss, (planes,), fast_mode=True)


def test_pooling_and_margin_by_hand() -> None:
    cards = torch.tensor([[[0.7, 0.2, 0.1]], [[0.1, 0.6, 0.3]]]).log()
    answer = pooled(cards, torch.tensor([[0.25, 0.75]]))
    np.testing.assert_allclose(answer.exp().numpy(), [[0.25, 0.5, 0.25]], rtol=1e-5)
    assert margin(answer, torch.tensor([1])).item() == pytest.approx(np.log(0.25 / 0.5), rel=1e-5)
    assert margin(answer, torch.tensor([0])).item() == pytest.approx(np.log(0.5 / 0.25), rel=1e-5)
    np.testing.assert_allclose(margins(answer.exp().numpy(), np.array([1])), [np.log(2)], rtol=1e-5)


class Linear:
    """Loss = slope . pixels: the best image of the ball is known."""

    def __init__(self, slope: Tensor, reached_at: float = np.inf) -> None:
        self.slope, self.reached_at = slope, reached_at
        self.seen: list[Images] = []

    def __call__(self, planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, Bools]:
        self.seen.append(pixels)
        loss = (planes * self.slope).sum(dim=(1, 2, 3))
        return loss, (loss.detach() > self.reached_at).numpy()


@pytest.mark.parametrize("levels", [1, 2, 7])
def test_pgd_finds_the_optimum_of_a_linear_loss(levels: int) -> None:
    slope = torch.from_numpy(np.random.default_rng(0).normal(size=(3, SIZE, SIZE)).astype(np.float32))
    images = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    best = np.clip(images.astype(int) + levels * np.sign(slope.numpy().transpose(1, 2, 0)), 0, 255)
    aim = Linear(slope)
    np.testing.assert_array_equal(pgd(aim, images, levels, steps=20), best)
    assert all(np.abs(seen.astype(int) - images).max() <= levels for seen in aim.seen)


def test_radius_zero_changes_nothing_and_bad_radii_are_refused(deck: Deck) -> None:
    images, labels = fake_images(3, SIZE), np.zeros(3, np.int64)
    predictor = Predictor(deck, engine=EngineKind.TORCH)
    aim = WrongThroughTheGate(SmoothDeck(deck, predictor.gate), predictor.gate, labels)
    np.testing.assert_array_equal(pgd(aim, images, 0), images)
    np.testing.assert_array_equal(square(lambda x: predictor.predict(x).probabilities, images, labels, 0), images)
    with pytest.raises(InputError, match="0 to 255"):
        pgd(aim, images, 256)
    with pytest.raises(InputError, match="0 to 255"):
        square(lambda x: predictor.predict(x).probabilities, images, labels, -1)


def test_pgd_leaves_alone_what_is_reached_already() -> None:
    images = fake_images(4, SIZE)
    np.testing.assert_array_equal(pgd(Linear(torch.ones(3, SIZE, SIZE), reached_at=-1), images, 4, steps=3), images)


def test_pgd_keeps_the_best_point_and_not_the_last() -> None:
    images = fake_images(4, SIZE)
    clean = _planes(images)

    def farther_is_worse(planes: Tensor, pixels: Images, rows: Rows) -> tuple[Tensor, Bools]:
        return -(planes - clean[torch.from_numpy(rows)]).abs().sum(dim=(1, 2, 3)), np.zeros(len(rows), bool)

    np.testing.assert_array_equal(pgd(farther_is_worse, images, 4, steps=3), images)


def test_success_is_seen_on_the_hard_gate(deck: Deck) -> None:
    images, rows = _between(96), np.arange(96)
    predictor = Predictor(deck, engine=EngineKind.TORCH)
    even = predictor.predict(images, weights=np.full(4, 0.25, np.float32)).labels
    aim = WrongThroughTheGate(SmoothDeck(deck, predictor.gate, temperature=1e6), predictor.gate, even)
    loss, reached = aim(_planes(images), images, rows)
    np.testing.assert_array_equal(reached, predictor.predict(images).labels != even)
    assert ((loss.numpy() > 0) != reached).any()  # what the soft gate thinks is something else


def test_pgd_raises_the_loss_with_the_radius_and_turns_answers(deck: Deck) -> None:
    images = _between(32)
    predictor = Predictor(deck, engine=EngineKind.TORCH)
    labels = predictor.predict(images).labels
    aim = WrongThroughTheGate(SmoothDeck(deck, predictor.gate), predictor.gate, labels)
    losses, wrong = [], []
    for levels in (0, 1, 4, 16):
        found = pgd(aim, images, levels, steps=8)
        assert np.abs(found.astype(int) - images).max() <= levels
        answers = predictor.predict(found)
        losses.append(-margins(answers.probabilities, labels).mean())
        wrong.append((answers.labels != labels).sum())
    assert losses == sorted(losses)
    assert wrong[0] == 0
    assert wrong[-1] > 8


def test_attacking_the_gate_changes_choices(deck: Deck) -> None:
    gate, images = SpectralGate.from_deck(deck), _between()
    choice = gate.route(log_amplitude(images)).choice
    aim = OtherChoice(SmoothGate(gate), gate, choice)
    changed = [
        int((gate.route(log_amplitude(pgd(aim, images, levels, steps=40))).choice != choice).sum()) for levels in (1, 6)
    ]
    assert 0 < changed[0] < changed[1]


def test_a_gate_that_reads_nothing_is_attacked_as_the_average(deck: Deck) -> None:
    images, gate = _between(6), UniformGate.from_deck(deck)
    smooth, labels = SmoothDeck(deck, gate), np.zeros(6, np.int64)
    even = WrongAtFixedWeights(smooth, np.full(4, 0.25, np.float32), labels)
    rows = np.arange(6)
    through = WrongThroughTheGate(smooth, gate, labels)(_planes(images), images, rows)
    torch.testing.assert_close(through[0], even(_planes(images), images, rows)[0])


def test_fixed_weights_run_only_their_cards(deck: Deck) -> None:
    smooth, labels = SmoothDeck(deck, UniformGate.from_deck(deck)), np.zeros(2, np.int64)
    smooth.networks[0].tensors = {}  # running it would fail
    images = fake_images(2, SIZE)
    aim = WrongAtFixedWeights(smooth, np.array([0, 1, 0, 0], np.float32), labels)
    loss, _ = aim(_planes(images), images, np.arange(2))
    logits = Predictor(deck, engine=EngineKind.TORCH).card_logits(images, 1)
    others = np.delete(logits, 0, axis=1).max(axis=1)
    np.testing.assert_allclose(loss.numpy(), others - logits[:, 0], atol=1e-5)


def _brightness(images: Images) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Two classes: dark and bright, told by the mean."""
    mean = images.astype(np.float32).mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - mean, mean], axis=1)


def test_square_turns_what_the_ball_allows_within_its_budget() -> None:
    images = np.full((3, SIZE, SIZE, 3), 126, np.uint8)
    images[1], images[2] = 120, 130  # out of reach; wrong from the start
    labels = np.zeros(3, np.int64)
    asked: list[int] = []

    def answers(given: Images) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        asked.append(len(given))
        return _brightness(given)

    found = square(answers, images, labels, 4, queries=300)
    assert np.abs(found.astype(int) - images).max() <= 4
    assert list(_brightness(found).argmax(axis=1)) == [1, 0, 1]
    np.testing.assert_array_equal(found[2], images[2])
    assert len(asked) <= 300
    assert 121 / 255 < _brightness(found)[1, 1] <= 124 / 255


def test_square_sides_follow_the_published_schedule() -> None:
    share = {1: 0.8, 10: 0.8, 11: 0.4, 51: 0.2, 201: 0.1, 501: 0.05, 1001: 0.025, 9000: 0.8 / 512}
    for query, expected in share.items():
        assert side(query, 10_000, 224) == max(1, round(np.sqrt(expected) * 224))
    assert side(11 * 2, 20_000, 32) == side(11, 10_000, 32) == 20
    assert side(1, 100, 1) == 1


def test_threads_change_no_pixel(deck: Deck) -> None:
    images = _between(CHUNK + 5)
    predictor = Predictor(deck, engine=EngineKind.TORCH)
    labels = predictor.predict(images).labels
    aim = WrongThroughTheGate(SmoothDeck(deck, predictor.gate), predictor.gate, labels)
    one, two = (pgd(aim, images, 2, steps=3, seed=4, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert (pgd(aim, images, 2, steps=3, seed=5) != one).any()
    answers = [
        square(lambda x: predictor.predict(x).probabilities, images, labels, 2, queries=6, threads=threads)
        for threads in (1, 2)
    ]
    np.testing.assert_array_equal(*answers)
