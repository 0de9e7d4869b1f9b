"""Everything that makes a card, with torch. Needs the `train` extra; nothing outside this folder imports it."""
