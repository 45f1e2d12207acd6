"""Normal sites that meet are integrated out at once: written-out chains, lanes of persons, and what these share."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.form import Det, Factor, walk
from lawful.form.choices import choices_of
from lawful.form.operations.from_jaxpr import unfold
from lawful.inference import integrate_normals, marginalise, noncentred
from lawful.inference.summing.tables import PREFIX
from lawful.passes.condition import conditioned


def written_out(steps, lanes=()):
    """A chain of normal sites, one statement a step, as a function of what is measured of it."""

    def model(y):
        x = jnp.zeros(lanes)
        for t in range(steps):
            with plates(lanes):
                x = lawful.sample(f"x{t}", dist.Normal(0.9 * x, 1.0))
                lawful.sample(f"y{t}", dist.Normal(x, 0.5), obs=y[t])
        return x

    return model


def plates(lanes):
    return lawful.plate("lane", *lanes) if lanes else contextlib.nullcontext()


def covariance(steps):
    """Of the states of the chain, the long way."""
    back = np.linalg.inv(np.eye(steps) - 0.9 * np.eye(steps, k=-1))
    return back @ back.T


@pytest.mark.rest_slow
@pytest.mark.parametrize("how", [None, [f"x{t}" for t in range(16)], [[f"x{t}" for t in range(16)]]])
def test_a_chain_that_is_written_out_goes_at_once(how):
    y = np.random.default_rng(0).normal(size=16)
    summed = inference.enumeration(lawful.trace(written_out(16), y), integrate_normals(how))
    assert [n.address[:2] for n in walk(summed.marginal) if isinstance(n, Factor)] == [(PREFIX, "log integral")]
    found = float(jax.jit(lambda y: summed.marginal.log_density({}, y))(y))
    cov = covariance(16)
    assert found == pytest.approx(multivariate_normal.logpdf(y, np.zeros(16), cov + 0.25 * np.eye(16)), rel=1e-12)


def test_the_last_state_of_a_chain_is_drawn_back_from_its_conditional():
    y = np.random.default_rng(1).normal(size=5)
    full = inference.enumeration(lawful.trace(written_out(5), y), integrate_normals()).full
    (noise,) = (c.address for c in choices_of(full))
    run = emit(conditioned(full, [noise]).form)
    draw = jax.jit(lambda noise: run(jax.random.key(0), y, noise)[0][4])
    mean = draw(jnp.zeros(5))
    root = jax.vmap(draw)(jnp.eye(5)) - mean
    cov = covariance(5)
    gain = cov @ np.linalg.inv(cov + 0.25 * np.eye(5))
    np.testing.assert_allclose(mean, (gain @ y)[4], rtol=1e-11)
    np.testing.assert_allclose(root @ root, (cov - gain @ cov)[4, 4], rtol=1e-11)


@pytest.mark.rest_slow
@pytest.mark.parametrize("lanes", [(), (40,)], ids=["alone", "persons"])
def test_the_program_of_an_integral_grows_in_proportion_to_the_chain(lanes):
    """One site after the other it grew by a factor of five with every one."""

    def operations(steps):
        y = jnp.zeros((steps, *lanes))
        form = inference.enumeration(lawful.trace(written_out(steps, lanes), y), integrate_normals()).marginal
        return len(unfold(lambda y: form.log_density({}, y), y).nodes)

    counts = [operations(steps) for steps in (4, 8, 16)]
    assert counts[2] - counts[1] <= 2.2 * (counts[1] - counts[0])


def test_persons_go_in_lanes_and_what_they_share_at_once():
    def model(y):
        top = lawful.sample("top", dist.Normal(1.0, 3.0))
        with lawful.plate("school", 40):
            school = lawful.sample("school", dist.Normal(top, 2.0))
            with lawful.plate("person", 3):
                person = lawful.sample("person", dist.Normal(school, 1.0))
                lawful.sample("y", dist.Normal(person, 0.5), obs=y)

    y = np.random.default_rng(2).normal(size=(3, 40))
    form = integrate_normals()(lawful.trace(model, y))
    _, school = np.indices(y.shape).reshape(2, -1)
    cov = 9.0 + 4.0 * (school[:, None] == school) + 1.25 * np.eye(y.size)
    truth = multivariate_normal.logpdf(y.reshape(-1), np.ones(y.size), cov)
    assert float(jax.jit(lambda y: form.log_density({}, y))(y)) == pytest.approx(truth, rel=1e-12)
    (last,) = (n for n in walk(form) if isinstance(n, Det) and n.label == "log integral")
    assert last.outs[1].shape == (41,)  # the persons' integral stands within it


def test_effects_that_cross_keep_the_lanes_of_the_largest():
    rng = np.random.default_rng(3)
    sizes, y = (10, 11, 12, 13, 20), rng.normal(size=60)
    index = [rng.integers(0, size, size=60) for size in sizes]

    def model(y):
        mean = 0.0
        for k, size in enumerate(sizes):
            with lawful.plate(f"plate {k}", size):
                effect = lawful.sample(f"effect {k}", dist.Normal(0.0, 1.0 + k))
            mean = mean + effect[index[k]]
        lawful.sample("y", dist.Normal(mean, 1.0), obs=y)

    cov = np.eye(60) + sum((1.0 + k) ** 2 * (i[:, None] == i) for k, i in enumerate(index))
    found = float(integrate_normals()(lawful.trace(model, y)).log_density({}, y))
    assert found == pytest.approx(multivariate_normal.logpdf(y, np.zeros(60), cov), rel=1e-12)


def test_one_by_one_goes_what_does_not_go_together():
    """A mean that the lanes of a summed label share, and effects in these lanes: after the effects it is free of it."""

    def model(y):
        mean = lawful.sample("mean", dist.Normal(0.0, 2.0))
        lawful.factor("far", -0.5 * (mean - 1.0) ** 2)
        with lawful.plate("i", 3):
            z = lawful.sample("z", dist.Bernoulli(0.3))
            x = lawful.sample("x", dist.Normal(0.0, 1.0))
            lawful.sample("y", dist.Normal(x + 2.0 * z, 1.0), obs=y)

    y = np.array([0.3, -1.0, 2.0])
    how = noncentred(["x", "mean"]) >> marginalise() >> integrate_normals()
    found = float(how(lawful.trace(model, y)).log_density({}, y))
    rows = [np.log(w) + norm.logpdf(y, 2.0 * z, np.sqrt(2.0)) for z, w in enumerate((0.7, 0.3))]
    truth = np.logaddexp(*rows).sum() + norm.logpdf(1.0, 0.0, np.sqrt(5.0)) + 0.5 * np.log(2 * np.pi)
    assert found == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("count", [3, 40])
def test_persons_stay_apart_in_the_factor_graph_of_an_integral(count):
    """Labels of persons and one for all: a table for each person, whose matrices are its own."""

    def model(y):
        w = lawful.sample("w", dist.Bernoulli(0.4))
        with lawful.plate("i", count):
            z = lawful.sample("z", dist.Bernoulli(0.3))
            b = lawful.sample("b", dist.MultivariateNormal(jnp.stack([1.0 * z + w, 0.5 * z], -1), jnp.eye(2)))
            lawful.sample("y", dist.Normal(b @ jnp.array([1.0, 2.0]), 0.5), obs=y)

    y = np.random.default_rng(4).normal(size=count)
    found = inference.bp(integrate_normals(["b"])(lawful.trace(model, y))).beliefs(y)
    rows = np.array(
        [[np.log(p) + norm.logpdf(y, 2.0 * z + w, np.sqrt(5.25)) for z, p in enumerate((0.7, 0.3))] for w in (0, 1)]
    )
    each = logsumexp(rows, axis=1)
    joint = np.log([0.6, 0.4]) + each.sum(axis=1)
    assert float(found.log_evidence) == pytest.approx(logsumexp(joint), rel=1e-12)
    share = np.exp(joint - logsumexp(joint))
    labels = np.einsum("w,wzi->iz", share, np.exp(rows - each[:, None]))
    np.testing.assert_allclose(found.marginals["w"], share, rtol=1e-11)
    np.testing.assert_allclose(found.marginals["z"], labels, rtol=1e-11)
