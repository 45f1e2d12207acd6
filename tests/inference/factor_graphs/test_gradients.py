"""Derivatives of loopy belief propagation: log Z by its beliefs, beliefs by the equation of the fixed point."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import LawfulError, NotConvergedError
from lawful.inference.graphs import FactorGraph, Potentials, eliminated, propagated
from lawful.inference.graphs.loopy.counting import tree_shares
from lawful.inference.graphs.loopy.free_energy import free_energy, point_at
from lawful.inference.graphs.loopy.messages import net_of, scores_of
from tests.inference.factor_graphs.truth import Truth, grid, holed
from tests.tiers import rest_slow

FAMILIES = ("bethe", "trw", "random")


def knot(seed, zeros=0.15):
    """A ring with a factor of three, hard zeros, and evidence: everything that a derivative can trip over."""
    rng = np.random.default_rng(seed)
    graph = FactorGraph()
    z = graph.variables("z", (5,), 3, rng.normal(size=(5, 3)))
    graph.factors("alone", [z[1]], rng.normal(size=3))
    graph.factors("ring", [z, z[[1, 2, 3, 4, 0]]], 0.6 * holed(rng, (5, 3, 3), zeros))
    graph.factors("three", [z[0], z[2], z[3]], 0.6 * holed(rng, (3, 3, 3), zeros))
    graph.factors("constant", [], 0.7)
    return graph.observe({"z": ([4], [int(rng.integers(3))])})


def numbers(graph, family):
    """Counting numbers of a family, by group."""
    if family == "bethe":
        return [np.ones(g.size) for g in graph.structure.groups]
    if family == "trw":
        return tree_shares(graph.structure)
    rng = np.random.default_rng(3)
    return [rng.uniform(0.5, 1.2, g.size) for g in graph.structure.groups]


def ran(graph, potentials, counting, **more):
    return propagated(graph.replace(potentials), counting=counting, damping=0.2, max_iters=2000, tol=1e-13, **more)


def moved(potentials, way, t):
    """Potentials some way on, exclusions where they were."""
    return jax.tree.map(lambda x, d: jnp.where(jnp.isneginf(x), x, x + t * d), potentials, way)


def some_way(potentials, seed=1):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape), potentials)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(2))
def test_bp_7_the_derivative_of_log_z_is_the_beliefs(family, seed):
    graph = knot(seed)
    counting, bare = numbers(graph, family), graph.without_evidence().potentials
    slope = jax.grad(lambda p: ran(graph, p, counting).log_z)(bare)
    found = ran(graph, bare, counting)
    assert found.verdict == "converged"
    np.testing.assert_allclose(slope.unary[0], found.beliefs["z"], atol=1e-9)
    for ours, group, beliefs in zip(slope.tables, graph.structure.groups, found.factors, strict=True):
        np.testing.assert_allclose(ours, beliefs.sum(0, keepdims=True) if group.shared else beliefs, atol=1e-9)
    # The potentials that evidence or a hard zero overrules have no say.
    for own, given in zip(jax.tree.leaves(slope), jax.tree.leaves(bare), strict=True):
        assert (np.asarray(own)[np.isneginf(given)] == 0).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", rest_slow(range(2)))
def test_bp_7_both_forms_agree_with_zeros_and_evidence(family, seed):
    graph = knot(seed)
    counting = numbers(graph, family)
    found = ran(graph, graph.without_evidence().potentials, counting)
    net = net_of(graph.structure)

    def energy(potentials, messages):
        scores = scores_of(net, potentials, net.by_block(counting))
        return free_energy(net, scores, point_at(net, scores, messages, hard=True))

    assert float(jax.jit(energy)(graph.potentials, found.messages)) == pytest.approx(float(found.log_z), abs=1e-8)


@cache
def along_a_way():
    """Log Z and a sum of beliefs, some way on from a knot with given counting numbers; and both its derivatives."""
    graph = knot(2)
    bare, weights = graph.without_evidence().potentials, np.random.default_rng(5).normal(size=(5, 3))
    way = some_way(bare)

    def told(t, counting):
        bent = [c + 0.1 * t * np.sin(1.0 + np.arange(c.size)) for c in counting]
        found = ran(graph, moved(bare, way, t), bent)
        return jnp.stack([found.log_z, jnp.sum(weights * found.beliefs["z"])])

    return graph, jax.jit(told), jax.jit(jax.jacfwd(told)), jax.jit(jax.jacrev(told))


@pytest.mark.kills("39i", family="random")
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_bp_7_derivatives_are_finite_differences(family):
    """Of log Z and of beliefs, by potentials and by counting numbers, forward and backward."""
    graph, told, forward, backward = along_a_way()
    counting, h = [jnp.asarray(c) for c in numbers(graph, family)], 1e-4
    wanted = (told(h, counting) - told(-h, counting)) / (2 * h)
    np.testing.assert_allclose(forward(0.0, counting), wanted, rtol=1e-6)
    np.testing.assert_allclose(backward(0.0, counting), wanted, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_bp_7_beliefs_move_as_they_do_through_all_sweeps(family):
    graph = knot(0)
    counting, bare = numbers(graph, family), graph.without_evidence().potentials
    weights = np.random.default_rng(5).normal(size=(5, 3))

    def told(p, **more):
        found = propagated(graph.replace(p), counting=counting, damping=0.2, **more)
        return jnp.sum(weights * found.beliefs["z"]) + jnp.sum(found.factor_beliefs("three") ** 2)

    implicit = jax.grad(lambda p: told(p, tol=1e-13, max_iters=2000))(bare)
    unrolled = jax.grad(lambda p: told(p, gradient="unrolled", max_iters=300))(bare)
    for ours, theirs in zip(jax.tree.leaves(implicit), jax.tree.leaves(unrolled), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_the_second_derivative_of_log_z_is_that_of_the_sum_on_a_forest():
    rng = np.random.default_rng(0)
    graph = FactorGraph()
    z = graph.variables("z", (4,), 2, rng.normal(size=(4, 2)))
    graph.factors("tree", [z[[0, 1, 1]], z[[1, 2, 3]]], rng.normal(size=(3, 2, 2)))
    way = some_way(graph.potentials)

    def curved(infer):
        return jax.jit(jax.hessian(lambda t: infer(graph.replace(moved(graph.potentials, way, t))).log_z))(0.0)

    assert float(curved(propagated)) == pytest.approx(float(curved(eliminated)), rel=1e-8)


@pytest.mark.slow
def test_bp_7_memory_does_not_grow_with_the_sweeps():
    """Backward through the fixed point; through all sweeps it grows with their number."""
    graph = grid(np.random.default_rng(0), 12, 12, strength=0.3)

    def bytes_of(sweeps, gradient):
        def told(p):
            found = propagated(graph.replace(p), damping=0.0, max_iters=sweeps, gradient=gradient)
            return jnp.sum(found.beliefs["z"] ** 2)

        compiled = jax.jit(jax.grad(told)).lower(graph.potentials).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = bytes_of(50, "refuse"), bytes_of(5000, "refuse")
    assert many - few <= 5000 * 8  # the trace of the residuals
    messages = 4 * 2 * 132 * 8
    assert bytes_of(500, "unrolled") >= few + 450 * messages


def frustrated():
    """A ring of three that cannot agree, whose messages turn around without damping."""
    graph = FactorGraph()
    z = graph.variables("z", (4,), 2, 0.1 * np.arange(8.0).reshape((4, 2)))
    first, second = np.triu_indices(4, 1)
    graph.factors("pair", [z[first], z[second]], -4.0 * np.eye(2))
    return graph


@pytest.mark.slow
def test_a_run_that_did_not_converge_has_no_derivative_unless_that_is_allowed():
    graph = frustrated()

    def told(t, gradient):
        way = Potentials((graph.potentials.unary[0],), (t * graph.potentials.tables[0],))
        return propagated(graph.replace(way), damping=0.0, max_iters=40, gradient=gradient).log_z

    with pytest.raises(NotConvergedError, match="did not converge .verdict oscillating after 40 sweeps.*derivative"):
        jax.grad(lambda t: told(t, "refuse"))(1.0)
    value, slope = jax.jit(jax.value_and_grad(lambda t: told(t, "refuse")))(1.0)
    assert np.isfinite(value) and np.isnan(slope)
    assert np.isfinite(jax.grad(lambda t: told(t, "allow"))(1.0))
    unrolled = jax.jit(jax.value_and_grad(lambda t: told(t, "unrolled")))
    assert float(unrolled(1.0)[0]) == pytest.approx(float(value), rel=1e-9)
    h = 1e-5
    assert float(unrolled(1.0)[1]) == pytest.approx(float(unrolled(1 + h)[0] - unrolled(1 - h)[0]) / (2 * h), rel=1e-6)


def test_a_strict_run_converges_or_raises():
    graph = frustrated()
    with pytest.raises(NotConvergedError, match=r"strict=True. Fix: raise max_iters= or damping="):
        propagated(graph, damping=0.0, max_iters=40, strict=True)
    assert propagated(graph, damping=0.0, max_iters=40).warnings[0].startswith("verdict oscillating after 40 sweeps")
    assert propagated(graph, damping=0.5, strict=True).warnings == ()
    with pytest.raises(LawfulError, match="strict=True: whether the run converges is not known while it is traced"):
        jax.jit(lambda t: propagated(graph.replace(moved(graph.potentials, graph.potentials, t)), strict=True))(0.1)


def test_what_has_no_mass_has_no_derivative():
    graph = FactorGraph()
    x = graph.variables("x", (3,), 2, np.zeros((3, 2)))
    graph.factors("equal", [x, x[[1, 2, 0]]], np.where(np.eye(2) > 0, 0.0, -np.inf))
    graph = graph.observe({"x": ([0, 2], [0, 1])})
    told = jax.jit(jax.value_and_grad(lambda p: propagated(graph.replace(p)).log_z))
    value, slope = told(graph.without_evidence().potentials)
    assert float(value) == -np.inf
    assert all((np.asarray(s) == 0).all() for s in jax.tree.leaves(slope))


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize("temperature", [None, 0.5])
def test_at_other_temperatures_log_z_is_the_soft_maximum_and_its_derivative_the_beliefs(temperature):
    rng = np.random.default_rng(1)
    graph = FactorGraph()
    z = graph.variables("z", (4,), 3, rng.normal(size=(4, 3)))
    graph.factors("chain", [z[:-1], z[1:]], rng.normal(size=(3, 3, 3)))
    value, slope = jax.value_and_grad(lambda p: propagated(graph.replace(p), temperature=temperature).log_z)(
        graph.potentials
    )
    if temperature is None:
        assert float(value) == pytest.approx(Truth(graph).largest, abs=1e-9)
        states = propagated(graph, temperature=None).beliefs["z"].argmax(-1)
        np.testing.assert_allclose(slope.unary[0], np.eye(3)[states], atol=1e-12)
        return
    cold = Truth(graph.replace(jax.tree.map(lambda x: x / temperature, graph.potentials)))
    assert float(value) == pytest.approx(temperature * cold.log_z, abs=1e-9)
    np.testing.assert_allclose(slope.unary[0], cold.variables["z"], atol=1e-8)
    np.testing.assert_allclose(propagated(graph, temperature=temperature).beliefs["z"], cold.variables["z"], atol=1e-8)


@pytest.mark.slow
def test_log_z_is_a_factor_of_a_program(single_precision):
    """Under jit, vmap and grad: the density of a strength that couples a grid."""
    graph = grid(np.random.default_rng(0), 3, 3, strength=1.0, dtype=jnp.float32)

    def coupled(strength):
        tables = tuple(strength * t for t in graph.potentials.tables)
        return propagated(graph.replace(Potentials(graph.potentials.unary, tables)), tol=1e-6)

    def model():
        strength = lawful.sample("strength", dist.Normal(0.0, 1.0))
        lawful.factor("mass", coupled(strength).log_z)

    density = lawful.density(model).logp
    strengths = jnp.array([0.1, 0.5, 0.9])
    slopes = jax.jit(jax.vmap(jax.grad(lambda s: density({"strength": s}))))(strengths)
    for strength, slope in zip(strengths, slopes, strict=True):
        agree = sum(float(jnp.sum(b * np.eye(2))) for b in coupled(strength).factors)
        assert float(slope) == pytest.approx(agree - float(strength), rel=1e-4)


@pytest.mark.slow
def test_bp_7_derivatives_are_finite_differences_with_counts():
    rng, h = np.random.default_rng(0), 1e-4
    graph = FactorGraph()
    y = graph.variables("y", (4,), 2, rng.normal(size=(4, 2)))
    graph.factors("ring", [y, y[[1, 2, 3, 0]]], 0.5 * rng.normal(size=(4, 2, 2)))
    graph.count("seen", y[:3])
    graph = graph.observe({"seen": 2})
    bare, weights = graph.without_evidence().potentials, rng.normal(size=(4, 2))
    way = some_way(bare)

    @jax.jit
    def told(t):
        found = propagated(graph.replace(moved(bare, way, t)), damping=0.2, max_iters=2000, tol=1e-13)
        return found.log_z + jnp.sum(weights * found.beliefs["y"])

    assert float(jax.jit(jax.grad(told))(0.0)) == pytest.approx(float(told(h) - told(-h)) / (2 * h), rel=1e-6)
