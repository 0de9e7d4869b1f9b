"""Adversarial attacks on a deck. `smooth`, `aims` and `pgd` need torch and are imported on demand.

smooth  the deck and its gate as differentiable functions of the pixels       pgd     the white-box attack
aims    what a white-box attack wants to reach                                square  the black-box attack
judge   the served path, which decides what succeeded

Images stay what a deck takes, uint8, and an attack's radius is a whole number of grey levels: half a level changes
nothing. Images are attacked in chunks of fixed size, each from its own random numbers, so that the number of threads
changes no pixel.
"""
