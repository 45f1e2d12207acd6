"""EM: the log likelihood never falls, a step is the weighted least squares and the Newton step it says it is."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.gaussian_moe import Gate, Mixture
from lawful.models.gaussian_moe.em import (
    Experts,
    Limits,
    begin,
    climb,
    experts_step,
    gate_direction,
    iterate,
    objective,
    path,
    sums_of,
)
from lawful.models.gaussian_moe.parameters import pinned
from lawful.models.gaussian_moe.rows import rows_of
from tests.models.gaussian_moe.cases import TRUTH, random_case, random_parameters

LIMITS = Limits(1e-6, 1e3)


def data(seed, n=60, d=1):
    """Answers of two crossing lines, which the fitted experts are too many for."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, d))
    y = np.where(x[:, 0] < 0.4, 3 - 5 * x[:, 0], 4 * x[:, 0]) + 0.3 * rng.normal(size=n)
    return jnp.asarray(x), jnp.asarray(y), rng


@pytest.mark.rest_slow
@pytest.mark.parametrize("top", [None, Gate("topk", top_k=1), Gate("topk", top_k=2)])
def test_the_log_likelihood_never_falls(top):
    """From starts at random, far from the data, at every iteration; a lower bound of rounding alone."""
    run = jax.jit(partial(path, iterations=40, top=top))
    for seed in range(4):
        x, y, rng = data(seed)
        start = Experts.of(pinned(random_parameters(rng, 3, 1)._replace(tau=1.0)))
        experts, values = run(start, rows_of(x, y, block=16), LIMITS)
        values = np.asarray(values)
        assert np.all(np.diff(values) >= -1e-9 * np.abs(values[1:])) and values[-1] > values[0] + 1
        told = Mixture(top or Gate(), experts.parameters()).log_density(x, y)
        assert float(jnp.sum(told)) >= values[-1] - 1e-9


@pytest.mark.slow
def test_a_ridge_is_a_penalty_that_no_iteration_lowers():
    """A strong one, so that the likelihood alone does fall on the way."""
    x, y, rng = data(1)
    limits = LIMITS._replace(ridge=5.0)
    state = begin(Experts.of(pinned(random_parameters(rng, 3, 1)._replace(tau=1.0))), rows_of(x, y))
    step = jax.jit(lambda state: iterate(state, rows_of(x, y), limits))
    values = []
    for _ in range(25):
        values.append(float(objective(state.experts, state.sums, limits)))
        state = step(state)
    assert np.all(np.diff(values) >= -1e-9 * np.abs(values[1:])) and values[-1] > values[0] + 1
    exact = -0.5 * 5.0 * np.sum(np.asarray(state.experts.line) ** 2 / np.asarray(state.experts.nu)[:, None])
    told = float(jnp.sum(Mixture(Gate(), state.experts.parameters()).log_density(x, y)))
    assert float(objective(state.experts, state.sums, limits)) == pytest.approx(told + exact, rel=1e-12)


def test_the_sums_are_those_of_responsibilities_by_hand():
    p, X, y, rng = random_case(0, n=9)
    p = pinned(p._replace(tau=1.0))
    weight = rng.integers(1, 4, 9).astype(float)
    sums = jax.jit(sums_of)(Experts.of(p), rows_of(jnp.asarray(X), jnp.asarray(y), jnp.asarray(weight), block=4))
    mixture, Z = Mixture(Gate(), p), np.column_stack([X, np.ones(9)])
    r = np.asarray(mixture.responsibilities(X, y)) * weight[:, None]
    w = np.asarray(mixture.weights(X))
    error = y[:, None] - X @ np.asarray(p.a).T - np.asarray(p.b)
    exact = {
        "log_likelihood": weight @ np.asarray(mixture.log_density(X, y)),
        "mass": r.sum(0),
        "gram": np.einsum("nk,ni,nj->kij", r, Z, Z),
        "cross": np.einsum("nk,nk,ni->ki", r, error, Z),
        "square": np.einsum("nk,nk->k", r, error**2),
        "slope": ((r - weight[:, None] * w).T @ Z)[:2],
        "curvature": np.einsum("n,nkl,ni,nj->kilj", weight, np.eye(3) * w[:, None] - w[:, :, None] * w[:, None], Z, Z)[
            :2, :, :2
        ],
    }
    for name, value in exact.items():
        np.testing.assert_allclose(getattr(sums, name), value, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.slow
def test_the_step_of_the_experts_is_weighted_least_squares():
    p, X, y, _ = random_case(1, n=30)
    p = pinned(p._replace(tau=1.0))
    sums = sums_of(Experts.of(p), rows_of(jnp.asarray(X), jnp.asarray(y)))
    found = experts_step(Experts.of(p), sums, Limits(1e-12))
    r = np.asarray(Mixture(Gate(), p).responsibilities(X, y))
    Z = np.column_stack([X, np.ones(30)])
    for k in range(3):
        root = np.sqrt(r[:, k])
        line = np.linalg.lstsq(Z * root[:, None], y * root, rcond=None)[0]
        np.testing.assert_allclose(found.line[k], line, rtol=1e-8, atol=1e-9)
        assert found.nu[k] == pytest.approx(r[:, k] @ (y - Z @ line) ** 2 / r[:, k].sum(), rel=1e-8)


@pytest.mark.slow
def test_the_step_of_the_gate_is_that_of_newton():
    p, X, y, _ = random_case(2, n=30)
    p = pinned(p._replace(tau=1.0))
    experts = Experts.of(p)
    r = Mixture(Gate(), p).responsibilities(X, y)
    Z = jnp.asarray(np.column_stack([X, np.ones(30)]))

    def expected(free):
        gate = jnp.concatenate([free.reshape(2, 3), jnp.zeros((1, 3))])
        return jnp.sum(r * jax.nn.log_softmax(Z @ gate.T, axis=1))

    free = experts.gate[:-1].reshape(-1)
    step = np.linalg.solve(-jax.jit(jax.hessian(expected))(free), jax.jit(jax.grad(expected))(free))
    found = gate_direction(experts, sums_of(experts, rows_of(jnp.asarray(X), jnp.asarray(y))), Limits(0.0))
    np.testing.assert_allclose(found[:-1].reshape(-1), step, rtol=1e-8)
    assert not np.any(found[-1])


@pytest.mark.slow
def test_a_step_of_the_gate_that_goes_too_far_is_shortened():
    """From weights near 0 and 1 Newton's step is ten times too long: it is halved, not given up."""
    start = Experts(jnp.array([[0.0, 5.0], [0.0, 0.0]]), jnp.array([[0.0, 0.0], [0.0, 10.0]]), jnp.ones(2))
    rows = rows_of(jnp.repeat(jnp.arange(2.0), 4)[:, None], jnp.tile(jnp.array([-1.0, 1.0, 9.0, 11.0]), 2))
    state = begin(start, rows)
    experts = experts_step(start, state.sums, LIMITS)
    whole = experts._replace(gate=experts.gate + gate_direction(experts, state.sums, LIMITS))
    assert sums_of(whole, rows).log_likelihood < state.sums.log_likelihood
    found = jax.jit(iterate)(state, rows, LIMITS)
    assert found.gain > 1 and 0 < found.length < 1 and found.experts.gate[0, 1] < 5.0


@pytest.mark.slow
def test_weights_of_rows_count_as_repetitions():
    x, y, rng = data(5, n=20)
    counts = rng.integers(1, 4, 20)
    start = Experts.of(pinned(random_parameters(rng, 2, 1)._replace(tau=1.0)))
    run = jax.jit(partial(path, iterations=15))
    weighted = run(start, rows_of(x, y, jnp.asarray(counts, float)), LIMITS)[1]
    repeated = run(start, rows_of(jnp.repeat(x, counts, axis=0), jnp.repeat(y, counts)), LIMITS)[1]
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9)


