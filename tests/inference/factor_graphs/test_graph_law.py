"""The law of variables of a factor graph: it is the graph's own, the draw has it, and a graph without mass has one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.errors import PathLimitError
from lawful.inference.graphs import FactorGraph
from lawful.inference.graphs.reading.graph_law import GraphLaw, SiteLaw
from tests.inference.factor_graphs.truth import Truth, assignments, cases, random_graph


def law_of(graph, *names):
    """The law of some families, and its parameters."""
    leaves, tree = jax.tree.flatten(graph.potentials)
    return GraphLaw(graph.structure, tree, names), [jnp.asarray(x) for x in leaves]


def columns(structure, names):
    """Numbers of the variables of some families, in order."""
    found = [structure.family(name) for name in names]
    return np.concatenate([np.zeros(0, int), *(f.offset + np.arange(f.size) for f in found)])


@pytest.mark.slow
@settings(max_examples=6)
@given(case=cases(variables=4, factors=4, least=1))
def test_it_is_the_law_of_the_graph_summed_over_all_others(case):
    graph = random_graph(*case)
    truth, x = Truth(graph), assignments(graph)
    everything = [f.name for f in graph.structure.families]
    for names in (everything, everything[:1], everything[::-1][:2]):
        law, leaves = law_of(graph, *names)
        values, masses = law.enumerate(*leaves)
        assert values.shape == (law.atoms, *law.shape) and values.dtype == law.dtype
        own = x[:, columns(graph.structure, names)]
        for value, mass in zip(np.asarray(values), np.asarray(masses), strict=True):
            wanted = truth.probabilities[(own == value).all(axis=1)].sum()
            if truth.log_z == -np.inf:
                wanted = float((value == 0).all())
            assert np.exp(mass) == pytest.approx(wanted, abs=1e-13)
        [(kept, shares)], _ = law.finite_elements(None, *leaves)
        positive = np.asarray(masses) > -np.inf
        np.testing.assert_array_equal(np.array(kept).reshape((-1, *law.shape)), np.asarray(values)[positive])
        np.testing.assert_allclose(shares, np.exp(np.asarray(masses)[positive]), rtol=1e-12, atol=0)


@pytest.mark.slow
@settings(max_examples=4)
@given(case=cases(variables=3, factors=3, least=1))
def test_the_draw_has_the_law_that_is_listed(case):
    """Points of a grid of uniforms are counted; the share of a value is its mass, up to the width of the grid."""
    graph = random_graph(*case, zeros=0.3)
    law, leaves = law_of(graph, graph.structure.families[0].name)
    n, points = graph.structure.size, 24
    axis = (np.arange(points) + 0.5) / points
    uniforms = np.stack(np.meshgrid(*[axis] * n, indexing="ij"), axis=-1).reshape((-1, n))
    drawn = np.asarray(jax.jit(jax.vmap(lambda u: law.push(u, *leaves)))(uniforms))
    values, masses = law.enumerate(*leaves)
    for value, mass in zip(np.asarray(values), np.asarray(masses), strict=True):
        share = (drawn == value).all(axis=1).mean()
        assert share == pytest.approx(np.exp(mass), abs=n / points)
        assert share == 0 or mass > -np.inf


def chain(dtype=np.float64):
    """Three variables in a row, the middle one of another family."""
    graph = FactorGraph()
    z = graph.variables("z", (2,), 3, np.array([[0.1, 0.5, -0.3], [0.0, -np.inf, 0.7]], dtype))
    w = graph.variables("w", (), 2, np.array([0.2, -0.4], dtype))
    graph.factors("first", [z[0], w], np.array([[0.3, -1.0], [0.0, 0.9], [-np.inf, 0.2]], dtype))
    graph.factors("second", [w, z[1]], np.array([[1.1, 0.0, -0.5], [0.4, -np.inf, 0.8]], dtype))
    return graph


@pytest.mark.slow
def test_sites_drawn_one_after_the_other_have_the_joint_law():
    graph = chain()
    joint, leaves = law_of(graph, "z", "w")
    first, last = law_of(graph, "z")[0], law_of(graph, "w")[0]
    for value in np.asarray(joint.enumerate(*leaves)[0]):
        z, w = jnp.asarray(value[:2]), jnp.asarray(value[2:])
        after = list(map(jnp.asarray, jax.tree.leaves(graph.observe({"z": z}).potentials)))
        apart, whole = (
            first.log_prob(z, *leaves) + last.log_prob(w, *after),
            joint.log_prob(jnp.asarray(value), *leaves),
        )
        assert float(jnp.exp(apart)) * np.isfinite(whole) == pytest.approx(float(jnp.exp(whole)), abs=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_graph_without_mass_takes_the_first_states_and_has_no_nan(dtype):
    graph = chain(dtype)
    graph.factors("never", [graph["w"]], np.full(2, -np.inf, dtype))
    law, leaves = law_of(graph, "z")
    assert law.draw(jax.random.key(0), *leaves).tolist() == [0, 0]
    assert [float(law.log_prob(jnp.array(x), *leaves)) for x in ([0, 0], [1, 0])] == [0.0, -np.inf]
    slopes = jax.grad(lambda w: law.log_prob(jnp.array([0, 2]), leaves[0], w, *leaves[2:]))(leaves[1])
    assert jnp.all(slopes == 0)


def test_gradients_at_excluded_states_are_zero():
    law, leaves = law_of(chain(), "w")
    slope = jax.grad(lambda *ps: law.log_prob(jnp.array([1]), *ps), argnums=tuple(range(len(leaves))))
    found, leaves = (list(map(np.asarray, arrays)) for arrays in (jax.jit(slope)(*leaves), leaves))
    assert all(np.all(np.isfinite(x)) for x in found)
    assert all(np.all(g[np.isneginf(x)] == 0) for g, x in zip(found, leaves, strict=True))


@pytest.mark.slow
def test_a_site_has_the_values_of_its_states():
    base, leaves = law_of(chain(), "z")
    law = SiteLaw(base, (2,), "float64", (0.5, 1.5, 7.0))
    values, masses = law.enumerate(*leaves)
    assert values.shape == (9, 2) and values.dtype == law.dtype
    for value, mass in zip(values, masses, strict=True):
        assert float(law.log_prob(value, *leaves)) == pytest.approx(float(mass), abs=1e-14)
    assert law.log_prob(jnp.array([0.5, 2.0]), *leaves) == -jnp.inf
    assert set(np.asarray(law.draw(jax.random.key(1), *leaves))) <= {0.5, 1.5, 7.0}


def test_too_many_joint_states_are_refused():
    graph = FactorGraph()
    graph.variables("z", (30,), 2)
    law, leaves = law_of(graph, "z")
    with pytest.raises(PathLimitError, match="1073741824 joint states"):
        law.enumerate(*leaves)
