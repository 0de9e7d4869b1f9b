"""Ticket methods measured alike: `python -m eval tickets` (ShrinkBench's grid) and `python -m eval claims`.

Every measurement is a cell: one setting, one method, one seed, one small JSON file. Reports are made from cells only.

cells      what a cell is, and its file          run        makes a cell           grid        the grid of methods
images     what is trained and measured on       measure    a card's numbers       scoreboard  the sixteen claims
observe    what training cost                    controls   arms that no paper     claims/     one file per paper
verdicts   intervals and the rule                           is about               pool        many cells
"""