@pytest.mark.slow
def test_replications_side_by_side_are_the_replications_alone():
    runs = [data(seed, n=40) for seed in range(3)]
    start = Experts.of(pinned(random_parameters(np.random.default_rng(0), 2, 1)._replace(tau=1.0)))

    def fit(x, y):
        return climb(start, rows_of(x, y), LIMITS).sums.log_likelihood

    side_by_side = jax.jit(jax.vmap(fit))(jnp.stack([r[0] for r in runs]), jnp.stack([r[1] for r in runs]))
    alone = jax.jit(fit)
    np.testing.assert_allclose(side_by_side, [alone(x, y) for x, y, _ in runs], rtol=1e-9)


def test_variances_stay_above_the_floor_and_slopes_below_the_bound():
    """One expert starts on two points alone, where the likelihood has no bound; classes that a line separates."""
    x = jnp.asarray(np.linspace(0, 1, 20)[:, None])
    y = jnp.where(x[:, 0] < 0.5, 0.0, 1.0).at[jnp.array([3, 4])].set(5.0)
    start = Experts(jnp.zeros((2, 2)), jnp.array([[0.0, 5.0], [1.0, 0.0]]), jnp.array([1e-4, 1.0]))
    found = jax.jit(climb)(start, rows_of(x, y), Limits(1e-3, 50.0))
    assert found.experts.nu.min() >= 1e-3 and np.isfinite(found.sums.log_likelihood)
    assert np.abs(found.experts.gate[:, 0]).max() <= 50.0 * (1 + 1e-12)


def test_an_expert_without_mass_stays():
    x, y, _ = data(0)
    start = Experts(jnp.zeros((2, 2)), jnp.array([[0.0, 1.0], [0.0, 1e9]]), jnp.array([1.0, 1.0]))
    found = jax.jit(partial(path, iterations=3))(start, rows_of(x, y), LIMITS)
    assert found[0].line[1].tolist() == [0.0, 1e9] and np.isfinite(found[1]).all()


@pytest.mark.slow
def test_an_exact_fit_needs_few_iterations_from_near_the_truth():
    rng = np.random.default_rng(4)
    x = rng.uniform(size=(1000, 1))
    y = Mixture(Gate(), TRUTH).sample(jax.random.key(0), x)
    rows = rows_of(jnp.asarray(x), y)
    found = jax.jit(climb)(Experts.of(TRUTH), rows, LIMITS)
    assert found.iterations < 12
    assert found.sums.log_likelihood > begin(Experts.of(TRUTH), rows).sums.log_likelihood
    np.testing.assert_allclose(found.experts.line, [[-20, 15], [20, -5]], atol=1.0)


def test_single_precision(single_precision):
    x, y, rng = data(0)
    start = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), Experts.of(pinned(random_parameters(rng, 2, 1))))
    rows = rows_of(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    experts, values = jax.jit(partial(path, iterations=20))(start, rows, LIMITS)
    assert values.dtype == jnp.float32 and np.all(np.diff(values) >= -1e-4)
