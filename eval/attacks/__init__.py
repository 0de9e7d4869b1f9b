"""Adversarial attacks on a deck. Imported on demand: `smooth` and `pgd` need torch, `square` does not.

smooth  the deck and its gate as differentiable functions of the pixels       pgd     the white-box attack
square  the black-box attack, which sees probabilities only                   aims    what an attack wants to reach

Images stay what a deck takes, uint8, and an attack's radius is a whole number of grey levels: half a level changes
nothing. Images are attacked in chunks of fixed size, each from its own random numbers, so that the number of threads
changes no pixel.
"""
