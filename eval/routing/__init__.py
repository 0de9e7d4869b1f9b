"""Ways to use a deck's cards, the gate and its baselines: a cell's answers -> weights over cards, and a cost.

fixed.py gate, plain average, best card, random card    confidence.py the most confident card
router.py a small classifier of corruptions             oracles.py upper bounds that look at the labels
"""

from eval.routing._base import Route, Routed
from eval.routing.confidence import Confidence, card_temperatures
from eval.routing.fixed import BestCard, Gated, RandomCard, Uniform
from eval.routing.oracles import CellOracle, Oracle
from eval.routing.router import Router, train_router

__all__ = [
    "BestCard",
    "CellOracle",
    "Confidence",
    "Gated",
    "Oracle",
    "RandomCard",
    "Route",
    "Routed",
    "Router",
    "Uniform",
    "card_temperatures",
    "train_router",
]
