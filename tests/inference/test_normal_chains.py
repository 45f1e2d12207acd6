"""Normals in loops: the integral, its gradient and what is drawn back are those of dense algebra."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal

import lawful
from benchmarks.workloads import linear, linear_answers
from lawful import inference
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.choices import choices_of
from lawful.inference import integrate_normals
from lawful.inference.transformers.gaussian.alike_steps import weights_alike
from lawful.inference.transformers.gaussian.groups import Joint
from lawful.models.state_space import LinearGaussian, linear_gaussian
from lawful.passes.condition import conditioned
from tests.inference.linear_programs import alike_kind, arrays_of, dense, program_of, random_kind


def check(kind, seed, draws):
    """Compare a kind of program with dense algebra, at several draws of its arrays."""
    program, cases = program_of(kind), [arrays_of(kind, 1000 * seed + k) for k in range(draws)]
    form = lawful.trace(program, cases[0])
    marginal, collapsed = inference.enumeration(form, integrate_normals()).marginal, integrate_normals()(form)
    assert not choices_of(marginal)
    run = emit(conditioned(collapsed, [c.address for c in choices_of(collapsed)], ()).form)
    zeros = [jnp.zeros(c.shape) for c in choices_of(collapsed)]

    def drawn(at, *noise):
        return jnp.concatenate([jnp.ravel(x) for x in run(jax.random.key(0), *jax.tree.leaves(at), *noise)[0]])

    @jax.jit
    def found_at(at):
        moving = {name: at[name] for name in at if name != "seen"}
        value = jax.value_and_grad(lambda moving: marginal.log_density({}, {**at, **moving}))(moving)
        root = jnp.concatenate(jax.jacfwd(drawn, argnums=tuple(range(1, 1 + len(zeros))))(at, *zeros), -1)
        return *value, drawn(at, *zeros), root @ root.T

    @jax.jit
    def exact_at(at):
        moving = {name: at[name] for name in at if name != "seen"}
        value = jax.value_and_grad(lambda moving: dense(kind, {**at, **moving})[0])(moving)
        return *value, *dense(kind, at)[1:]

    for at in cases:
        (value, slopes, mean, covariance), exact = found_at(at), exact_at(at)
        assert float(value) == pytest.approx(float(exact[0]), rel=1e-10, abs=1e-10), kind
        for name, slope in exact[1].items():
            scale = max(1.0, float(jnp.max(jnp.abs(slope))))
            np.testing.assert_allclose(slopes[name], slope, rtol=0, atol=1e-10 * scale, err_msg=f"{name} {kind}")
        np.testing.assert_allclose(mean, exact[2], rtol=0, atol=1e-10, err_msg=str(kind))
        np.testing.assert_allclose(covariance, exact[3], rtol=0, atol=1e-10, err_msg=str(kind))
        check_moments(kind, program, at, exact_at)


def check_moments(kind, program, at, exact_at):
    """Compare the smoother with dense algebra, and the filter with it on the data up to each step."""
    found = inference.smoothed(program, at)
    evidence, _, mean, covariance = exact_at(at)
    assert float(found.log_evidence) == pytest.approx(float(evidence), rel=1e-10, abs=1e-10)
    compare(found, kind, range(kind.steps), mean, covariance)
    if kind.shared:
        with pytest.raises(UnsupportedProgramError, match="filtered: all steps read .* Fix: carry the site in"):
            inference.filtered(program, at)
        return
    found = inference.filtered(program, at)
    for t in range(kind.steps):
        past = np.arange(kind.steps) >= t if kind.backwards else np.arange(kind.steps) <= t
        _, _, mean, covariance = exact_at({**at, "seen": at["seen"] & past[:, None]})
        compare(found, kind, [t], mean, covariance)


def compare(found, kind, steps, mean, covariance):
    n = kind.n
    for t in steps:
        own = slice(t * n, (t + 1) * n)
        np.testing.assert_allclose(found.mean["x"][t], mean[own], rtol=0, atol=1e-10, err_msg=str(kind))
        np.testing.assert_allclose(
            found.covariance["x"][t], covariance[own, own], rtol=0, atol=1e-10, err_msg=str(kind)
        )


@pytest.mark.parametrize("seed", [4, pytest.param(9, marks=pytest.mark.slow)])
def test_evidence_gradient_and_posterior_are_those_of_dense_algebra(seed):
    check(random_kind(seed), seed, draws=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 12))
def test_alike_steps_have_the_integral_of_dense_algebra(seed):
    check(alike_kind(seed), seed, draws=2)


@pytest.mark.parametrize("seed", range(1, 4))
def test_alike_steps_are_taken_from_one(seed):
    assert alike(alike_kind(seed), seed)


@pytest.mark.rest_slow
@pytest.mark.parametrize("kind", ["varying", "missing", "regimes", "after", "shared"])
def test_steps_that_differ_are_not_alike(kind):
    """A matrix, a mask or a regime of its own, data after the loop, or a coefficient that all share."""
    assert not alike(replace(alike_kind(1), alike=False, **{kind: True}), 1)


def alike(kind, seed):
    form = lawful.trace(program_of(kind), arrays_of(kind, seed))
    chain = Joint.of(form, choices_of(form)).chain
    return chain is not None and weights_alike(chain) is not None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, pytest.param(9, marks=pytest.mark.slow)])
def test_second_derivatives_are_those_of_dense_algebra(seed):
    kind = random_kind(seed)
    at = arrays_of(kind, seed)
    marginal = inference.enumeration(lawful.trace(program_of(kind), at), integrate_normals()).marginal
    moving = {name: at[name] for name in ("noise", "first", "root")}
    found = jax.jit(jax.hessian(lambda moving: marginal.log_density({}, {**at, **moving})))(moving)
    exact = jax.jit(jax.hessian(lambda moving: dense(kind, {**at, **moving})[0]))(moving)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * max(1.0, float(jnp.max(jnp.abs(other)))))


@pytest.mark.slow
@pytest.mark.kills("42g")
def test_a_long_chain_has_the_moments_and_the_gradient_of_the_recursions_in_covariances():
    """What is not symmetric in a covariance must not grow along the steps; 600 of them show it."""
    system, exact = linear(600), linear_answers(600)
    covariances = {"transition_cov": system.root @ system.root.T, "emission_cov": np.diag(system.noise**2)}
    space = {"emission": system.emission, "mean": np.zeros(4), "cov": np.eye(4), **covariances}

    args = LinearGaussian(transition=system.transition, **space), system.observed
    marginal = inference.enumeration(lawful.trace(linear_gaussian, *args), integrate_normals()).marginal
    value, gradient = jax.jit(jax.value_and_grad(lambda model: marginal.log_density({}, model, args[1])))(args[0])
    moments = inference.smoothed(linear_gaussian, *args)
    assert float(value) == pytest.approx(exact["log_likelihood"], rel=0, abs=1e-9)
    scale = np.abs(exact["gradient"]).max()
    np.testing.assert_allclose(gradient.transition, exact["gradient"], rtol=0, atol=1e-9 * scale)
    mean, covariance = exact["smoother"]
    np.testing.assert_allclose(moments.mean["x"], mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(moments.covariance["x"], covariance, rtol=0, atol=1e-10)


def panel(y):
    with lawful.plate("series", 3):
        first = lawful.sample("first", dist.Normal(0.0, 2.0))

    def step(level, y):
        with lawful.plate("series", 3):
            level = lawful.sample("level", dist.Normal(0.9 * level, 0.5))
            lawful.sample("y", dist.Normal(level, 1.0), obs=y)
        return level, None

    lawful.scan(step, first, y)


@pytest.mark.slow
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
@pytest.mark.parametrize("seed", range(25))
def test_two_hundred_random_programs_are_those_of_dense_algebra(seed):
    check(random_kind(seed), seed, draws=8)
