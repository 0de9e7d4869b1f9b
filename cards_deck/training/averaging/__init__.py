"""Averaging cards of one mask: soups, WiSE-FT, and the test that says whether an average is allowed.

`average` makes the card, `batch_norm` its statistics, `barrier` says whether the cards lie in one basin, `instability`
whether cards yet to be trained will; `soups` and `wise_ft` choose coefficients on validation images, `blends` puts an
average into a deck, `looks` a card that sees images mirrored, `admission` says whether a deck may be packed with one.
"""
