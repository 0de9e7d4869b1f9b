"""Ticket methods measured alike: `python -m eval tickets` (ShrinkBench's grid) and `python -m eval claims`.

Every measurement is a cell: one setting, one method, one seed, one small JSON file. Reports are made from cells only.
Nothing here imports torch by itself: all training is that of `cards_deck.training`.

cells      what a cell is, and its file            grid         the grid of methods, its command
images     what is trained and measured on         grid_report  its tables and curves
observe    what training cost                      scales       how large everything is, small and full
run        makes a cell: train, measure, write     claims/      the central claims of sixteen papers, a file each
pool       many cells, several at a time           verdicts     intervals, and the one rule
measure    a card's numbers                        scoreboard   the claims' command, plan and report
averages   cells of soups, WiSE-FT and barriers    options      of both commands
controls   arms that are no paper's method         tables, pictures
"""
