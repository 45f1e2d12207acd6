"""What users give is read as numbers or refused early, with what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest

from benchmarks.studies.gaussian_moe.rates import rate_study
from lawful.errors import LawfulError, NoFiniteStartError, ObservationError
from lawful.models.gaussian_moe import (
    Gate,
    GaussianMoE,
    Mixture,
    Parameters,
    Settings,
    compare_experts,
    fisher,
    hellinger,
    posterior_of,
    voronoi_loss,
)
from lawful.models.gaussian_moe.parameters import Units
from lawful.models.gaussian_moe.reading import columns_of, count, data
from tests.models.gaussian_moe.cases import TRUTH, random_parameters

X, Y, LONG = np.arange(6.0)[:, None], np.arange(6.0) ** 2, np.arange(40.0)
SOFT, TOP_1 = Mixture(Gate(), TRUTH), Mixture(Gate("topk", top_k=1), TRUTH)
WIDE = Mixture(Gate(), random_parameters(np.random.default_rng(0), 2, 2))


def fit(k=2, *, x=X, y=Y, gate="softmax", top_k=None, **options):
    return GaussianMoE(k, gate, top_k=top_k).fit(x, y, **options)


@pytest.mark.parametrize("kind", [np.asarray, list, pandas.DataFrame, lambda x: x.astype(object), jnp.asarray])
def test_arrays_lists_and_frames_are_the_same_numbers(kind):
    x, y = data(kind(X), pandas.Series(Y), 2, "fit")
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(columns_of(kind(X), 1), X.T)


def test_integers_and_booleans_are_numbers():
    assert data(X > 2, Y.astype(int), 1, "fit")[0].dtype == float


def test_a_column_of_equal_numbers_keeps_its_scale():
    """The mean of seven times 0.1 is not 0.1, and a column in units of that rounding would rule the fit."""
    x = jnp.column_stack([jnp.arange(7.0), jnp.full(7, 0.1), jnp.full(7, 1e8)])
    assert Units.of(x, x[:, 1]).x_scale.tolist() == [2.0, 1.0, 1.0] and Units.of(x, x[:, 1]).y_scale == 1


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: fit(x=[["a"]] * 6), ObservationError, "X holds what is no number.*Fix: code categories"),
        (lambda: fit(x=pandas.DataFrame({"x": ["u", "v"] * 3}, dtype="category")), ObservationError, "no number"),
        (lambda: fit(x=X + 0j), ObservationError, "X holds what is no number"),
        (lambda: fit(x=[[1.0], [2.0, 3.0]], y=Y[:2]), ObservationError, "rows of equal length"),
        (lambda: fit(x=X[:0], y=Y[:0]), ObservationError, "n 1 or more. Fix"),
        (lambda: fit(y=np.full(6, 0.1)), ObservationError, "all answers are 0.1.*Fix"),
        (lambda: fit(x=X[:1], y=Y[:1]), ObservationError, "1 rows for 2 experts. Fix"),
        (lambda: fit(7), ObservationError, "6 rows for 7 experts. Fix"),
        (lambda: fit(x=1e8 + 1e-8 * X), ObservationError, "column 0 of X varies by.*float64 cannot tell apart. Fix"),
        (lambda: fit(True), LawfulError, "n_experts=True. Fix"),
        (lambda: fit(starts=0), LawfulError, "starts=0. Fix"),
        (lambda: fit(key="seed"), LawfulError, "key: expected one typed key"),
        (lambda: fit(init={"a": 1}), LawfulError, "init is a dict. Fix"),
        (lambda: fit(3, init=TRUTH), LawfulError, "init has 2 experts of 1 covariates, expected 3 of 1. Fix"),
        (lambda: fit(settings=Settings(floor=0.0)), LawfulError, "floor=0.0.*Fix"),
        (lambda: fit(settings=Settings(bound=-1.0)), LawfulError, "bound=-1.0. Fix"),
        (lambda: fit(settings=Settings(em_most=-1)), LawfulError, "em_most=-1. Fix"),
        (lambda: fit(settings=Settings(slope=-1.0)), LawfulError, "slope=-1.0. Fix"),
        (lambda: fit(x=X[:5], y=Y[:5], gate="topk", top_k=1), ObservationError, "3 of these 5 rows.*Fix"),
        (lambda: fit(x=X * 0, gate="topk", top_k=1), ObservationError, "no boundary.*Fix"),
        (lambda: fit(20, x=LONG[:, None], y=LONG, gate="topk", top_k=10), LawfulError, "184756 ways"),
        (lambda: GaussianMoE(2, tau="free"), LawfulError, "tau='free' with gate='softmax'. Fix"),
        (lambda: GaussianMoE(2, activation="tanh"), LawfulError, "activation='tanh' with kind='softmax'. Fix"),
        (lambda: Gate(selection="slope"), LawfulError, "selection='slope' with kind='softmax'. Fix"),
        (lambda: Parameters.of([np.nan], [0.0], [0.0], [0.0], [1.0]), LawfulError, "finite. Fix"),
        (lambda: SOFT.predict([["a"]]), ObservationError, "X holds what is no number"),
        (lambda: SOFT.sample(0.5, X), LawfulError, "key: expected one typed key"),
        (lambda: fisher(TOP_1), LawfulError, "top-K gate jumps.*Fix"),
        (lambda: fisher(WIDE), LawfulError, "X is None for a mixture of 2 covariates. Fix"),
        (lambda: hellinger(WIDE, WIDE), LawfulError, "X is None for a mixture of 2 covariates. Fix"),
        (lambda: hellinger(SOFT, SOFT, X[:0]), ObservationError, "no rows. Fix"),
        (lambda: voronoi_loss(WIDE, SOFT), LawfulError, "fit has 2 covariates and the truth 1. Fix"),
        (lambda: voronoi_loss(GaussianMoE(2), SOFT), LawfulError, "got a GaussianMoE. Fix: call fit"),
        (lambda: voronoi_loss(None, SOFT), LawfulError, "got a NoneType. Fix"),
        (lambda: rate_study(0, SOFT, GaussianMoE(1), [50], 1), LawfulError, "truth of 2 experts.*of 1. Fix"),
        (lambda: rate_study(0, SOFT, GaussianMoE(3), [50], 1, order=[0, 0, 0]), LawfulError, r"order=\[0, 0, 0\].*Fix"),
        (lambda: rate_study(0, SOFT, GaussianMoE(2), [0], 1), LawfulError, "n=0. Fix"),
        (lambda: posterior_of(X[:, 0], Y, 1, key=0), ObservationError, r"X has the shape \(6,\).*Fix"),
        (lambda: posterior_of(X, np.where(Y > 9, np.nan, Y), 1, key=0), ObservationError, "row 4 is not finite"),
        (lambda: posterior_of(X, Y, 0, key=0), LawfulError, "k=0. Fix"),
        (lambda: compare_experts(X, Y, [], key=0), LawfulError, "experts is empty. Fix"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_early(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_differences_that_single_precision_loses_are_refused(single_precision):
    with pytest.raises(ObservationError, match="float32 cannot tell apart. Fix: subtract its mean"):
        fit(x=1.7e9 + X)


@pytest.mark.parametrize("value", [2.0, "2", True, None, 0])
def test_counts_are_whole_numbers(value):
    with pytest.raises(LawfulError, match="n_experts=.*Fix: give a whole number, 1 or more"):
        count(value, "GaussianMoE: n_experts")
    assert count(np.int64(3), "starts") == 3


def test_a_frame_with_columns_in_another_order_is_refused():
    frame = pandas.DataFrame({"u": [0.1, 0.2], "v": [1.0, 2.0]})
    model = GaussianMoE(2)
    model.mixture_, model._names = WIDE, ["u", "v"]
    assert (model.predict(frame) == model.predict(frame.to_numpy())).all()
    with pytest.raises(ObservationError, match=r"columns \['v', 'u'\], the fit had \['u', 'v'\]. Fix"):
        model.predict(frame[["v", "u"]])


def test_numbers_of_draws_may_be_seeds():
    for seed in (3, np.int64(3)):
        assert (SOFT.sample(seed, X) == SOFT.sample(jax.random.key(3), X)).all()


def test_a_fit_without_a_finite_likelihood_is_refused(monkeypatch):
    lost = GaussianMoE(1).fit(X, Y, starts=1).fit_._replace(log_likelihood=jnp.array(jnp.nan))
    monkeypatch.setattr("lawful.models.gaussian_moe.estimator._one", lambda *_: lost)
    with pytest.raises(NoFiniteStartError, match="none of 1 starts has a finite likelihood. Fix"):
        GaussianMoE(1).fit(X, Y, init=Parameters.of([0.0], [0.0], [0.0], [0.0], [1.0]))
