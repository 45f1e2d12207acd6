"""Moves that are weighed: the measure stays, by whatever programs; perfect programs make weights equal."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Factor
from lawful.inference import kernels
from lawful.inference.check.rows.kernel_rows import nested

Y = 1.3
EXACT = float(dist.Normal(0.0, np.sqrt(2.0)).log_prob(Y))


def normal(y):
    lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)


def posterior(now, y):
    lawful.sample("x", dist.Normal(0.5 * y, jnp.sqrt(0.5)))


def prior(now, y):
    lawful.sample("x", dist.Normal(0.0, 1.0))


def near(now, y):
    lawful.sample("x", dist.Normal(0.4 * now["x"] + 0.3 * y, 0.8))


def alone(now):
    lawful.sample("x", dist.Normal(0.4 * now["x"], 0.8))


def weights(forward, backward, particles, key=0):
    """Log weights of the whole measure and values, after draws from the prior, weighed, and one move."""
    return weighing(forward, backward, particles)(key)


@functools.cache
def weighing(forward, backward, particles):
    population = inference.Trace >> inference.spawn(particles) >> inference.move(kernels.smcp3(forward, backward))
    return compiled(population >> inference.PushEvidence)


def compiled(transformer):
    form = lawful.trace(normal, Y)
    population = transformer(form)
    block, names = population.block, (population.values[population.source.recorded.own], population.log_weight)
    closed = block.form(population.inputs, names)
    run = jax.jit(lawful.backends.xla.emit(closed))

    def at(key):
        outputs, log_weight = run(jax.random.key(key), jnp.asarray(Y))
        return [np.asarray(x) for x in outputs], float(log_weight)

    return at


def test_programs_that_are_the_posterior_and_the_prior_make_every_weight_the_evidence():
    (x, log_weight), log_evidence = weights(posterior, prior, 50)
    np.testing.assert_allclose(log_weight, 0.0, atol=1e-12)
    assert log_evidence == pytest.approx(EXACT, abs=1e-12)
    assert np.ptp(x) > 1.0


@pytest.mark.parametrize("backward", [None, near, prior], ids=["itself", "near", "prior"])
def test_any_programs_keep_evidence_and_moments(backward):
    """100 000 independent particles: a bound of 6 standard errors is passed by a right sampler but once in 10^8."""
    (x, log_weight), log_evidence = weights(near, backward, 100_000)
    weight = np.exp(log_weight + log_evidence)
    for value, expected in ((1.0, 1.0), (x, 0.5 * Y), (x**2, 0.5 + 0.25 * Y**2)):
        terms = weight * value
        assert abs(terms.mean() - expected * np.exp(EXACT)) < 6 * terms.std() / np.sqrt(len(terms))


@pytest.mark.slow
def test_a_move_without_its_weight_is_found():
    def forth(now):
        lawful.sample("a", dist.Bernoulli(0.3 + 0.4 * now["a"]))

    def back(now):
        lawful.sample("a", dist.Bernoulli(0.8 - 0.4 * now["a"]))

    class Unweighed:
        contract = kernels.smcp3(forth).contract

        def build(self, program):
            built = kernels.smcp3(forth, back).build(program)
            nodes = tuple(node for node in built.step.nodes if not isinstance(node, Factor))
            return replace(built, step=replace(built.step, nodes=nodes))

    moves = lambda kernel: inference.Trace >> inference.spawn(1) >> inference.move(kernel)
    assert inference.check.preserves(moves(kernels.smcp3(forth, back)), nested).passed
    assert not inference.check.preserves(moves(Unweighed()), nested).passed


@pytest.mark.parametrize(
    ("use", "where"),
    [
        (lambda kernel: inference.mcmc(normal, kernel, chains=1, warmup=0, draws=2), "mcmc"),
        (lambda kernel: inference.mcmc(normal, kernels.repeat(kernel, 2), chains=1, warmup=0, draws=2), "repeat"),
        (lambda kernel: inference.mcmc(normal, kernels.cycle(kernel, kernels.mh()), chains=1, draws=2), "cycle"),
        (lambda kernel: inference.tempered_smc(normal, particles=10, kernel=kernel, steps=1), "tempered_smc"),
    ],
    ids=["mcmc", "repeat", "cycle", "tempered_smc"],
)
def test_where_nothing_has_a_weight_it_is_refused(use, where):
    with pytest.raises(UnsupportedProgramError, match=rf"{where}: an smcp3 move keeps the measure by weights"):
        use(kernels.smcp3(alone))(jax.random.key(0), Y)


def test_a_way_back_with_other_sites_is_refused():
    def other(now):
        lawful.sample("b", dist.Bernoulli(0.5))

    def one(now):
        lawful.sample("a", dist.Bernoulli(0.5))

    def two():
        lawful.sample("a", dist.Bernoulli(0.5))
        lawful.sample("b", dist.Bernoulli(0.5))

    with pytest.raises(LawfulError, match="it samples a, and its way back other samples b"):
        kernels.smcp3(one, other).build(lawful.trace(two))


def window(now):
    lawful.sample("x", dist.Uniform(now["x"] - 0.2, now["x"] + 0.2))


def narrow(now):
    lawful.sample("x", dist.Uniform(-1.0, 1.0))


def wide(now):
    lawful.sample("x", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(("forth", "back"), [(window, wide), (narrow, wide), (narrow, None)])
def test_a_move_that_does_not_reach_all_that_it_should_come_from_is_refused(forth, back):
    """Estimates would lack the mass of what is never reached: log Z is off by -2.19, -0.39, and -0.39."""
    with pytest.raises(
        LawfulError, match=r"'x': the move forth cannot reach all.*its support is \[.*site \[-inf, inf\]"
    ):
        weights(forth, back, 10)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("forth", "back"), [(window, None), (wide, window)])
def test_a_move_that_reaches_what_it_comes_from_is_not(forth, back):
    runs = [weights(forth, back, 400, key)[1] for key in range(16)]
    ratios = np.exp(np.array(runs) - EXACT)
    assert (
        abs(ratios.mean() - 1) < 6 * ratios.std(ddof=1) / 4
    )  # 6 standard errors: false alarm below 1e-4, of a t with 15
