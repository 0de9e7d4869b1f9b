"""Double-Win: the attack, the pre-trained start, and the order of pruning and rewinding."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import (
    CLASSES,
    NETWORK,
    SHORT,
    equal_states,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
    randomise,
)
from torch import Tensor, nn
from torch.nn import functional as F

from cards_deck.errors import InputError
from cards_deck.training import loop
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.networks import prunable_weights
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import train_card
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.double_win import DoubleWin, adversarial_loss, attack, load_pretrained
from cards_deck.training.tickets.pruning import prune_smallest
from cards_deck.training.tickets.random import Random
from cards_deck.training.tickets.ticket import Ticket, full_masks

RADIUS = 8 / 255


def images_and_labels(n: int = 32) -> tuple[Tensor, Tensor]:
    task = make_task(n)
    return task.images.float() / 255, task.labels


def loss_of(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(network(images), labels))


def test_the_attack_stays_in_the_ball_and_raises_the_loss() -> None:
    network = randomise(make_network())
    images, labels = images_and_labels()
    losses = [loss_of(network, images, labels)]
    for steps in (1, 3, 10):
        attacked = attack(network, images, labels, RADIUS, steps, RADIUS / 3, torch.Generator().manual_seed(0))
        assert float((attacked - images).abs().max()) <= RADIUS + 1e-6
        assert 0 <= float(attacked.min()) <= float(attacked.max()) <= 1
        assert not attacked.requires_grad
        losses.append(loss_of(network, attacked, labels))
    assert losses == sorted(losses), "more steps, more loss"
    noise = images + RADIUS * torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).sign()
    assert losses[2] > loss_of(network, noise.clamp(0, 1), labels), "noise of the same size is no attack"
    assert all(parameter.grad is None for parameter in network.parameters()), "weights are not touched"


def test_the_attack_on_a_linear_model_is_known() -> None:
    """By hand: the loss of a linear model of two classes rises fastest in the corner of the ball."""
    direction = torch.randn(3 * 4 * 4, generator=torch.Generator().manual_seed(1))

    def forward(x: Tensor) -> Tensor:
        score = x.flatten(1) @ direction
        return torch.stack([torch.zeros_like(score), score], 1)

    images = torch.full((2, 3, 4, 4), 0.5)
    images[:, 0] = 0.01  # near black: the ball ends at 0
    attacked = attack(forward, images, torch.tensor([0, 1]), 0.1, 20, 0.02, torch.Generator())
    for row, sign in ((0, 1), (1, -1)):
        corner = (images[row] + sign * 0.1 * direction.view(3, 4, 4).sign()).clamp(0, 1)
        assert torch.allclose(attacked[row], corner, atol=1e-6)


@pytest.mark.parametrize("augmentation", [None, AugMix()])
def test_the_loss_leaves_the_statistics_of_the_attack_out(augmentation: Any) -> None:
    """One pass in training mode, on what was attacked in evaluation mode."""
    task, network = make_task(16, augmentation=augmentation), randomise(make_network())
    network.train()
    before = copy.deepcopy(network)
    seen: list[tuple[bool, Tensor]] = []

    def forward(x: Tensor) -> Tensor:
        seen.append((network.training, x.detach().clone()))
        answer: Tensor = network(x)
        return answer

    objective = adversarial_loss(network, RADIUS, 3, RADIUS / 2)
    loss = objective(forward, task.images, task.labels, task.augmentation, torch.Generator().manual_seed(2), 0.1)
    assert [training for training, _ in seen] == [False, False, False, True]
    assert loss.requires_grad
    expected = F.cross_entropy(before(seen[-1][1]), task.labels, label_smoothing=0.1)
    assert torch.allclose(loss, expected)
    assert equal_states(dict(before.state_dict()), dict(network.state_dict())), "statistics of one pass"


Notes = list[tuple[str, dict[str, Tensor], dict[str, Tensor], bool]]


def noted_run(monkeypatch: pytest.MonkeyPatch, method: DoubleWin, given: Ticket | None = None) -> tuple[Notes, Ticket]:
    """Stage, state before and after, whether the loss was the attacked one."""
    notes: Notes = []
    train = make_task().__class__.train

    def noting(self: Any, network: nn.Module, *, stage: str, **options: Any) -> nn.Module:
        before = {name: value.clone() for name, value in network.state_dict().items()}
        trained = train(self, network, stage=stage, **options)
        after = {name: value.clone() for name, value in trained.state_dict().items()}
        notes.append((stage, before, after, options.get("loss") is not None))
        return trained

    monkeypatch.setattr("cards_deck.training.task.Task.train", noting)
    (ticket,) = method.find(make_network(), replace(make_task(), given=given), torch.Generator().manual_seed(0))
    return notes, ticket


def test_it_prunes_first_and_goes_back_to_the_pre_trained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """1292 convolution weights and 32 of the head; 0.5 of 1324 is 662, 630 of them in convolutions."""
    notes, ticket = noted_run(monkeypatch, DoubleWin(density=0.5, rate=0.4))
    assert [stage for stage, _, _, _ in notes] == ["pre-training", "round-01", "round-02"]
    pretrained = notes[0][2]
    for _, before, _, _ in notes[1:]:
        assert equal_states(before, pretrained), "batch-norm statistics too"
    # By an independent rule: the first round keeps the 0.6 * 1292 largest pre-trained weights.
    names = [n for n, w in prunable_weights(make_network()).items() if w.dim() == 4]
    sizes = torch.cat([pretrained[n].abs().flatten() for n in names])
    threshold = sizes.sort(descending=True).values[round(0.6 * 1292) - 1]
    for name in names:
        assert torch.equal(notes[1][2][name] != 0, pretrained[name].abs() >= threshold), name
    after_first = notes[1][2]
    masks = prune_smallest({n: after_first[n] for n in names}, {n: after_first[n] != 0 for n in names}, 630)
    assert all(torch.equal(ticket.masks[n], masks[n]) for n in names), "the second prunes what the first trained"
    assert ticket.masks["8.weight"].all()
    assert ticket.density == 0.5


@pytest.mark.parametrize("pretraining", ["standard", "adversarial"])
@pytest.mark.parametrize("training", ["standard", "adversarial"])
def test_four_arms(pretraining: Any, training: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    method = DoubleWin(density=0.9, pretraining=pretraining, training=training, attack_steps=1)
    notes, _ = noted_run(monkeypatch, method)
    assert [attacked for _, _, _, attacked in notes] == [pretraining == "adversarial", training == "adversarial"]


def given_ticket(classes: int) -> Ticket:
    network = randomise(make_network(classes=classes, seed=5))
    return Ticket.of(network, full_masks(network))


def test_a_given_card_is_the_pre_trained_network(monkeypatch: pytest.MonkeyPatch) -> None:
    given = given_ticket(4)
    notes, _ = noted_run(monkeypatch, DoubleWin(density=0.9), given)
    assert [stage for stage, _, _, _ in notes] == ["round-01"]
    assert equal_states(notes[0][1], dict(given.state))


def test_a_card_of_other_classes_gives_all_but_its_head() -> None:
    network, given = make_network(), given_ticket(7)
    head = network.get_parameter("8.weight").clone()
    load_pretrained(network, given)
    state = network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in given.state.items() if not name.startswith("8."))
    assert torch.equal(state["8.weight"], head)


def test_a_card_of_other_classes_is_carried_over_from_its_file(tmp_path: Path) -> None:
    """Trained on two of the classes, given for all four."""
    recipe = Recipe(NETWORK, METHODS.build("random", density=0.9), CropFlip(), SHORT, seed=1)
    all_four, held = patterns(64), patterns(16, seed=1)
    two, two_held = (
        replace(data, images=data.images[data.labels < 2], labels=data.labels[data.labels < 2], classes=CLASSES[:2])
        for data in (all_four, held)
    )
    (parent,) = train_card(recipe, two, two_held, tmp_path / "two", device="cpu", quiet=True)
    assert parent.shapes["8.weight"][0] == 2
    own = replace(recipe, method=DoubleWin(density=0.5, rate=0.5))
    (card,) = train_card(own, all_four, held, tmp_path / "four", given=parent, device="cpu", quiet=True)
    assert card.shapes["8.weight"][0] == 4
    assert card.record.parents == (parent.id,)
    assert not (tmp_path / "four" / "pre-training.pt").exists()


def test_what_a_given_card_leaves_no_use_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "training_loss", lambda *a, **k: pytest.fail("it trained"))
    with pytest.raises(InputError, match="`pretraining` is not done where a card is given, got 'adversarial'"):
        noted_run(monkeypatch, DoubleWin(0.5, pretraining="adversarial"), given_ticket(4))
    network = make_network()
    masks = Random(0.3).masks(network, make_task(), torch.Generator())
    with pytest.raises(InputError, match=r"`density` 0\.5 keeps 630 convolution weights, the given card has \d+"):
        noted_run(monkeypatch, DoubleWin(0.5), Ticket.of(network, masks))


def test_each_round_sees_the_data_in_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr("cards_deck.training.task.fit", lambda *given, **others: seeds.append(given[4]))
    DoubleWin(density=0.5, rate=0.4).find(make_network(), make_task(), torch.Generator())
    assert seeds[0] == make_task().seed
    assert len(set(seeds)) == 3


def test_a_card_of_another_network_is_refused_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "training_loss", lambda *a, **k: pytest.fail("it trained"))
    given = given_ticket(4)
    wrong = Ticket({}, {**given.state, "1.weight": torch.zeros(5, 3, 3, 3)})
    with pytest.raises(InputError, match="another architecture"):
        load_pretrained(make_network(), wrong)
    with pytest.raises(InputError, match=r"at least .* for this network"):
        DoubleWin(density=0.02).find(make_network(), make_task(), torch.Generator())


@pytest.mark.parametrize(
    "settings",
    [{"density": 0}, {"rate": 1}, {"training": "none"}, {"radius": 0}, {"attack_steps": 0}, {"step_size": 0}],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="double_win"):
        DoubleWin(**settings)
