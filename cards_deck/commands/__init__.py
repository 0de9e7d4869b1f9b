"""The commands of `cards-deck`, one per file; `cards_deck.__main__` imports the one that is asked for."""
