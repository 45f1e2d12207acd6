"""Gaussian processes seen through operators: conditioning in closed form, and the other two forms against it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import halfnorm, lognorm, multivariate_normal, norm

import lawful
from lawful import inference
from lawful.models import gaussian_process as gp
from lawful.models import regression
from lawful.models.covariances import (
    derivative,
    identity,
    integral,
    laplacian,
    matern,
    matern_spectrum,
    squared_exponential,
    squared_exponential_spectrum,
)
from lawful.models.state_space import linear_gaussian
from tests.models.test_covariances import INTERVALS, LENGTH, POINTS, closed_form
from tests.models.truth import grid_evidence

NOISE = 0.05
KINDS = [(identity, 0, POINTS), (derivative(1), 1, POINTS + 0.2), (laplacian, 2, POINTS), (integral(40), -1, INTERVALS)]
TIMES = np.cumsum([0.0, 0.4, 0.01, 1.3, 0.7, 5.0, 0.2])
ASKED = np.array([-0.2, 0.8])
X = np.linspace(-1.0, 1.0, 7)
Y = np.array([1.2, 0.8, 0.1, -0.2, 0.3, 0.9, 1.6])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def values(seed, *sizes):
    """Numbers to be seen."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=size) for size in sizes]


def seen():
    """Values, slopes, curvatures and integrals."""
    numbers = values(1, *(len(points) for _, _, points in KINDS))
    return [gp.Observation(op, points, y, NOISE) for (op, _, points), y in zip(KINDS, numbers, strict=True)]


def dense():
    """The covariance of all of them in closed form, errors included."""
    sides = [(order, points) for _, order, points in KINDS]
    table = np.block([[closed_form(one, other) for other in sides] for one in sides])
    return table + NOISE**2 * np.eye(len(table))


def density(program, at=None):
    """Trace a program without arguments, and give the log density of all of it."""
    return float(lawful.trace(program).log_density(at or {}))


def test_the_density_of_what_is_seen_is_that_of_its_closed_form():
    found = density(lambda: gp.observe(squared_exponential(LENGTH), seen()))
    y = np.concatenate([one.values for one in seen()])
    assert abs(found - multivariate_normal.logpdf(y, np.zeros(len(y)), dense())) < 1e-10 * abs(found)


@pytest.mark.parametrize("asked", range(4))
def test_any_operator_given_observations_has_the_moments_of_conditioning(asked):
    operator, order, _ = KINDS[asked]
    points = ASKED if order >= 0 else INTERVALS + 0.1
    found = jax.jit(lambda: gp.posterior(squared_exponential(LENGTH), seen(), points, operator))()
    sides = [(order, points) for _, order, points in KINDS]
    across = np.concatenate([closed_form(one, (order, points)) for one in sides])
    gain = np.linalg.solve(dense(), across)
    mean = gain.T @ np.concatenate([one.values for one in seen()])
    covariance = closed_form((order, points), (order, points)) - across.T @ gain
    scale = max(1.0, np.abs(covariance).max())
    assert np.allclose(found.mean, mean, rtol=0, atol=1e-10 * max(1.0, np.abs(mean).max()))
    assert np.allclose(found.covariance, covariance, rtol=0, atol=1e-10 * scale)


def test_more_derivatives_than_the_process_has_are_not_conditioned_on():
    rough = [gp.Observation(derivative(3), POINTS, POINTS, 0.1)]
    assert np.isnan(gp.posterior(matern(LENGTH), rough, ASKED).mean).all()


@pytest.mark.kills("60l")
def test_even_points_give_the_density_of_the_dense_matrix():
    x, (y,) = np.linspace(0.0, 1.0, 40), values(2, 40)
    one = gp.Observation(laplacian, x, 10 * y, 0.5)
    edge = gp.Observation(identity, x[[0, -1]], np.zeros(2), 1e-3)
    with jax.enable_x64(True):  # where faults are planted, fixtures are not read
        found = [density(lambda e=e: gp.observe(matern(0.2), [edge, one._replace(even=e)])) for e in (False, True)]
    assert abs(found[0] - found[1]) < 1e-10 * abs(found[0])


def test_hyper_parameters_are_sites_whose_gradient_is_that_of_the_evidence():
    """Differences of the closed form in the length, at 4th order: their own error is below 1e-9 here."""

    def program(y):
        length = lawful.sample("length", dist.Normal(0.0, 1.0))
        gp.observe(squared_exponential(jnp.exp(length)), [gp.Observation(derivative(1), POINTS, y, NOISE)])

    (y,) = values(3, len(POINTS))
    form = lawful.trace(program, y)
    slope = jax.grad(lambda s: form.log_density({"length": s}, y))(-0.2)
    step = 1e-3
    at = [float(form.log_density({"length": -0.2 + k * step}, y)) for k in (-2, -1, 1, 2)]
    assert abs(slope - (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)) < 1e-8 * abs(slope)


