"""What pruning methods share: refusals of densities and masks, pruning on the way, heads, class subsets, batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import (
    SHORT,
    equal_states,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
)
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training import loop
from cards_deck.training.checkpoint import Checkpoints
from cards_deck.training.networks import prunable_weights
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.tickets.heads import head_name, new_head
from cards_deck.training.tickets.pruning import (
    PruneOnTheWay,
    check_density,
    check_masks,
    keep_largest,
    shuffled,
    train_masked,
)
from cards_deck.training.tickets.ticket import full_masks


@pytest.mark.parametrize("density", [0.0, 1.0001, -1.0, float("nan")])
def test_a_density_is_a_fraction_kept(density: float) -> None:
    with pytest.raises(InputError, match=r"some_method: `density` is the fraction of weights kept.*\(0, 1\]"):
        check_density("some_method", density)
    check_density("some_method", 1.0)
    check_density("some_method", 1e-9)


def test_masks_of_another_network_are_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_step", lambda *arguments: pytest.fail("training has begun"))
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    wider, deeper = make_network(ResNet((4, 6), (1, 1))), make_network(ResNet((4, 8), (1, 2)))
    numbers = {name: mask.float() for name, mask in full_masks(network).items()}
    without_head = full_masks(network)
    without_head.popitem()
    for masks, says in (
        (full_masks(wider), r"must be bool of shape \[8, 4, 3, 3\], got torch.bool of \[6, 4, 3, 3\]"),
        (full_masks(deeper), "is only among the masks"),
        (without_head, "is only in the network"),
        (numbers, "got torch.float32"),
    ):
        with pytest.raises(InputError, match=f"masks of another network: .*{says}"):
            train_masked(network, masks, make_task(), "stage")
    assert equal_states(network, before)
    check_masks(network, full_masks(network))


def test_the_largest_scores_of_all_layers_by_hand() -> None:
    """5, 3 and the first of the two 2s; signs count."""
    scores = {"a": torch.tensor([[2.0, -9.0], [5.0, 2.0]]), "b": torch.tensor([3.0, 1.0])}
    masks = keep_largest(scores, 3)
    assert masks["a"].tolist() == [[True, False], [True, False]]
    assert masks["b"].tolist() == [True, False]


def test_what_is_no_number_cannot_be_ranked() -> None:
    with pytest.raises(InputError, match="training diverged, lower the learning rate"):
        keep_largest({"a": torch.tensor([1.0, float("nan")])}, 1)


def test_shuffling_keeps_counts_and_draws_every_place_alike() -> None:
    masks = {"a": torch.arange(6).view(2, 3) < 2, "b": torch.ones(3, dtype=torch.bool)}
    generator, seen = torch.Generator().manual_seed(0), torch.zeros(2, 3)
    for _ in range(600):
        mixed = shuffled(masks, generator)
        assert int(mixed["a"].sum()) == 2
        assert mixed["b"].all()
        seen += mixed["a"]
    assert (seen / 600 - 1 / 3).abs().max() < 0.08  # four standard deviations


def test_pruning_on_the_way_by_hand() -> None:
    """After the second of three steps keep two of all; after the third one of each layer."""
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -4.0], [3.0, -2.0]]))
        network[1].weight.copy_(torch.tensor([[0.5, -5.0]]))
    goals: dict[int, Any] = {2: 4, 3: {"0.weight": 1, "1.weight": 1}}
    hook = PruneOnTheWay(network, lambda taken, steps: goals.get(taken))
    seen = []
    for step in range(3):
        for weight in network.parameters():
            weight.grad = torch.ones_like(weight)
        hook.on_gradients(step, 3)
        hook.after_step()
        seen.append([network[0].weight.tolist(), network[1].weight.tolist()])
    assert seen[0] == [[[1.0, -4.0], [3.0, -2.0]], [[0.5, -5.0]]]
    assert seen[1] == [[[0.0, -4.0], [3.0, -2.0]], [[0.0, -5.0]]]
    assert seen[2] == [[[0.0, -4.0], [0.0, 0.0]], [[0.0, -5.0]]]
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    hook.on_gradients(3, 3)
    assert [int((weight.grad != 0).sum()) for weight in network.parameters() if weight.grad is not None] == [1, 1]


def test_training_ends_with_the_weights_to_keep() -> None:
    """The moving average where there is one, inside the mask from its first step on."""
    network, masks = make_network(), full_masks(make_network())
    masks["1.weight"][0] = False
    task = make_task(schedule=replace(SHORT, ema=0.9))
    after = train_masked(network, masks, task, "stage")
    assert equal_states(after, masks)
    assert not network.state_dict()["1.weight"][0].any()
    other = make_network()
    assert not equal_states(network, task.train(other))


def test_a_new_head_has_its_own_classes_and_leaves_the_old_network_alone() -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seven = new_head(network, 7, torch.Generator().manual_seed(1))
    assert equal_states(network, before)
    head = head_name(network)
    for name, value in seven.state_dict().items():
        assert name.startswith(head) or torch.equal(value, before[name])
    drawn = prunable_weights(seven)[f"{head}.weight"]
    assert drawn.abs().max() <= 8**-0.5
    assert drawn.std() > 0.3 * 8**-0.5
    assert seven(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    again = new_head(network, 7, torch.Generator().manual_seed(1))
    assert torch.equal(prunable_weights(again)[f"{head}.weight"], drawn)
    with pytest.raises(InputError, match="at least one class"):
        new_head(network, 0, torch.Generator())
    with pytest.raises(InputError, match="must end in a linear layer"):
        head_name(nn.Sequential(nn.Conv2d(3, 3, 1)))


@pytest.mark.parametrize("classes", [(), (0, 0), (1, 4), (-1,)])
def test_classes_that_are_not_there_are_refused(classes: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must name different classes of the 4 in the data"):
        make_task().only_classes(classes)


def test_a_class_subset_must_make_a_batch() -> None:
    """Of 32 images 8 are of each class; a batch has 16."""
    assert len(make_task(32).only_classes((2, 0)).images) == 16
    with pytest.raises(InputError, match="at least one full batch of 16 images, got 8"):
        make_task(32).only_classes((2,))


def test_steps_classes_and_balanced_batches() -> None:
    task = make_task(40)  # two batches of 16
    assert (task.steps(), task.steps(replace(SHORT, epochs=5)), task.classes) == (4, 10, 4)
    with pytest.raises(InputError, match="at least one full batch"):
        task.steps(replace(SHORT, batch_size=41))
    images, labels = task.balanced_batch(3, torch.Generator().manual_seed(0))
    assert labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    known = {image.numpy().tobytes(): int(label) for image, label in zip(task.images, task.labels, strict=True)}
    assert [known[image.numpy().tobytes()] for image in images] == labels.tolist()
    assert len(task.balanced_batch(1000, torch.Generator())[1]) == 40, "all where a class has fewer"


def test_a_folder_with_another_runs_checkpoint_is_refused_whatever_its_stage(tmp_path: Path) -> None:
    make_task(folder=tmp_path, identity="one").train(make_network(), stage="level-07")
    Checkpoints(tmp_path, "one").check()
    Checkpoints(tmp_path / "new", "another").check()
    Checkpoints(None, "another").check()
    with pytest.raises(InputError, match=r"level-07\.checkpoint\.pt is the checkpoint of another run"):
        Checkpoints(tmp_path, "another").check()
