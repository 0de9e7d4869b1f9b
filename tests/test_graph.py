"""Graphs: round trip through JSON, refusals, and shapes found without running."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cards_deck.errors import InputError
from cards_deck.graph import OPS, Graph, Node
from cards_deck.inference.fake_deck import fake_card
from cards_deck.shapes import check_parameters, output_classes

CARD = fake_card("card")
SHAPES = dict(CARD.shapes)


def _described() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(CARD.graph.to_json())
    return described


def _changed(index: int, **fields: object) -> str:
    described = _described()
    described["nodes"][index].update(fields)
    return json.dumps(described)


def test_json_round_trip_is_exact() -> None:
    again = Graph.from_json(CARD.graph.to_json())
    assert again == CARD.graph
    assert again.to_json() == CARD.graph.to_json()


def test_left_out_attributes_get_their_defaults() -> None:
    assert Node("conv2d", ("x",), "y", {"weight": "w"}).attrs == {"stride": 1, "padding": 0, "groups": 1}
    assert Node("batch_norm", ("x",), "y", {"running_mean": "m", "running_var": "v"}).attrs == {"eps": 1e-5}


def test_names_in_order_of_use() -> None:
    assert CARD.graph.weight_names == ("stem.weight", "conv.weight", "head.weight")
    assert set(CARD.graph.parameter_names) == set(CARD.tensors)
    assert CARD.graph.consumers("x1") == 2
    assert CARD.graph.consumers("logits") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("[]", "exactly input, output, nodes"),
        (json.dumps({**_described(), "extra": 1}), "exactly"),
        (json.dumps({**_described(), "nodes": {}}), "must be a list"),
        (json.dumps({**_described(), "nodes": []}), "1 to 10000 nodes"),
        (json.dumps({**_described(), "output": "nowhere"}), "no node makes"),
        (json.dumps({**_described(), "output": "images"}), "no node makes"),
        (json.dumps({**_described(), "input": 7}), "names are texts"),
        (_changed(4, op="exec"), "unknown operation 'exec'"),
        (_changed(4, op=["relu"]), "unknown operation"),
        (_changed(4, inputs=["x9"]), "before any node makes it"),
        (_changed(4, inputs=["x5"]), "before any node makes it"),
        (_changed(4, inputs=["x3", "x3"]), "takes 1 input"),
        (_changed(4, output="x3"), "two nodes make"),
        (_changed(4, output=""), "names are texts"),
        (_changed(4, params={"weight": "w"}), "got parameters"),
        (_changed(1, params={}), "it needs weight"),
        (_changed(1, params={"weight": 3}), "names are texts"),
        (_changed(1, params=[]), "'params' an object"),
        (_changed(1, attrs=[]), "'attrs' must be an object"),
        (_changed(1, attrs={"stride": 0}), "whole number from 1 to 64"),
        (_changed(1, attrs={"stride": True}), "whole number"),
        (_changed(1, attrs={"stride": 1.0}), "whole number"),
        (_changed(1, attrs={"padding": 10**9}), "whole number"),
        (_changed(1, attrs={"dilation": 2}), "no attribute dilation"),
        (_changed(3, attrs={"eps": 0}), "positive number"),
        (_changed(3, attrs={"eps": 1e400}), "positive number"),
        (_changed(0, attrs={"mean": [0, 0, 0], "std": [1, 0, 1]}), "three positive numbers"),
        (_changed(0, attrs={"mean": [0, 0], "std": [1, 1, 1]}), "three numbers"),
        (_changed(0, attrs={"mean": "abc", "std": [1, 1, 1]}), "three numbers"),
        (_changed(0, attrs={"std": [1, 1, 1]}), "needs the attribute 'mean'"),
    ],
)
def test_a_malformed_graph_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Graph.from_json(text)


def test_shapes_tell_the_number_of_classes() -> None:
    assert output_classes(CARD.graph, SHAPES, 32) == 10
    assert output_classes(CARD.graph, SHAPES, 96) == 10


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("stem.weight", (8, 4, 3, 3), "does not fit 3 input channels"),
        ("conv.weight", (16, 8, 3, 3), r"must have shape \[16\]"),
        ("conv.weight", (8, 8, 99, 99), "does not fit in"),
        ("head.weight", (10, 9), "does not fit an input"),
        ("head.bias", (9,), r"must have shape \[10\]"),
        ("bn.bias", (8, 1), r"must have shape \[8\]"),
        ("bn.bias", (0,), "no dimension may be missing or zero"),
        ("bn.bias", (), "no dimension may be missing or zero"),
    ],
)
def test_a_card_that_cannot_compute_is_refused(name: str, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        output_classes(CARD.graph, {**SHAPES, name: shape}, 32)


def test_tensors_must_be_those_the_graph_uses() -> None:
    with pytest.raises(InputError, match="'spare', which its graph does not use"):
        check_parameters(CARD.graph, {**SHAPES, "spare": (1,)})
    with pytest.raises(InputError, match=r"'head\.bias', which the card does not hold"):
        check_parameters(CARD.graph, {name: shape for name, shape in SHAPES.items() if name != "head.bias"})


def _ends_in(*nodes: Node) -> Graph:
    return Graph("images", nodes[-1].output, nodes)


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (_ends_in(Node("relu", ("images",), "y")), "must end in logits"),
        (
            _ends_in(
                Node("flatten", ("images",), "f"), Node("normalize", ("f",), "y", {}, {"mean": [0] * 3, "std": [1] * 3})
            ),
            "needs",
        ),
        (_ends_in(Node("global_avg_pool", ("images",), "g"), Node("add", ("images", "g"), "y")), "one shape"),
        (_ends_in(Node("max_pool", ("images",), "y", {}, {"kernel": 2, "stride": 2, "padding": 2})), "half of kernel"),
        (_ends_in(Node("avg_pool", ("images",), "y", {}, {"kernel": 33, "stride": 1})), "does not fit in 32 pixels"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(graph: Graph, says: str) -> None:
    with pytest.raises(InputError, match=says):
        output_classes(graph, {}, 32)


def test_unbounded_activations_are_refused() -> None:
    nodes = [Node("conv2d", ("images",), "y0", {"weight": "w0"}, {"padding": 64})]
    nodes += [Node("conv2d", (f"y{i}",), f"y{i + 1}", {"weight": "w1"}, {"padding": 64}) for i in range(9)]
    graph = Graph("images", "y9", tuple(nodes))
    with pytest.raises(InputError, match="more than"):
        output_classes(graph, {"w0": (1000, 3, 1, 1), "w1": (1000, 1000, 1, 1)}, 32)


def test_every_operation_has_a_shape_rule() -> None:
    from cards_deck.shapes import _RULES

    assert set(_RULES) == set(OPS)
