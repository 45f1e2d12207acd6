"""Normals in loops: the integral, its gradient and what is drawn back are those of dense algebra."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.choices import choices_of
from lawful.inference import integrate_normals
from lawful.inference.transformers.gaussian.groups import Joint
from lawful.passes.condition import conditioned
from tests.inference.linear_programs import dense, program_of, random_case


def check(seed):
    kind, at = random_case(seed)
    form = lawful.trace(program_of(kind), at)
    marginal = inference.enumeration(form, integrate_normals()).marginal
    assert not choices_of(marginal)
    moving = {name: at[name] for name in at if name != "seen"}
    value = jax.value_and_grad(lambda moving: marginal.log_density({}, {**at, **moving}))
    truth = jax.value_and_grad(lambda moving: dense(kind, {**at, **moving})[0])
    (found, slopes), (exact, exact_slopes) = jax.jit(value)(moving), truth(moving)
    assert float(found) == pytest.approx(float(exact), rel=1e-10, abs=1e-10), kind
    for name, slope in exact_slopes.items():
        scale = max(1.0, float(jnp.max(jnp.abs(slope))))
        np.testing.assert_allclose(slopes[name], slope, rtol=0, atol=1e-10 * scale, err_msg=f"{name} {kind}")
    collapsed = integrate_normals()(form)
    noise = [c.address for c in choices_of(collapsed)]
    run = emit(conditioned(collapsed, noise, ()).form)
    leaves = jax.tree.leaves(at)

    def drawn(*noise):
        return jnp.concatenate([jnp.ravel(x) for x in run(jax.random.key(0), *leaves, *noise)[0]])

    zeros = [jnp.zeros(c.shape) for c in choices_of(collapsed)]
    _, mean, covariance = dense(kind, at)
    root = jnp.concatenate(jax.jacfwd(drawn, argnums=tuple(range(len(zeros))))(*zeros), -1)
    np.testing.assert_allclose(drawn(*zeros), mean, rtol=0, atol=1e-10, err_msg=str(kind))
    np.testing.assert_allclose(root @ root.T, covariance, rtol=0, atol=1e-10, err_msg=str(kind))
    check_moments(kind, at)


def check_moments(kind, at):
    """Compare the smoother with dense algebra, and the filter with it on the data up to each step."""
    program, steps = program_of(kind), kind.steps
    found = inference.smoothed(program, at)
    evidence, mean, covariance = dense(kind, at)
    assert float(found.log_evidence) == pytest.approx(float(evidence), rel=1e-10, abs=1e-10)
    compare(found, kind, range(steps), mean, covariance)
    if kind.shared:
        with pytest.raises(
            UnsupportedProgramError, match="filtered: all steps read .* Fix: carry the site in the state"
        ):
            inference.filtered(program, at)
        return
    found = inference.filtered(program, at)
    for t in range(steps):
        past = np.arange(steps) >= t if kind.backwards else np.arange(steps) <= t
        _, mean, covariance = dense(kind, {**at, "seen": at["seen"] & past[:, None]})
        compare(found, kind, [t], mean, covariance)


def compare(found, kind, steps, mean, covariance):
    n = kind.n
    for t in steps:
        own = slice(t * n, (t + 1) * n)
        np.testing.assert_allclose(found.mean["x"][t], mean[own], rtol=0, atol=1e-10, err_msg=str(kind))
        np.testing.assert_allclose(
            found.covariance["x"][t], covariance[own, own], rtol=0, atol=1e-10, err_msg=str(kind)
        )


@pytest.mark.parametrize("seed", [4, 9])
def test_evidence_gradient_and_posterior_are_those_of_dense_algebra(seed):
    check(seed)


def panel(y):
    with lawful.plate("series", 3):
        first = lawful.sample("first", dist.Normal(0.0, 2.0))

    def step(level, y):
        with lawful.plate("series", 3):
            level = lawful.sample("level", dist.Normal(0.9 * level, 0.5))
            lawful.sample("y", dist.Normal(level, 1.0), obs=y)
        return level, None

    lawful.scan(step, first, y)


@pytest.mark.kills("42e")
@pytest.mark.kills("42f")
def test_series_side_by_side_are_integrated_lane_by_lane():
    y = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)))
    form = lawful.trace(panel, y)
    joint = Joint.of(form, choices_of(form))
    assert joint.chain is not None and joint.chain.lanes == (3,) and joint.chain.sizes == (1, 1, 1)
    summed = inference.enumeration(form, integrate_normals())
    moves = np.tril(0.9 ** np.subtract.outer(np.arange(7), np.arange(7)).clip(0))
    states = moves @ np.diag([4.0, *[0.25] * 6]) @ moves.T
    covariance = states[1:, 1:] + np.eye(6)
    exact = multivariate_normal.logpdf(y.T, np.zeros(6), covariance).sum()
    assert float(summed.marginal.log_density({}, y)) == pytest.approx(exact, rel=1e-12)
    means = inference.conditional_means(summed, {}, y)
    smoothed = states[:, 1:] @ np.linalg.solve(covariance, y)
    np.testing.assert_allclose(means["first"], smoothed[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(means["level"], smoothed[1:], rtol=0, atol=1e-12)


def space(case):
    """A state-space model of the reference data as a program."""
    moves, noise, reads, errors, first, spread = (np.array(case["model"][k]) for k in ("A", "Q", "C", "R", "m0", "P0"))
    scale = np.sqrt(np.diagonal(errors))
    assert np.array_equal(errors, np.diag(np.diagonal(errors)))

    def program(y, seen):
        x = lawful.sample("first", dist.MultivariateNormal(first, spread))
        with lawful.mask(seen[0]):
            lawful.sample("y_first", dist.Normal(reads @ x, scale), obs=y[0])

        def step(x, row):
            y, seen = row
            x = lawful.sample("x", dist.MultivariateNormal(moves @ x, noise))
            with lawful.mask(seen):
                lawful.sample("y", dist.Normal(reads @ x, scale), obs=y)
            return x, None

        lawful.scan(step, x, (y[1:], seen[1:]))

    return program


@pytest.mark.reference
@pytest.mark.parametrize("name", ["lgssm_local_level", "lgssm_tracking_2d"])
def test_evidence_filter_and_smoother_are_those_of_the_reference(name, data):
    case = json.loads((data / "exact" / f"{name}.json").read_text())
    y = np.array([[np.nan if value is None else value for value in row] for row in case["data"]["y"]])
    seen, exact = ~np.isnan(y), case["exact"]
    for function, kind in ((inference.smoothed, "smoother"), (inference.filtered, "filter")):
        found = function(space(case), jnp.where(seen, y, 0.0), seen)
        assert float(found.log_evidence) == pytest.approx(exact["log_evidence"], rel=0, abs=1e-10)
        for part in ("mean", "cov"):
            of = found.mean if part == "mean" else found.covariance
            both = np.concatenate([of["first"][None], of["x"]])
            np.testing.assert_allclose(both, np.array(exact[f"{kind}_{part}"]), rtol=0, atol=1e-10)


def test_values_of_other_sites_are_given_and_what_is_no_chain_is_refused():
    def level(y):
        scale = lawful.sample("scale", dist.HalfNormal(1.0))

        def step(x, y):
            x = lawful.sample("x", dist.Normal(x, scale))
            lawful.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        lawful.scan(step, 0.0, y)

    y = jnp.array([1.0, 2.0])
    found = inference.smoothed(level, y, given={"scale": 1.0})
    np.testing.assert_allclose(found.mean["x"], [0.8, 1.4], rtol=1e-12)
    prior = float(dist.HalfNormal(1.0).log_prob(1.0))
    exact = multivariate_normal.logpdf(y, np.zeros(2), np.array([[2.0, 1.0], [1.0, 3.0]])) + prior
    assert float(found.log_evidence) == pytest.approx(exact, rel=1e-12)
    with pytest.raises(LawfulError, match="site 'scale' .* is not normal: its value must be given.*Fix: given="):
        inference.filtered(level, y)
    with pytest.raises(LawfulError, match="given: no site is called 'sacle'.*Fix: give some of 'scale', 'x'"):
        inference.filtered(level, y, given={"sacle": 1.0})
    with pytest.raises(UnsupportedProgramError, match="not seen to be the steps of a loop.*Fix: conditional_means"):
        inference.smoothed(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_two_hundred_random_programs_are_those_of_dense_algebra(first):
    for seed in range(first, first + 20):
        check(seed)
