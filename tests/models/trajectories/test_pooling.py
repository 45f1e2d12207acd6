"""Classes borrow from what they have in common: the penalty is the divergence of each from the best common law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import Model, TrajectoryMixture, unpack
from lawful.models.trajectories.pooling import Pooling, log_pooling

from .truth import BOUNDS, case

MODELS = (
    Model("BLS", 2, 2, 2),
    Model("LIN", 3),
    Model("EXP", 2, 1, 2, intrinsic=True),
    Model("LIN", 3, 0, 2, joint=False, p_varying=1, waves=5),
    Model("QUAD", 2, 0, 1, p_varying=2, waves=5),
)


def at_random(model, seed=0):
    return unpack(jnp.asarray(case(model, seed=seed)[2]), model, BOUNDS)


def divergence(mean, covariance, common):
    """Of N(mean, covariance) from N(0, common)."""
    ratio = np.linalg.solve(common, covariance + np.outer(mean, mean))
    apart = np.linalg.slogdet(common)[1] - np.linalg.slogdet(covariance)[1]
    return 0.5 * (np.trace(ratio) - len(mean) + apart)


def laws(at, model, outcomes):
    """Give for each class the laws of its deviations, with how often each counts: (mean, covariance, times)."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf)[..., 0], at)
    k = model.n_classes
    for c in range(k):
        inner = p.x_chol[c] @ p.x_chol[c].T if model.joint else np.eye(model.p_growth)
        away = p.x_mean[c] - p.x_mean.mean(axis=0) if model.joint else np.zeros(model.p_growth)
        slope = p.slope[c]
        covariance = np.block([[inner, inner @ slope.T], [slope @ inner, slope @ inner @ slope.T + at_own(p.chol[c])]])
        yield [(np.r_[away, slope @ away], covariance, 1.0), *outcome_laws(p, model, c, outcomes)]


def outcome_laws(p, model, c, outcomes):
    if p.varying is None:
        return [(np.zeros(1), p.noise[c].reshape(1, 1), outcomes)]
    away = p.varying.effect[c] - p.varying.effect.mean(axis=0)
    found = [(np.array([np.sqrt(np.sum(away**2))]), p.noise[c].reshape(1, 1), outcomes)]
    mean, spread = p.varying.mean, p.varying.spread
    each = [(m, s) for m, s in zip((mean[c] - mean.mean(axis=0)).ravel(), spread[c].ravel(), strict=True)]
    return found + [(np.array([m]), np.array([[s**2]]), 1.0) for m, s in each]


def at_own(chol):
    return chol @ chol.T


def summed(each, commons):
    return sum(
        times * divergence(mean, covariance, common)
        for own in each
        for (mean, covariance, times), common in zip(own, commons, strict=True)
    )


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_penalty_is_the_divergence_of_classes_from_their_best_common_law(model):
    at = at_random(model)
    each = list(laws(at, model, 4.5))
    commons = [
        np.mean([covariance + np.outer(mean, mean) for mean, covariance, _ in own], axis=0)
        for own in zip(*each, strict=True)
    ]
    found = float(log_pooling(at, model, Pooling(7.0, 4.5))[0])
    assert found == pytest.approx(-7.0 * summed(each, commons), rel=1e-10)
    for factor in (0.99, 1.01):
        assert found > -7.0 * summed(each, [factor * common for common in commons])


def test_classes_that_differ_in_curves_and_sizes_alone_are_not_moved_and_others_are_the_same_by_any_name():
    model = MODELS[0]
    at = at_random(model)
    alike = at._replace(
        **{
            name: jnp.broadcast_to(getattr(at, name)[:1], getattr(at, name).shape)
            for name in ("slope", "chol", "noise", "x_mean", "x_chol")
        }
    )
    assert float(log_pooling(alike, model, Pooling(100.0, 5.0))[0]) == pytest.approx(0, abs=1e-8)
    slopes = jax.grad(lambda at: log_pooling(at, model, Pooling(100.0, 5.0))[0])(alike)
    below = [np.asarray(chol)[:, *np.tril_indices(chol.shape[1])] for chol in (slopes.chol, slopes.x_chol)]
    for each in (*below, slopes.slope, slopes.noise, slopes.x_mean):
        assert np.abs(each).max() < 1e-8
    turned = jax.tree.map(lambda leaf: leaf[::-1], at)
    one, other = (float(log_pooling(each, model, Pooling(1.0, 5.0))[0]) for each in (at, turned))
    assert one == pytest.approx(other, rel=1e-12) and one < -0.1
    singular = at._replace(chol=at.chol.at[0, 2, 2].set(0.0))
    assert log_pooling(singular, model, Pooling(1.0, 5.0))[0] == -np.inf


def test_classes_are_their_own_with_nothing_borrowed_and_alike_with_very_much(two_lines):
    data, _, plain = two_lines
    given = {"y_var": "Y", "t_var": "T", "records": range(1, 5)}
    weak, none, some, all_of_it = (
        TrajectoryMixture(2, "LIN", n_starts=2, penalty=penalty, pooling=pooling).fit(data, **given)
        for penalty, pooling in (("weak", 50), ("pooled", 0), ("pooled", 50.0), ("pooled", 1e6))
    )
    assert none.minus2ll_penalised == pytest.approx(weak.minus2ll_penalised, abs=1e-6)
    assert weak.pooling is None and some.pooling == 50
    assert plain.minus2ll < weak.minus2ll < some.minus2ll < all_of_it.minus2ll

    def apart(fit):
        noise = np.log(fit.parameters.noise)
        return abs(noise[0] - noise[1])

    assert apart(all_of_it) < 1e-3 < apart(some) < apart(weak)
    first, second = (chol @ chol.T for chol in all_of_it.parameters.chol)
    np.testing.assert_allclose(first, second, rtol=1e-2, atol=1e-2 * np.abs(first).max())
    assert np.abs(np.subtract(*all_of_it.parameters.mean)).max() > 1
    assert "each class with 50 persons of all classes" in some.summary()
    assert np.isfinite(some.standard_errors.observed).all()
