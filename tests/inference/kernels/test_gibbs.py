"""Finite parts are drawn from their exact conditionals: exactly invariant, and right beside continuous sites."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import UnsupportedProgramError
from lawful.form import Loop
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.inference.check.exact.transition import transition_matrix
from lawful.inference.check.rows.kernel_rows import hidden, labels
from lawful.inference.kernels.gibbs.gibbs import relative
from tests.structure.programs import equations

GIBBS = kernels.gibbs()
gibbs_module = importlib.import_module(
    "lawful.inference.kernels.gibbs.gibbs"
)  # the package gives the name to a function


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("program", [hidden, labels], ids=lambda p: p.__name__)
def test_the_posterior_stays_exactly(program):
    report = invariant(GIBBS, program)
    assert report.passed and report.tv < 1e-14, report


@pytest.mark.tier0
def test_one_site_alone_is_drawn_from_its_posterior_whatever_it_was():
    def coin():
        x = lawful.sample("x", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        lawful.factor("f", jnp.array([0.0, -1.0, -jnp.inf])[x])

    form = lawful.trace(coin)
    truth = inference.check.enumerate_measure(coin).marginal(lambda t: inference.check.Trace(t.choices, None))
    matrix, _, pi, _ = transition_matrix(GIBBS.build(form), form, [], truth, 100)
    np.testing.assert_allclose(matrix, np.broadcast_to(pi, (2, 2)), atol=1e-15)


def clusters(y):
    """Labels beside means that another kernel moves."""
    mean = lawful.sample("mean", dist.Normal(jnp.array([-1.0, 2.0]), 1.0).to_event(1))
    with lawful.plate("i", 4):
        z = lawful.sample("z", dist.Bernoulli(0.4))
        lawful.sample("y", dist.Normal(mean[z], 1.0), obs=y)


@pytest.mark.slow
@pytest.mark.tier1
def test_it_keeps_exact_draws_beside_continuous_sites():
    y = jnp.zeros(4)
    assert invariant(GIBBS, clusters, y, n=2_000, steps=(1, 5)).passed
    both = kernels.cycle(GIBBS, kernels.on("mean", kernels.mh(kernels.random_walk(0.5))))
    assert invariant(both, clusters, y, n=2_000, steps=(1, 5)).passed


@pytest.mark.slow
@pytest.mark.tier0b
def test_the_log_density_that_it_carries_is_that_of_the_state():
    y = jnp.array([-1.0, 0.2, 1.5, 2.0])
    result = inference.mcmc(clusters, kernels.cycle(GIBBS, kernels.on("mean")), chains=3, warmup=0, draws=20)(0, y)
    values = {name: np.asarray(result.posterior[name]) for name in ("mean", "z")}
    form = lawful.trace(clusters, y)
    for chain, draw in np.ndindex(3, 20):
        state = {name: v[chain, draw] for name, v in values.items()}
        assert abs(float(form.log_density(state, y)) - float(result.stats["lp"][chain, draw])) < 1e-12
    assert result.stats["n_changed"].shape == (3, 20)


def test_a_value_whose_density_is_no_number_is_left_out_and_counted():
    def model():
        x = lawful.sample("x", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        lawful.factor("f", jnp.array([0.0, 0.0, jnp.nan])[x])

    result = inference.mcmc(model, GIBBS, chains=2, warmup=0, draws=200, init={"x": 0})(0)
    assert not (np.asarray(result.posterior["x"]) == 2).any()
    assert (np.asarray(result.stats["n_nonfinite"]) == 1).all()
    assert "NONFINITE_DENSITY" in {finding.code for finding in result.reasons}


def test_weights_of_impossible_values_alone_are_no_weights():
    assert not np.isnan(relative(jnp.full(3, -jnp.inf))).any()


def test_what_has_no_table_is_refused_by_name_and_the_rest_is_told():
    def switch():
        b = lawful.sample("b", dist.Bernoulli(0.5))
        lawful.cond(b == 1, lambda: lawful.sample("x", dist.Bernoulli(0.2)), lambda: 0)
        lawful.sample("free", dist.Bernoulli(0.3))

    form = lawful.trace(switch)
    with pytest.raises(UnsupportedProgramError, match=r"site 'b' .* decides which other sites run"):
        GIBBS.build(form)
    kernels.on("free", GIBBS).build(form)
    assert GIBBS.plan(form)[0] == "b: drawn from its conditional"

    def sums():
        def step(total, _):
            total = total + lawful.sample("x", dist.Bernoulli(0.5))
            return total, total

        _, path = lawful.scan(step, 0, None, length=12)
        lawful.factor("f", -0.1 * jnp.sum(path))

    with pytest.raises(UnsupportedProgramError, match=r"site 'x' .* read by all later steps"):
        GIBBS.build(lawful.trace(sums))


def loops(program, *args):
    """Lengths of the loops that the kernel writes for a program."""
    return [node.length for node in GIBBS.build(lawful.trace(program, *args)).step.nodes if isinstance(node, Loop)]


def test_parts_that_do_not_read_each_other_are_drawn_at_once_and_others_in_turn():
    assert loops(clusters, jnp.zeros(4)) == []
    assert loops(labels) == [1, 2]  # p alone, the tied pair; not z
    assert loops(hidden) == [2]


@pytest.mark.tier0b
@pytest.mark.parametrize("together", [False, True], ids=["in turn", "at once"])
def test_labels_have_their_exact_conditionals_in_either_way(together, monkeypatch):
    """The matrix of one sweep over two labels is the product of their conditionals."""
    monkeypatch.setattr(gibbs_module, "_reads_only", lambda *_: together)

    def two():
        with lawful.plate("i", 2):
            z = lawful.sample("z", dist.Bernoulli(jnp.array([0.3, 0.6])))
            lawful.sample("y", dist.Normal(2.0 * z, 1.0), obs=jnp.array([0.5, 1.5]))

    form = lawful.trace(two)
    assert len([node for node in GIBBS.build(form).step.nodes if isinstance(node, Loop)]) == 1 - together
    truth = inference.check.enumerate_measure(two).marginal(lambda t: inference.check.Trace(t.choices, None))
    matrix, _, pi, _ = transition_matrix(GIBBS.build(form), form, [], truth, 100)
    np.testing.assert_allclose(matrix, np.broadcast_to(pi, (4, 4)), atol=1e-15)


def test_a_draw_reads_its_neighbours_alone():
    """The step of a hidden chain does not grow with its length."""

    def program(y):
        def step(z, y):
            z = lawful.sample("z", dist.Bernoulli(0.2 + 0.6 * z))
            lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
            return z, None

        lawful.scan(step, 0, y)

    counts = []
    for length in (20, 200):
        y = jnp.zeros(length)
        form = GIBBS.build(lawful.trace(program, y)).step
        run = lawful.backends.xla.emit(form)
        inputs = [jnp.zeros(v.shape, v.dtype) for v in form.inputs]
        traced = jax.make_jaxpr(run)(jax.random.key(0), *inputs)
        (scan,) = [e for e in equations(traced) if e.primitive.name == "scan"]
        inner = list(equations(scan.params["jaxpr"]))
        whole = {"dynamic_update_slice", "scatter", "broadcast_in_dim"}  # in place, or of what never changes
        counts.append(sum(v.aval.size >= length for e in inner for v in e.outvars if e.primitive.name not in whole))
    assert counts[0] == counts[1]
