"""Ways to use a deck's cards, the gate and its baselines: a cell's answers -> weights over cards, and a cost.

fixed.py gates, plain average, best card, random cards    confidence.py the most confident card
classifier.py a small classifier of corruptions           oracles.py upper bounds that look at the labels
"""

from eval.routing._base import Route, Routed
from eval.routing.classifier import Classifier, train_classifier
from eval.routing.confidence import Confidence, card_temperatures
from eval.routing.fixed import BestCard, Gated, OtherGate, RandomCards, Uniform
from eval.routing.oracles import CellOracle, Oracle

__all__ = [
    "BestCard",
    "CellOracle",
    "Classifier",
    "Confidence",
    "Gated",
    "Oracle",
    "OtherGate",
    "RandomCards",
    "Route",
    "Routed",
    "Uniform",
    "card_temperatures",
    "train_classifier",
]
