"""The evaluation application: measure a deck, write JSON, render reports from it (`python -m eval --help`)."""
