"""ToST: softness that ends exactly at the plain network, where masks come from, labels, and the re-scaled start."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import (
    NETWORK,
    SHORT,
    equal_states,
    make_network,
    make_task,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    randomise,
)
from torch import nn
from torch.nn import functional as F

from cards_deck.errors import InputError
from cards_deck.registry import describe
from cards_deck.training import loop
from cards_deck.training.networks import Network
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.networks.wide_resnet import WideResNet
from cards_deck.training.tickets import METHODS, Ticket
from cards_deck.training.tickets.lr_rewinding import LearningRateRewinding
from cards_deck.training.tickets.random import Random
from cards_deck.training.tickets.snip import Snip
from cards_deck.training.tickets.softening import GHOST_WEIGHT, Ghost, Softness, SoftReLU, soften
from cards_deck.training.tickets.ticket import full_masks
from cards_deck.training.tickets.tost import Anneal, ToST

NETWORKS = [NETWORK, WideResNet(10, 1)]
IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
CPU = torch.device("cpu")


def test_the_activation_is_swish_then_nearly_relu_then_relu() -> None:
    x = torch.linspace(-6, 6, 4001)
    softness = Softness(1.0, CPU)
    soft = SoftReLU(softness)
    assert torch.allclose(soft(x), F.silu(x))
    for share in (0.0, 0.5, 0.9, 0.999):
        softness.anneal(share)
        near = x * (1 - share)
        gap = float((soft(near) - torch.relu(near)).abs().max())
        assert gap == pytest.approx(0.2785 * (1 - share), rel=0.02), "to ReLU along a line"
        assert float(softness.alpha) == pytest.approx(1 - share)
    softness.anneal(1.0)
    assert torch.equal(soft(x), torch.relu(x))
    pswish = SoftReLU(Softness(2.0, CPU))
    assert torch.allclose(pswish(x), x / (1 + torch.exp(-2 * x)), atol=1e-6)


def test_a_ghost_adds_a_normalised_1x1_convolution() -> None:
    """By hand, in training mode: equal weights sum the channels, batch-norm takes the mean away."""
    softness = Softness(1.0, CPU)
    ghost = Ghost(nn.Conv2d(5, 2, 3, stride=2, padding=1), softness)
    x, y = torch.randn(4, 5, 8, 8), torch.randn(4, 2, 4, 4)
    softness.anneal(0.25)
    summed = GHOST_WEIGHT * x[:, :, ::2, ::2].sum(1, keepdim=True)
    normalised = (summed - summed.mean()) / (summed.var(unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(ghost(x, y), y + 0.75 * normalised, atol=1e-5)
    softness.anneal(1.0)
    assert torch.equal(ghost(x, y), y)


@pytest.mark.parametrize("settings", NETWORKS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_when_it_is_over_it_answers_as_the_plain_network(settings: Network, training: bool) -> None:
    """Bit for bit, whatever the ghosts have learned."""
    network = randomise(make_network(settings))
    soft, softness = soften(network, 1.0)
    with torch.no_grad():
        for name, module in soft.named_modules():
            if name.startswith("ghost_") and isinstance(module, nn.Conv2d):
                module.weight.normal_()
    plain = copy.deepcopy(network)
    soft.eval(), network.eval(), plain.train(training)
    assert not torch.allclose(soft(IMAGES), network(IMAGES), atol=1e-2)
    softness.anneal(1.0)
    soft.train(training)
    assert torch.equal(soft(IMAGES), plain(IMAGES))
    assert equal_states({n: soft.state_dict()[n] for n in plain.state_dict()}, dict(plain.state_dict()))


def test_ghosts_lie_around_convolutions_that_keep_the_place() -> None:
    network = make_network(ResNet((4, 8), (1, 1)))
    soft, _ = soften(network, 1.0)
    ghosts = {name for name, module in soft.named_modules() if isinstance(module, Ghost)}
    assert ghosts == {"ghost_4_conv1", "ghost_4_conv2", "ghost_5_conv1", "ghost_5_conv2"}
    modules = dict(network.named_modules())
    ends = {str(n.target): modules[str(n.args[1].target)] for n in soft.graph.nodes if str(n.target) in ghosts}
    assert all(isinstance(end, nn.BatchNorm2d) for end in ends.values()), "added to what is normalised"
    assert not any(isinstance(module, Ghost) for module in network.modules()), "the network itself stays plain"
    assert [node.target for node in soft.graph.nodes].count("soft_relu") == 5
    own = dict(soft.named_parameters())
    assert all(own[name] is value for name, value in network.named_parameters()), "one set of weights"


def test_annealing_ends_at_its_share_of_the_steps_and_resumes() -> None:
    softness = Softness(1.0, CPU)
    hook = Anneal(softness, end=0.75)
    alphas = []
    for step in range(12):
        alphas.append(0.0 if softness.over else float(softness.alpha))
        assert not hook.on_gradients(step, 12)
        hook.after_step()
    assert alphas == pytest.approx([1 - step / 9 for step in range(9)] + [0, 0, 0])
    half, other = Anneal(Softness(1.0, CPU), 0.75), Softness(1.0, CPU)
    for step in range(5):
        half.on_gradients(step, 12)
        half.after_step()
    again = Anneal(other, 0.75)
    again.load_state_dict(half.state_dict())
    assert float(other.alpha) == pytest.approx(1 - 5 / 9)
    assert float(other.beta) == pytest.approx(9 / 4)


def caught(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """What each stage was given to train."""
    seen: dict[str, tuple[nn.Module, dict[str, Any]]] = {}
    train = make_task().__class__.train

    def noting(self: Any, network: nn.Module, *, stage: str, **options: Any) -> nn.Module:
        seen[stage] = (network, options)
        return train(self, network, stage=stage, **options)

    monkeypatch.setattr("cards_deck.training.task.Task.train", noting)
    return seen


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_ticket_is_the_plain_network(ema: float, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = caught(monkeypatch)
    network, task = make_network(), make_task(schedule=replace(SHORT, ema=ema))
    names = set(network.state_dict())
    (ticket,) = ToST(0.3, rescale_steps=0).find(network, task, torch.Generator().manual_seed(0))
    assert set(ticket.state) == names, "no ghost is left"
    plain = make_network(seed=9)
    plain.load_state_dict(dict(ticket.state))
    soft = seen["soft"][0]
    if not ema:
        assert torch.equal(soft.eval()(IMAGES), plain.eval()(IMAGES)), "what was trained last answers like it"
    assert task.validate(plain) > 0.3


def test_labels_are_smoothed_as_in_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 - 0.1 for the class, 0.1 / 3 for each of the three others."""
    seen = caught(monkeypatch)
    ToST(0.3, rescale_steps=0).find(make_network(), make_task(), torch.Generator())
    smoothing = seen["soft"][1]["schedule"].label_smoothing
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    target = torch.full((6, 4), 0.1 / 3)
    target[torch.arange(6), labels] = 0.9
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert torch.allclose(F.cross_entropy(logits, labels, label_smoothing=smoothing), expected)


