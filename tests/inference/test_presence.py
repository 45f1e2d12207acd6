"""Kernels and particles leave what is absent where it is, and are what they are without it."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference, plate, sample, scan
from lawful.inference import kernels
from lawful.inference.representations.absent_elements import form_for
from lawful.inference.transformers.propose.propose import propose_each
from lawful.passes.fill_absent import unguarded
from tests.ppl.test_ragged import SEEN, Y, batch, evidence

KEY = jax.random.key(12)
PRESENT = np.array([[True, True, True], [True, False, False], [True, True, False]])
DATA = np.where(PRESENT, np.array([[0.5, 1.0, 2.0], [0.7, np.nan, np.nan], [1.5, 0.2, np.nan]]), np.nan)


def rates(y, present):
    """Rates that wander, one row a person."""

    def step(rate, y):
        with plate("person", 3):
            rate = sample("rate", dist.Gamma(2.0, 2.0 / rate))
            sample("y", dist.Exponential(rate), obs=y)
        return rate, rate

    return scan(step, jnp.ones(3), y.T, mask=present.T)[1]


FIXED = float(np.exp(0.5))
MOVES = {
    "random_walk": lambda: kernels.random_walk(0.5),
    "joint_walk": lambda: kernels.random_walk(0.5, covariance=0.5 * np.eye(9) + 0.5),
    "hmc": lambda: kernels.hmc(0.2, 3, inverse_mass=0.5 * np.eye(9) + 0.5),
    "nuts": lambda: kernels.nuts(0.3),
    "slice": lambda: kernels.slice(1.0),
    "single_site": kernels.single_site,
}


LONG = {"joint_walk", "hmc", "nuts", "slice", "single_site"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in MOVES])
def test_no_kernel_moves_what_is_absent(name):
    result = inference.mcmc(rates, MOVES[name](), chains=2, warmup=0, draws=12)(KEY, DATA, PRESENT)
    draws = np.asarray(result.posterior["rate"])
    assert (draws[..., ~PRESENT.T] == FIXED).all()
    moved = draws[..., PRESENT.T].reshape(-1, PRESENT.sum())
    assert all(len(np.unique(column)) > 1 for column in moved.T)


def test_the_acceptance_of_a_walk_is_that_of_the_elements_that_are_there():
    """From one start, 200 chains take one step: where it is accepted, its rate is the ratio of the two densities."""
    start = np.full((3, 3), FIXED)
    plan = inference.mcmc(rates, kernels.random_walk(0.3), chains=200, warmup=0, draws=1, init={"rate": start})
    result = plan(KEY, DATA, PRESENT)
    form = lawful.trace(rates, DATA, PRESENT)

    def score(value):
        there = jnp.where(PRESENT.T, jnp.log(value), 0.0)  # the Jacobian of log coordinates
        return form.log_density({"rate": value}, DATA, PRESENT) + there.sum()

    new = jnp.asarray(result.posterior["rate"])[:, 0]
    ratio = np.exp(jax.vmap(score)(new) - score(jnp.asarray(start)))
    moved, rate = np.asarray((new != start).any(axis=(1, 2))), np.asarray(result.stats["acceptance_rate"])[:, 0]
    assert 20 < moved.sum() < 180
    np.testing.assert_allclose(rate[moved], np.minimum(ratio[moved], 1.0), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [kernels.hmc(1.2, 3), kernels.nuts(1.2)], ids=["hmc", "nuts"])
def test_what_is_absent_costs_no_acceptance(kernel):
    """Two rows of 402 are missing: with momenta for all of them hardly a step of this length would be accepted."""

    def rows(y, seen):
        with plate("row", 402):
            z = sample("z", dist.Normal(0.0, 1.0), obs=y, obs_mask=seen)
        sample("w", dist.Normal(z.sum(), 10.0), obs=0.5)

    result = inference.mcmc(rows, kernel, chains=2, warmup=0, draws=50)(KEY, np.zeros(402), np.arange(402) >= 2)
    assert np.mean(result.stats["acceptance_rate"]) > 0.7


@pytest.mark.slow
def test_the_evidence_of_particles_is_that_of_the_persons():
    """400 runs against the exact sum: a difference of 6 standard errors has probability below 1e-8."""
    result = inference.smc(batch, particles=20, runs=400)(KEY, Y, SEEN)
    z = np.exp(np.asarray(result.log_evidence))
    assert abs(z.mean() - np.exp(evidence(batch, Y, SEEN))) < 6 * z.std() / np.sqrt(len(z))


def seen_by_choice(y):
    """A choice decides what was seen."""
    seen = sample("seen", dist.Bernoulli(0.5))
    with plate("row", 2):
        z = sample("z", dist.Normal(0.0, 1.0), obs=y, obs_mask=(seen == 1) & jnp.array([True, False]))
    sample("w", dist.Normal(z.sum(), 1.0), obs=0.5)


def test_what_choices_decide_about_has_its_law_in_chains():
    """Where a choice decides which elements are there, and where a kernel knows of none, each has its law."""
    y = np.array([0.1, 0.2])
    whole = unguarded(lawful.trace(seen_by_choice, y))
    for kernel in (kernels.single_site(), kernels.gibbs()):
        form = form_for(kernel, lawful.trace(seen_by_choice, y))
        values = {"seen": 1, ("z", "missing"): np.array([0.3, 0.4])}
        assert float(form.log_density(values, y)) == pytest.approx(float(whole.log_density(values, y)), rel=1e-12)
    rate = lawful.trace(rates, DATA, PRESENT)
    assert form_for(kernels.nuts(), rate) is rate
    assert form_for(kernels.gibbs(), rate) is not rate


@pytest.mark.slow
def test_proposals_of_what_is_absent_weigh_nothing_on_average():
    """Evidence of 4000 particles by guided draws against plain ones: 6 joint standard errors, below 1e-8."""

    def rule(address, prior):
        return dist.Gamma(1.5, 1.0).expand(prior.batch_shape) if address[0] == "rate" else None

    plans = [inference.importance(program, particles=1000, runs=4) for program in (rates, propose_each(rule)(rates))]
    one, other = (plan(KEY, DATA, PRESENT) for plan in plans)
    error = np.hypot(one.log_evidence_error, other.log_evidence_error)
    assert error < 0.2 and abs(one.log_evidence_pooled - other.log_evidence_pooled) < 6 * error
