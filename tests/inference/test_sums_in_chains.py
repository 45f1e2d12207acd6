"""Summed sites of loops: chains by the recursions that are written by hand for them, and draws back from their laws."""

import builtins
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.special import logsumexp

import lawful
from lawful.backends.unchain_loops import unchained
from lawful.backends.xla import compile
from lawful.errors import UnsupportedProgramError
from lawful.form import Loop
from lawful.form.operations.from_jaxpr import inlined
from lawful.inference import enumerate, enumeration
from lawful.inference.check import preserves
from lawful.inference.check.statistics.power import z_critical
from lawful.passes.thread_sites import score
from tests.inference.test_sums_in_programs import MEANS, WEIGHTS, in_program, log_evidence, log_normal

TRANSITION = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])


def hidden(y):
    def step(z, y):
        z = lawful.sample("z", dist.Categorical(TRANSITION[z]))
        lawful.sample("y", dist.Normal(MEANS[z], 1.0), obs=y)
        return z, z

    first = lawful.sample("first", dist.Categorical(WEIGHTS))
    return lawful.scan(step, first, y)[1]


def forward(y):
    alpha = np.log(WEIGHTS)
    for datum in y:
        alpha = logsumexp(alpha[:, None] + np.log(TRANSITION), axis=0) + log_normal(datum, np.asarray(MEANS))
    return logsumexp(alpha)


def test_a_hidden_chain_is_summed_by_the_forward_recursion():
    y = np.random.default_rng(2).normal(size=200)
    assert log_evidence(hidden, y) == pytest.approx(forward(y), rel=1e-12)


def test_a_long_chain_of_large_terms_keeps_its_digits():
    """In double precision no step takes a scale out of the weights: here they grow to a million nats."""
    y = np.random.default_rng(5).normal(size=1000)

    def program(y):
        def step(z, y):
            z = lawful.sample("z", dist.Categorical(TRANSITION[z]))
            lawful.sample("y", dist.Normal(MEANS[z], 1.0), obs=y)
            lawful.factor("large", -1000.0)
            return z, None

        lawful.scan(step, lawful.sample("first", dist.Categorical(WEIGHTS)), y)

    assert log_evidence(program, y) == pytest.approx(forward(y) - 1e6, rel=1e-13)


