"""The factor graph: a term is joined to what it reads, and separate terms separate the graph."""

import networkx
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, plate, sample

from .programs import PROGRAMS

NORMAL = dist.Normal(0.0, 1.0)


def schools(y):
    mu = sample("mu", NORMAL)
    with plate("school", 2):
        theta = sample("theta", dist.Normal(mu, 1.0))
        sample("y", dist.Normal(theta, 1.0), obs=y)
    factor("soft", -mu)
    sample("alone", NORMAL)


def test_a_term_is_joined_to_what_it_reads():
    graph = lawful.trace(schools, np.zeros(2)).to_factor_graph()
    reads = {term: set(graph.neighbors(term)) for term, side in graph.nodes(data="bipartite") if side}
    assert reads == {
        "p(mu)": {"mu"},
        "p(theta)": {"mu", "theta"},
        "p(y)": {"theta", "y"},
        "soft": {"mu"},
        "p(alone)": {"alone"},
    }
    assert graph.nodes["y"]["observed"] and graph.nodes["y"]["plates"] == (("school", 2),)
    assert len(list(networkx.connected_components(graph))) == 2
    assert networkx.bipartite_layout(graph, [n for n, side in graph.nodes(data="bipartite") if side == 0])


def test_the_picture_in_dot():
    assert (
        lawful.trace(schools, np.zeros(2)).to_dot(factors=True)
        == """graph factors {
  v0 [label="mu" shape=circle];
  v1 [label="theta [school × 2]" shape=circle];
  v2 [label="y [school × 2]" shape=circle style=filled fillcolor=lightgrey];
  v3 [label="alone" shape=circle];
  f0 [label="" xlabel="p(mu)" shape=square style=filled fillcolor=black width=0.12];
  f0 -- v0;
  f1 [label="" xlabel="p(theta)" shape=square style=filled fillcolor=black width=0.12];
  f1 -- v0;
  f1 -- v1;
  f2 [label="" xlabel="p(y)" shape=square style=filled fillcolor=black width=0.12];
  f2 -- v1;
  f2 -- v2;
  f3 [label="" xlabel="soft" shape=square style=filled fillcolor=black width=0.12];
  f3 -- v0;
  f4 [label="" xlabel="p(alone)" shape=square style=filled fillcolor=black width=0.12];
  f4 -- v3;
}"""
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_factor_graph_is_bipartite_and_draws_its_edges(name):
    form = lawful.trace(PROGRAMS[name][0], *PROGRAMS[name][1])
    graph = form.to_factor_graph()
    sides = dict(graph.nodes(data="bipartite"))
    assert all(sides[a] != sides[b] for a, b in graph.edges)
    assert form.to_dot(factors=True).count(" -- ") == graph.number_of_edges()
