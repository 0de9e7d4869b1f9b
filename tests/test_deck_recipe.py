"""Deck recipes: those of the package, what a file may say, and what is refused with its place."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from cards_deck.deck import read_deck
from cards_deck.errors import InputError
from cards_deck.training.augmentations.augmix import AugMix
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.deck_recipe import DeckRecipe
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.recipe_file import bundled, read_deck_recipe
from cards_deck.training.schedule import Schedule
from cards_deck.training.tickets.rigl import RigL

MODELS = Path(__file__).resolve().parent.parent / "models"
RECIPE = """
name = "tiny"
version = "2"
threads = 1

[gate]
max_cards = 2
most_loss = 0.1

[recipe]
network = { name = "resnet", widths = [4, 8], blocks = [1, 1] }
method = { name = "rigl", density = 0.3, interval = 1 }
seed = 4
[recipe.schedule]
epochs = 2
batch_size = 16
sizes = [[0.5, 24]]

[[card]]
name = "first"

[[card]]
name = "second"
from = "first"
seed = 5
augmentation = { name = "gaussian", std = 0.2 }
schedule = { epochs = 1, sizes = [] }

[[soup]]
name = "both"
of = ["first", "second"]
"""


def read(text: str, folder: Path) -> DeckRecipe:
    path = folder / "deck.toml"
    path.write_text(text, "utf-8")
    return read_deck_recipe(path)


def test_a_file_is_read_with_what_cards_share_and_what_differs(tmp_path: Path) -> None:
    deck = read(RECIPE, tmp_path)
    first, second = deck.cards
    assert (deck.name, deck.version, deck.threads, deck.gate) == ("tiny", "2", 1, {"max_cards": 2, "most_loss": 0.1})
    assert first.recipe.network == second.recipe.network == ResNet((4, 8), (1, 1))
    assert first.recipe.method == RigL(density=0.3, interval=1)
    assert (first.recipe.augmentation, second.recipe.augmentation) == (AugMix(), Gaussian(std=0.2))
    assert first.recipe.schedule == Schedule(epochs=2, batch_size=16, sizes=((0.5, 24),))
    assert second.recipe.schedule == Schedule(epochs=1, batch_size=16), "what it does not say is shared"
    assert (first.parent, second.parent, first.recipe.seed, second.recipe.seed) == (None, "first", 4, 5)
    assert [(soup.name, soup.of, soup.wise_ft) for soup in deck.soups] == [("both", ("first", "second"), False)]


@pytest.mark.parametrize(("written", "alpha"), [("0.25", 0.25), ('"auto"', None)])
def test_an_average_with_an_alpha_is_a_wise_ft_blend(tmp_path: Path, written: str, alpha: float | None) -> None:
    (blend,) = read(f"{RECIPE}alpha = {written}\n", tmp_path).soups
    assert (blend.wise_ft, blend.alpha) == (True, alpha)


def test_cards_and_averages_may_have_a_second_look(tmp_path: Path) -> None:
    assert read(RECIPE, tmp_path).mirrored == ()
    assert read('mirrored = ["both", "first"]\n' + RECIPE, tmp_path).mirrored == ("both", "first")
    with pytest.raises(InputError, match="is called 'first-mirrored', and that name is taken"):
        read('mirrored = ["first"]\n' + RECIPE.replace('"both"', '"first-mirrored"'), tmp_path)


@pytest.mark.parametrize("name", bundled())
def test_recipes_of_the_package_are_whole(name: str) -> None:
    deck = read_deck_recipe(name)
    assert deck.name == name
    assert len({card.recipe for card in deck.cards}) == len(deck.cards)
    small = deck.small()
    assert [card.name for card in small.cards] == [card.name for card in deck.cards]
    epochs = 5 if name == "cifar10-search" else 1  # for methods of several rounds
    assert all(card.recipe.schedule.epochs == epochs for card in small.cards)


@pytest.mark.parametrize("name", ["cifar10-starter", "cifar10-medium"])
def test_released_decks_are_of_their_recipes(name: str) -> None:
    recipe, deck = read_deck_recipe(name), read_deck(MODELS / name)
    cards = {card.name: card for card in deck.cards}
    assert (deck.name, deck.version, deck.gate.max_cards) == (recipe.name, recipe.version, recipe.gate["max_cards"])
    looks = {f"{name}-mirrored" for name in recipe.mirrored}
    assert {name for name, card in cards.items() if card.mirrored} == looks
    assert set(cards) == {one.name for one in (*recipe.cards, *recipe.soups)} | looks
    for one in recipe.cards:
        record, described = cards[one.name].record, one.recipe.describe()
        assert record.network == described["network"]
        assert record.augmentation == described["augmentation"]
        assert record.schedule == described["schedule"]
        assert record.seed == described["seed"]
        found_by = record.method
        while found_by["name"] == "fine_tune":
            found_by = found_by["found_by"]
        assert (one.parent is None) == (found_by is record.method)
        assert found_by == described["method"]
        assert record.parents == (() if one.parent is None else (cards[one.parent].id,))
    for soup in recipe.soups:
        assert set(cards[soup.name].record.parents) == {cards[name].id for name in soup.of}


def test_the_independent_cards_cost_what_the_family_costs() -> None:
    """As many epochs in all, as many cards of each augmentation, none made from another."""
    family, alone = read_deck_recipe("cifar10-starter"), read_deck_recipe("cifar10-independent")
    epochs = [sum(card.recipe.schedule.epochs for card in deck.cards) for deck in (family, alone)]
    assert epochs[0] == epochs[1]
    kinds = [sorted(str(card.recipe.augmentation) for card in deck.cards) for deck in (family, alone)]
    assert kinds[0] == kinds[1]
    assert [card.parent for card in alone.cards] == [None] * 4
    assert {card.recipe.network for card in (*family.cards, *alone.cards)} == {family.cards[0].recipe.network}
    plain = {key: value for key, value in asdict(family.cards[0].recipe.schedule).items() if key != "epochs"}
    assert all(plain.items() <= asdict(card.recipe.schedule).items() for card in alone.cards)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "tiny"', 'name = "a/b"', "the file: 1 to 100 letters"),
        ("threads = 1", 'mirrored = ["third"]', r"`mirrored` must name different ones of first, second, both, not"),
        ("threads = 1", 'mirrored = ["both", "both"]', "`mirrored` must name different ones"),
        ("threads = 1", 'mirrored = "both"', "`mirrored` must name different ones"),
        ('version = "2"', "version = 2", "the file needs a text as `version`, not 2"),
        ("threads = 1", "threads = 0", "the file: `threads` must be a whole number of at least 1, not 0"),
        ("threads = 1", "thread = 1", "the file has no 'thread'"),
        ("max_cards = 2", "most = 2", r"\[gate\] has no 'most': it takes .*max_cards"),
        ("seed = 4", "sed = 4", r"\[recipe\] has no 'sed'"),
        ("seed = 5", "seed = true", r"\[\[card\]\] second: `seed` must be a whole number of at least 0, not True"),
        ("max_cards = 2", 'max_cards = "three"', r"\[gate\]: `max_cards` must be a whole number of at least 1"),
        ("max_cards = 2", "corrupted_images = 1", r"\[gate\]: `corrupted_images` must be a whole number of at least 2"),
        ("max_cards = 2", 'gate = "spectrl"', r"\[gate\]: `gate` must be auto or one of cascade, .*, not 'spectrl'"),
        ("max_cards = 2", "most_cards = 0.5", "must be a number of at least 1, not 0.5"),
        ("most_loss = 0.1", "most_loss = 3", "must be a number from 0 to 1, not 3"),
        ("most_loss = 0.1", 'most_loss = "3"', r"\[gate\]: `most_loss` must be a number, not '3'"),
        ("density = 0.3", "density = 3", r"\[\[card\]\] first: rigl: `density`"),
        ("density = 0.3", "sparsity = 0.3", r"\[\[card\]\] first: .* has no field sparsity"),
        ('name = "rigl"', 'name = "magic"', "unknown .*'magic': choose one of"),
        ("epochs = 2", "epochs = 0", r"\[\[card\]\] first: schedule: `epochs` must be at least 1"),
        (
            "epochs = 2",
            'epochs = "two"',
            r"first: `epochs` of the schedule must be a whole number, not 'two'",
        ),
        ("epochs = 2", "epochs = 2.5", r"`epochs` of the schedule must be a whole number, not 2.5"),
        ("sizes = [[0.5, 24]]", "sizes = [0.5, 24]", r"`sizes` must be pairs of a share and a side in pixels, not 0.5"),
        ("sizes = [[0.5, 24]]", "sizes = 24", r"`sizes` of the schedule must be a list, not 24"),
        (
            '{ name = "gaussian", std = 0.2 }',
            '"gaussian"',
            r"second: `augmentation` must be a table like",
        ),
        ("std = 0.2 }", 'std = "x" }', r"second: a value of `augmentation` is of the wrong kind"),
        (
            'from = "first"',
            'from = "first"\nmethod = { name = "random" }',
            "fine-tuning keeps the mask of 'first'",
        ),
        ("std = 0.2 }", 'std = 0.2 }\nnetwork = { name = "resnet" }', "'second' must have the network of 'first'"),
        ("epochs = 2", "epoch = 2", r"\[\[card\]\] first: `schedule` has no 'epoch'"),
        ('name = "second"', 'name = "first"', "two cards are called 'first'"),
        ('from = "first"', 'from = "third"', "'second' is fine-tuned `from` 'third', which no card before it is"),
        ('of = ["first", "second"]', 'of = ["first"]', r"\[\[soup\]\] both: `of` must name two or more different ones"),
        ('of = ["first", "second"]', 'of = ["first", "last"]', "must name two or more different ones of first, second"),
        ('of = ["first", "second"]', 'of = ["first", "first"]', "must name two or more different ones"),
        ('of = ["first", "second"]', 'of = [["first"]]', "must name two or more different ones"),
        ('name = "both"', 'name = "first"', "soups need names of their own, and 'first' is taken"),
        (
            'name = "both"',
            'name = "both"\nstatistics = "new"',
            r"\[\[soup\]\] both: `statistics` must be averaged or recomputed, not 'new'",
        ),
        ('name = "both"', 'name = "both"\nalpha = 1.0', r"both: `alpha` must be 'auto' or a number between 0 and 1"),
        (
            'of = ["first", "second"]',
            'of = ["first", "second", "third"]\nalpha = 0.5\n[[card]]\nname = "third"',
            r"\[\[soup\]\] both: `alpha` is the share of the second of two cards, and `of` names 3",
        ),
        ("[[card]]", "[card]", "is no TOML file"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in RECIPE
    with pytest.raises(InputError, match=says):
        read(RECIPE.replace(old, new, 1), tmp_path)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a TOML file or one of cifar10-.*cannot be read"):
        read_deck_recipe("no-such-recipe")
    with pytest.raises(InputError, match=r"at least one \[\[card\]\]"):
        read('name = "a"\nversion = "1"\n', tmp_path)
    with pytest.raises(InputError, match=r"each card must be a table of its own, headed \[\[card\]\]"):
        read('name = "a"\nversion = "1"\n[card]\nname = "b"\n', tmp_path)


def test_what_no_deck_can_be_made_of_is_refused_before_training(tmp_path: Path) -> None:
    read(RECIPE, tmp_path).check()
    two = RECIPE.replace("std = 0.2 }", "std = 0.2 }\n[[card]]\nname = 'third'\nfrom = 'first'\n"
                         "augmentation = { name = 'gaussian', std = 0.3 }", 1)  # fmt: skip
    with pytest.raises(InputError, match="'second' and 'third' are trained under different settings of 'gaussian'"):
        read(two, tmp_path).check()
    apart = RECIPE.replace('from = "first"\n', "")
    with pytest.raises(InputError, match="soup 'both' is of cards that were not fine-tuned from one"):
        read(apart, tmp_path).check()
