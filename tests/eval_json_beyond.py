"""Plausible JSON (schema 2) of every suite but those of corruptions, made from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

Json = dict[str, Any]
LEVEL = {
    "gated": 0.0,
    "uniform": -0.006,
    "best_card": -0.012,
    "random_card": -0.03,
    "random_cards": -0.02,
    "confidence": -0.004,
    "classifier": -0.008,
    "gate_spectral": 0.001,
    "gate_softmax": 0.002,
    "gate_router": 0.003,
    "gate_cascade": -0.003,
    "gate_spectrum_cascade": 0.004,
    "gate_hedged_cascade": 0.0005,
    "gate_guarded_cascade": 0.0015,
    "gate_refereed_cascade": 0.0018,
    "gate_reliability": -0.001,
    "cell_oracle": 0.012,
    "oracle": 0.06,
}
ROUTES = ("gated", "uniform", "best_card")


class BeyondMaker:
    """The identity of a made-up deck, and its suites beyond corruptions."""

    def __init__(self, seed: int = 0, deck: str = "cifar10-fake", level: float = 0.0) -> None:
        self.random = np.random.default_rng(seed)
        self.deck = deck
        self.level = level

    def interval(self, value: float, width: float = 0.006) -> Json:
        value = min(value, 0.999)
        return {"value": round(value, 6), "low": round(value - width, 6), "high": round(min(1.0, value + width), 6)}

    def identity(self, suite: str, kind: str, title: str) -> Json:
        """The fields that every suite has."""
        return {
            "schema_version": 2,
            "deck": self.deck,
            "deck_version": "1",
            "deck_size_bytes": 1_240_000,
            "suite": suite,
            "kind": kind,
            "title": title,
            "data": {"name": "cifar10", "split": "test", "classes": 10, "image_size": 32, "sha256": "ab" * 32},
            "n": 10_000,
            "seed": 0,
            "source": "regenerated",
            "engine": "onnx",
            "gate": {"kind": "spectral", "max_cards": 2, "margin": 0.1},
            "bootstrap": {"resamples": 10_000, "level": 0.95, "unit": "image", "seed": 0},
            "provenance": {
                "command": f"python -m eval models/{self.deck} --suite {suite} --data data",
                "commit": "c0ffee" * 6,
                "date": "2026-11-22T08:25:57+00:00",
                "seconds": 151.2,
                "hardware": {"cpu": "AMD EPYC", "cores": 2, "machine": "x86_64", "system": "Linux"},
                "versions": {"python": "3.11.7", "numpy": "2.4.6", "scipy": "1.17.1"},
            },
        }

    def sequences(self) -> Json:
        """CIFAR-10-P."""
        rows = {name: self._flips() for name in ("gaussian_noise", "motion_blur", "brightness", "translate", "tilt")}
        for name, row in rows.items():
            row |= {"frames": 31, "compared_with": "first" if name.endswith("noise") else "previous"}
        differences = {f"gated_minus_{name}": {"flip_probability": self.interval(-0.01, 0.003)} for name in ROUTES[1:]}
        made = self.identity("cifar10-p", "sequences", "CIFAR-10-P (regenerated, seed 0)")
        return {**made, "n": 1000, "perturbations": rows, "mean": self._flips(), "differences": differences}

    def _flips(self) -> Json:
        flips = {route: self.interval(0.03 + 0.02 * self.random.random(), 0.002) for route in ROUTES}
        routing = {"choice_flip": self.interval(0.02, 0.002), "routing_flip": self.interval(0.03, 0.002)}
        return {"flip_probability": flips, **routing, "accuracy": None}

    def shift(self) -> Json:
        """CIFAR-10.1."""
        routes = {
            name: {
                "accuracy": self.interval(0.82 + level, 0.017),
                "original": self.interval(0.9 + level, 0.006),
                "cards_per_image": 1.5,
                "ece": 0.04,
            }
            for name, level in LEVEL.items()
        }
        choices = {"augmix": {"count": 1940, "share": 0.97}, "gaussian": {"count": 60, "share": 0.03}}
        return {
            **self.identity("cifar10.1", "shift", "CIFAR-10.1 v6"),
            "source": "official",
            "n": 2000,
            "n_clean": 10_000,
            "routes": routes,
            "differences": {f"gated_minus_{name}": {"accuracy": self.interval(0.01, 0.008)} for name in ROUTES[1:]},
            "effective_robustness": {name: self.interval(0.011, 0.014) for name in ROUTES},
            "gate_choices": {"choices": choices, "unknown": 0.02, "cards_per_image": 1.5},
            "answers": {"airplane": 1100, "frog": 900},
        }

    def folder(self) -> Json:
        """A user's own images, not labelled."""
        made = self.shift() | self.identity("folder", "shift", "A folder of images") | {"source": "the user's own"}
        unlabelled = {"accuracy": None, "confidence": {"mean": 0.86, "p50": 0.93}}
        made["routes"] = {name: row | unlabelled for name, row in made["routes"].items()}
        del made["effective_robustness"]
        return made | {"differences": {}, "n": 64}

    def ood(self) -> Json:
        """Images of other classes."""
        sets = [("cifar100", "near"), ("textures", "far"), ("digits", "far"), ("uniform noise", "own")]

        def row(level: float) -> Json:
            values = {name: level + 0.02 * place for place, (name, _) in enumerate(sets)}
            shown: Json = {
                name: {"auroc": value, "aupr_in": value - 0.02, "aupr_out": value - 0.05, "fpr95": 1.3 - value}
                for name, value in values.items()
            }
            means = {"near": values["cifar100"], "near_fpr95": 0.5, "far": level + 0.03, "far_fpr95": 0.4}
            return shown | means

        names = ("gated_msp", "uniform_msp", "disagreement", "spectral_distance")
        return {
            **self.identity("ood", "ood", "Out-of-distribution detection"),
            "accuracy": {name: self.interval(0.9) for name in ROUTES[:2]},
            "sets": [{"name": name, "group": group, "n": 5000, "what": name} for name, group in sets],
            "skipped": [{"name": "svhn", "reason": "no such file"}],
            "titles": {"gated_msp": "1 - largest probability, gated"},
            "scores": {name: row(0.8 + 0.01 * place) for place, name in enumerate(names)},
            "fsood": {name: row(0.7) for name in names},
            "convention": "Images from outside are the positive class.",
        }

    def adversarial(self) -> Json:
        """Attacks through the gate."""
        rows: list[Json] = []
        for radius in (0.5, 1, 2):
            for attack, target, slope in (
                ("pgd", "gated", 0.35),
                ("square", "gated", 0.1),
                ("pgd", "best_card", 0.3),
                ("pgd", "gate", 0.05),
                ("all", "gated", 0.38),
                ("all", "best_card", 0.32),
            ):
                row = {
                    "attack": attack,
                    "target": target,
                    "eps": round(radius / 255, 6),
                    "radius": f"{radius:g}/255",
                    "n": 256,
                    "clean_accuracy": self.interval(0.9, 0.02),
                    "accuracy": self.interval(0.9 - slope * radius, 0.02),
                }
                budget = {"queries": 200} if attack == "square" else {"steps": 20}
                rows.append(row | ({} if attack == "all" else {**budget, "choice_changed": 0.04 * radius}))
        claim = "No adversarial robustness is claimed. These accuracies are upper bounds."
        made = self.identity("adversarial", "adversarial", "Adversarial attacks through the gate")
        return {**made, "source": "attacked", "n": 256, "attacks": rows, "claim": claim}

    def stream(self) -> Json:
        """Orders of a stream of corrupted images."""
        orders = [
            {"order": order, "n": 990, "error": self.interval(0.2, 0.02), "same_answers_as_batch": True}
            for order in ("continual", "mixed", "correlated", "clean")
        ]
        times = {row["order"]: 2.2 for row in orders}
        return {
            **self.identity("stream", "stream", "Streams of CIFAR-10-C (regenerated, seed 0), severity 5"),
            "n_stream": 990,
            "severity": 5,
            "errors": {name: self.interval(0.21 - LEVEL[name]) for name in ROUTES},
            "orders": orders,
            "same_answers_in_every_order": True,
            "timing": {"p50_ms": times, "p99_ms": {name: 2 * value for name, value in times.items()}},
        }