@pytest.mark.slow
@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
def test_the_state_space_has_the_evidence_of_the_exact_process(smoothness):
    """Gaps from 1/100 to 5 lengths, so both ways to the noise of a step are taken."""
    (y,) = values(4, len(TIMES))
    states = gp.matern_states(TIMES, NOISE, 0.9, 1.7, smoothness)
    found = inference.filtered(linear_gaussian, states, y[:, None])
    kernel = lambda s, t: 1.7**2 * matern(0.9, smoothness)(s, t)  # noqa: E731
    exact = density(lambda: gp.observe(kernel, [gp.Observation(identity, TIMES, y, NOISE)]))
    assert abs(found.log_evidence - exact) < 1e-10 * abs(exact)


@pytest.mark.slow
def test_the_state_space_sees_derivatives_as_the_exact_process_does():
    (y,) = values(5, len(TIMES))
    order = np.array([0, 1, 2, 0, 1, 0, 2])
    noise = np.linspace(0.1, 0.4, len(TIMES))
    states = gp.matern_states(TIMES, noise, 0.9, seen=order)
    found = inference.smoothed(linear_gaussian, states, y[:, None])
    seen = [gp.Observation(derivative(n), TIMES[order == n], y[order == n], noise[order == n]) for n in range(3)]
    exact = density(lambda: gp.observe(matern(0.9), seen))
    assert abs(found.log_evidence - exact) < 1e-10 * abs(exact)
    for n in range(3):
        moments = gp.posterior(matern(0.9), seen, TIMES, derivative(n))
        assert np.allclose(found.mean["x"][:, n], moments.mean, rtol=0, atol=1e-10)
        variances = np.asarray(found.covariance["x"])[:, n, n]
        assert np.allclose(variances, np.diag(moments.covariance), rtol=0, atol=1e-10)


def hilbert_evidence(spectrum, half_width, terms, observations):
    """The evidence of the sum of sines, its weights integrated."""
    program = partial(gp.hilbert_space, spectrum, observations, half_width, terms)
    summed = inference.enumeration(lawful.trace(program), inference.integrate_normals())
    return float(summed.marginal.log_density({}))


def test_the_sum_of_sines_tends_to_the_exact_process():
    """Values, slopes and curvatures; the interval reaches 5 lengths beyond the points."""
    observations = seen()[:3]
    exact = density(lambda: gp.observe(squared_exponential(LENGTH), observations))
    gaps = [
        abs(hilbert_evidence(squared_exponential_spectrum(LENGTH), 5.0, m, observations) - exact) for m in (16, 32, 48)
    ]
    assert gaps[0] > 100 * gaps[1] and gaps[2] < 1e-10 * abs(exact), gaps


def test_the_sum_of_sines_tends_to_a_rough_process_slowly():
    """Slopes of Matern's 5/2: the variance that m sines leave out falls as m^-3."""
    observations = seen()[:2]
    exact = density(lambda: gp.observe(matern(LENGTH), observations))
    gaps = [abs(hilbert_evidence(matern_spectrum(LENGTH), 6.0, m, observations) - exact) for m in (64, 128, 256)]
    assert gaps[0] > 4 * gaps[1] > 16 * gaps[2], gaps


def kernel(x, length, height, jitter=1e-8):
    return height**2 * (np.exp(-0.5 * (x[:, None] - x[None, :]) ** 2 / length**2) + jitter * np.eye(len(x)))


def test_the_density_of_the_process_is_that_of_its_function():
    """The standard normals stand for the function, with the determinant of the kernel's root."""
    form, z = lawful.trace(gp.gaussian_process, X, Y), np.random.default_rng(1).normal(size=7)
    for length, height in ((0.4, 0.8), (1.3, 2.0)):
        found = float(form.log_density({"length": length, "height": height, "z": z}, X, Y))
        root = np.linalg.cholesky(kernel(X, length, height))
        expected = norm.logpdf(z).sum() + norm.logpdf(Y, root @ z, 0.1).sum()
        expected += lognorm.logpdf(length, 1.0) + halfnorm.logpdf(height)
        assert abs(found - expected) < 1e-10 * max(1.0, abs(expected))


def test_the_process_summed_over_its_function_is_the_normal_evidence():
    x, y = np.array([0.1, 0.9]), np.array([0.3, -0.2])
    form, axis = lawful.trace(gp.gaussian_process, x, y, 0.4), jnp.linspace(-9.0, 9.0, 181)
    for length, height in ((0.4, 0.8), (1.3, 2.0)):
        at = {"length": length, "height": height}
        found = grid_evidence(lambda z: form.log_density({**at, "z": z}, x, y, 0.4), axis, axis)
        expected = multivariate_normal.logpdf(y, np.zeros(2), kernel(x, length, height) + 0.16 * np.eye(2))
        expected += lognorm.logpdf(length, 1.0) + halfnorm.logpdf(height)
        assert abs(found - expected) < 1e-10


def test_the_first_program_is_where_it_was():
    assert regression.gaussian_process is gp.gaussian_process
