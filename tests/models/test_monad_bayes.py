"""The models of monad-bayes have the evidences that are known for them, by summation, grids and quadrature."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import betaln, expit, gammaln

import lawful
from lawful import inference
from lawful.inference.check import unbiased
from lawful.inference.check.statistics.estimates import one
from lawful.inference.transformers.enumeration import marginal
from lawful.models import monad_bayes
from tests.models.truth import check_evidence

LINE = jnp.array([-10.0, -5.0, 2.0, 6.0, 10.0]), jnp.array([False, False, True, True, True])
LINE_EVIDENCE, LINE_OUTPUT = -1.2620562043, 0.9766554909

LIST = (0.9, 0.8, 0.7, 0, -0.025, -5, -2, -0.1, 0, 0.13, 0.45, 6, 0.2, 0.3, -1, -1)
FROM_THE_END, FROM_THE_FRONT = -44.8956601663, -44.6858415509
UNIFORM = {10: -13.8107473318, 800: -1168.2839027, 1000: -1455.2138675}

COUNTS = ((4, 5, 1, 0), (0, 0, 5, 5), (5, 5, 0, 0), (0, 0, 5, 5), (5, 4, 1, 0))


def line_by_quadrature(x, label, query):
    """Sums over slope, intercept, noise and each score, in NumPy: log Z, and E[output]."""
    m = np.linspace(-7, 7, 57)[:, None, None]
    b = np.linspace(-7, 7, 57)[None, :, None]
    log_sigma = np.linspace(-14, 4, 73)[None, None, :]
    sigma = np.exp(log_sigma)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    cell = (m[1, 0, 0] - m[0, 0, 0]) ** 2 * (log_sigma[0, 0, 1] - log_sigma[0, 0, 0])
    mass = np.exp(-0.5 * (m**2 + b**2) - sigma + log_sigma) / (2 * np.pi) * cell

    def true(place):
        return sum(w * expit(m * place + b + sigma * node) for node, w in zip(nodes, weights, strict=True))

    for place, is_true in zip(x, label, strict=True):
        mass = mass * (true(place) if is_true else 1 - true(place))
    return math.log(mass.sum()), float((mass * true(query)).sum() / mass.sum())


@pytest.mark.slow
def test_quadrature_gives_the_published_answers_of_the_line():
    """Its own error is about 1e-3: the scores of large noise are not smooth on sixty nodes."""
    evidence, output = line_by_quadrature(np.asarray(LINE[0]), np.asarray(LINE[1]), 8.0)
    assert abs(evidence - LINE_EVIDENCE) < 2e-3
    assert abs(output - LINE_OUTPUT) < 2e-3


@pytest.mark.slow
@pytest.mark.tier2
@pytest.mark.optimised
def test_evidence_and_output_of_the_line_are_unbiased():
    runs, particles = 1_000, 50
    plan = inference.importance(monad_bayes.logistic_regression, particles=particles, runs=runs)

    def estimator(keys):
        assert len(keys) == runs
        result = plan(keys[0], *LINE)
        log_weight = result.weighted.log_weight + np.asarray(result.log_evidence)[:, None] - math.log(particles)
        return expit(np.asarray(result.weighted.values["t_query"])), log_weight

    def output(draws):
        return draws

    evidence = math.exp(LINE_EVIDENCE)
    report = unbiased(estimator, {one: evidence, output: evidence * LINE_OUTPUT}, n=runs)
    assert report.passed, report
    assert report.detects(0.05), report


def summed(y):
    """The exact log evidence, the states summed out by the library."""
    form = marginal(inference.marginalise()(lawful.trace(monad_bayes.hidden_markov, y)))
    return float(form.log_density({}, y))


@pytest.mark.parametrize(("y", "expected"), [(LIST[::-1], FROM_THE_END), (LIST, FROM_THE_FRONT)])
def test_the_states_summed_out_give_the_published_evidence(y, expected):
    assert abs(summed(jnp.array(y)) - expected) < 1e-10


@pytest.mark.rest_slow
@pytest.mark.parametrize("length", UNIFORM)
def test_long_sequences_have_the_published_evidence(length):
    y = jnp.array(np.random.default_rng(0).integers(0, 3, length).astype(float))
    assert abs(summed(y) - UNIFORM[length]) < 1e-7


def test_enumeration_agrees_with_the_sum_over_states():
    y = jnp.array(np.random.default_rng(0).integers(0, 3, 8).astype(float))
    assert abs(inference.enumerate(monad_bayes.hidden_markov)(y).log_evidence - summed(y)) < 1e-12


def topics_evidence(counts):
    """Exact: sum over how many words of each kind each document gives to the first topic.

    Laws of topics and of words are Dirichlet, so they integrate to Beta functions of these numbers.
    """
    totals = np.sum(counts, axis=0)
    mass = {(0,) * len(totals): 0.0}
    for document in counts:
        new = {}
        splits = list(itertools.product(*(range(c + 1) for c in document)))
        for split in splits:
            ways = sum(gammaln(c + 1) - gammaln(k + 1) - gammaln(c - k + 1) for c, k in zip(document, split))
            own = ways + betaln(1 + sum(split), 1 + sum(document) - sum(split))
            for state, log_mass in mass.items():
                after = tuple(a + b for a, b in zip(state, split))
                new[after] = np.logaddexp(new.get(after, -np.inf), log_mass + own)
        mass = new

    kinds = len(totals)

    def words(n):
        n = np.asarray(n)
        return gammaln(kinds) - gammaln(kinds + n.sum()) + gammaln(1 + n).sum()

    return np.logaddexp.reduce([m + words(first) + words(totals - first) for first, m in mass.items()])


@pytest.mark.slow
def test_the_exact_evidence_of_the_topics_is_the_published_number():
    assert abs(topics_evidence(COUNTS) + 61.124) < 0.003


def flat(counts):
    document = [d for d, row in enumerate(counts) for c in row for _ in range(c)]
    word = [w for row in counts for w, c in enumerate(row) for _ in range(c)]
    return jnp.array(document), jnp.array(word), len(counts)


def test_the_topics_have_their_exact_evidence():
    """Two words, two topics, two documents: a polynomial in four shares, so Gauss-Legendre nodes give its integral."""
    counts = ((2, 1), (0, 3))
    document, word, documents = flat(counts)
    program = lambda document, word: monad_bayes.latent_dirichlet(document, word, documents, 2, 2)
    form = marginal(inference.marginalise()(lawful.trace(program, document, word)))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    nodes, log_weights = (nodes + 1) / 2, np.log(weights / 2)
    shares = jnp.array(list(itertools.product(nodes, repeat=4)))
    log_cells = np.array([sum(cell) for cell in itertools.product(log_weights, repeat=4)])

    @jax.jit
    @jax.vmap
    def log_density(share):
        both = jnp.stack([share, 1 - share], axis=1)
        return form.log_density({"phi": both[:2], "theta": both[2:]}, document, word)

    found = np.logaddexp.reduce(np.asarray(log_density(shares)) + log_cells)
    assert abs(found - topics_evidence(counts)) < 1e-12


@pytest.mark.tier2
@pytest.mark.optimised
@pytest.mark.slow
def test_a_filter_of_the_topics_is_unbiased():
    plan = inference.smc(monad_bayes.latent_dirichlet, particles=50, keep="last")
    counts = ((2, 1, 0, 0), (0, 0, 2, 1))
    check_evidence(plan, flat(counts), topics_evidence(counts), n=1_000, error=0.1)


def jumps_on_a_grid(y, variance_x, variance_y, points):
    """Log evidence of the non-linear sequence at known variances, by sums over a grid."""
    x = np.linspace(-45, 45, points)
    normal = lambda z, variance: np.exp(-0.5 * z**2 / variance) / np.sqrt(2 * np.pi * variance)
    mass, log_evidence = normal(x, 5.0) * (x[1] - x[0]), 0.0
    for n, value in enumerate(y):
        centre = x / 2 + 25 * x / (1 + x**2) + 8 * np.cos(1.2 * n)
        mass = (normal(x[:, None] - centre[None, :], variance_x) * (x[1] - x[0])) @ mass
        mass = mass * normal(value - x**2 / 20, variance_y)
        log_evidence += math.log(mass.sum())
        mass /= mass.sum()
    return log_evidence


JUMPS = (3.0, 8.0, 1.5, 0.2, 12.0)


@pytest.mark.slow
def test_the_grid_of_the_jumps_has_converged():
    assert abs(jumps_on_a_grid(JUMPS, 10.0, 1.0, 3000) - jumps_on_a_grid(JUMPS, 10.0, 1.0, 1500)) < 1e-9


@pytest.mark.slow
@pytest.mark.tier2
@pytest.mark.optimised
def test_the_evidence_of_the_jumps_is_unbiased():
    plan = inference.smc(monad_bayes.nonlinear_sequence, particles=500, keep="last")
    check_evidence(plan, (jnp.array(JUMPS), (10.0, 1.0)), jumps_on_a_grid(JUMPS, 10.0, 1.0, 2000), n=1_000)


@pytest.mark.slow
def test_a_log_precision_has_the_law_of_the_log_of_a_gamma():
    """E exp(s log p) = Gamma(a + s) / Gamma(a) scale^s, by quadrature over the two draws that make it."""
    a, scale = 0.01, 0.01
    for s in (1.0, 2.0):
        log_g = gammaln(a + 1 + s) - gammaln(a + 1) + s * math.log(scale)
        log_u = -math.log1p(s / a)  # E u^(s/a)
        assert log_g + log_u == pytest.approx(gammaln(a + s) - gammaln(a) + s * math.log(scale), rel=1e-12)
    record = inference.predictive(None, monad_bayes.nonlinear_sequence, jnp.zeros(2), draws=2000, key=1)
    drawn = np.asarray(record["log_precision_x"]).ravel()
    assert np.isfinite(drawn).all()
    below = math.log(np.finfo(np.float32).tiny)
    share, expected = np.mean(drawn < below), 0.44
    assert abs(share - expected) < 5.0 * math.sqrt(expected * (1 - expected) / 2000) + 0.01


@pytest.mark.slow
def test_the_model_with_its_own_precisions_has_finite_weights():
    result = inference.smc(monad_bayes.nonlinear_sequence, particles=200, runs=2)(jax.random.key(0), jnp.array(JUMPS))
    assert np.isfinite(result.log_evidence).all()
