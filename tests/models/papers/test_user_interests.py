"""Counts of a user are a mixture of Dirichlet-multinomial laws, and few events are filled up from the user's group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import beta, binom, dirichlet_multinomial

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.models.papers.user_interests import expected_shares, user_interests

COUNTS = np.array([[3, 0, 1], [2, 1, 0], [0, 0, 4], [0, 0, 0]])
WEIGHTS, CENTRE, STRENGTH = np.array([0.3, 0.7]), np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]), np.array([2.0, 5.0])


@pytest.fixture(autouse=True)
def in_64_bits():
    with jax.enable_x64(True):
        yield


def test_the_counts_of_a_user_are_a_mixture_over_groups():
    found = inference.log_marginals(user_interests, jnp.array(COUNTS), 2, plate="user", enumerate=["z"])(
        {"weights": WEIGHTS, "centre": CENTRE, "strength": STRENGTH}
    )
    each = [
        [dirichlet_multinomial(strength * centre, row.sum()).logpmf(row) for row in COUNTS[:3]]
        for strength, centre in zip(STRENGTH, CENTRE, strict=True)
    ]
    truth = np.append(logsumexp(np.array(each) + np.log(WEIGHTS)[:, None], axis=0), 0.0)  # no event is certain then
    assert np.allclose(found, truth, rtol=0, atol=1e-12)


def test_expected_shares_are_those_of_a_quadrature_over_the_shares():
    counts, centre = np.array([[3, 1], [0, 6], [0, 0]]), np.array([[0.8, 0.2], [0.3, 0.7]])
    found = expected_shares(counts, WEIGHTS, centre, STRENGTH)
    for row, shares in zip(counts, found, strict=True):

        def mass(share, power, row=row):
            prior = sum(w * beta.pdf(share, *(s * c)) for w, s, c in zip(WEIGHTS, STRENGTH, centre, strict=True))
            return share**power * prior * binom.pmf(row[0], row.sum(), share)

        total, first = (quad(mass, 0, 1, args=(power,), epsabs=1e-12, limit=200)[0] for power in (0, 1))
        assert abs(shares[0] - first / total) < 1e-7
    assert np.allclose(np.sum(found, 1), 1.0, rtol=0, atol=1e-12)


def test_a_user_without_events_has_the_shares_of_the_population_and_one_with_many_its_own():
    nobody, everybody = np.array([[0, 0, 0]]), np.array([[600_000, 300_000, 100_000]])
    shown = WEIGHTS, CENTRE, STRENGTH
    assert np.allclose(expected_shares(nobody, *shown)[0], WEIGHTS @ CENTRE, rtol=0, atol=1e-12)
    assert np.allclose(expected_shares(everybody, *shown)[0], [0.6, 0.3, 0.1], rtol=0, atol=1e-5)


def test_tempering_and_importance_give_the_same_evidence():
    """Within 5 of their errors together: a false alarm in about 1e4 keys; the errors are below .15, so half is seen."""
    args = jnp.array(COUNTS), 2
    by_weights = inference.importance(user_interests, particles=20_000, runs=4, enumerate=["z"])(
        jax.random.key(0), *args
    )
    summed = inference.marginalise(["z"])(lawful.trace(user_interests, *args))
    tempered = inference.tempered_smc(summed, particles=500, runs=4)(jax.random.key(1), *args)
    error = np.hypot(by_weights.log_evidence_error, tempered.log_evidence_error)
    assert error < 0.15
    assert abs(by_weights.log_evidence_pooled - tempered.log_evidence_pooled) < 5 * error


@pytest.mark.parametrize(
    ("args", "words"), [((jnp.zeros(4, int),), "wanted a table"), ((jnp.zeros((4, 2), int), 0), "groups is 0")]
)
def test_bad_input_says_what_was_wanted(args, words):
    with pytest.raises(LawfulError, match=words):
        lawful.trace(user_interests, *args)
