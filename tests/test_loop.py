"""The training loop against plain arithmetic: steps, averages, sizes, weight decay, accuracy."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_training import (
    SHORT,
    equal_states,
    make_network,
    one_thread,  # noqa: F401  (the fixture acts by being here)
    patterns,
    tensors,
)
from torch import Tensor, nn
from torch.nn import functional as F

from cards_deck.errors import InputError
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.forward import to_float
from cards_deck.training.loop import Run, epoch_rows, evaluate, fit, make_optimizer, update_average
from cards_deck.training.schedule import Schedule

IMAGES, LABELS = tensors(patterns(72))  # 4 batches of 16, and 8 images left over


class Watch:
    """A hook that notes learning rates and the state after each step, and may claim steps."""

    def __init__(self, run: Run, claims: set[int] | None = None) -> None:
        self.run, self.claims = run, claims or set()
        self.rates: list[float] = []
        self.states: list[dict[str, Tensor]] = []
        self.calls: list[tuple[int, int]] = []

    def on_gradients(self, step: int, steps: int) -> bool:
        self.calls.append((step, steps))
        self.rates.append(self.run.optimizer.param_groups[0]["lr"])
        return step in self.claims

    def after_step(self) -> None:
        self.states.append({name: value.clone() for name, value in self.run.network.state_dict().items()})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def trained(schedule: Schedule, claims: set[int] | None = None, **callbacks: Any) -> tuple[Run, Watch]:
    run = Run.start(make_network(), schedule)
    watch = Watch(run, claims)
    run.hooks = (watch,)
    fit(run, IMAGES, LABELS, CropFlip(), 3, **callbacks)
    return run, watch


def plain_training(network: nn.Module, schedule: Schedule, seed: int) -> nn.Module:
    """The same training written out: no optimizer class, no hooks, no loss function of the library's."""
    velocity = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    batches = len(IMAGES) // schedule.batch_size
    for epoch in range(schedule.epochs):
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        order = torch.randperm(len(IMAGES), generator=generator)
        network.train()
        for batch in range(batches):
            rows = order[batch * schedule.batch_size : (batch + 1) * schedule.batch_size]
            pixels = CropFlip()(IMAGES[rows], generator).float() / 255
            log_p = F.log_softmax(network(pixels), dim=1)
            share = schedule.label_smoothing
            target = F.one_hot(LABELS[rows], 4) * (1 - share) + share / 4
            network.zero_grad()
            (-(target * log_p).sum(1).mean()).backward()
            rate = schedule.rate((epoch * batches + batch) / (batches * schedule.epochs))
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    assert parameter.grad is not None
                    decay = schedule.weight_decay if parameter.dim() > 1 else 0.0
                    gradient = parameter.grad + decay * parameter
                    velocity[name] = schedule.momentum * velocity[name] + gradient
                    step = gradient + schedule.momentum * velocity[name] if schedule.nesterov else velocity[name]
                    parameter.sub_(rate * step)
    return network


@pytest.mark.parametrize(
    "schedule",
    [
        replace(SHORT, label_smoothing=0.1, warmup=0.3, weight_decay=0.05),
        replace(SHORT, decay="step", warmup=0.0, nesterov=False, weight_decay=0.0),
    ],
    ids=["cosine", "step"],
)
def test_training_is_what_it_says(schedule: Schedule) -> None:
    run, watch = trained(schedule)
    by_hand = plain_training(make_network(), schedule, 3).state_dict()
    for name, value in run.network.state_dict().items():
        assert torch.allclose(value.float(), by_hand[name].float(), rtol=1e-3, atol=1e-5), name
    assert watch.rates == [schedule.rate(step / 8) for step in range(8)]
    assert watch.calls == [(step, 8) for step in range(8)]
    assert not equal_states(run.network, make_network())


def test_training_learns_the_patterns() -> None:
    run, _ = trained(replace(SHORT, epochs=12, learning_rate=0.2))
    held_out = tensors(patterns(64, seed=5))
    assert evaluate(run.result, *held_out) > 0.8
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    assert [record["epoch"] for record in run.history] == list(range(1, 13))


def test_an_epoch_is_one_shuffled_pass_without_the_incomplete_batch() -> None:
    batches = list(epoch_rows(72, 16, torch.Generator().manual_seed(0)))
    assert [len(rows) for rows in batches] == [16] * 4
    rows = torch.cat(batches).tolist()
    assert len(set(rows)) == 64
    assert rows != sorted(rows)
    assert rows != torch.cat(list(epoch_rows(72, 16, torch.Generator().manual_seed(1)))).tolist()


def test_every_epoch_and_every_seed_has_an_order_of_its_own() -> None:
    seen: list[bytes] = []

    class Note(CropFlip):
        def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
            seen.append(images.numpy().tobytes())
            return super().__call__(images, generator)

    for seed in (0, 0, 1):
        fit(Run.start(make_network(), SHORT), IMAGES, LABELS, Note(), seed)
    assert seen[:8] == seen[8:16]
    assert len(set(seen[:8] + seen[16:])) == 16


def test_fewer_images_than_a_batch_are_refused() -> None:
    """Else training would end at once, without a step, and the card would be random."""
    run = Run.start(make_network(), replace(SHORT, batch_size=73))
    with pytest.raises(InputError, match="full batch of 73 images, got 72"):
        fit(run, IMAGES, LABELS, CropFlip(), 0)
    assert run.epoch == 0