@pytest.mark.parametrize("source", [Random(), Snip(batch=16)], ids=["random", "snip"])
def test_masks_at_initialisation_are_asked_for(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = caught(monkeypatch)
    method = ToST(0.3, masks=source, rescale_steps=2)
    (ticket,) = method.find(make_network(), make_task(), torch.Generator().manual_seed(4))
    assert list(seen) == ["soft"], "the source trains nothing"
    expected = replace(source, density=0.3).masks(make_network(), make_task(), torch.Generator().manual_seed(4))
    assert equal_states(dict(ticket.masks), expected)


def test_masks_found_by_training_are_used_on_the_first_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = caught(monkeypatch)
    source = LearningRateRewinding(rate=0.5)
    start = make_network()
    network = copy.deepcopy(start)
    task = make_task(folder=tmp_path)
    (ticket,) = ToST(0.3, masks=source, rescale_steps=0).find(network, task, torch.Generator().manual_seed(0))
    assert list(seen)[-1] == "soft"
    assert len(seen) == 4, "levels of 1, 0.5 and 0.3, then the ticket"
    (other,) = replace(source, density=0.3).find(copy.deepcopy(start), make_task(), torch.Generator().manual_seed(0))
    assert equal_states(dict(ticket.masks), dict(other.masks))
    assert not equal_states(dict(ticket.state), dict(other.state))
    assert (tmp_path / "masks").is_dir(), "its checkpoints lie apart"


def test_masks_may_be_those_of_another_tost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has masks, but as a field: it is followed."""
    seen = caught(monkeypatch)
    inner = ToST(0.3, masks=Snip(batch=16), rescale_steps=0)
    (ticket,) = ToST(0.3, masks=inner, rescale_steps=0).find(make_network(), make_task(), torch.Generator())
    assert list(seen) == ["soft"]
    assert ticket.density == pytest.approx(0.3, abs=1e-3)


def given_ticket(density: float) -> Ticket:
    network = make_network(seed=3)
    masks = Random(density).masks(network, make_task(), torch.Generator().manual_seed(8))
    return Ticket.of(network, masks)


def test_a_given_cards_masks_are_used() -> None:
    given = given_ticket(0.3)
    task = replace(make_task(), given=given)
    (ticket,) = ToST(0.3, rescale_steps=0).find(make_network(), task, torch.Generator())
    assert equal_states(dict(ticket.masks), dict(given.masks))


def test_a_given_card_of_another_kind_is_refused_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "training_loss", lambda *a, **k: pytest.fail("it trained"))
    task = replace(make_task(), given=given_ticket(0.2))
    with pytest.raises(InputError, match=r"that of the given card, got .*: give 0\.2"):
        ToST(0.3).find(make_network(), task, torch.Generator())
    with pytest.raises(InputError, match="`masks` is not followed where a card is given"):
        ToST(0.2, masks=Snip()).find(make_network(), task, torch.Generator())
    with pytest.raises(InputError, match="masks of another network"):
        ToST(0.2).find(make_network(WideResNet(10, 1)), task, torch.Generator())


def test_the_sources_density_is_the_methods_and_is_recorded() -> None:
    method = ToST(0.2, masks=Snip())
    assert method.masks == Snip(0.2)
    assert ToST(0.2, masks=Snip(0.2)) == method
    assert METHODS.restore(describe(method)) == method


@pytest.mark.parametrize(
    "settings",
    [
        {"density": 0}, {"beta": 0}, {"end": 1}, {"label_smoothing": 0.5}, {"rescale_steps": -1},
        {"masks": METHODS.build("structured")}, {"masks": Snip(0.7)},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="tost"):
        ToST(**settings)


def test_whole_masks_are_a_mask_too() -> None:
    network = make_network()
    task = replace(make_task(), given=Ticket.of(network, full_masks(network)))
    (ticket,) = ToST(1.0, rescale_steps=0).find(network, task, torch.Generator())
    assert ticket.density == 1
