"""Pictures: variables and factors are joined as the scopes say, one by one where they are few, by groups elsewhere."""

import re

import jax
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.inference.graphs import FactorGraph
from tests.inference.factor_graphs.written_graphs import built, graphs


def few():
    graph = FactorGraph()
    z = graph.variables("z", shape=(2,), cardinality=2)
    y = graph.variables('say "y"', states=["a", "b", "c"])
    graph.factors("pair", [z[0], z[1]], np.zeros((2, 2)))
    graph.factors("f", [z, y], np.zeros((2, 3)))
    return graph.observe({"z": (1, 0)})


def test_few_variables_and_factors_are_drawn_one_by_one():
    assert few().to_dot().splitlines() == [
        "graph factors {",
        "  subgraph cluster_0 {",
        '    label="z \N{MULTIPLICATION SIGN} 2";',
        '    v0 [label="z[0]" shape=circle];',
        '    v1 [label="z[1]" shape=circle style=filled fillcolor=lightgrey];',
        "  }",
        '  v2 [label="say \\"y\\"" shape=circle];',
        '  f0 [label="" xlabel="pair[0]" shape=square style=filled fillcolor=black width=0.12];',
        '  f1 [label="" xlabel="f[0]" shape=square style=filled fillcolor=black width=0.12];',
        '  f2 [label="" xlabel="f[1]" shape=square style=filled fillcolor=black width=0.12];',
        "  f0 -- v0;", "  f0 -- v1;", "  f1 -- v0;", "  f1 -- v2;", "  f2 -- v1;", "  f2 -- v2;", "}",
    ]  # fmt: skip


def test_mermaid_draws_the_same():
    assert few().to_mermaid().splitlines() == [
        "flowchart TD",
        '  subgraph b0["z \N{MULTIPLICATION SIGN} 2"]',
        '    v0(["z[0]"])',
        '    v1(["z[1]"]):::observed',
        "  end",
        '  v2(["say #quot;y#quot;"])',
        '  f0["pair[0]"]', '  f1["f[0]"]', '  f2["f[1]"]',
        "  f0 --- v0", "  f0 --- v1", "  f1 --- v0", "  f1 --- v2", "  f2 --- v1", "  f2 --- v2",
        "  classDef observed fill:#ccc",
    ]  # fmt: skip


def test_arrays_and_groups_are_drawn_with_their_counts():
    graph = FactorGraph()
    z = graph.variables("z", shape=(30, 10), cardinality=3)
    y = graph.variables("y", shape=(30,), cardinality=2)
    graph.factors("down", [z[:-1], z[1:]], np.zeros((3, 3)))
    graph.factors("f", [z[:, 0], y], np.zeros((30, 3, 2)))
    graph = graph.observe({"y": np.zeros(30, int), "z": ((0, 0), 1)})
    times = "\N{MULTIPLICATION SIGN}"
    assert graph.to_dot().splitlines()[1:-1] == [
        f'  v0 [label="z {times} 30 {times} 10\\n3 states, 1 observed" shape=ellipse];',
        f'  v1 [label="y {times} 30\\n2 states" shape=ellipse style=filled fillcolor=lightgrey];',
        f'  f0 [label="down {times} 290\\n3 {times} 3, one table" shape=box];',
        f'  f1 [label="f {times} 30\\n3 {times} 2" shape=box];',
        "  f0 -- v0;", "  f1 -- v0;", "  f1 -- v1;",
    ]  # fmt: skip
    assert f'  v1(["y {times} 30 2 states"]):::observed' in graph.to_mermaid().splitlines()


@settings(max_examples=40)
@given(recipe=graphs())
def test_a_factor_is_joined_to_the_variables_of_its_scope_alone(recipe):
    graph = built(recipe)
    scopes = [scope for group in graph.structure.groups for scope in group.scopes.tolist()]
    expected = sorted((k, v) for k, scope in enumerate(scopes) for v in scope)
    for text, line in ((graph.to_dot(singly=True), r"  f(\d+) -- v(\d+);"),
                       (graph.to_mermaid(singly=True), r"  f(\d+) --- v(\d+)")):  # fmt: skip
        found = [re.fullmatch(line, row) for row in text.splitlines()]
        assert sorted((int(m[1]), int(m[2])) for m in found if m) == expected


@settings(max_examples=40)
@given(recipe=graphs())
def test_a_group_is_joined_to_the_arrays_of_its_variables(recipe):
    graph = built(recipe)
    families = graph.structure.families
    expected = sorted(
        (k, f) for k, group in enumerate(graph.structure.groups) for f, family in enumerate(families)
        if np.any((group.scopes >= family.offset) & (group.scopes < family.offset + family.size))
    )  # fmt: skip
    found = [re.fullmatch(r"  f(\d+) -- v(\d+);", row) for row in graph.to_dot(singly=False).splitlines()]
    assert sorted((int(m[1]), int(m[2])) for m in found if m) == expected


@pytest.mark.parametrize("draw", [FactorGraph.to_dot, FactorGraph.to_mermaid])
def test_a_graph_is_drawn_singly_up_to_forty_variables_and_factors(draw):
    def chain(n):
        graph = FactorGraph()
        z = graph.variables("z", (n,))
        graph.factors("f", [z], np.zeros(2))
        return graph

    assert draw(chain(20)) == draw(chain(20), singly=True)
    assert draw(chain(21)) == draw(chain(21), singly=False)
    assert draw(FactorGraph())


def test_evidence_that_is_traced_counts_as_seen():
    text = []
    graph = FactorGraph()
    graph.variables("z")
    jax.jit(lambda s: text.append(graph.observe({"z": s}).to_dot()) or s)(0)
    assert "style=filled" in text[0]
