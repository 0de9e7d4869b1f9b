"""What every gate is made of: its view of the deck, the routing it returns, and the rules that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cards_deck.deck_cards import mirrored_of, parts_of
from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.references import References
from cards_deck.registry import Registry
from cards_deck.spectrum import Floats, distances

if TYPE_CHECKING:
    from cards_deck.deck import Deck
    from cards_deck.inference.gates._observed import Observed

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Routing:
    """Rows are images. `weights` float32 [n, k] over the deck's cards, rows sum to 1, 0 = the card does not run.

    `distances` float32 [n, a] to the references; `unknown` bool [n]: farther from all of them than the training images
    are; `choice` int64 [n]: nearest reference, -1 where the gate reads none; `preference` float32 [n, k]: what the
    spectrum says of each card, whether it runs or not, rows sum to 1. Of a window `weights`, `choice` and `preference`
    are those of all its images together, and `strayed` bool [n] whether these are unknown (None: as each by itself).
    """

    weights: Floats
    distances: Floats
    unknown: Bools
    choice: NDArray[np.int64]
    preference: Floats
    strayed: Bools | None = None

    @property
    def routed_unknown(self) -> Bools:
        """bool [n]: the image's own spectrum, or its window's, by which it was routed, is unknown."""
        return self.unknown if self.strayed is None else self.strayed


@dataclass(frozen=True, eq=False)
class Known:
    """What a gate knows of its deck: the references, each card's augmentation, which cards (by index) are not averages
    of others of the deck, the share of every card (columns) in each (`parts_of`), and which see images mirrored."""

    references: References
    augmentations: tuple[str, ...]
    originals: tuple[int, ...]
    parts: tuple[tuple[float, ...], ...]
    mirrored: tuple[int, ...] = ()

    @classmethod
    def of(cls, deck: Deck) -> Known:
        """The gate's view of a deck."""
        names = tuple(card.augmentation for card in deck.cards)
        return cls(deck.references, names, deck.originals, parts_of(deck.cards), mirrored_of(deck.cards))

    def cards_of(self) -> list[list[int]]:
        """For each reference the original cards of its augmentation, in deck order. InputError unless each has some
        and each card has a reference."""
        names = self.references.augmentations
        trained = {self.augmentations[card] for card in self.originals}
        if missing := sorted(trained - set(names)):
            raise InputError(f"there is no reference spectrum for {', '.join(missing)}")
        if missing := sorted(set(names) - trained):
            raise InputError(f"no card was trained under {', '.join(missing)}: the gate could choose none")
        return [[card for card in self.originals if self.augmentations[card] == name] for name in names]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a gate takes from spectra before any of its parameters plays a part: `distances` float32 [n, a] to the
    references and `preference` float32 [n, k] of the cards."""

    distances: Floats
    preference: Floats


class Gate(Protocol):
    """Anything that says which cards answer an image. Every row is routed by itself, and nothing is remembered."""

    @property
    def config(self) -> GateConfig:
        """The gate's parameters."""

    @property
    def limit(self) -> int:
        """The most cards that may run for one image."""

    def route(self, spectra: Floats) -> Routing:
        """The first cards to run, from log-amplitude spectra float32 [n, h, h//2+1] alone."""

    def route_window(self, spectra: Floats) -> Routing:
        """As `route`, for images that share one shift: the same first cards for all of them."""

    def reconsider(self, routing: Routing, logits: Floats, ran: Bools) -> Routing:
        """After the cards in `ran` [n, k] have answered `logits` [k, n, c]: the same routing where that will do, or
        one whose weights name further cards, or share the answer otherwise among those that ran. Logits of cards that
        did not run hold anything."""

    def sureness(self, weights: Floats, logits: Floats) -> Floats:
        """float32 [n]: how sure the calibrated answer with `weights` [n, k] from `logits` [k, n, c] is, by which the
        gate asks further cards (a `BaseGate` says in `SURE_BY` what that is); -1 where it asks none by that."""

    def needed(self, ran: Bools) -> NDArray[np.float64]:
        """float64 [n]: the sureness from which the cards in `ran` [n, k] are enough, above 1 where none is; -1 where
        the gate asks no further card by that."""


