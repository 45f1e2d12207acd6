"""Covariances: kernels have their exact derivatives, and operators on both arguments their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf

from lawful.errors import LawfulError
from lawful.models.covariances import (
    cosine,
    covariance,
    derivative,
    even_covariance,
    identity,
    integral,
    laplacian,
    matern,
    matern_spectrum,
    spectrum_mixture,
    squared_exponential,
    squared_exponential_spectrum,
)

LENGTH = 0.7
POINTS = np.array([-0.6, 0.1, 0.45, 1.2])
INTERVALS = np.array([[-0.5, 0.3], [0.0, 1.0]])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def table(kernel, x, y, first=identity, second=identity):
    """Covariances, compiled as a whole."""
    return jax.jit(lambda: covariance(kernel, x, y, first, second))()


def plain_matern(d):
    """Matern's kernel of smoothness 5/2 as textbooks write it, whose derivatives by rule hold away from 0."""
    a = jnp.sqrt(5.0) * jnp.abs(d) / LENGTH
    return (1.0 + a + a**2 / 3.0) * jnp.exp(-a)


def nth(function, order):
    """The derivative of a function of numbers, by rule."""
    for _ in range(order):
        function = jax.grad(function)
    return function


@pytest.mark.parametrize("order", range(6))
def test_derivatives_of_matern_are_those_by_rule_away_from_zero(order):
    for d in (-1.3, -0.02, 0.4, 2.5):
        found = jax.jit(derivative(order)(lambda x: matern(LENGTH)(x, 0.0)))(d)
        assert np.allclose(found, jax.jit(nth(plain_matern, order))(d), rtol=1e-12, atol=0)


@pytest.mark.kills("60k", smoothness=2.5)
@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5, 3.5])
def test_derivatives_of_matern_at_zero_are_moments_of_its_spectrum(smoothness):
    """The derivative of order 2m at 0 is (-1)^m times the mean of omega^2m; odd ones are 0."""
    with jax.enable_x64(True):  # where faults are planted, fixtures are not read
        kernel, spectrum = matern(LENGTH, smoothness), matern_spectrum(LENGTH, smoothness)
        for m in range(round(smoothness + 0.5)):
            found = derivative(2 * m)(lambda x: kernel(x, 0.3))(0.3)
            moment = quad(lambda w, m=m: w ** (2 * m) * float(spectrum(w)) / np.pi, 0, np.inf, limit=400)[0]
            assert abs(found - (-1) ** m * moment) < 1e-6 * moment
            assert derivative(2 * m + 1)(lambda x: kernel(x, 0.3))(0.3) == 0.0
        if smoothness == 2.5:
            rate = np.sqrt(5.0) / LENGTH
            exact = {0: 1.0, 2: -(rate**2) / 3, 4: rate**4}
            for order, value in exact.items():
                assert abs(derivative(order)(lambda x: kernel(x, 0.3))(0.3) - value) < 1e-12 * abs(value)


def test_an_operator_beyond_the_smoothness_gives_negative_variances():
    for smoothness in (0.5, 1.5, 2.5):
        beyond = derivative(round(smoothness + 0.5))
        assert table(matern(LENGTH, smoothness), [0.0], [0.0], beyond, beyond)[0, 0] < 0
    with pytest.raises(LawfulError, match="smoothness"):
        matern(1.0, 2.0)


def test_the_fourth_derivative_of_a_mixture_of_spectra_is_the_product_rule():
    """(M cos)'''' = M'''' c - 4 M''' w s - 6 M'' w^2 c + 4 M' w^3 s + M w^4 c, at distance 0 with s = 0."""
    height, turns = np.array([0.5, 2.0, 1.5]), np.array([0.0, 3.0, 16.0])
    rate, w = np.sqrt(5.0) / LENGTH, 2 * np.pi * turns
    found = table(spectrum_mixture(height, turns, LENGTH), [0.2], [0.2, 0.9], derivative(2), laplacian)[0]
    exact = np.sum(height * (rate**4 + 6 * rate**2 / 3 * w**2 + w**4))
    assert abs(found[0] - exact) < 1e-13 * exact
    far = [float(jax.jit(nth(plain_matern, n))(-0.7)) for n in range(5)]
    c, s = np.cos(-0.7 * w), np.sin(-0.7 * w)
    terms = far[4] * c - 4 * far[3] * w * s - 6 * far[2] * w**2 * c + 4 * far[1] * w**3 * s + far[0] * w**4 * c
    assert abs(found[1] - np.sum(height * terms)) < 1e-12 * exact


def hermite(n, d):
    """The derivative of exp(-d^2 / (2 length^2)), by Hermite's polynomial."""
    z = d / LENGTH
    return (-1 / LENGTH) ** n * np.polynomial.hermite_e.hermeval(z, np.eye(n + 1)[n]) * np.exp(-(z**2) / 2)


def primitive(n, d):
    """The same for n = -1 and -2: the first and the second integral."""
    if n >= 0:
        return hermite(n, d)
    first = LENGTH * np.sqrt(np.pi / 2) * erf(d / LENGTH / np.sqrt(2))
    return first if n == -1 else d * first + LENGTH**2 * np.exp(-((d / LENGTH) ** 2) / 2)


def closed_form(left, right):
    """Covariances of the squared exponential: each side an order with points, or -1 with intervals."""

    def ends(order, points):
        return [(points, 1.0)] if order >= 0 else [(points[:, 1], 1.0), (points[:, 0], -1.0)]

    (m, x), (n, y) = left, right
    total = 0.0
    for one, plus in ends(m, x):
        for other, also in ends(n, y):
            total = total + plus * also * (-1.0) ** n * primitive(m + n, one[:, None] - other)
    return total


