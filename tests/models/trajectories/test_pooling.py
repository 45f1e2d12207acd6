"""Classes borrow from what they have in common: the penalty is the divergence of each from the best common law."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.models.trajectories import Model, TrajectoryMixture, bootstrap_ratio, criteria_table, unpack
from lawful.models.trajectories.fitting import objective
from lawful.models.trajectories.fitting.objective import Problem
from lawful.models.trajectories.likelihood.penalties import Pooling, log_pooling

from .truth import BOUNDS, case

GIVEN = {"y_var": "Y", "t_var": "T", "records": range(1, 5)}
MODELS = (
    Model("BLS", 2, 2, 2),
    Model("LIN", 3),
    Model("EXP", 2, 1, 2, intrinsic=True),
    Model("LIN", 3, 0, 2, joint=False, p_varying=1, waves=5),
    Model("QUAD", 2, 0, 1, p_varying=2, waves=5),
)
ONE, MUCH = Pooling(1.0, jnp.ones(5)), Pooling(100.0, jnp.ones(5))


def at_random(model, seed=0):
    return unpack(jnp.asarray(case(model, seed=seed)[2]), model, BOUNDS)


def divergence(mean, covariance, common):
    """Of N(mean, covariance) from N(0, common)."""
    ratio = np.linalg.solve(common, covariance + np.outer(mean, mean))
    apart = np.linalg.slogdet(common)[1] - np.linalg.slogdet(covariance)[1]
    return 0.5 * (np.trace(ratio) - len(mean) + apart)


def laws(at, model, seen):
    """Give for each class the laws of its deviations, with how often each counts: (mean, covariance, times)."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf)[..., 0], at)
    for c in range(model.n_classes):
        known = model.joint
        mean = p.x_mean[c] - p.x_mean.mean(axis=0) if known else np.zeros(model.p_growth)
        spread = p.x_chol[c] @ p.x_chol[c].T if known else np.eye(model.p_growth)
        each = [(*together(mean, spread, p.slope[c], p.chol[c] @ p.chol[c].T), 1.0)]
        for j, share in enumerate(seen):
            effect = np.zeros((1, 0)) if p.varying is None else p.varying.effect[c][None]
            mean, spread = np.zeros(effect.shape[1]), np.eye(effect.shape[1])
            if known and p.varying is not None:
                mean = (p.varying.mean[c] - p.varying.mean.mean(axis=0))[:, j]
                spread = np.diag(p.varying.spread[c][:, j] ** 2)
            each.append((*together(mean, spread, effect, p.noise[c].reshape(1, 1)), share))
        yield each


def together(mean, spread, slope, rest):
    """The law of covariates and of what deviates on them."""
    covariance = np.block([[spread, spread @ slope.T], [slope @ spread, slope @ spread @ slope.T + rest]])
    return np.r_[mean, slope @ mean], covariance


def summed(each, commons):
    return sum(
        times * divergence(mean, covariance, common)
        for own in each
        for (mean, covariance, times), common in zip(own, commons, strict=True)
    )


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_penalty_is_the_divergence_of_classes_from_their_best_common_law(model):
    at = at_random(model)
    seen = np.linspace(1.0, 0.4, 5)
    each = list(laws(at, model, seen))
    commons = [
        np.mean([covariance + np.outer(mean, mean) for mean, covariance, _ in own], axis=0)
        for own in zip(*each, strict=True)
    ]
    found = float(log_pooling(at, model, Pooling(7.0, jnp.asarray(seen)))[0])
    assert found == pytest.approx(-7.0 * summed(each, commons), rel=1e-10)
    for factor in (0.99, 1.01):
        assert found > -7.0 * summed(each, [factor * common for common in commons])


@pytest.mark.slow
def test_classes_that_differ_in_curves_and_sizes_alone_are_not_moved_and_others_are_the_same_by_any_name():
    model = MODELS[0]
    at = at_random(model)
    alike = at._replace(
        **{
            name: jnp.broadcast_to(getattr(at, name)[:1], getattr(at, name).shape)
            for name in ("slope", "chol", "noise", "x_mean", "x_chol")
        }
    )
    assert float(log_pooling(alike, model, MUCH)[0]) == pytest.approx(0, abs=1e-8)
    slopes = jax.grad(lambda at: log_pooling(at, model, MUCH)[0])(alike)
    below = [np.asarray(chol)[:, *np.tril_indices(chol.shape[1])] for chol in (slopes.chol, slopes.x_chol)]
    for each in (*below, slopes.slope, slopes.noise, slopes.x_mean):
        assert np.abs(each).max() < 1e-8
    turned = jax.tree.map(lambda leaf: leaf[::-1], at)
    one, other = (float(log_pooling(each, model, ONE)[0]) for each in (at, turned))
    assert one == pytest.approx(other, rel=1e-12) and one < -0.1
    singular = at._replace(chol=at.chol.at[0, 2, 2].set(0.0))
    assert log_pooling(singular, model, ONE)[0] == -np.inf


