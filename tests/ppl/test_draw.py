"""Pictures of a Form: the vertices are its sites and factors, the edges its dependences, boxes its plates and loops."""

import re

import networkx
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, deterministic, factor, plate, sample, scan
from lawful.form.dependence import dependence

from .programs import PROGRAMS

NORMAL = dist.Normal(0.0, 1.0)


def everything(y):
    mu = sample("mu", NORMAL)
    with plate("school", 2):
        theta = sample("theta", dist.Normal(mu, 1.0))
        sample("y", dist.Normal(deterministic("twice", 2 * theta), 1.0), obs=y)
    scan(lambda x, _: (sample("x", dist.Normal(x, 1.0)), None), mu, length=3)
    factor("soft", -mu)


def test_the_graph_of_networkx_holds_what_is_known_of_a_site():
    graph = lawful.trace(everything, np.zeros(2)).to_networkx()
    assert set(graph.edges) == {("mu", "theta"), ("mu", "soft"), ("mu", "x"), ("x", "x"), ("theta", "y")}
    assert graph.edges["x", "x"] == {"carried": True} and graph.edges["mu", "x"] == {"carried": False}
    assert graph.nodes["y"] == {
        "kind": "sample", "observed": True, "shape": (2,), "loops": (), "plates": (("school", 2),), "label": "Normal",
        "address": ("y",),
    }  # fmt: skip
    assert graph.nodes["x"]["loops"] == (3,) and graph.nodes["soft"]["kind"] == "factor"


def test_without_loops_the_graph_has_no_cycle():
    graph = lawful.trace(PROGRAMS["branches"][0], *PROGRAMS["branches"][1]).to_networkx()
    assert networkx.is_directed_acyclic_graph(graph)
    assert {("b", "x"), ("b", "only"), ("k", "z"), ("k", "low")} <= set(graph.edges)


def test_dot():
    assert (
        lawful.trace(everything, np.zeros(2)).to_dot()
        == r"""digraph form {
  n0 [label="mu\nNormal" shape=ellipse];
  n5 [label="" xlabel="soft" shape=square style=filled fillcolor=black width=0.12];
  subgraph cluster_1 {
    label="school × 2";
    n1 [label="theta\nNormal" shape=ellipse];
    n2 [label="twice" shape=ellipse style=dashed];
    n3 [label="y\nNormal" shape=ellipse style=filled fillcolor=lightgrey];
  }
  subgraph cluster_2 {
    label="loop of 3";
    n4 [label="x\nNormal" shape=ellipse];
  }
  n0 -> n1;
  n1 -> n2;
  n2 -> n3;
  n0 -> n4;
  n4 -> n4 [style=dashed];
  n0 -> n5;
}"""
    )


def test_mermaid():
    assert (
        lawful.trace(everything, np.zeros(2)).to_mermaid()
        == """flowchart TD
  n0(["mu ~ Normal"])
  n5["soft"]
  subgraph b1["school × 2"]
    n1(["theta ~ Normal"])
    n2(["twice"]):::named
    n3(["y ~ Normal"]):::observed
  end
  subgraph b2["loop of 3"]
    n4(["x ~ Normal"])
  end
  n0 --> n1
  n1 --> n2
  n2 --> n3
  n0 --> n4
  n4 -. next step .-> n4
  n0 --> n5
  classDef observed fill:#ccc
  classDef named stroke-dasharray:4"""
    )


def crossing():
    with plate("a", 3, dim=-1):
        x = sample("x", NORMAL)
        with plate("b", 2, dim=-2):
            sample("z", dist.Normal(x, 1.0))
    with plate("b", 2, dim=-2):
        sample("w", NORMAL)


def test_plates_that_cross_are_marked_and_not_drawn():
    form = lawful.trace(crossing)
    assert form.to_dot().count("subgraph") == 1
    assert 'label="z [b × 2]\\nNormal"' in form.to_dot() and 'label="w [b × 2]\\nNormal"' in form.to_dot()
    assert form.to_mermaid().count("subgraph") == 1


def test_boxes_nest_and_two_loops_are_two_boxes():
    def model():
        def step(name):
            return lambda c, _: (c, sample(name, NORMAL))

        scan(lambda c, _: scan(step("inner"), c, length=2), 0.0, length=3)
        cond(sample("b", dist.Bernoulli(0.5)) == 1, lambda: scan(step("arm"), 0.0, length=2)[0], lambda: 0.0)
        scan(step("last"), 0.0, length=2)

    lines = lawful.trace(model).to_mermaid().splitlines()
    assert sum("subgraph" in line for line in lines) == 4
    assert any(line.startswith("    subgraph") for line in lines)


def test_names_that_would_break_the_syntax_are_escaped():
    def model():
        sample('a"b\\c', NORMAL)
        factor("<i>#1", 0.0)

    form = lawful.trace(model)
    assert r'label="a\"b\\c\nNormal"' in form.to_dot()
    assert 'n1["#lt;i#gt;#35;1"]' in form.to_mermaid()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_picture_holds_the_same_graph(name):
    form = lawful.trace(PROGRAMS[name][0], *PROGRAMS[name][1])
    graph, full = form.to_networkx(), dependence(form, named=True)
    assert set(graph) == {site.address and ".".join(site.address) for site in form.sites()} | {
        ".".join(a) for a, vertex in full.vertices.items() if vertex.kind == "factor"
    }
    dot, mermaid = form.to_dot(), form.to_mermaid()
    ids = {f"n{i}" for i in range(len(full.vertices))}
    assert set(re.findall(r"^ *(n\d+) \[", dot, re.M)) == ids == set(re.findall(r"^ *(n\d+)[(\[]", mermaid, re.M))
    assert len(re.findall(" -> ", dot)) == len(full.edges) == len(re.findall("-->|-. next step .->", mermaid))
    assert dot.count("{") == dot.count("}") and mermaid.count("subgraph") == len(re.findall(r"^ *end$", mermaid, re.M))
