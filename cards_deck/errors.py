"""Every error this library raises on purpose.

    CardsDeckError
    ├── DataError           a data set is missing, truncated or mislabelled
    ├── CardError           a card file is refused or cannot be written
    ├── DeckError           a deck folder is refused or cannot be written
    ├── InputError          an argument or an image array breaks the contract of a function (also a ValueError)
    └── MissingExtraError   an optional dependency is not installed (also an ImportError)

A message says what must hold, what came, and what to do.
"""


class CardsDeckError(Exception):
    """Base of every error raised on purpose by this library."""


class DataError(CardsDeckError):
    """A data set is missing, truncated or mislabelled; the message names the file and the remedy."""


class CardError(CardsDeckError):
    """A card file is refused or cannot be written; the message names the file."""


class DeckError(CardsDeckError):
    """A deck folder is refused or cannot be written; the message names the file at fault."""


class InputError(CardsDeckError, ValueError):
    """An argument or an image array breaks the contract of a function."""


class MissingExtraError(CardsDeckError, ImportError):
    """An optional dependency is missing; the message holds the exact installation command."""