@dataclass(frozen=True, eq=False)
class BaseGate:
    """The parts that gates share. A gate has `choose`, also `preference` if it learns one, and `reconsider` if answers
    can change its mind. `read` looks at the arrays only, `choose` at the parameters as well. `PARAMETERS` are the
    kind's scalars, from 0 to `LARGEST`, with their defaults, of which those `FROM_LABELS` cannot be judged without;
    `ARRAYS` the names of what it learns. `SURE_BY`: sureness is a class's "probability" or its "lead" over the next."""

    config: GateConfig
    known: Known
    _far: np.float64 = field(init=False, repr=False)  # beyond this distance a spectrum is unknown

    PARAMETERS: ClassVar[Mapping[str, float]] = {}
    FROM_LABELS: ClassVar[frozenset[str]] = frozenset()
    LARGEST: ClassVar[float] = 1.0
    SURE_BY: ClassVar[str] = "probability"
    ARRAYS: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_deck(cls, deck: Deck) -> Self:
        """This kind of gate for a deck: with what the deck's own gate has learned, if that is of this kind."""
        own = next((name for name in GATES.names() if GATES[name] is cls), deck.gate.kind)
        return cls(deck.gate.with_kind(own), Known.of(deck))

    def __post_init__(self) -> None:
        kind, given = self.config.kind, self.config
        if unknown := sorted(set(given.parameters) - set(self.PARAMETERS)):
            has = ", ".join(self.PARAMETERS) or "none"
            raise InputError(f"a {kind} gate has no parameter {', '.join(unknown)}: it has {has}")
        for name, value in given.parameters.items():
            if not 0 <= value <= self.LARGEST:
                raise InputError(f"the gate's {name} must be a number from 0 to {self.LARGEST:g}, not {value:g}")
        if set(given.arrays) != set(self.ARRAYS):
            needs = ", ".join(self.ARRAYS) or "none"
            raise InputError(
                f"a {kind} gate needs the arrays {needs}, got {', '.join(given.arrays) or 'none'}: if another version "
                "of cards-deck made it, pack the cards again with this one"
            )
        object.__setattr__(self, "_far", np.float64(self.known.references.distance_at(given.unknown_quantile)))
        self.prepare()

    def prepare(self) -> None:
        """Check the arrays and make tables; `object.__setattr__` keeps them, since a gate is frozen."""

    @property
    def limit(self) -> int:
        """See `Gate`."""
        return self.config.max_cards

    @property
    def cards(self) -> int:
        """Number of cards in the deck."""
        return len(self.known.augmentations)

    def parameter(self, name: str) -> float:
        """A scalar of the kind, or its default."""
        return self.config.parameters.get(name, self.PARAMETERS[name])

    def array(self, name: str, *shape: int) -> Floats:
        """A learned array, of this shape; -1 stands for any length."""
        found = self.config.arrays[name]
        if found.ndim != len(shape) or any(
            want not in (-1, have) for want, have in zip(shape, found.shape, strict=True)
        ):
            wanted = [length if length >= 0 else "any" for length in shape]
            raise InputError(f"the gate's {name} must have shape {wanted}, not {list(found.shape)}")
        return found

    def distances(self, spectra: Floats) -> Floats:
        """Distances float32 [n, a] of spectra [n, h, h//2+1] to the references; InputError for another size."""
        size = self.known.references.image_size
        if spectra.ndim != 3 or spectra.shape[1:] != (size, size // 2 + 1):
            raise InputError(
                f"spectra must be [n, {size}, {size // 2 + 1}], of images of {size} pixels, not {list(spectra.shape)}"
            )
        return distances(spectra, self.known.references.log_amplitude)

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """For each of the `budgets` a gate with the limits of `config`, fitted on validation images, where it uses at
        most so many cards per image on average; see `fit_gates`. The same rows give the same gates."""
        raise NotImplementedError

    def unknown(self, found: Floats) -> Bools:
        """bool [n]: distances [n, a] beyond the reference quantile."""
        return np.asarray(found.min(axis=1) > self._far, np.bool_)

    def preference(self, spectra: Floats) -> Floats:
        """float32 [n, k], rows sum to 1: equal shares of the cards that are not averages."""
        return np.tile(equal_row(list(self.known.originals), self.cards), (len(spectra), 1))

    def variants(self) -> tuple[Self, ...]:
        """Gates that differ from this one in what a fit cannot choose on its own rows; just this one where all can."""
        return (self,)

    def standing(self, preference: Floats) -> Floats:
        """float32 [n, k]: of which the card with the most is asked first, from the preference [n, k]: that itself."""
        return preference

    def strange(self, preference: Floats) -> tuple[float, float] | None:
        """How strange the spectrum is, in standard deviations, by which alone the cards have this preference [k], and
        how strange those of clean images are; None where it is by something else, or cannot be told."""
        return None

    def hears(self, ran: Bools) -> Bools:
        """bool [n]: whether what the cards in `ran` [n, k] said plays a part in their shares, of a known spectrum."""
        return np.zeros(len(ran), np.bool_)

    def speaking(self, preference: Floats) -> Floats:
        """float32 [n, k]: how much of the preference [n, k] speaks for each card, in [0, 1]: its own."""
        return preference

    def read(self, spectra: Floats) -> Reading:
        """What the spectra say."""
        return Reading(self.distances(spectra), self.preference(spectra))

    def choose(self, reading: Reading) -> Routing:
        """The first cards to run."""
        raise NotImplementedError

    def route(self, spectra: Floats) -> Routing:
        """See `Gate`."""
        return self.choose(self.read(spectra))

    def route_window(self, spectra: Floats) -> Routing:
        """See `Gate`: by the mean of the distances and the geometric mean of the preferences. The mean spectrum of
        several images is nearer to a reference than any of them, so that its distances cannot be compared with those
        that the gate was fitted to. `distances` and `unknown` stay each image's own."""
        own = self.read(spectra)
        routing = self.choose(own)
        if len(spectra) < 2:
            return routing
        logs = np.log(np.maximum(own.preference, 1e-30)).mean(axis=0, dtype=np.float64)
        together = np.where((own.preference > 0).any(axis=0), np.exp(logs - logs.max()), 0.0)
        shared = self.choose(Reading(mean_distances(own.distances)[None], shares(together[None])))
        names = ("weights", "choice", "preference")
        wide = {name: np.repeat(getattr(shared, name), len(spectra), axis=0) for name in names}
        return replace(routing, **wide, strayed=np.repeat(shared.unknown, len(spectra)))

    def reconsider(self, routing: Routing, logits: Floats, ran: Bools) -> Routing:
        """See `Gate`: answers change nothing."""
        return routing

    def sureness(self, weights: Floats, logits: Floats) -> Floats:
        """See `Gate`: it does not ask by that."""
        return np.full(len(weights), -1, np.float32)

    def needed(self, ran: Bools) -> NDArray[np.float64]:
        """See `Gate`: it does not ask by that."""
        return np.full(len(ran), -1.0)


GATES: Registry[BaseGate] = Registry("gate")


def mean_distances(found: Floats) -> Floats:
    """float32 [a]: by which a window is routed, from the distances [n, a] of its images."""
    return np.asarray(found.mean(axis=0, dtype=np.float64), np.float32)


def equal_row(chosen: list[int], cards: int) -> Floats:
    """float32 [cards]: equal shares of the chosen cards."""
    row = np.zeros(cards, np.float32)
    row[chosen] = 1 / len(chosen)
    return row


def largest(scores: Floats, most: int) -> Bools:
    """bool [n, k]: the `most` largest of each row; of equals the first."""
    if most >= scores.shape[1]:
        return np.ones(scores.shape, np.bool_)
    rows, found = np.arange(len(scores)), np.zeros(scores.shape, np.bool_)
    if most == 1:
        found[rows, scores.argmax(axis=1)] = True
    else:
        found[rows[:, None], np.argsort(-scores, axis=1, kind="stable")[:, :most]] = True
    return found


def shares(weights: NDArray[np.floating]) -> Floats:
    """Rows of weights >= 0 divided by their sums."""
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
