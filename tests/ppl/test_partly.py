"""Parts of events that are missing: the exact law of the others, for any pattern, and the law of the missing ones."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, inference, mask, plate, sample, scale
from lawful.distributions.marginal_normal import law_of_missing_parts
from lawful.errors import LawfulError, ObservationError

KEY = jax.random.key(9)
ROOT = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.5, 1.2]])
COVARIANCE = ROOT @ ROOT.T
LOC = np.array([0.5, -1.0, 2.0])
Y = np.array([0.1, 0.7, -0.4])
PATTERNS = np.array(list(itertools.product([True, False], repeat=3)))


def law(loc=LOC, covariance=COVARIANCE):
    return dist.MultivariateNormal(jnp.asarray(loc), covariance_matrix=jnp.asarray(covariance))


def marginal(y, present):
    """The normal law of the entries that are left when the others are deleted."""
    own = np.flatnonzero(present)
    if not own.size:
        return 0.0
    return dist.MultivariateNormal(LOC[own], covariance_matrix=COVARIANCE[np.ix_(own, own)]).log_prob(y[own])


def rows(y, m):
    with plate("row", len(PATTERNS)):
        sample("y", law(), obs=y, obs_mask=m)


def one(y, m):
    sample("y", law(), obs=y, obs_mask=m)


def read(y, m):
    return sample("y", law(), obs=y, obs_mask=m)


@pytest.mark.slow
def test_every_pattern_has_the_density_of_the_entries_that_are_left():
    y = np.where(PATTERNS, Y, np.nan)
    truth = [float(marginal(Y, present)) for present in PATTERNS]
    form = lawful.trace(rows, y, PATTERNS)
    assert float(form.log_density({}, y, PATTERNS)) == pytest.approx(sum(truth), rel=1e-12)
    single = lawful.trace(one, y[0], PATTERNS[0])
    mapped = jax.vmap(lambda y, m: single.log_density({}, y, m))(jnp.asarray(y), jnp.asarray(PATTERNS))
    np.testing.assert_allclose(mapped, truth, rtol=1e-12, atol=1e-12)
    for row, present, expected in zip(y, PATTERNS, truth, strict=True):
        run = handlers.trace(handlers.seed(one, KEY))(row, present)
        assert float(run.log_probs[("y",)]) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("present", PATTERNS, ids=str)
def test_the_parts_that_are_left_times_the_missing_ones_given_them_are_the_whole(present):
    missing = law_of_missing_parts(law(), Y, present)
    given = float(dist.Normal(LOC, 1.0).log_prob(Y)[present].sum())  # of the places that mean nothing
    rest = float(missing.log_prob(Y)) - given
    assert rest + float(marginal(Y, present)) == pytest.approx(float(law().log_prob(Y)), rel=1e-12)


@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e30])
def test_junk_at_missing_parts_changes_no_bit_of_value_and_gradient(junk):
    def model(y, m):
        loc = sample("loc", dist.Normal(0.0, 1.0))
        with plate("row", 3):
            sample("y", law(loc + jnp.zeros(3)), obs=y, obs_mask=m)

    present = PATTERNS[[1, 5, 7]]
    plain, spoilt = np.where(present, Y, 0.0), np.where(present, Y, junk)
    form = lawful.trace(model, plain, present)

    def density(loc, y):
        return form.log_density({"loc": loc}, y, present)

    one, other = (jax.value_and_grad(density, (0, 1))(0.3, jnp.asarray(y)) for y in (plain, spoilt))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))
    assert np.isfinite(one[1][0]) and np.isfinite(one[1][1]).all()
    assert (np.asarray(one[1][1])[~present] == 0.0).all()


def test_missing_parts_are_dropped_kept_or_read():
    def unread(impute):
        def model(y, m):
            sample("y", law(), obs=y, obs_mask=m, impute=impute)

        return model

    y, m = np.where(PATTERNS[2], Y, np.nan), PATTERNS[2]
    plain, kept, needed = (lawful.trace(model, y, m) for model in (unread(False), unread(True), read))
    assert [s.address for s in plain.sites()] == [("y",)] and "missing marginalised" in plain.show()
    for form in (kept, needed):
        assert [s.address for s in form.sites()] == [("y",), ("y", "missing")]
        assert "missing imputed as y.missing" in form.show()
    value = handlers.seed(read, KEY)(y, m)
    np.testing.assert_array_equal(np.asarray(value)[m], Y[m])
    assert np.isfinite(value).all()


def test_impute_keeps_what_is_missing_in_results():
    def model(y, m):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with plate("row", 3):
            sample("y", dist.Normal(mu, 1.0), obs=y, obs_mask=m, impute=True)

    y = np.array([0.5, np.nan, -1.0])
    result = inference.importance(model, particles=10)(KEY, y, ~np.isnan(y))
    assert set(result.weighted.values) == {"mu", "y.missing"}
    with pytest.raises(LawfulError, match=r"site 'y' .*impute.*obs_mask"):
        handlers.seed(lambda: sample("y", dist.Normal(0.0, 1.0), obs=0.0, impute=True), KEY)()


def test_masks_and_scales_around_count_events():
    def model(y, m):
        with plate("row", len(PATTERNS)), mask(np.arange(8) != 1), scale(2.0):
            sample("y", law(), obs=y, obs_mask=m)

    y = np.where(PATTERNS, Y, np.nan)
    truth = 2 * sum(float(marginal(Y, p)) for i, p in enumerate(PATTERNS) if i != 1)
    assert float(lawful.trace(model, y, PATTERNS).log_density({}, y, PATTERNS)) == pytest.approx(truth, rel=1e-12)


def test_independent_elements_may_be_missing_one_by_one():
    def model(y, m):
        with plate("row", 2):
            return sample("y", dist.Gamma(2.0, np.array([1.0, 2.0, 3.0])).to_event(1), obs=y, obs_mask=m)

    def scored(y, m):
        model(y, m)

    m = np.array([[True, False, True], [False, False, False]])
    y = np.where(m, 0.5, -7.0)
    truth = float(dist.Gamma(2.0, np.array([1.0, 3.0])).log_prob(0.5).sum())
    assert float(lawful.trace(scored, y, m).log_density({}, y, m)) == pytest.approx(truth, rel=1e-12)
    drawn = np.asarray(handlers.seed(model, KEY)(y, m))
    assert (drawn[m] == 0.5).all() and (drawn > 0).all()


def test_low_rank_normals_tell_the_law_of_a_part():
    low = dist.LowRankMultivariateNormal(LOC, np.array([[1.0], [0.5], [-0.5]]), np.array([0.5, 1.0, 2.0]))
    whole = dist.MultivariateNormal(LOC, covariance_matrix=np.asarray(low.covariance_matrix))
    m = PATTERNS[2]
    scores = [
        handlers.trace(handlers.seed(lambda law=law: sample("y", law, obs=Y, obs_mask=m), KEY))().log_probs[("y",)]
        for law in (low, whole)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-12)


def test_other_families_do_not_tell_the_law_of_a_part():
    y, m = np.array([0.2, 0.3, 0.5]), np.array([True, False, True])
    for run in (lawful.trace, lambda f: handlers.seed(f, KEY)()):
        with pytest.raises(LawfulError, match=r"site 'y' \(.*shape \(3,\).*Dirichlet does not tell.*shape \(\)"):
            run(lambda: sample("y", dist.Dirichlet(np.ones(3)), obs=y, obs_mask=m))


def test_a_nan_at_an_observed_part_is_refused_with_its_index():
    y, m = np.where(PATTERNS, Y, np.nan), PATTERNS.copy()
    m[3, 1] = True
    with pytest.raises(ObservationError, match=r"NaN at index \(3, 1\)"):
        handlers.seed(rows, KEY)(y, m)
    with pytest.raises(ObservationError, match=r"NaN at index \(3, 1\)"):
        inference.importance(rows, particles=2)(KEY, y, m)


def test_a_condition_says_which_parts_are_there():
    observed = handlers.condition(lambda: sample("y", law()), {"y": (np.array([0.1, np.nan, -0.4]), PATTERNS[2])})
    run = handlers.trace(handlers.seed(observed, KEY))()
    assert float(run.log_probs[("y",)]) == pytest.approx(float(marginal(Y, PATTERNS[2])), rel=1e-12)
