"""Mixtures have the evidence of sums over labels and partitions."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import betaln
from scipy.stats import multivariate_normal

import lawful
from lawful import inference
from lawful.inference.transformers.enumeration import marginal
from lawful.models import mixtures
from tests.inference.cases import read
from tests.models.truth import check_evidence, grid_evidence

Y = np.array([-2.3, -1.4, 2.2, 1.1, 0.4])
SPREAD, NOISE, CONCENTRATION = 2.0, 1.0, 0.8


def cluster(y, spread=SPREAD, noise=NOISE):
    """Log density of observations that share a normal mean."""
    cov = spread**2 * np.ones((len(y), len(y))) + noise**2 * np.eye(len(y))
    return multivariate_normal.logpdf(y, np.zeros(len(y)), cov) if len(y) else 0.0


def given_labels(y, labels):
    return sum(cluster(y[np.asarray(labels) == k]) for k in set(labels))


def restaurant():
    """Mass of each number of clusters: partitions as labels in order of appearance, with Ewens' law."""
    mass = {}
    for labels in itertools.product(range(len(Y)), repeat=len(Y)):
        if any(z > max(labels[:i], default=-1) + 1 for i, z in enumerate(labels)):
            continue
        sizes = np.bincount(labels)
        log_prior = len(sizes) * math.log(CONCENTRATION) + sum(math.lgamma(m) for m in sizes)
        log_prior += math.lgamma(CONCENTRATION) - math.lgamma(CONCENTRATION + len(Y))
        mass[len(sizes)] = mass.get(len(sizes), 0.0) + math.exp(log_prior + given_labels(Y, labels))
    return mass


def sticks(truncation, concentration=CONCENTRATION):
    """The same for the truncated stick: sums over all labels, the sticks integrated to Beta functions."""
    mass = {}
    for labels in itertools.product(range(truncation), repeat=len(Y)):
        sizes = np.bincount(labels, minlength=truncation)
        later = sizes[::-1].cumsum()[::-1]
        log_prior = sum(
            betaln(1 + sizes[k], concentration + later[k + 1]) - betaln(1, concentration) for k in range(truncation - 1)
        )
        used = int(np.sum(sizes > 0))
        mass[used] = mass.get(used, 0.0) + math.exp(log_prior + given_labels(Y, labels))
    return mass


@pytest.mark.reference
def test_the_finite_mixture_has_the_evidence_of_the_reference(data):
    """The labels are summed out by the library, the two means by a grid."""
    case = read(data, "mixture_enumerated")
    y, spread, noise = jnp.array(case["data"]["y"]), 2.0, math.sqrt(0.5)
    args = (y, jnp.array([0.5, 0.5]), 0.0, spread, noise)
    form = marginal(inference.marginalise()(lawful.trace(mixtures.finite_mixture, *args)))
    axis = jnp.linspace(-9.0, 9.0, 361)
    found = grid_evidence(lambda mu: form.log_density({"mu": mu}, *args), axis, axis)
    assert abs(found - case["exact"]["log_evidence"]) < 1e-10


def test_the_restaurant_is_the_sum_over_partitions():
    exact = inference.enumerate(mixtures.chinese_restaurant)(Y, CONCENTRATION, SPREAD, NOISE)
    mass = restaurant()
    assert abs(exact.log_evidence - math.log(sum(mass.values()))) < 1e-12
    found = exact.marginal("return")
    for clusters, share in mass.items():
        assert abs(found[clusters] - share / sum(mass.values())) < 1e-12


@pytest.mark.slow
@pytest.mark.tier2
@pytest.mark.optimised
def test_a_filter_of_the_restaurant_is_unbiased():
    plan = inference.smc(mixtures.chinese_restaurant, particles=50, keep="last")
    expected = math.log(sum(restaurant().values()))
    check_evidence(plan, (jnp.array(Y), CONCENTRATION, SPREAD, NOISE), expected, n=1_000)


@pytest.mark.slow
def test_the_truncated_process_has_its_exact_evidence():
    """Two clusters and a concentration of 2: the mass is a polynomial in the stick, and the means go over a grid."""
    args = jnp.array(Y), 2.0, 2, SPREAD, NOISE
    form = marginal(inference.marginalise()(lawful.trace(mixtures.dirichlet_process_mixture, *args)))
    axis = jnp.linspace(-14.0, 14.0, 141)
    found = []
    for node, weight in zip(*np.polynomial.legendre.leggauss(6), strict=True):
        at = {"v": jnp.array([(node + 1) / 2])}
        found.append(
            grid_evidence(lambda mu: form.log_density({**at, "mu": mu}, *args), axis, axis) + np.log(weight / 2)
        )
    assert abs(np.logaddexp.reduce(found) - math.log(sum(sticks(2, 2.0).values()))) < 1e-10


@pytest.mark.slow
def test_a_long_stick_has_the_evidence_of_the_restaurant():
    """The truth of the truncated process tends to that of the process."""
    short, long = (sum(sticks(k).values()) / sum(restaurant().values()) for k in (3, 6))
    assert abs(long - 1) < abs(short - 1) / 4
