"""The likelihood of counts, and the posterior of rows, are those of all labels added up."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import MemoryLimitError, NonFiniteError, ObservationError
from lawful.inference.graphs import counts as counting
from lawful.models.llp import Bags, Geometric, Normal, Rounded, Sampled, count_log_likelihood, posterior_given_counts
from tests.models.llp.truth import posterior

BAGS = {  # made where they are asked for: what noise says of counts is compiled
    "ragged": lambda: Bags.from_ids([0, 1, 1, -1, 2, 2, 2, 0, 2], [1, 2, 1]),
    "extreme": lambda: Bags.from_ids([0, 0, 1, 1, 1, 2], [0, 3, 1]),
    "missing": lambda: Bags.from_ids([0, 0, 1, 1, 1, -1], [np.nan, 1]),
    "normal": lambda: Bags.from_ids([0, 0, 0, 1, 1], [1.3, 2.4], noise=Normal(0.8)),
    "private": lambda: Bags.from_ids([0, 0, 0, 1, 1], [4, -1], noise=Geometric(0.5)),
    "rounded": lambda: Bags.from_ids([0] * 9 + [1] * 2, proportions=[0.2, 0.5], noise=Rounded(1)),
    "sampled": lambda: Bags.from_ids([0, 0, 0, 1, 1], [1, 1], noise=Sampled([2, 1])),
    "classes": lambda: Bags.from_ids([0, 0, 1, 1, 1, -1], [[1, 0, 1], [0, 2, 1]]),
    "classes missing": lambda: Bags.from_ids([0, 0, 1, 1, 1, 1], [[np.nan] * 3, [1, 2, 1]]),
}


@pytest.fixture(scope="module")
def file(data):
    return json.loads((data / "exact" / "llp_bags.json").read_text())


def logits(bags, seed=0):
    shape = (bags.n_rows,) if bags.counts.ndim == 1 else (bags.n_rows, bags.n_classes)
    return np.random.default_rng(seed).normal(size=shape) * 2


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", BAGS)
def test_l10_likelihood_and_posterior_are_those_of_all_labels(name):
    bags = BAGS[name]()
    z = logits(bags)
    log_z, marginals = posterior(z, bags)
    found = count_log_likelihood(z, bags)
    np.testing.assert_allclose(jnp.sum(found), log_z, rtol=1e-12)
    np.testing.assert_allclose(posterior_given_counts(z, bags), marginals, atol=1e-12)
    assert np.all(np.asarray(found)[~bags.known] == 0)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_l1_the_reference_bags_have_their_answers(file, dtype, tol):
    given, truth = file["data"]["bags"], file["exact"]["bags"]
    p = np.concatenate([bag["p"] for bag in given])
    bags = Bags.from_ids(
        np.repeat(np.arange(len(given)), [len(bag["p"]) for bag in given]), [bag["count"] for bag in given]
    )
    z = np.log(p / (1 - p)).astype(dtype)
    found, marginals = count_log_likelihood(z, bags), posterior_given_counts(z, bags)
    assert found.dtype == marginals.dtype == dtype
    np.testing.assert_allclose(found, [bag["log_prob_count"] for bag in truth], rtol=tol, atol=tol)
    np.testing.assert_allclose(marginals, np.concatenate([bag["marginals"] for bag in truth]), atol=tol)
    if dtype == np.float64:
        assert float(found.sum()) == pytest.approx(file["exact"]["total_log_evidence"], rel=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["ragged", "normal", "classes"])
def test_the_slope_of_the_likelihood_is_posterior_less_prior(name):
    bags = BAGS[name]()
    z = jnp.asarray(logits(bags))
    slope = jax.jit(jax.grad(lambda z: jnp.sum(count_log_likelihood(z, bags))))(z)
    prior = jax.nn.sigmoid(z) if z.ndim == 1 else jax.nn.softmax(z)
    np.testing.assert_allclose(slope, posterior_given_counts(z, bags) - prior, atol=1e-10)


@pytest.mark.slow
def test_a_logit_that_excludes_a_count_gives_no_mass_and_no_slope():
    bags = Bags.from_ids([0, 0, 1, 1], [1, 1])
    z = jnp.array([-jnp.inf, -jnp.inf, 0.3, -0.2])
    value, slope = jax.value_and_grad(lambda z: count_log_likelihood(z, bags)[1])(z)
    assert count_log_likelihood(z, bags)[0] == -jnp.inf and np.isfinite(value)
    assert not np.isnan(np.asarray(jax.grad(lambda z: jnp.sum(count_log_likelihood(z, bags)))(z))).any()
    assert np.isfinite(np.asarray(slope)).all()


@pytest.mark.slow
def test_bags_of_many_sizes_are_as_each_alone():
    rng = np.random.default_rng(3)
    sizes = np.array([1, 3, 17, 2, 33])
    ids = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    bags = Bags.from_labels(rng.random(len(ids)) < 0.3, ids)
    z = rng.normal(size=len(ids)) * 3
    together, q = count_log_likelihood(z, bags), posterior_given_counts(z, bags)
    for bag in range(bags.n_bags):
        rows = bags.members_of(bag)
        alone = counting.solve(jnp.asarray(z[rows]), jnp.asarray(bags.log_weights(np.array([bag]))[0]))
        np.testing.assert_allclose(together[bag], alone.log_evidence, rtol=1e-10)
        np.testing.assert_allclose(q[rows], jax.nn.sigmoid(z[rows] + alone.messages), atol=1e-10)
    np.testing.assert_allclose(np.bincount(ids, q), bags.counts, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 7, 1024, 2047, 2048])
def test_l2_messages_of_large_bags_in_single_precision(count):
    rng = np.random.default_rng(count)
    z = rng.uniform(-20, 20, size=2048)
    exact = recursion(z, count)
    bags = Bags.from_ids(np.zeros(2048, int), [count])
    h = jnp.asarray(z, jnp.float32)[None]
    found = np.asarray(counting.messages(h, jnp.asarray(bags.log_weights(), jnp.float32)))[0]
    exact32 = recursion(np.asarray(h[0], float), count)
    known = np.isfinite(exact)
    assert np.array_equal(found[~known], exact[~known]) and not np.isnan(found).any()
    np.testing.assert_allclose(found[known], exact32[known], rtol=0, atol=1e-5)  # of the same logits, rounded
    q = np.asarray(posterior_given_counts(np.asarray(h[0]), bags), float)
    assert np.isfinite(q).all() and abs(q.sum() - count) < 1e-4 * 2048


def recursion(z, count):
    """Messages of a hard count in double precision, by the laws of the sums before and after each member, O(B^2)."""
    size = len(z)
    log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    before = np.full((size + 1, count + 1), -np.inf)
    after = np.full((size + 1, count + 1), -np.inf)
    before[0, 0], after[size, 0] = 0, 0
    for i in range(size):
        before[i + 1] = before[i] + log_q[i]
        before[i + 1, 1:] = np.logaddexp(before[i + 1, 1:], before[i, :-1] + log_p[i])
    for i in range(size - 1, -1, -1):
        after[i] = after[i + 1] + log_q[i]
        after[i, 1:] = np.logaddexp(after[i, 1:], after[i + 1, :-1] + log_p[i])

    def joined(i, total):
        if total < 0:
            return -np.inf
        both = before[i, : total + 1] + after[i + 1, : total + 1][::-1]
        top = both.max()
        return top if top == -np.inf else top + np.log(np.exp(both - top).sum())

    with np.errstate(invalid="ignore"):
        return np.array([joined(i, count - 1) - joined(i, count) for i in range(size)])


def test_counts_of_classes_with_many_states_need_leave_to_be_approximate():
    rng = np.random.default_rng(0)
    bags = Bags.from_labels(rng.integers(0, 4, 400), np.zeros(400, int), n_classes=4)
    z = rng.normal(size=(400, 4))
    with pytest.raises(MemoryLimitError, match="approximate=True"):
        count_log_likelihood(z, bags)
    q = posterior_given_counts(z, bags, approximate=True)
    np.testing.assert_allclose(q.sum(axis=0), bags.counts[0], atol=0.05)


def test_l11_what_does_not_fit_is_refused():
    bags = Bags.from_ids([0, 0], [1])
    with pytest.raises(ObservationError, match="expected \\(2,\\)"):
        count_log_likelihood(np.zeros(3), bags)
    with pytest.raises(NonFiniteError, match="row 1 is NaN"):
        posterior_given_counts(np.array([0.0, np.nan]), bags)
    with pytest.raises(ObservationError, match="overlap"):
        posterior_given_counts(np.zeros(2), Bags.from_membership([[1, 1], [0, 1]], [1, 1]))