def test_the_density_of_a_hidden_chain_has_the_recursion_of_the_states_alone_in_its_loop():
    """Tables and terms of the data are made outside; one exponential of K x K numbers is left, as written by hand."""
    y = np.random.default_rng(4).normal(size=12)

    def program(y):
        law = lawful.sample("law", dist.Dirichlet(jnp.ones((3, 3))).to_event(1))
        means = lawful.sample("means", dist.Normal(MEANS, 1.0).to_event(1))

        def step(z, y):
            z = lawful.sample("z", dist.Categorical(law[z]))
            lawful.sample("y", dist.Normal(means[z], 1.0), obs=y)
            return z, None

        lawful.scan(step, lawful.sample("first", dist.Categorical(WEIGHTS)), y)

    def by_hand(y):
        law = lawful.sample("law", dist.Dirichlet(jnp.ones((3, 3))).to_event(1))
        means = lawful.sample("means", dist.Normal(MEANS, 1.0).to_event(1))
        terms = dist.Normal(means, 1.0).log_prob(y[:, None])
        mass = jnp.log(WEIGHTS)
        for now in terms:
            mass = jax.nn.logsumexp(mass[:, None] + jnp.log(law), axis=0) + now
        lawful.factor("y", jax.nn.logsumexp(mass))

    form = enumeration(lawful.trace(program, y), "all").marginal
    (loop,) = (n for n in unchained(score(form).form).nodes if isinstance(n, Loop) and n.init)
    labels = [node.label for node in inlined(loop.body).nodes]
    assert labels.count("exp") == labels.count("log") == 1 and "gather" not in labels and len(labels) < 30
    ours, theirs = lawful.density(form, y), lawful.density(by_hand, y)
    for shift in (0.0, 0.3):
        at = ours.ravel()[0] + shift
        for one, other in zip(*(jax.value_and_grad(d.logp_vector)(at) for d in (ours, theirs)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_many_hidden_chains_side_by_side_are_summed_each_on_its_own():
    y = np.random.default_rng(3).normal(size=(20, 7))

    def program(y):
        def step(z, y):
            with lawful.plate("series", 7):
                z = lawful.sample("z", dist.Categorical(TRANSITION[z]))
                lawful.sample("y", dist.Normal(MEANS[z], 1.0), obs=y)
            return z, None

        with lawful.plate("start", 7):
            first = lawful.sample("first", dist.Categorical(WEIGHTS))
        lawful.scan(step, first, y)

    assert log_evidence(program, y) == pytest.approx(sum(map(forward, y.T)), rel=1e-12)


@pytest.mark.slow
def test_a_chain_is_drawn_back_from_its_smoothing_law(false_alarm):
    """8,192 draws of a chain of 5, 15 shares; a shift of 0.05 is seen with probability above 0.99."""
    y, n = np.array([0.5, -2.0, 1.0, 1.2, -0.3]), 1 << 13
    form = in_program()(lawful.trace(hidden, y))
    keys = jax.random.split(jax.random.key(20262), n)
    drawn = np.asarray(jax.vmap(lambda key: compile(form)(key, y)[0][0])(keys))
    weights = np.zeros((5, 3))
    for path in itertools.product(range(3), repeat=6):
        mass = float(WEIGHTS[path[0]])
        for t, (before, after) in builtins.enumerate(itertools.pairwise(path)):
            mass *= float(TRANSITION[before, after]) * np.exp(log_normal(y[t], float(MEANS[after])))
        for t in range(5):
            weights[t, path[t + 1]] += mass
    exact = weights / weights.sum(axis=1, keepdims=True)
    assert np.abs((drawn[..., None] == np.arange(3)).mean(axis=0) - exact).max() < z_critical(
        false_alarm, 15
    ) * 0.5 / np.sqrt(n)


def second_order(y):
    def step(state, y):
        before, last = state
        z = lawful.sample("z", dist.Bernoulli(jnp.array([[0.2, 0.6], [0.5, 0.9]])[before, last]))
        lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
        return (last, z), None

    lawful.scan(step, (0, 0), y)


def test_a_chain_with_a_longer_memory_is_written_out_while_it_is_short():
    y = np.array([0.5, -0.2, 1.3, 0.8])
    table, total = np.array([[0.2, 0.6], [0.5, 0.9]]), []
    for path in itertools.product(range(2), repeat=4):
        full = (0, 0, *path)
        p = [table[full[t], full[t + 1]] for t in range(4)]
        total.append(sum(np.log(p[t] if path[t] else 1 - p[t]) + log_normal(y[t], path[t]) for t in range(4)))
    assert log_evidence(second_order, y) == pytest.approx(logsumexp(total), rel=1e-12)
    with pytest.raises(UnsupportedProgramError, match=r"loop with site 'z' .*1000 steps are too many.*Fix"):
        log_evidence(second_order, np.zeros(1000))


def days_of_hours(y, move=TRANSITION):
    """A chain whose every step is a chain, which begins where the step is."""

    def day(z, y):
        z = lawful.sample("day", dist.Categorical((1 - move[z]) / (len(move) - 1)))

        def hour(z, y):
            z = lawful.sample("hour", dist.Categorical(move[z]))
            lawful.sample("y", dist.Normal(MEANS[z], 1.0), obs=y)
            return z, z

        last, hours = lawful.scan(hour, z, y)
        return last, (z, hours)

    return lawful.scan(day, lawful.sample("first", dist.Categorical(move[0])), y)[1]


def test_a_chain_in_the_steps_of_a_chain_is_summed_by_both_recursions():
    y = np.random.default_rng(4).normal(size=(20, 30))
    alpha, away = np.log(TRANSITION[0]), (1 - TRANSITION) / 2
    for row in y:
        alpha = logsumexp(alpha[:, None] + np.log(away), axis=0)
        for datum in row:
            alpha = logsumexp(alpha[:, None] + np.log(TRANSITION), axis=0) + log_normal(datum, np.asarray(MEANS))
    form = in_program()(lawful.trace(days_of_hours, y))
    assert len(form.nodes) < 100  # no step is written out
    assert float(compile(form)(jax.random.key(0), y)[1]) == pytest.approx(logsumexp(alpha), rel=1e-12)


@pytest.mark.slow
def test_chains_in_chains_are_drawn_back_from_their_conditional():
    move = jnp.array([[0.7, 0.3], [0.4, 0.6]])
    report = preserves(in_program(), partial(days_of_hours, np.array([[0.5, -1.0], [1.2, 0.1]]), move))
    assert report.passed, report


def visits():
    """In every step a bounded loop goes on by a coin that depends on where it stands."""

    def day(z, _):
        z = lawful.bounded_loop(
            lambda z: lawful.sample("on", dist.Bernoulli(0.3 + 0.3 * z)) == 1,
            lambda z: lawful.sample("z", dist.Bernoulli(0.2 + 0.5 * z)),
            z,
            max_steps=2,
        )
        lawful.factor("seen", 0.5 * z)
        return z, None

    return lawful.scan(day, jnp.asarray(0), None, length=2)[0]


@pytest.mark.slow
def test_a_bounded_loop_in_the_steps_of_a_scan_is_summed():
    """Each attempt walked other copies of the inner loop, so that what one had found was never found again."""
    assert log_evidence(visits) == pytest.approx(enumerate(visits)().log_evidence, rel=1e-12)


def test_the_density_of_a_chain_reads_the_rows_of_all_states_at_once():
    def chain(y):
        rows = lawful.sample("rows", dist.Dirichlet(jnp.ones((3, 3))).to_event(1))
        means = lawful.sample("means", dist.Normal(jnp.arange(3.0), 1.0).to_event(1))

        def step(z, y):
            z = lawful.sample("z", dist.Categorical(rows[z]))
            lawful.sample("y", dist.Normal(means[z], 1.0), obs=y)
            return z, None

        lawful.scan(step, lawful.sample("z0", dist.Categorical(jnp.ones(3) / 3)), y)

    y = jnp.linspace(-1.0, 3.0, 6)
    density = lawful.density(enumeration(lawful.trace(chain, y)).marginal, y)
    program = str(jax.make_jaxpr(jax.grad(density.logp_vector))(density.ravel()[0]))
    assert "scan" in program and "gather" not in program and "scatter" not in program
