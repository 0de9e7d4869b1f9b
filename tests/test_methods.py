"""What is said of the methods: the command that lists them, their help, papers and sources; choosing one; `--given`."""

from __future__ import annotations

import dataclasses
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import tiny_recipe
from tiny_training import one_thread, patterns  # noqa: F401  (the fixture acts by being here)

from cards_deck.__main__ import main
from cards_deck.card import Card, write_card
from cards_deck.commands import flags, methods
from cards_deck.commands.flags import add_member, build_member
from cards_deck.errors import InputError
from cards_deck.registry import Registry
from cards_deck.training.cards import make_card
from cards_deck.training.recipe import Workbench
from cards_deck.training.tickets import METHODS

SOURCE = re.compile(r"\[[^\[\]]+\]\.?$")


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_names_its_paper_and_the_source_of_every_default(name: str) -> None:
    line, paper = methods.summary(METHODS[name])
    assert len(line) <= 100
    assert re.search(r"(19|20)\d\d$", paper)
    documented = re.findall(r"^    (\w+): ((?:.|\n {5,})*)", (inspect.getdoc(METHODS[name]) or ""), re.MULTILINE)
    texts = {field_name: " ".join(text.split()) for field_name, text in documented}
    fields = dataclasses.fields(METHODS[name])  # type: ignore[arg-type]
    assert "density" in {f.name for f in fields}
    for each in fields:
        assert each.name in texts, f"{each.name} is not explained"
        assert SOURCE.search(texts[each.name]), f"{each.name}: no [source of the default] at the end"


def test_the_list_has_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(METHODS.names())
    assert [line.split()[0] for line in lines[::2]] == list(METHODS.names())
    paper = dict(zip(METHODS.names(), lines[1::2], strict=True))
    assert paper["gradual_magnitude"].strip() == "Zhu and Gupta, arXiv 2017"
    assert paper["rigl"].strip() == "Evci et al., ICML 2020"


@pytest.mark.parametrize("text", ["No paper.", "Two (A, B 2020) papers.", "A paper (Someone, somewhere).", ""])
def test_a_method_without_a_paper_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="must begin `What it does"):
        methods.summary(type("Nameless", (), {"__doc__": text}))


@pytest.mark.parametrize("name", METHODS.names())
def test_help_explains_the_settings_of_a_method(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", name, "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for each in dataclasses.fields(METHODS[name]):  # type: ignore[arg-type]
        assert f"--method.{each.name}" in text
    assert text.count("; source: ") >= len(dataclasses.fields(METHODS[name]))  # type: ignore[arg-type]
    assert methods.summary(METHODS[name])[1] in text


def test_help_tells_default_and_source_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "lottery", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "share of the surviving weights pruned after each level (default 0.2; source: paper)" in text
    assert "put the survivors and batch-norm, its statistics included, back" in text, "the algorithm too"


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["train", *argv, "--data", "nowhere", "--out", "nowhere"]) == 2
    return capsys.readouterr().err


def test_a_method_is_chosen_first_or_by_flag_but_not_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []

    def train_card(recipe: Any, *arguments: Any, **options: Any) -> tuple[Card, ...]:
        seen.append(recipe.method)
        return ()

    monkeypatch.setattr("cards_deck.training.run.train_card", train_card)
    monkeypatch.setattr("cards_deck.commands.train.load_data", lambda arguments: (None, None))
    rest = ["--data", "nowhere", "--out", "nowhere"]
    assert main(["train", "lottery", "--method.rewind", "5", *rest]) == 0
    assert main(["train", *rest, "--method", "lottery", "--method.rewind", "5"]) == 0
    assert main(["train", "lottery", "--method", "lottery", "--method.rewind", "5", *rest]) == 0
    assert main(["train", *rest]) == 0
    assert seen[:3] == [METHODS.build("lottery", rewind=5)] * 3
    assert seen[3] == METHODS.build("rigl")
    assert "two methods, lottery and rigl: name one" in refused(["lottery", "--method", "rigl"], capsys)
    assert "'lottery' comes after flags: a method must be the first" in refused(["--quiet", "lottery"], capsys)
    assert "unknown ticket method 'lotery': choose one of" in refused(["lotery"], capsys)


def test_a_card_is_given_only_to_methods_that_take_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Workbench(patterns(32), patterns(16, seed=1), torch.device("cpu"), quiet=True)
    (ticket,) = bench.find_tickets(tiny_recipe("random"))
    with pytest.raises(InputError, match=r"snip begins with random weights: no card can be given.*--from"):
        bench.find_tickets(tiny_recipe("snip"), ticket, "its id")
    seen: list[Any] = []
    snip = METHODS["snip"]
    monkeypatch.setattr(snip, "takes_card", True, raising=False)
    monkeypatch.setattr(snip, "find", lambda self, network, task, generator: seen.append(task) or ())
    bench.find_tickets(tiny_recipe("snip"), ticket, "its id")
    assert seen[0].given is ticket
    assert '"its id"' in seen[0].checkpoints.identity.replace("'", '"'), "another card's checkpoint is another run's"


LIDS: Registry[Any] = Registry("lid")
POTS: Registry[Any] = Registry("pot")


@LIDS.register("flat")
@dataclass(frozen=True)
class Flat:
    """A flat one.

    Attributes:
        width: in cm [measured].
    """

    width: float = 20.0


@LIDS.register("domed")
@dataclass(frozen=True)
class Domed:
    """A domed one.

    Attributes:
        height: in cm.
    """

    height: int = 7


@POTS.register("pot")
@dataclass(frozen=True)
class Pot:
    """A pot.

    Attributes:
        lid: on top [kitchen].
    """

    lid: Any = field(default_factory=Flat, metadata={"registry": LIDS})
    handles: int = 2


def built(*argv: str) -> Any:
    parser = flags.argparse.ArgumentParser(allow_abbrev=False)
    add_member(parser, "pot", POTS, "pot", argv)
    return build_member(parser.parse_args(argv), "pot", POTS)


def test_a_field_may_hold_a_member_of_another_registry() -> None:
    assert built() == Pot()
    assert built("--pot.lid.width", "30", "--pot.handles", "1") == Pot(Flat(30.0), 1)
    assert built("--pot.lid", "domed") == Pot(Domed())
    assert built("--pot.lid=domed", "--pot.lid.height", "9") == Pot(Domed(9))
    with pytest.raises(InputError, match="unknown lid 'round'"):
        built("--pot.lid", "round")
    with pytest.raises(SystemExit):
        built("--pot.lid", "domed", "--pot.lid.width", "30")


def test_help_of_a_nested_member() -> None:
    parser = flags.argparse.ArgumentParser()
    add_member(parser, "pot", POTS, "pot", [])
    text = " ".join(parser.format_help().split())
    assert "--pot.lid NAME on top (domed, flat; default flat; source: kitchen)" in text
    assert "--pot.lid.width VALUE in cm (default 20.0; source: measured)" in text


def test_fine_tuning_takes_no_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the card is: `--from` keeps its mask."""
    recipe = tiny_recipe("random")
    bench = Workbench(patterns(32), patterns(16, seed=1), torch.device("cpu"), quiet=True)
    (ticket,) = bench.find_tickets(recipe)
    path = tmp_path / "one.card.safetensors"
    write_card(make_card("one", recipe, bench.build(recipe), ticket, patterns(32)), path)
    assert "leave out snip" in refused(["snip", "--from", str(path)], capsys)
    assert "leave out --given" in refused(["--from", str(path), "--given", str(path)], capsys)