SIDES = {
    "values": (identity, 0, POINTS),
    "slopes": (derivative(1), 1, POINTS + 0.2),
    "curvatures": (laplacian, 2, POINTS),
    "integrals": (integral(40), -1, INTERVALS),
}


@pytest.mark.parametrize("left", SIDES)
@pytest.mark.parametrize("right", SIDES)
def test_operators_on_both_arguments_have_their_closed_forms(left, right):
    (first, m, x), (second, n, y) = SIDES[left], SIDES[right]
    found = table(squared_exponential(LENGTH), x, y, first, second)
    exact = closed_form((m, x), (n, y))
    assert np.allclose(found, exact, rtol=0, atol=1e-12 * max(1.0, np.abs(exact).max()))


@pytest.mark.parametrize("kernel", [squared_exponential(LENGTH), matern(LENGTH)])
def test_the_integral_of_the_derivative_is_the_difference_of_values(kernel):
    """Points outside of the intervals: inside, the kernel of Matern has a kink that the rule of an integral sees."""
    total = lambda f: integral(40)(derivative(1)(f))  # noqa: E731
    outside = np.array([-0.9, 1.0, 2.0])
    found = table(kernel, INTERVALS, outside, total, laplacian)
    ends = [table(kernel, INTERVALS[:, i], outside, identity, laplacian) for i in (0, 1)]
    assert np.allclose(found, ends[1] - ends[0], rtol=0, atol=1e-12)
    twice = table(squared_exponential(LENGTH), INTERVALS, INTERVALS, total, total)
    values = table(squared_exponential(LENGTH), INTERVALS.ravel(), INTERVALS.ravel())
    difference = np.kron(np.eye(2), [-1.0, 1.0])
    assert np.allclose(twice, difference @ values @ difference.T, rtol=0, atol=1e-12)


def test_the_variance_of_an_integral_of_matern_comes_nearer_with_more_nodes():
    """Over one interval the kernel has a kink along the diagonal: the error falls as nodes^-6."""
    rate, d = np.sqrt(5.0) / LENGTH, INTERVALS[0, 1] - INTERVALS[0, 0]
    exact = quad(lambda t: 2 * (d - t) * (1 + rate * t + (rate * t) ** 2 / 3) * np.exp(-rate * t), 0, d, epsabs=1e-14)[
        0
    ]
    errors = [
        abs(float(table(matern(LENGTH), INTERVALS[:1], INTERVALS[:1], integral(n), integral(n))[0, 0]) - exact)
        for n in (8, 16, 32)
    ]
    assert errors[1] < errors[0] / 40 and errors[2] < errors[1] / 40 and errors[2] < 1e-9


def test_the_laplacian_in_the_plane_is_that_of_the_product():
    """Of exp(-|d|^2 / (2 length^2)) twice: (h4 h0 + 2 h2 h2 + h0 h4) at the lags along both axes."""
    x = np.array([[0.1, -0.4], [0.9, 0.3], [0.1, 0.2]])
    found = table(squared_exponential(LENGTH), x, x, laplacian, laplacian)
    h = [[hermite(n, x[:, None, i] - x[None, :, i]) for n in range(5)] for i in (0, 1)]
    exact = h[0][4] * h[1][0] + 2 * h[0][2] * h[1][2] + h[0][0] * h[1][4]
    assert np.allclose(found, exact, rtol=1e-12)
    one = table(matern(LENGTH), x, x, derivative(1, axis=1), derivative(2, axis=0))
    lag = x[:, None] - x[None]
    along = [
        np.vectorize(lambda d, n=n: float(nth(plain_matern, n)(d)))(lag[..., i] + 1e-30) for i, n in ((0, 2), (1, 1))
    ]
    away = ~np.isclose(lag, 0.0).any(-1)
    assert np.allclose(np.asarray(one)[away], (along[0] * along[1])[away], rtol=1e-12)


def test_even_points_give_the_dense_covariances():
    x, kernel = np.linspace(0.0, 2.0, 60), spectrum_mixture(np.ones(3), np.array([0.0, 4.0, 16.0]), LENGTH)
    for operator in (identity, derivative(1), derivative(2)):
        dense, fast = (
            table(kernel, x, x, operator, operator),
            jax.jit(lambda o=operator: even_covariance(kernel, x, o))(),
        )
        assert np.abs(dense - fast).max() < 1e-10 * np.abs(dense).max()
        assert np.array_equal(fast, fast.T)
    assert np.isnan(even_covariance(kernel, np.array([0.0, 0.1, 0.3]))).all()


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
def test_spectra_have_their_kernels_as_cosine_transforms(smoothness):
    pairs = [(matern(LENGTH, smoothness), matern_spectrum(LENGTH, smoothness))]
    pairs += [(squared_exponential(LENGTH), squared_exponential_spectrum(LENGTH))]
    for kernel, spectrum in pairs:
        for d in (0.3, 1.1):
            found = quad(lambda w, s=spectrum: float(s(w)) / np.pi, 0, np.inf, weight="cos", wvar=d, limit=500)[0]
            assert abs(found - kernel(d, 0.0)) < 1e-7


def test_sums_and_products_by_python_are_the_mixture():
    bump, turn = matern(LENGTH), cosine(2.0)
    x = np.linspace(-1.0, 1.0, 5)
    by_hand = table(lambda s, t: 0.3 * bump(s, t) + 0.7 * bump(s, t) * turn(s, t), x, x, laplacian, identity)
    mixture = spectrum_mixture(np.array([0.3, 0.7]), np.array([0.0, 2.0]), LENGTH)
    assert np.allclose(by_hand, table(mixture, x, x, laplacian, identity), rtol=1e-12, atol=1e-12)
