"""How guides are fitted: gradients are unbiased, and the law that a path keeps is that of a normal posterior."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.inference.kernels.base.frame import frame_of
from lawful.inference.plans.guides.families import Family
from lawful.inference.plans.guides.fit import Uphill
from lawful.inference.plans.guides.paths import Paths

from .known_line import known_line, line, line_data


class Sides(dist.Distribution):
    """A normal law whose noise is drawn from the corners of a cube, each once: the mean of a cubic is exact."""

    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale
        super().__init__((), jnp.shape(loc), validate_args=False)

    def sample(self, key, sample_shape=()):
        corners = np.array(list(itertools.product([-1.0, 1.0], repeat=len(self.loc))))
        return self.loc + self.scale * corners

    def log_prob(self, value):
        return dist.Normal(self.loc, self.scale).to_event(1).log_prob(value)


CORNERS = Family("corners", lambda p: Sides(p["loc"], jnp.exp(p["log_scale"])))


class Single(Sides):
    """A draw at one corner."""

    def __init__(self, loc, scale, corner):
        self.corner = corner
        super().__init__(loc, scale)

    def sample(self, key, sample_shape=()):
        return (self.loc + self.scale * self.corner)[None]


AT = {"loc": jnp.array([0.7, 0.1]), "log_scale": jnp.array([-1.2, -0.4])}


def known_elbo(p):
    """The ELBO of independent normals for the regression."""
    mean, covariance, evidence = known_line(*line_data())
    off, precision = p["loc"] - mean, np.linalg.inv(covariance)
    entropy = jnp.sum(p["log_scale"]) + 1.0
    quadratic = off @ precision @ off + jnp.sum(jnp.exp(2 * p["log_scale"]) * np.diag(precision))
    return evidence - 0.5 * jnp.log(jnp.linalg.det(jnp.asarray(covariance))) - 0.5 * quadratic + entropy


def assert_unbiased(mean_of_all):
    found, truth = jax.grad(mean_of_all)(AT), jax.grad(known_elbo)(AT)
    np.testing.assert_allclose(mean_of_all(AT), known_elbo(AT), rtol=1e-12)
    for name in AT:
        np.testing.assert_allclose(found[name], truth[name], rtol=1e-10, err_msg=name)


@pytest.mark.kills("59f")
def test_the_gradient_of_the_elbo_is_unbiased():
    """The density is quadratic in the coordinates, so that the corners of a cube are all noise that there is."""
    x, y = line_data()
    uphill = Uphill(frame_of(lawful.trace(line, x, y), "guide"), CORNERS, "elbo", 4)
    assert_unbiased(lambda p: uphill.estimate(p, (x, y), jax.random.key(0)))


def test_the_gradient_of_the_importance_weighted_bound_is_unbiased():
    """Of one draw it is the ELBO."""
    x, y = line_data()
    frame = frame_of(lawful.trace(line, x, y), "guide")

    def one(p, corner):
        family = Family("corner", lambda p: Single(p["loc"], jnp.exp(p["log_scale"]), corner))
        return Uphill(frame, family, "importance", 1).estimate(p, (x, y), jax.random.key(0))

    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=2)))
    assert_unbiased(lambda p: jnp.mean(jnp.stack([one(p, corner) for corner in corners])))


def test_the_forward_gradient_is_that_of_the_weighed_draws():
    """At the posterior itself all weights are equal, and the gradient is that of the mean score, whose mean is zero."""
    x, y = line_data()
    mean, covariance, _ = known_line(x, y)
    law = dist.MultivariateNormal(jnp.asarray(mean), jnp.asarray(covariance))
    family = Family("shifted", lambda p: dist.MultivariateNormal(law.loc + p, law.covariance_matrix))
    uphill = Uphill(frame_of(lawful.trace(line, x, y), "guide"), family, "forward", 64)
    key = jax.random.key(3)
    drawn = law.sample(key, (64,))
    scores = (np.asarray(drawn) - mean) @ np.linalg.inv(covariance)
    found = jax.grad(lambda p: uphill.estimate(p, (x, y), key))(jnp.zeros(2))
    np.testing.assert_allclose(found, scores.mean(axis=0), rtol=1e-8)


def test_the_law_that_a_path_keeps_is_that_of_a_normal_posterior():
    """L-BFGS in two coordinates has learnt the covariance by the time it rests: the divergence is below .02."""
    x, y = line_data()
    mean, covariance, evidence = known_line(x, y)
    paths = Paths(frame_of(lawful.trace(line, x, y), "guide"))
    end = paths.go(
        jax.random.key(0), (x, y), paths.begin(jnp.array([[2.0, 1.0], [-1.0, 0.5]])), jnp.asarray(100, jnp.int32)
    )
    for number in range(2):
        root = np.asarray(end.normal.root[number])
        own = root @ root.T
        off = np.asarray(end.normal.loc[number]) - mean
        inside = np.trace(np.linalg.solve(covariance, own)) - 2 + off @ np.linalg.solve(covariance, off)
        divergence = 0.5 * (inside - np.linalg.slogdet(own)[1] + np.linalg.slogdet(covariance)[1])
        assert 0 <= divergence < 0.02
        np.testing.assert_allclose(end.search.vector[number], mean, rtol=1e-6)
        assert abs(end.elbo[number] - evidence) < 0.3
