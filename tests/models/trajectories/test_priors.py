"""The priors of section 9.1: densities by scipy, laws of draws, and no class that is told apart by its name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lawful
from lawful import handlers
from lawful.models.trajectories import (
    Bounds,
    Model,
    Priors,
    draw_parameters,
    log_likelihood_by_person,
    panel,
    parameters_of,
    sites_of,
)
from lawful.models.trajectories.posterior.bayes import Posed, posterior_program

from . import truth

KNOTS = Bounds(0.1, 0.9)
FULL = Model("BLS", 3, p_gate=1, p_growth=2)
# Half of the odds of a false alarm of this file are in each of its tests of laws: 1e-6 for all its p-values.
ALPHA = 1e-8


def drawn(model, seed=0, priors=Priors()):
    """Values of the sites of one draw."""
    program = handlers.seed(draw_parameters, jax.random.key(seed))
    run = jax.jit(lambda: {a[-1]: v for a, v in handlers.trace(program)(model, priors, KNOTS).choices.items()})
    return jax.tree.map(np.asarray, run())


def many(model, count=4000):
    """Parameters of many draws."""
    run = jax.jit(jax.vmap(lambda key: handlers.seed(draw_parameters, key)(model, Priors(), KNOTS)))
    return run(jax.random.split(jax.random.key(1), count))


def lkj(root, eta):
    """Log density of the Cholesky factor of correlations, as Lewandowski, Kurowicka and Joe (2009) have it."""
    d = len(root)
    weight = sum((d - i + 2 * eta - 2) * np.log(root[i - 1, i - 1]) for i in range(2, d + 1))
    # The normalising constant by the onion method: row i + 1 has a squared length that is Beta(i / 2, b_i).
    log_c = 0.0
    for i in range(1, d):
        b = eta + 0.5 * (d - 1 - i)
        log_c += 0.5 * i * np.log(np.pi) + _lg(b) - _lg(b + 0.5 * i)
    return weight - log_c


def _lg(x):
    from scipy.special import gammaln

    return gammaln(x)


@pytest.mark.slow
def test_density_of_the_prior_is_that_of_scipy():
    own = Priors(*(0.5 * value for value in Priors()))._replace(concentration=2.0)
    at, k = drawn(FULL, priors=own), 3
    spread = np.array([own.level_spread, own.slope_spread, own.slope_spread])
    basis = np.linalg.svd(np.ones((1, k)))[2][1:]  # orthonormal contrasts
    known = {
        "gate": stats.norm.logpdf(at["gate"] @ basis.T, 0, own.gate).sum(),
        "mean": stats.norm.logpdf(at["mean"], 0, [own.level, own.slope, own.slope]).sum(),
        "place": stats.beta.logpdf(at["place"], own.knot, own.knot).sum(),
        "spread": stats.halfnorm.logpdf(at["spread"], 0, spread).sum(),
        "noise": stats.halfnorm.logpdf(at["noise"], 0, own.noise).sum(),
        "root": sum(lkj(root, own.concentration) for root in at["root"]),
        "effect": stats.norm.logpdf(at["effect"], 0, own.effect * spread[:, None]).sum(),
        "x_mean": stats.norm.logpdf(at["x_mean"], 0, own.x_mean).sum(),
        "x_spread": stats.halfnorm.logpdf(at["x_spread"], 0, own.x_spread).sum(),
        "x_root": sum(lkj(root, own.concentration) for root in at["x_root"]),
    }
    terms = jax.jit(lambda at: handlers.trace(handlers.replay(draw_parameters, at))(FULL, own, KNOTS).log_probs)(at)
    found = {address[-1]: float(value) for address, value in terms.items()}
    assert found == pytest.approx(known, rel=1e-10)


@pytest.mark.slow
def test_draws_have_the_laws_of_the_table():
    at = jax.tree.map(np.asarray, many(FULL))
    root = at.chol / np.linalg.norm(at.chol, axis=-1, keepdims=True)
    correlations = root @ np.swapaxes(root, -1, -2)
    spread = np.linalg.norm(at.chol, axis=-1)
    laws = {
        "level": (at.mean[:, 0, 0], stats.norm(0, 1.5)),
        "slope": (at.mean[:, 1, 2], stats.norm(0, 4)),
        "knot": ((at.shape[:, 2, 0] - 0.1) / 0.8, stats.beta(2, 2)),
        "level between persons": (spread[:, 0, 0], stats.halfnorm(0, 1)),
        "slope between persons": (spread[:, 1, 1], stats.halfnorm(0, 2)),
        # The marginal of a correlation of d under LKJ(eta) is Beta(eta - 1 + d / 2) on (-1, 1).
        "correlation": ((1 + correlations[:, 1, 0, 2]) / 2, stats.beta(2.5, 2.5)),
        "residual": (np.sqrt(at.noise[:, 1]), stats.halfnorm(0, 0.5)),
        "effect on a level": (at.slope[:, 0, 0, 1], stats.norm(0, 0.5)),
        "effect on a slope": (at.slope[:, 0, 2, 1], stats.norm(0, 1.0)),
        "contrast of the gate": (at.gate[:, 0, 1] - at.gate[:, 2, 1], stats.norm(0, 2**0.5)),
        "covariate mean": (at.x_mean[:, 1, 0], stats.norm(0, 1)),
        "covariate spread": (np.linalg.norm(at.x_chol[:, 0], axis=-1)[:, 1], stats.halfnorm(0, 1)),
    }
    worst = {name: stats.kstest(values, law.cdf).pvalue for name, (values, law) in laws.items()}
    assert min(worst.values()) > ALPHA, worst
    wrong = stats.kstest(laws["level"][0], stats.norm(0, 1.0).cdf).pvalue  # the test has power
    assert wrong < ALPHA


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [FULL, Model("JB", 2, p_growth=1, intrinsic=True), Model("EXP", 1, joint=False)], ids=str
)
def test_sites_and_parameters_are_one_another_s_inverse(model):
    sites = drawn(model, 2)
    there = jax.jit(lambda sites: parameters_of(sites, model, KNOTS))
    at = there({name: jnp.asarray(value) for name, value in sites.items()})
    again = there(jax.jit(lambda at: sites_of(at, model, KNOTS))(at))
    squared = at._replace(chol=at.chol @ jnp.swapaxes(at.chol, 1, 2))
    for one, two in zip(jax.tree.leaves(squared), jax.tree.leaves(again), strict=True):
        two = two @ jnp.swapaxes(two, 1, 2) if two.shape == at.chol.shape and one is not at.slope else two
        np.testing.assert_allclose(one, two, rtol=0.05, atol=0.02)  # edges are moved inside by a hundredth


@pytest.mark.slow
def test_posterior_density_is_prior_times_likelihood_and_the_same_under_every_naming_of_the_classes():
    """The law behind all summaries: classes are exchangeable in the prior, the gate included, and in the likelihood."""
    arrays, seen, _ = truth.case(FULL, n=5)
    del arrays
    at = Posed(Priors(), seen, KNOTS, 0.01)
    sites = drawn(FULL, 3)
    program = posterior_program(FULL)
    order = np.array([2, 0, 1])
    moved = {name: value[:, order] if name == "gate" else value[order] for name, value in sites.items()}
    density = jax.jit(lambda values: handlers.log_density(program, values)(at))
    one, two = (float(density(values)) for values in (sites, moved))
    assert one == pytest.approx(two, rel=1e-12) and np.isfinite(one)
    terms = handlers.trace(handlers.replay(draw_parameters, sites))
    prior = sum(float(term) for term in jax.jit(lambda: terms(FULL, at.priors, KNOTS).log_probs)().values())
    wide = jax.tree.map(lambda leaf: leaf[..., None], parameters_of(jax.tree.map(jnp.asarray, sites), FULL, KNOTS))
    assert one == pytest.approx(prior + float(log_likelihood_by_person(wide, seen, FULL, 0.01).sum()), rel=1e-12)
    raised = sites | {"noise": sites["noise"][order]}  # a renaming of some sites alone is another point
    assert abs(float(density(raised)) - one) > 1e-3


def test_scales_are_arguments_of_one_compiled_program():
    model, seen = Model("LIN", 2), panel(np.zeros((3, 2)), [0.0, 1.0])
    program = posterior_program(model)
    as_arrays = lambda priors: jax.tree.map(jnp.asarray, priors)
    forms = [
        lawful.trace(program, Posed(as_arrays(priors), seen, Bounds(*map(jnp.asarray, KNOTS)), jnp.zeros(())))
        for priors in (Priors(), Priors(level=3.0))
    ]
    assert forms[0] is forms[1]
