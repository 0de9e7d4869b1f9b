"""What a suite is, and the suites by their name on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from cards_deck.errors import InputError

if TYPE_CHECKING:
    from eval.context import Context

Json = dict[str, Any]

SUITES: dict[str, Suite] = {}


class Suite(Protocol):
    """One protocol of measurement. A new one is a new file in this folder that calls `register`.

    `name` is what the command line and the file of the result are called, `title` what its numbers are called, `kind`
    which fields its JSON has (suites of one kind share a report section), `data` the data set measured by default.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def data(self) -> str: ...

    def measure(self, context: Context) -> Json:
        """The measured part of the JSON. It must hold "n" (images), "source" ("official", "regenerated" or what else
        the images are) and "data" (as `Context.describe` makes it), and may replace "title". Plain values only, floats
        rounded to six digits; two runs must give the same values, but for what stands under "timing". Errors in the
        data are raised before the long part starts.
        """
        ...


def register(suite: Suite) -> None:
    """Make a suite known by its name; InputError where the name is taken."""
    if suite.name in SUITES:
        raise InputError(f"the suite {suite.name!r} is there already: choose another name")
    SUITES[suite.name] = suite


def suite_named(name: str) -> Suite:
    """The suite called `name`; InputError listing the known ones."""
    if name not in SUITES:
        raise InputError(f"suite must be one of {', '.join(sorted(SUITES))}; got {name!r}")
    return SUITES[name]
