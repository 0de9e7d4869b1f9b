"""Plausible JSON of every suite (schema 2), made from a seed: what reports are tested on."""

from __future__ import annotations

import numpy as np
from eval_json_beyond import LEVEL, BeyondMaker, Json

from cards_deck.corruptions import CBAR_CORRUPTIONS, CORRUPTIONS
from eval.numbers import ROUTE_LABELS

GROUPS = ("clean", "mean", "severity5", "noise", "non_noise")
PASSES = {"gated": 1.6, "uniform": 4.0, "confidence": 4.0, "oracle": 4.0}
CARDS = ("gaussian-2", "gaussian-1", "augmix-2", "augmix-1")
MEASURED = ("gated", "uniform", "best_card", "random_card", "random_cards", "confidence", "classifier")
KINDS = tuple(name.removeprefix("gate_") for name in LEVEL if name.startswith("gate_"))


class Maker(BeyondMaker):
    """Every JSON of one made-up deck."""

    def all(self) -> dict[str, Json]:
        """Suite name -> JSON."""
        made = [self.corruptions(), self.corruptions("cifar10-c-bar"), self.shift(), self.sequences()]
        made += [self.ood(), self.adversarial(), self.stream()]
        return {result["suite"]: result for result in made}

    def corruptions(self, suite: str = "cifar10-c") -> Json:
        """A suite of kind "corruptions"."""
        names = CBAR_CORRUPTIONS if suite.endswith("bar") else CORRUPTIONS
        title = "CIFAR-10-C-bar" if suite.endswith("bar") else "CIFAR-10-C"
        hardness = {name: self.random.uniform(0.3, 1.6) for name in names}
        cells = {
            route: {
                name: [
                    round(0.9 + self.level + level - 0.035 * hardness[name] * s + self.random.normal(0, 0.008), 6)
                    for s in range(1, 6)
                ]
                for name in names
            }
            for route, level in (LEVEL | {f"card {i}": -0.012 - 0.02 * i for i in range(4)}).items()
        }
        lines = {route: self._line(table, names) for route, table in cells.items()}
        routes = {
            name: lines[name]
            | {"cards_per_image": PASSES.get(name, 1.0), "cards_per_image_clean": PASSES.get(name, 1.0) * 0.98}
            for name in ROUTE_LABELS
        }
        return {
            **self.identity(suite, "corruptions", f"{title} (regenerated, seed 0)"),
            "n_clean": 10_000,
            "frost": "published",
            "best_card": {"id": "id0", "name": CARDS[0], "chosen_on": "validation images", "scores": {}},
            "hindsight_card": {"id": "id1", "name": CARDS[1]},
            "validation": {"n": 1000, "cells": [], "temperature": dict.fromkeys(MEASURED, 1.2), "classifier": None},
            "routes": routes,
            "differences": self._differences(lines),
            "cards": [self._card(i) | lines[f"card {i}"] for i in range(4)],
            "cells": {
                "routes": {name: cells[name] for name in ROUTE_LABELS},
                "cards": {f"id{i}": cells[f"card {i}"] for i in range(4)},
            },
            "calibration": {route: self._calibration(route) for route in MEASURED},
            "selective": {
                route: {split: self._selective(LEVEL[route]) for split in ("clean", "mean")} for route in MEASURED
            },
            "diversity": {split: self._diversity() for split in ("clean", "mean")},
            "relative": {route: {"mce": 0.2 - LEVEL[route], "relative_mce": 0.75 - LEVEL[route]} for route in MEASURED},
            "significance": {f"gated_vs_{other}": self._tests(names) for other in ("best_card", "uniform")},
            "regret": {"cell_oracle": self.interval(0.012, 0.002), "oracle": self.interval(0.06, 0.003)},
            "gates": self._gates(lines),
            "gate_choices": self._gate(names),
            "spectra": self._spectra(names),
            "timing": {
                "engine": "onnx",
                "threads": 1,
                "batch_1_ms": {"gated": 2.31, "uniform": 5.12, "best_card": 1.4},
                "batch_32_ms": {"gated": 1.02, "uniform": 2.4, "best_card": 0.7},
            },
        }

    def _line(self, table: dict[str, list[float]], names: tuple[str, ...]) -> Json:
        rows = np.array([table[name] for name in names])
        noise = np.array([name.endswith("noise") or "noise" in name for name in names])
        values = (0.905 + self.level, rows.mean(), rows[:, 4].mean(), rows[noise].mean(), rows[~noise].mean())
        return {field: self.interval(float(value)) for field, value in zip(GROUPS, values, strict=True)}

    def _differences(self, lines: dict[str, Json]) -> Json:
        others = {name: name for name in ROUTE_LABELS if name not in ("gated", "cell_oracle", "oracle")}
        others |= {"hindsight_card": "card 1"}
        return {
            f"gated_minus_{name}": {
                field: self.interval(lines["gated"][field]["value"] - lines[key][field]["value"], 0.004)
                for field in GROUPS
            }
            for name, key in others.items()
        }

    def _gates(self, lines: dict[str, Json]) -> Json:
        def minus_uniform(route: str) -> Json:
            gains = {field: lines[route][field]["value"] - lines["uniform"][field]["value"] for field in GROUPS}
            return {field: self.interval(gain, 0.002) for field, gain in gains.items()}

        return {
            "most_cards": 2.0,
            "chosen": "spectrum_cascade",
            "chosen_budget": 1.5,
            "promised": {
                "most_loss": 0.03,
                "worst_validation_cell": "spatter 4",
                "worst_validation_loss": 0.012,
                "worst_validation_error": 0.002,
            },
            "skipped": {},
            "kinds": {
                kind: {
                    "route": f"gate_{kind}",
                    "validation": {"score": 0.87, "clean": 0.9, "corrupted": 0.84, "cards": 1.9},
                    "config": {"kind": kind, "max_cards": 2, "unknown_quantile": 0.995, "threshold": 0.9},
                    "minus_uniform": minus_uniform(f"gate_{kind}"),
                    "points": [
                        {"budget": 1.0, "cards_per_image": 1.0, "mean": lines[f"gate_{kind}"]["mean"]["value"] - 0.01},
                        {"budget": 2.0, "cards_per_image": 1.9, "mean": lines[f"gate_{kind}"]["mean"]["value"]},
                    ],
                }
                for kind in KINDS
            },
        }

    def _card(self, place: int) -> Json:
        return {
            "id": f"id{place}",
            "name": CARDS[place],
            "augmentation": CARDS[place].split("-")[0],
            "density": 0.1,
            "weights": 1_576_752,
            "weights_kept": 157_675,
            "bits": 16,
            "macs": 228_000_000,
            "macs_executed": 41_000_000,
            "flop_density": 0.18,
            "bytes": 310_000,
        }

    def _calibration(self, route: str) -> Json:
        def measures(error: float) -> Json:
            row = {"ece": error, "adaptive_ece": error * 0.97, "nll": 0.4 + error, "brier": 0.2 + error}
            return dict.fromkeys(("clean", "mean", "severity5"), row)

        def bins(bend: float) -> list[Json]:
            confidence = (np.arange(15) + 0.5) / 15
            accuracy = np.clip(confidence + bend * (1 - confidence) * confidence, 0, 1)
            counts = (10_000 * confidence**4).astype(int)
            return [
                {"confidence": round(float(c), 6), "accuracy": round(float(a), 6), "count": int(n)}
                for c, a, n in zip(confidence, accuracy, counts, strict=True)
            ]

        return {
            "temperature": 1.21 - LEVEL[route],
            "raw": measures(0.061 - LEVEL[route]),
            "tempered": measures(0.012 - LEVEL[route] / 4),
            "reliability": {"clean": bins(0.1), "mean": bins(0.2)},
            "reliability_raw": {"clean": bins(-0.2), "mean": bins(-0.5)},
        }

    def _selective(self, level: float) -> Json:
        coverage = np.linspace(1 / 60, 1, 60)
        return {
            "aurc": 0.03 - level / 4,
            "coverage_at_1": 0.45 + level,
            "coverage_at_5": 0.75 + level,
            "curve": [[round(float(c), 6), round(float((0.2 - level) * c**3), 6)] for c in coverage],
        }

    def _diversity(self) -> Json:
        matrix = [[0.0 if i == j else 0.08 + 0.03 * abs(i // 2 - j // 2) for j in range(4)] for i in range(4)]
        both = [[0.2 if i == j else 0.15 - 0.02 * abs(i // 2 - j // 2) for j in range(4)] for i in range(4)]
        return {"disagreement": matrix, "double_fault": both, "mean_card_accuracy": 0.78, "oracle_accuracy": 0.87}

    def _tests(self, names: tuple[str, ...]) -> Json:
        return {
            name: [
                {"gained": int(a), "lost": int(b), "p": 0.001, "holm": float(self.random.choice([0.004, 0.4]))}
                for a, b in self.random.integers(20, 200, (5, 2))
            ]
            for name in names
        }

    def _gate(self, names: tuple[str, ...]) -> Json:
        share = {name: [round(float(v), 6) for v in self.random.random(5)] for name in names}
        rest = {name: [round(1 - v, 6) for v in row] for name, row in share.items()}
        clean = {"count": 9000, "share": 0.9, "weight": 0.9}
        return {
            "kind": "spectral",
            "max_cards": 2,
            "choices": {
                "augmix": {"clean": clean, "share": share, "weight": share},
                "gaussian": {"clean": clean | {"share": 0.1}, "share": rest, "weight": rest},
            },
            "cards": {
                f"id{place}": {
                    "name": name,
                    "clean": {"weight": 0.25, "ran": 0.4},
                    "cells": {"weight": 0.25, "ran": 0.45},
                }
                for place, name in enumerate(CARDS)
            },
            "unknown": {"clean": 0.012, "cells": {name: [0.0, 0.01, 0.02, 0.1, 0.4] for name in names}},
            "cards_per_image": {"clean": 1.5, "cells": {name: [1.4, 1.5, 1.6, 1.7, 1.8] for name in names}},
        }

    def _spectra(self, names: tuple[str, ...]) -> Json:
        radius = np.arange(17)
        clean = 7.5 - 1.6 * np.log1p(radius)

        def noisy(strength: float, power: float) -> list[float]:
            return [round(float(v), 6) for v in clean + strength * (radius / 16) ** power]

        return {
            "references": {"augmix": noisy(-0.1, 1), "gaussian": noisy(1.4, 1.5)},
            "clean": noisy(0, 1),
            "corruptions": {
                name: [noisy(sign * 0.35 * s, power) for s in range(1, 6)]
                for name, sign, power in zip(
                    names, self.random.choice([-1, 1], len(names)), self.random.uniform(0.5, 3, len(names)), strict=True
                )
            },
        }
