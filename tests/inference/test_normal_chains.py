"""Normals in loops: the integral, its gradient and what is drawn back are those of dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal

import lawful
from lawful import inference
from lawful.backends.xla import emit
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


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_two_hundred_random_programs_are_those_of_dense_algebra(first):
    for seed in range(first, first + 20):
        check(seed)
