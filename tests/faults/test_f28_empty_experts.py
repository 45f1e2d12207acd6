"""Row 28: an expert that meets all of its rows keeps a floor of variance, which is told; an empty one is harmless."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference import Status
from lawful.models.gaussian_moe import Gate, GaussianMoE, Mixture, Parameters, Settings, fit_from

FLOOR = 1e-6


def steep():
    """Half of the answers are copies of one point at each of two places: an expert can meet them all."""
    rng = np.random.default_rng(3)
    x = np.concatenate([np.repeat([0.2, 0.4], 10), rng.uniform(0, 1, 20)])
    y = np.concatenate([np.repeat([1.0, 1.0], 10), rng.normal(0, 1, 20)])
    return x[:, None], y


def few_points():
    """Three distinct points, many times each, and five experts."""
    return np.repeat([[0.0], [0.5], [1.0]], 12, axis=0), np.repeat([0.0, 2.0, -1.0], 12)


@pytest.mark.rest_slow
@pytest.mark.fault(28)
@pytest.mark.parametrize("experts", [2, 5])
def test_f28_the_likelihood_stays_bounded_and_the_floor_is_told_with_expert_and_value(experts):
    X, y = few_points()
    model = GaussianMoE(experts).fit(X, y, starts=4)
    floor = FLOOR * np.var(y)
    assert np.isfinite(model.log_likelihood_)
    assert model.log_likelihood_ <= len(y) * -0.5 * np.log(2 * np.pi * floor) + 1e-9
    nu = np.asarray(model.mixture_.parameters.nu)
    assert (nu >= floor * (1 - 1e-9)).all()
    clipped = [f for f in model.reasons_ if f.sites[0].startswith("nu")]
    assert clipped and all(f.status == Status.CLIPPED for f in clipped)
    assert {f.sites[0] for f in clipped} == {f"nu[{k}]" for k in np.flatnonzero(nu <= floor * 1.001)}
    for finding in clipped:
        expert = int(finding.sites[0][3:-1])
        assert finding.value == nu[expert] and finding.limit == pytest.approx(floor)
        assert f"expert {expert}: its variance {nu[expert]:.3g}" in finding.message and "Fix:" in finding.message


def test_f28_a_fit_inside_its_limits_says_nothing():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 80)
    y = np.where(x < 0.5, x, 4 - x) + 0.3 * rng.normal(size=80)
    assert GaussianMoE(1).fit(x[:, None], y).reasons_ == ()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f28_an_expert_without_rows_leaves_values_and_gradients_finite(dtype):
    """All gates on the first expert, by a score that leaves the others no weight at all."""
    with jax.enable_x64(dtype == np.float64):
        X, y = (jnp.asarray(a, dtype) for a in steep())
        start = Parameters.of(
            *(jnp.asarray(v, dtype) for v in ([0.0, 0.0], [2000.0, 0.0], [0.5, -0.5], [0.0, 1.0], [0.5, 0.2]))
        )
        density = lambda p: jnp.sum(Mixture(Gate(), p).log_density(X, y))
        value, slopes = jax.value_and_grad(density)(start)
        assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
        np.testing.assert_array_equal(slopes.a[1], 0.0)
        found = jax.jit(lambda s: fit_from(Gate(), s, X, y, Settings(em_most=20, newton_most=5)))(start)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.parameters))
        assert np.isfinite(found.log_likelihood)


@pytest.mark.slow
def test_f28_gradients_are_finite_on_the_floor():
    X, y = few_points()
    model = GaussianMoE(5).fit(X, y, starts=2)
    slopes = jax.grad(lambda p: jnp.sum(Mixture(model.gate, p).log_density(X, y)))(model.mixture_.parameters)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