@pytest.mark.parametrize("claims", [{0, 1, 2, 3, 4, 5, 6, 7}, {3}])
def test_a_hook_may_claim_a_step(claims: set[int]) -> None:
    run, watch = trained(SHORT, claims)
    names = [name for name, _ in run.network.named_parameters()]
    before = make_network().state_dict()
    for step, after in enumerate(watch.states):
        moved = any(not torch.equal(before[name], after[name]) for name in names)
        # The first step has learning rate zero: it warms up.
        assert moved == (step not in claims and step > 0)
        before = after


def test_all_hooks_see_the_gradients_and_the_step() -> None:
    run = Run.start(make_network(), SHORT)
    first, second = Watch(run, {0, 1, 2, 3, 4, 5, 6, 7}), Watch(run)
    run.hooks = (first, second)
    fit(run, IMAGES, LABELS, CropFlip(), 0)
    assert len(first.calls) == len(second.calls) == len(first.states) == len(second.states) == 8


def test_the_average_is_the_closed_form() -> None:
    """a_T = prod(d) w_0 + sum_t (1 - d_t) prod_{s > t}(d_s) w_t, with d_t = min(ema, (1 + t) / (10 + t))."""
    run, watch = trained(replace(SHORT, ema=0.3))
    assert run.average is not None
    assert run.result is run.average
    decays = [min(0.3, (1 + step) / (10 + step)) for step in range(8)]
    assert decays[0] == pytest.approx(0.1)
    assert decays[-1] == 0.3
    start, average = make_network().state_dict(), run.average.state_dict()
    for name, value in start.items():
        if not value.is_floating_point():
            assert torch.equal(average[name], run.network.state_dict()[name])
            continue
        wanted, later = torch.zeros_like(value, dtype=torch.float64), 1.0
        for state, decay in zip(reversed(watch.states), reversed(decays), strict=True):
            wanted += later * (1 - decay) * state[name].double()
            later *= decay
        wanted += later * value.double()
        assert torch.allclose(average[name].double(), wanted, rtol=1e-4, atol=1e-6), name
    assert not equal_states(run.average, run.network)


def test_without_averaging_the_last_weights_stay() -> None:
    run, watch = trained(SHORT)
    assert run.average is None
    assert run.result is run.network
    assert equal_states(run.result, watch.states[-1])


def test_one_average_step_by_hand() -> None:
    mean, now = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    now.running_mean = torch.tensor([1.0, -4.0])
    now.num_batches_tracked = torch.tensor(7)
    update_average(mean, now, 0.75)
    assert mean.running_mean is not None
    assert mean.running_mean.tolist() == [0.25, -1.0]
    assert int(mean.num_batches_tracked or 0) == 7


def test_images_grow_as_the_schedule_says() -> None:
    sizes: list[tuple[int, ...]] = []
    run = Run.start(make_network(), replace(SHORT, epochs=4, sizes=((0.25, 16), (0.75, 24))))
    run.network[0].register_forward_pre_hook(lambda module, images: sizes.append(tuple(images[0].shape)))  # type: ignore[index]
    fit(run, IMAGES, LABELS, CropFlip(), 0)
    assert sizes == [(16, 3, side, side) for side in (16, 24, 24, 32) for _ in range(4)]
    assert [record["size"] for record in run.history] == [16, 24, 24, 32]


def test_pixels_become_numbers_between_zero_and_one() -> None:
    assert torch.equal(to_float(IMAGES, 32), IMAGES.float() / 255)
    assert to_float(IMAGES, 32).is_contiguous(memory_format=torch.channels_last)
    flat = torch.full((1, 3, 32, 32), 51, dtype=torch.uint8)
    assert torch.allclose(to_float(flat, 20), torch.full((1, 3, 20, 20), 0.2))
    stripes = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    stripes[..., ::4] = 255
    inner = to_float(stripes, 8)[..., 1:-1]
    assert float((inner - 0.25).abs().max()) < 0.1, "antialiased: stripes finer than a pixel become grey"


def test_weight_decay_is_on_matrices_alone() -> None:
    """A step of rate 0.5 on gradients of zero: matrices shrink by 0.5 * 0.1, vectors stay."""
    network = make_network()
    before = copy.deepcopy(network)
    optimizer = make_optimizer(
        network, replace(SHORT, learning_rate=0.5, weight_decay=0.1, momentum=0.0, nesterov=False)
    )
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for (name, after), old in zip(network.named_parameters(), before.parameters(), strict=True):
        shrunk = 1 - 0.5 * 0.1 if after.dim() > 1 else 1.0
        assert torch.allclose(after, old * shrunk), name
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))


def test_accuracy_counts_and_leaves_batch_norm_alone() -> None:
    class Brightest(nn.Module):
        """The brightest channel is the answer."""

        def forward(self, images: Tensor) -> Tensor:
            assert not self.training
            return images.mean((2, 3))

    images = torch.zeros(7, 3, 32, 32, dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    images[torch.arange(7), labels] = 200
    labels[5:] = 1
    assert evaluate(Brightest().train(), images, labels, batch_size=3) == pytest.approx(5 / 7)
    network = make_network()
    before = copy.deepcopy(network)
    evaluate(network, IMAGES, LABELS)
    assert equal_states(network, before)


def test_callbacks_hear_of_steps_and_epochs() -> None:
    steps: list[tuple[int, int]] = []
    epochs: list[int] = []
    trained(
        replace(SHORT, epochs=6),
        on_step=lambda step, steps_in_all, loss: steps.append((step, steps_in_all)),
        on_epoch=lambda run: epochs.append(run.epoch),
    )
    assert steps == [(0, 24), (20, 24)]
    assert epochs == [1, 2, 3, 4, 5, 6]
