"""COLT: the split of the classes, the intersection of masks, and a whole run that can be followed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_training import (
    NETWORK,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
)

from cards_deck.errors import InputError
from cards_deck.training import loop
from cards_deck.training.networks import prunable_weights
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets.colt import Colt, overlap, ranks, split_classes
from cards_deck.training.tickets.pruning import keep_largest


def test_classes_are_split_in_order() -> None:
    assert split_classes(range(10), 2) == ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
    assert split_classes(range(7), 3) == ((0, 1, 2), (3, 4), (5, 6))
    assert split_classes([2, 5, 7, 9], 2) == ((2, 5), (7, 9)), "the labels that the data has"
    with pytest.raises(InputError, match="need 4 classes, got data of 3"):
        split_classes(range(3), 2)


def test_ranks_go_over_all_layers_and_put_the_pruned_last() -> None:
    weights = {"a": torch.tensor([1.0, -3.0]), "b": torch.tensor([2.0, 9.0])}
    masks = {"a": torch.tensor([True, True]), "b": torch.tensor([True, False])}
    assert ranks(weights, masks).tolist() == [2, 0, 1, 3]


def test_what_is_kept_is_the_intersection() -> None:
    """By hand: each keeps its 3 largest of 5, they agree on two; the first layer's pruned weight stays out."""
    masks = {"a": torch.tensor([True, False, True]), "b": torch.tensor([True, True, True])}
    one = {"a": torch.tensor([5.0, 99.0, 4.0]), "b": torch.tensor([3.0, 2.0, 1.0])}  # keeps a0 a2 b0
    two = {"a": torch.tensor([-5.0, 99.0, 1.0]), "b": torch.tensor([4.0, -3.0, 2.0])}  # keeps a0 b0 b1
    agreed = overlap([one, two], masks, kept=3, least=1)
    assert agreed["a"].tolist() == [True, False, False]
    assert agreed["b"].tolist() == [True, False, False]


def test_the_last_round_stops_at_the_weight() -> None:
    """Where they agree on too few, the intersection of as many more as give `least`."""
    generator = torch.Generator().manual_seed(0)
    masks = {"a": torch.rand(40, generator=generator) < 0.8, "b": torch.ones(5, 4, dtype=torch.bool)}
    nets = [{n: torch.randn(m.shape, generator=generator) for n, m in masks.items()} for _ in range(3)]
    alone = [keep_largest({n: torch.where(masks[n], w.abs(), -1.0) for n, w in net.items()}, 20) for net in nets]
    both = {n: alone[0][n] & alone[1][n] & alone[2][n] for n in masks}
    count = sum(int(mask.sum()) for mask in both.values())
    assert 0 < count < 20
    found = overlap(nets, masks, kept=20, least=1)
    assert all(torch.equal(found[n], both[n]) for n in masks)
    for least in (count, count + 1, count + 2, 30):
        found = overlap(nets, masks, kept=20, least=least)
        assert sum(int(mask.sum()) for mask in found.values()) == least
        assert all(not bool((both[n] & ~found[n]).any()) for n in masks), "nothing agreed on is lost"
        assert all(not bool((found[n] & ~masks[n]).any()) for n in masks), "nothing pruned comes back"


def test_weights_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="diverged"):
        overlap([{"a": torch.tensor([1.0, torch.nan])}], {"a": torch.ones(2, dtype=torch.bool)}, 1, 1)


def test_rounds_train_each_group_on_its_classes_and_the_head_stays_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half of the weights in one network a round: two rounds of two groups, then all classes, whole in the head."""
    seen: list[tuple[str, int, int]] = []
    train = make_task().__class__.train

    def noting(self, network, *, stage, **options):  # type: ignore[no-untyped-def]
        kept = sum(int((w != 0).sum()) for w in prunable_weights(network).values())
        seen.append((stage, self.classes, kept))
        return train(self, network, stage=stage, **options)

    monkeypatch.setattr("cards_deck.training.task.Task.train", noting)
    network = make_network()
    heads = {name for name, w in prunable_weights(network).items() if w.dim() == 2}
    (ticket,) = Colt(density=0.3, rate=0.5).find(network, make_task(), torch.Generator().manual_seed(0))
    stages = [stage for stage, _, _ in seen]
    assert stages[0::2][:-1] == [f"round-{r:02d}-group-0" for r in range(len(stages) // 2)]
    assert stages[-1] == "all-classes"
    assert 5 <= len(stages) <= 7, "0.5 at once where they agree, 0.25 where they do not: two or three rounds to 0.3"
    assert [classes for _, classes, _ in seen] == [2] * (len(seen) - 1) + [4]
    assert all(bool(ticket.masks[name].all()) for name in heads)
    total = sum(mask.numel() for mask in ticket.masks.values())
    assert sum(int(mask.sum()) for mask in ticket.masks.values()) == round(0.3 * total)


def test_every_round_begins_at_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: dict[str, dict[str, torch.Tensor]] = {}
    train = make_task().__class__.train

    def noting(self, network, *, stage, **options):  # type: ignore[no-untyped-def]
        starts[stage] = {name: value.clone() for name, value in network.state_dict().items()}
        return train(self, network, stage=stage, **options)

    monkeypatch.setattr("cards_deck.training.task.Task.train", noting)
    network = make_network()
    first = {name: value.clone() for name, value in network.state_dict().items()}
    (ticket,) = Colt(density=0.4, rate=0.3).find(network, make_task(), torch.Generator().manual_seed(0))
    names = [name for name in first if not name.startswith("8.")]
    assert len(starts) >= 5
    for stage, state in starts.items():
        assert all(torch.equal(state[name], first[name]) for name in names), stage  # masked once training begins
    assert torch.equal(starts["round-00-group-0"]["8.weight"], starts["round-01-group-0"]["8.weight"])
    assert torch.equal(starts["all-classes"]["8.weight"], first["8.weight"])
    assert not torch.equal(ticket.state["1.weight"], first["1.weight"])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"groups": 3}, "need 6 classes, got data of 4"),
        ({"density": 0.02}, r"at least .* for this network"),
    ],
)
def test_it_is_refused_before_any_training(
    settings: dict[str, float], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "training_loss", lambda *a, **k: pytest.fail("it trained"))
    with pytest.raises(InputError, match=match):
        Colt(**settings).find(make_network(), make_task(), torch.Generator())  # type: ignore[arg-type]


def test_groups_without_a_batch_are_refused_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "training_loss", lambda *a, **k: pytest.fail("it trained"))
    task = make_task(64, schedule=Schedule(epochs=1, batch_size=40))
    with pytest.raises(InputError, match="full batch"):
        Colt().find(make_network(NETWORK), task, torch.Generator())


@pytest.mark.parametrize("settings", [{"density": 0}, {"density": 1.5}, {"rate": 1}, {"rate": 0}, {"groups": 1}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="colt"):
        Colt(**settings)  # type: ignore[arg-type]
