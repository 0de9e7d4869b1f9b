"""The old home of the gates: `cards_deck.inference.gates`."""

from cards_deck.inference.gates import Gate, Known, Routing, SpectralGate, UniformGate, gate_for

__all__ = ["Gate", "Known", "Routing", "SpectralGate", "UniformGate", "gate_for"]