def test_many_columns_are_many_parameters():
    model = MODELS[0]
    some = [at_random(model, seed) for seed in range(3)]
    of = jax.jit(lambda at: log_pooling(at, model, ONE))
    together = of(jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=-1), *some))
    np.testing.assert_allclose(together, [float(of(at)[0]) for at in some], rtol=1e-12)


@pytest.mark.slow
def test_classes_are_their_own_with_nothing_borrowed_and_alike_with_very_much(two_lines):
    data, _, plain = two_lines
    weak, none, some, all_of_it = (
        TrajectoryMixture(2, "LIN", n_starts=2, penalty=penalty, pooling=pooling).fit(data, **GIVEN)
        for penalty, pooling in (("weak", None), ("pooled", 0), ("pooled", 50), ("pooled", 1e5))
    )
    assert none.minus2ll_penalised == pytest.approx(weak.minus2ll_penalised, abs=1e-6)
    assert weak.pooling is None and some.pooling == 50
    assert plain.minus2ll < weak.minus2ll < some.minus2ll < all_of_it.minus2ll
    assert all_of_it.search.calm[all_of_it.search.best]

    def apart(fit):
        noise = np.log(fit.parameters.noise)
        return abs(noise[0] - noise[1])

    assert apart(all_of_it) < 1e-3 < apart(some) < apart(weak)
    first, second = (chol @ chol.T for chol in all_of_it.parameters.chol)
    np.testing.assert_allclose(first, second, rtol=1e-2, atol=1e-2 * np.abs(first).max())
    assert np.abs(np.subtract(*all_of_it.parameters.mean)).max() > 1
    assert "with the pooled penalty, 50 persons borrowed by each class" in some.summary()
    assert np.isfinite(some.standard_errors.observed).all()
    for compare in (lambda fits: criteria_table(fits), lambda fits: bootstrap_ratio(one_class_of(fits[0]), fits[1], 0)):
        with pytest.raises(LawfulError, match="penalties differ"):
            compare([none, some])


def one_class_of(fit):
    return replace(fit, model=replace(fit.model, n_classes=1))


@pytest.mark.slow
@pytest.mark.parametrize("density", ["joint", "conditional"])
def test_covariates_are_borrowed_too(two_lines, density):
    """Classes whose growth covariate has other effects and means come nearer to each other in both."""
    data = two_lines[0] | {f"V{j}": np.sin(np.arange(80.0) * j) for j in range(1, 5)}
    apart = {}
    for pooling in (0, 100):
        model = TrajectoryMixture(2, "LIN", n_starts=2, penalty="pooled", pooling=pooling, covariate_density=density)
        at = model.fit(data, growth="x", time_varying="V", **GIVEN).parameters
        moved = [at.slope, at.varying.effect, *((at.x_mean, at.varying.spread) if density == "joint" else ())]
        apart[pooling] = np.array([np.abs(each[0] - each[1]).mean() for each in moved])
    assert (apart[100] < 0.7 * apart[0]).all(), apart


@pytest.mark.slow
def test_a_block_that_is_filled_up_with_nobody_has_the_penalty_of_its_persons():
    model = Model("LIN", 2, 1, 1)
    _, made, free = case(model, n=5, waves=3)
    problem = Problem(made, BOUNDS, jnp.asarray(0.0), Pooling(100.0, jnp.ones(3)))
    filled = jax.tree.map(lambda leaf: jnp.pad(leaf, [(0, 0), (0, 2)]), made)

    def scores(block, n, live):
        def summed(wide):
            found = objective._by_person(wide, 0.0, block, problem, model, True, live)
            return jnp.sum(found if live is None else jnp.where(live, found, 0.0))

        return jax.jit(jax.value_and_grad(summed))(jnp.broadcast_to(free, (model.size, n)))

    (value, own), (same, padded) = scores(made, 5, None), scores(filled, 7, jnp.arange(7) < 5)
    assert float(same) == pytest.approx(float(value), rel=1e-12)
    np.testing.assert_allclose(padded[:, :5], own, rtol=1e-9, atol=1e-9 * np.abs(own).max())
    assert not padded[:, 5:].any()


def test_pooling_without_its_penalty_and_in_a_posterior_is_refused(two_lines):
    data = two_lines[0]
    with pytest.raises(LawfulError, match="pooling=50 and penalty='weak'.*Fix: take penalty='pooled'"):
        TrajectoryMixture(2, "LIN", penalty="weak", pooling=50).fit(data, **GIVEN)
    with pytest.raises(LawfulError, match="priors do not pool"):
        TrajectoryMixture(2, "LIN", penalty="pooled").bayes(data, **GIVEN, key=0)
