"""Probabilities that are exactly 0: states without mass leave the gradient what the others make it, whatever sums them.

The truth of each is the same program written without the states that have no mass.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.distributions.law import law_of
from lawful.inference import kernels

MASK = jnp.array([1.0, 0.0, 1.0])
LOGITS = jnp.array([0.1, -0.4, 0.3])
Y = jnp.array([0.2, 1.4, -0.3])


def shares(logits, mask=MASK):
    masses = jax.nn.softmax(logits) * mask
    return masses / jnp.sum(masses)


def labels(logits, y, mask=MASK):
    with lawful.plate("i", len(y)):
        z = lawful.sample("z", dist.Categorical(probs=shares(logits, mask)))
        lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)


def chain(logits, y, mask=MASK):
    """A hidden chain that can leave a state only for those with mass."""
    rows = jnp.stack([shares(logits + shift, mask) for shift in (0.0, 1.0, 2.0)])

    def step(z, y):
        z = lawful.sample("z", dist.Categorical(probs=rows[z]))
        lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
        return z, None

    lawful.scan(step, 0, y)


def counts(logits, y, mask=MASK):
    """A class of probability 0 of a multinomial, and a switch that is off."""
    z = lawful.sample("z", dist.Categorical(probs=shares(logits, mask)))
    lawful.sample("switch", dist.Bernoulli(probs=1.0 - mask[z]), obs=0)
    lawful.sample("m", dist.Multinomial(3, probs=shares(logits + z, mask)), obs=jnp.array([2, 0, 1]))


def without(program, logits, y):
    """Log evidence by the states with mass alone, by hand."""
    kept, p = np.array([0, 2]), jax.nn.softmax(logits[np.array([0, 2])])
    if program is labels:
        terms = jnp.log(p) + dist.Normal(1.0 * kept, 1.0).log_prob(y[:, None])
        return jnp.sum(jax.nn.logsumexp(terms, axis=1))
    if program is chain:
        row, total = p, 0.0
        for value in y:
            row = row * jnp.exp(dist.Normal(1.0 * kept, 1.0).log_prob(value))
            total, row = total + jnp.log(row.sum()), row / row.sum()
            row = row[0] * p + row[1] * p  # shifts of all logits by one number change nothing
        return total
    terms = jnp.log(p) + 2 * jnp.log(p[0]) + jnp.log(p[1]) + jnp.log(3.0)
    return jax.nn.logsumexp(terms)


def by_messages(program, way):
    return lambda logits: inference.bp(program, method=way).beliefs(logits, Y).log_evidence


def by_sum(program, sums):
    run = emit(sums(lawful.trace(program, LOGITS, Y)))
    return lambda logits: run(jax.random.key(0), logits, Y)[1]


WAYS = {
    "exact": (lambda program: by_messages(program, "exact"), 1e-12),
    "loopy": (lambda program: by_messages(program, "loopy"), 1e-8),
    "summed": (lambda program: by_sum(program, inference.marginalise(method="program")), 1e-12),
    "marginalised": (lambda program: by_sum(program, inference.marginalise(method="graph")), 1e-12),
}
FAST = [(labels, "summed"), (chain, "summed")]
CASES = [(program, way) for program in (labels, chain, counts) for way in WAYS]


@pytest.mark.parametrize(
    ("program", "way"), [pytest.param(*case, marks=() if case in FAST else pytest.mark.slow) for case in CASES]
)
def test_the_gradient_is_that_of_the_states_with_mass(program, way):
    made, tolerance = WAYS[way]
    value, gradient = jax.jit(jax.value_and_grad(made(program)))(LOGITS)
    truth, slope = jax.jit(jax.value_and_grad(lambda logits: without(program, logits, Y)))(LOGITS)
    assert value == pytest.approx(float(truth), rel=tolerance)
    np.testing.assert_allclose(gradient, slope, atol=tolerance)


@pytest.mark.slow
def test_chains_along_gradients_start_where_a_share_is_masked():
    def program(y):
        share = lawful.sample("share", dist.Dirichlet(jnp.ones(3))) * MASK
        with lawful.plate("i", len(y)):
            z = lawful.sample("z", dist.Categorical(probs=share / jnp.sum(share)))
            lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)

    result = inference.mcmc(program, kernels.nuts(), enumerate=["z"], chains=2, warmup=10, draws=10)(0, Y)
    assert np.isfinite(result.posterior["share"]).all() and not (result.posterior["z"] == 1).any()
    assert len(np.unique(result.posterior["share"])) > 20


def score(distribution, value):
    law, parameters = law_of(distribution)
    return law.log_prob(jnp.asarray(value), *parameters)


def test_a_flat_law_of_shares_counts_nothing_on_its_border():
    for concentration in (jnp.ones(3), jnp.array([1.0, 2.0, 3.0])):
        inside, border = jnp.array([1e-300, 0.4, 0.6]), jnp.array([0.0, 0.4, 0.6])
        assert score(dist.Dirichlet(concentration), border) == pytest.approx(
            float(score(dist.Dirichlet(concentration), inside)), rel=1e-12
        )
        by_value = jax.grad(lambda x, a=concentration: score(dist.Dirichlet(a), x))(border)
        np.testing.assert_allclose(by_value, [0.0, *((concentration - 1) / inside)[1:]], rtol=1e-12)
        by_law = jax.grad(lambda a: score(dist.Dirichlet(a), inside))(concentration)
        truth = jax.grad(lambda a: dist.Dirichlet(a).log_prob(inside))(concentration)
        np.testing.assert_allclose(by_law, truth, rtol=1e-12)


IMPOSSIBLE = [
    (lambda p: dist.Categorical(jnp.stack([p, 1.0 - p])), 0, 0.0),
    (lambda p: dist.Bernoulli(p), 1, 0.0),
    (lambda p: dist.Multinomial(2, jnp.stack([p, 1.0 - p])), jnp.array([1, 1]), 0.0),
    (lambda p: dist.Multinomial(2, jnp.stack([p, 1.0 - p])), jnp.array([0, 2]), -1.0),  # possible: log((1 - p)^2 + 1)
    (lambda p: dist.Poisson(p), 2, 0.0),
    (lambda p: dist.Poisson(p), 0, -0.5),  # possible: log(exp(-p) + 1)
]


@pytest.mark.parametrize(("distribution", "value", "slope"), IMPOSSIBLE)
def test_a_term_without_mass_has_derivative_zero_beside_others(distribution, value, slope):
    def beside(p):
        return jnp.logaddexp(score(distribution(p), value), 0.0)

    assert jax.grad(beside)(0.0) == pytest.approx(slope, abs=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("distribution", "value"), [
    (lambda a: dist.Multinomial(4, a / jnp.sum(a)), jnp.array([3, 0, 1])),
    (lambda a: dist.Dirichlet(a), jnp.array([0.2, 0.3, 0.5])),
    (lambda a: dist.Dirichlet(a).expand([2]).to_event(1), jnp.array([[0.2, 0.3, 0.5], [0.5, 0.4, 0.1]])),
    (lambda a: dist.Multinomial(4, a / jnp.sum(a)).expand([2]), jnp.array([[3, 0, 1], [0, 0, 4]])),
    (lambda a: dist.Categorical(a / jnp.sum(a)), jnp.array(2)),
    (lambda a: dist.Bernoulli(a / 4.0), jnp.array([1, 0, 1])),
    (lambda a: dist.Poisson(a), jnp.array([3, 0, 1])),
])  # fmt: skip
def test_inside_their_support_laws_and_derivatives_are_those_of_numpyro(distribution, value):
    a, step = jnp.array([0.7, 1.0, 2.5]), jnp.array([1.0, -2.0, 0.5])
    own, theirs = (lambda a: score(distribution(a), value)), (lambda a: jnp.sum(distribution(a).log_prob(value)))
    assert float(own(a)) == pytest.approx(float(theirs(a)), rel=1e-12)
    np.testing.assert_allclose(jax.grad(own)(a), jax.grad(theirs)(a), rtol=1e-10)
    second, truth = (jax.jvp(jax.grad(f), (a,), (step,))[1] for f in (own, theirs))
    np.testing.assert_allclose(second, truth, rtol=1e-9, atol=1e-9)
