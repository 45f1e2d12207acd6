"""References for tempering: their law is that of brute force, names mean nothing, and the measure does not change."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy import stats

import lawful
from lawful.inference.kernels.base.frame import frame_of
from lawful.inference.kernels.particles.scales import exchangeable_parts
from lawful.models.latent_classes.reference import FREEDOM, PRIOR, Reference, around, coordinates, drawn_classes, valued


def reference(ends=2, classes=3, d=2, seed=0):
    rng = np.random.default_rng(seed)
    roots = np.tril(0.2 * rng.normal(size=(ends, classes, d, d))) + np.eye(d)
    parts = rng.normal(size=ends), 2.0 * rng.normal(size=(ends, classes, d)), roots, rng.normal(size=d), 3.0 * np.eye(d)
    return Reference(*map(jnp.asarray, parts))


def brute_force(at, point):
    """A sum over ends and namings of products of scipy's t densities."""
    k, d = point.shape

    def near(x, end, j):
        root = np.asarray(at.root)[end, j]
        return stats.multivariate_t.pdf(x, np.asarray(at.loc)[end, j], root @ root.T, df=FREEDOM)

    def far(x):
        return stats.multivariate_t.pdf(x, np.asarray(at.centre), np.asarray(at.spread @ at.spread.T), df=FREEDOM)

    shares = np.exp(np.asarray(at.log_weight) - np.logaddexp.reduce(np.asarray(at.log_weight)))
    orders = list(itertools.permutations(range(k)))
    total = 0.0
    for end, share in enumerate(shares):
        for order in orders:
            each = [(1 - PRIOR) * near(x, end, j) + PRIOR * far(x) for x, j in zip(point, order, strict=True)]
            total += share / len(orders) * np.prod(each)
    return np.log(total)


def test_density_is_a_sum_over_ends_and_namings():
    at, rng = reference(), np.random.default_rng(1)
    for _ in range(3):
        point = 2.0 * rng.normal(size=(3, 2))
        found = float(at.log_prob(jnp.asarray(point)))
        np.testing.assert_allclose(found, brute_force(at, point), rtol=1e-12)
        np.testing.assert_allclose(float(at.log_prob(jnp.asarray(point[[2, 0, 1]]))), found, rtol=1e-12)


def test_draws_have_the_law_of_the_density():
    """Every class has the law of all classes of all ends; classes of one draw belong together.

    Two tests of Kolmogorov and Smirnov at 1e-9: the first coordinate of a class, and of the sum of all.
    """
    at = reference(ends=1, classes=2, d=1)
    draws = np.asarray(jax.jit(lambda key: at.sample(key, (20_000,)))(jax.random.key(0)))[..., 0]
    loc, scale = np.asarray(at.loc)[0, :, 0], np.asarray(at.root)[0, :, 0, 0]
    far = stats.t(FREEDOM, float(at.centre[0]), float(at.spread[0, 0]))

    def one(x):
        near = np.mean([stats.t.cdf(x, FREEDOM, m, s) for m, s in zip(loc, scale, strict=True)], axis=0)
        return (1 - PRIOR) * near + PRIOR * far.cdf(x)

    assert stats.kstest(draws[:, 0], one).pvalue > 1e-9
    grid = np.linspace(-60, 60, 2401)
    mass = [np.gradient((1 - PRIOR) * stats.t.cdf(grid, FREEDOM, m, s) + PRIOR * far.cdf(grid))
            for m, s in zip(loc, scale, strict=True)]  # fmt: skip
    total = np.cumsum(np.convolve(*mass))
    assert stats.kstest(draws.sum(axis=1), lambda x: np.interp(x, np.linspace(-120, 120, 4801), total)).pvalue > 1e-9


def classes():
    with lawful.plate("class", 3):
        lawful.sample("level", dist.Normal(0.0, 2.0))
        lawful.sample("scale", dist.HalfNormal(1.0))


def test_the_measure_is_that_of_the_program_whatever_the_reference():
    """Log density of a point, by the program that draws it from a reference and by the program itself."""
    at, rng = reference(), np.random.default_rng(2)

    def referring(reference):
        values = drawn_classes(reference, "class", classes)
        lawful.factor("data", -jnp.sum((values["level"] - 1.0) ** 2 / values["scale"]))

    def plain():
        with lawful.plate("class", 3):
            level = lawful.sample("level", dist.Normal(0.0, 2.0))
            scale = lawful.sample("scale", dist.HalfNormal(1.0))
        lawful.factor("data", -jnp.sum((level - 1.0) ** 2 / scale))

    there, here = lawful.density(referring, at), lawful.density(plain)
    for _ in range(3):
        point = jnp.asarray(rng.normal(size=(3, 2)))
        position = {"level": point[:, 0], "scale": point[:, 1]}
        np.testing.assert_allclose(there.logp({"point": point}), here.logp(position), rtol=1e-12)
        values = {name: value[None] for name, value in here.constrain(position).items()}
        np.testing.assert_allclose(coordinates(lawful.trace(classes), values)[0], point, rtol=1e-12)
        for name, value in valued(point, classes)[1].items():
            np.testing.assert_allclose(value, values[name][0], rtol=1e-12)
    parts = exchangeable_parts(frame_of(lawful.trace(referring, at), "here"), "class", "here")
    assert [(part.shape, part.axis) for part in parts] == [((3, 2), 0)]


def test_scales_are_those_of_the_curvature_of_each_class_and_no_wider_than_the_prior():
    precision = jnp.array([[[4.0, 1.0], [1.0, 9.0]], [[100.0, 0.0], [0.0, 0.01]]])
    centre = jnp.array([[1.0, 2.0], [-1.0, 0.0]])

    def slope(times, points):
        return -jnp.einsum("kij,mkj->mki", precision, points - times[:, None, None] * centre[None])

    prior = np.random.default_rng(0).normal(size=(200_000, 2))
    ends = jnp.stack([0 * centre, centre, 2 * centre, 2 * centre])
    found = around(slope, jnp.array([0.0, 1.0, 2.0, 2.0]), ends, [np.nan, 3.0, 5.0, 5.0], prior)
    scale = np.asarray(found.root @ np.swapaxes(found.root, -1, -2))
    np.testing.assert_allclose(scale[1, 0], 2 * np.linalg.inv(np.asarray(precision[0])), rtol=1e-4)
    np.testing.assert_allclose(np.diag(scale[0, 1]), [0.02, 2.0], rtol=0.02)  # the data tell less than the prior
    # Two ends differ and are no loss; they come in the order of their heights, again and again.
    np.testing.assert_allclose(found.loc[:4], jnp.stack([2 * centre, centre] * 2))
    np.testing.assert_allclose(np.exp(found.log_weight[:4]), [1.0, 0.5, 1.0, 0.5])
