"""Small checks: claims that need a few lines, each as a Report; what they call is looked up when they run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.stats import binomtest

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.distributions import batched as lanes
from lawful.distributions.law import law_of
from lawful.inference import kernels
from lawful.inference.check import (
    ALPHA,
    Report,
    coordinates,
    geweke,
    integrator,
    invariant,
    key_of,
    orbit,
    sbc,
    unbiased,
)
from lawful.inference.laws import systematic_resampling as strata
from lawful.inference.transformers import resample as weights
from lawful.inference.transformers import temperatures as ladders
from tests.inference.kernels import test_incremental

WALK = kernels.mh(kernels.random_walk(0.7))
HAMILTONIAN = kernels.hmc(0.3, 3)  # one object, so that 200 seeds compile it once


def positive(y):
    """A positive scale."""
    scale = lawful.sample("scale", dist.Gamma(2.0, 1.0))
    lawful.sample("y", dist.Normal(0.0, scale), obs=y)


def simplex(y):
    """Two parts of a whole: the bound of the second depends on the first."""
    a = lawful.sample("a", dist.Uniform(0.0, 1.0))
    b = lawful.sample("b", dist.Uniform(0.0, 1.0 - a))
    lawful.sample("y", dist.Normal(a - b, 1.0), obs=y)


def coin(y):
    """A coin that is seen through noise."""
    x = lawful.sample("x", dist.Bernoulli(0.3))
    lawful.sample("y", dist.Normal(2.0 * x, 1.0), obs=y)


def told(law: str, level: str, error: float, tolerance: float) -> Report:
    """Make a report of an identity."""
    status = "passed" if error <= tolerance else "failed"
    return Report(status=status, law=law, level=level, measure_error=float(error), instances=1)


def walk_keeps_exact_draws(fresh: int | None = None) -> Report:
    """Tier 1: a random walk on a bounded site."""
    key = key_of("mutants/walk", fresh)
    return invariant(WALK, positive, jnp.array(0.3), n=4_000, steps=(1, 5), key=key)


def hamiltonian_moves_keep_exact_draws(fresh: int | None = None) -> Report:
    """Tier 1: Hamiltonian moves of a bounded site."""
    key = key_of("mutants/hmc", fresh)
    return invariant(HAMILTONIAN, positive, jnp.array(0.3), n=4_000, steps=(1, 5), key=key)


def leapfrogs_lead_back() -> Report:
    """Tier 0b: reversibility, volume and order of the integrator on two parts of a whole."""
    return integrator(simplex, 0.3, points=3)


def points_of_orbits_have_their_weights() -> Report:
    """Tier 0: the choice of a point of the no-U-turn sampler on random finite orbits."""
    return orbit(kernels.nuts(0.1, max_depth=2), tables=9)


def jacobian_of_dependent_bounds() -> Report:
    """Tier 0b: the exported density of two parts of a whole."""
    return coordinates(simplex, 0.3)


def ess_is_its_definition() -> Report:
    """Tier 0b: the effective sample size that populations report, at random, equal and one-hot weights."""
    rng = np.random.default_rng(0)
    cases = [rng.normal(size=20), np.zeros(20), np.where(np.arange(20) == 3, 0.0, -np.inf)]
    errors = []
    for case in cases:
        w = np.exp(case)
        errors.append(abs(float(weights.mean_weights(jnp.asarray(case))[3]) - w.sum() ** 2 / np.sum(w**2)))
    return told("ESS = (sum w)^2 / sum w^2", "identities", max(errors), 1e-9)


def ladder_solves_its_equation() -> Report:
    """Tier 0b: the next temperature on a likelihood like a Gamma density leaves half of the effective sample size."""
    slope = -30.0 * jax.random.gamma(key_of("ladder"), 2.0, (1_000,))
    rung = ladders.by_ess(0.5).rung(
        [jnp.array(50)], 1, jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.zeros(1_000), slope
    )
    w = np.exp(float(rung.increase) * np.asarray(slope))
    return told("ESS after the step = N / 2", "identities", abs(w.sum() ** 2 / np.sum(w**2) / 1_000 - 0.5), 1e-5)


def equal_weights_give_the_identity() -> Report:
    """Tier 0b: systematic resampling of ten million equal weights in single precision, at both ends of the uniform."""
    n, wrong = 10_000_000, 0
    push = jax.jit(lambda u, weights: strata.push_systematic(u, weights, n))
    for u in (0.0, 1 - 2.0**-24):
        wrong += int(jnp.sum(push(jnp.float32(u), jnp.ones(n, jnp.float32)) != jnp.arange(n)))
    return told("each particle has one offspring", "identities", wrong, 0)


def chains_are_independent() -> Report:
    """Tier 0b: no two of many chains are alike."""
    draws = inference.mcmc(positive, WALK, chains=16, warmup=5, draws=5)(key_of("alike"), 0.3).posterior["scale"]
    return told("chains differ", "identities", 16 - len(np.unique(np.asarray(draws), axis=0)), 0)


def edits_are_score_differences() -> Report:
    """Tier 0b: what single-site moves add to the log density of a program with branches in branches."""
    _, _, states, scores, accepted = test_incremental.run.__wrapped__(test_incremental.nested)
    gap = np.abs(np.diff(states[-1], axis=0) - np.diff(scores, axis=0))[accepted]
    return told(f"{accepted.sum()} edits: weight = difference of two scores", "identities", gap.max(), 1e-10)


def lanes_are_independent() -> Report:
    """Tier 0b: a site under `jax.vmap` whose parameters are not mapped."""
    form = lawful.trace(lambda: jax.vmap(lambda i: lawful.sample("x", dist.Normal(0.0, 1.0)) + 0 * i)(jnp.arange(12)))
    (drawn,), _ = emit(form)(key_of("lanes"))
    return told("lanes differ", "identities", 12 - len(np.unique(np.asarray(drawn))), 0)


def rare_items_get_their_share(fresh: int | None = None) -> Report:
    """Tier 2: 2,000 draws of a site whose tail of 10^6 items has the probability 0.1, in single precision."""
    logits = jnp.full(1_000_001, np.log(1e-7), jnp.float32).at[0].set(np.float32(np.log(0.9)))
    law, parameters = law_of(dist.Categorical(logits=logits))
    keys = jax.random.split(key_of("mutants/rare items", fresh), 40)
    draw = jax.jit(lambda key, logits: lanes.draw_lanes(law, key, (50,), [logits], [(False,)]))
    hits = sum(int(np.sum(np.asarray(draw(key, *parameters)) > 0)) for key in keys)
    p = binomtest(hits, 50 * len(keys), 0.1).pvalue
    return Report(
        status="failed" if p <= ALPHA else "passed", law="the tail has its mass", level="statistical",
        bound="finite-sample", p_value=float(p), n_used=50 * len(keys), alpha_spent=ALPHA,
    )  # fmt: skip


def choices_and_data_keep_their_law(fresh: int | None = None) -> Report:
    """Tier 3: choices and data in turn, by a random walk on a bounded site."""
    return geweke(positive, WALK, jnp.array(0.3), n=4_000, key=key_of("mutants/geweke", fresh))


def walk(y):
    """A latent walk seen with noise."""

    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


SERIES = np.array([0.5, -0.3, 1.2, 2.0])


@functools.cache
def filters():
    """Many particle filters side by side: log evidence for each key."""
    run = emit(inference.smc(walk, particles=30, keep="last").form(SERIES))
    return jax.jit(jax.vmap(lambda key: run(key, SERIES)[1]))


def evidence_of_a_filter_is_unbiased(fresh: int | None = None) -> Report:
    """Tier 2: the evidence of a particle filter against that of the multivariate normal law of its data."""
    level = np.minimum.outer(np.arange(1, 5), np.arange(1, 5))
    truth = float(dist.MultivariateNormal(jnp.zeros(4), level + jnp.eye(4)).log_prob(SERIES))
    return unbiased(filters(), truth, n=4_000, key=key_of("mutants/filter", fresh))


def exact_posterior(program):
    """The posterior of a mean, N(y / 2, 1 / 2), by formula."""
    return lambda key, shape, y: {"mu": y / 2 + jax.random.normal(key, (19,)) / jnp.sqrt(2.0)}


def mean(y):
    """A mean that is seen once."""
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    lawful.sample("y", dist.Normal(mu, 1.0), obs=y)


def exact_draws_are_calibrated(fresh: int | None = None) -> Report:
    """Tier 3: calibration of draws from a posterior that is known."""
    key = key_of("mutants/calibration", fresh)
    return sbc(mean, exact_posterior, jnp.array(0.0), draws=19, bins=10, batched=True, key=key)


COINS = inference.mcmc(coin, kernels.mh(), chains=4_000, warmup=20, draws=20)


def chains_have_the_posterior(fresh: int | None = None) -> Report:
    """Tier 3: the share of heads in 4,000 chains; chains are independent, so it has a standard error."""
    heads = COINS(key_of("mutants/chains of a coin", fresh), 0.8).posterior["x"].mean(axis=1)
    odds = 0.3 * np.exp(-0.5 * 1.2**2) / (0.7 * np.exp(-0.5 * 0.8**2))
    z = (heads.mean() - odds / (1 + odds)) * np.sqrt(len(heads)) / heads.std()
    p = float(2 * (1 - dist.Normal(0.0, 1.0).cdf(abs(z))))
    return Report(
        status="failed" if p <= ALPHA else "passed", law="chains have the posterior", level="end_to_end",
        bound="normal", p_value=p, n_used=len(heads), alpha_spent=ALPHA,
    )  # fmt: skip
