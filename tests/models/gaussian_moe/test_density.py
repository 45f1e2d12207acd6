"""The closed form is the density, the program's marginal is the closed form, and the facts of identifiability hold."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lawful
from lawful import inference
from lawful.errors import LawfulError, ObservationError
from lawful.inference import marginalise
from lawful.inference.transformers.enumeration import marginal
from lawful.models.gaussian_moe import Gate, Mixture, Parameters, gaussian_moe
from lawful.models.gaussian_moe.parameters import (
    Units,
    permuted,
    pinned,
    rescaled,
    shifted,
    standardised,
    unstandardised,
)
from tests.models.gaussian_moe.cases import GATES, TRUTH, random_case

gates = pytest.mark.parametrize("gate", GATES.values(), ids=list(GATES))
seeds = given(st.integers(0, 10**6))
ACT = {
    "logistic": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "gelu": lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
}


def weights_by_hand(gate, p, x):
    """One row, one expert after the other."""
    beta1, beta0, tau = np.asarray(p.beta1), np.asarray(p.beta0), float(p.tau)
    slope = [sum(b * c for b, c in zip(row, x)) for row in beta1]
    if gate.kind == "activated":
        s = [(ACT[gate.activation](z) + c) / tau for z, c in zip(slope, beta0)]
    else:
        s = [(z + c) / (tau if gate.kind == "temperature" else 1) for z, c in zip(slope, beta0)]
    ranked = slope if gate.selection == "slope" else s
    chosen = sorted(range(len(s)), key=lambda i: (-ranked[i], i))[: gate.top_k or len(s)]
    top = max(s[i] for i in chosen)
    total = sum(np.exp(s[i] - top) for i in chosen)
    return np.array([np.exp(s[i] - top) / total if i in chosen else 0.0 for i in range(len(s))])


def density_by_hand(gate, p, X, y):
    w = np.array([weights_by_hand(gate, p, x) for x in X])
    error = y[:, None] - X @ np.asarray(p.a).T - np.asarray(p.b)
    nu = np.asarray(p.nu)
    return (w * np.exp(-0.5 * error**2 / nu) / np.sqrt(2 * np.pi * nu)).sum(1)


@partial(jax.jit, static_argnums=0)
def density(gate, p, X, y):
    return jnp.exp(Mixture(gate, p).log_density(X, y))


@partial(jax.jit, static_argnums=0)
def slopes(gate, p, X, y):
    return jax.grad(lambda p: jnp.sum(Mixture(gate, p).log_density(X, y)))(p)


@partial(jax.jit, static_argnums=0)
def along(gate, p, X, y, direction):
    return jax.jvp(lambda p: Mixture(gate, p).log_density(X, y), (p,), (direction,))


def same(one, other, X, y, rtol=1e-12):
    values = (density(each.gate, each.parameters, X, y) for each in (one, other))
    np.testing.assert_allclose(*values, rtol=rtol)


@gates
def test_weights_and_density_are_those_worked_out_row_by_row(gate):
    for seed in range(3):
        p, X, y, _ = random_case(seed)
        found = Mixture(gate, p)
        by_hand = np.array([weights_by_hand(gate, p, x) for x in X])
        np.testing.assert_allclose(found.weights(X), by_hand, rtol=1e-12)
        assert (np.asarray(found.weights(X))[by_hand == 0] == 0).all()
        np.testing.assert_allclose(np.exp(found.log_density(X, y)), density_by_hand(gate, p, X, y), rtol=1e-12)
        np.testing.assert_allclose(found.responsibilities(X, y).sum(1), 1, rtol=1e-14)
        mean = by_hand * (X @ np.asarray(p.a).T + np.asarray(p.b))
        np.testing.assert_allclose(found.predict(X), mean.sum(1), rtol=1e-12, atol=1e-14)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["softmax", "top 2", "logistic"])
def test_the_program_with_its_labels_summed_out_is_the_closed_form(name):
    """Value and gradient to 1e-12, by the library's own transformer, at points where some weights are 0."""
    gate, (p, X, y, _) = GATES[name], random_case(0)
    X, y = jnp.asarray(X), jnp.asarray(y)
    form = marginal(marginalise()(lawful.trace(gaussian_moe, X, y, p, gate)))
    assert not list(form.sites())

    def summed(p):
        return form.log_density({}, X, y, p, gate)

    def closed(p):
        return jnp.sum(Mixture(gate, p).log_density(X, y))

    value, gradient = jax.jit(jax.value_and_grad(summed))(p)
    exact, slope = jax.jit(jax.value_and_grad(closed))(p)
    assert value == pytest.approx(float(exact), rel=1e-12)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(slope), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "top 1"])
def test_responsibilities_are_the_conditional_of_the_label(name):
    p, X, y, _ = random_case(1, k=2, n=3)
    exact = inference.enumerate(gaussian_moe)(jnp.asarray(X), jnp.asarray(y), p, GATES[name])
    found = np.zeros((3, 2))
    for labels, mass in exact.marginal("z").items():
        found[np.arange(3), np.asarray(labels)] += mass
    np.testing.assert_allclose(Mixture(GATES[name], p).responsibilities(X, y), found, atol=1e-12)


@pytest.mark.rest_slow
@gates
@seeds
def test_a_permutation_of_the_experts_changes_nothing(gate, seed):
    p, X, y, rng = random_case(seed)
    same(Mixture(gate, permuted(p, rng.permutation(3))), Mixture(gate, p), X, y)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["softmax", "temperature", "top 2", "top 2 by slope"])
@seeds
def test_a_common_shift_changes_nothing(name, seed):
    p, X, y, rng = random_case(seed)
    moved = shifted(p, rng.normal(size=2), rng.normal())
    same(Mixture(GATES[name], moved), Mixture(GATES[name], p), X, y)
    last = pinned(p)
    assert not np.any(last.beta1[-1]) and last.beta0[-1] == 0
    same(Mixture(GATES[name], last), Mixture(GATES[name], p), X, y)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["logistic", "tanh", "gelu"])
@seeds
def test_a_shift_of_beta0_alone_changes_nothing_in_an_activated_gate(name, seed):
    p, X, y, rng = random_case(seed)
    same(Mixture(GATES[name], shifted(p, np.zeros(2), rng.normal())), Mixture(GATES[name], p), X, y)
    moved = Mixture(GATES[name], shifted(p, np.ones(2), 0.0))
    assert np.abs(density(moved.gate, moved.parameters, X, y) / density(GATES[name], p, X, y) - 1).max() > 1e-4


@seeds
def test_the_scale_of_a_gate_with_temperature_is_not_identified(seed):
    p, X, y, rng = random_case(seed)
    gate = Gate("temperature")
    factor = float(np.exp(rng.normal()))
    same(Mixture(gate, rescaled(p, factor)), Mixture(gate, p), X, y)
    direction = Parameters(p.beta1, p.beta0, *(jnp.zeros_like(v) for v in p[2:5]), tau=p.tau)
    value, slope = along(gate, p, X, y, direction)
    np.testing.assert_allclose(slope, 0, atol=1e-12 * (1 + float(jnp.abs(value).max())))


@pytest.mark.parametrize("name", ["logistic", "tanh"])
@seeds
def test_two_experts_with_an_odd_activation_have_a_twin(name, seed):
    """(beta1_1, beta1_2) -> (-beta1_2, -beta1_1), which GELU has not."""
    p, X, y, _ = random_case(seed, k=2)
    twin = p._replace(beta1=-p.beta1[::-1])
    same(Mixture(GATES[name], twin), Mixture(GATES[name], p), X, y, rtol=1e-11)
    assert np.abs(density(GATES["gelu"], twin, X, y) / density(GATES["gelu"], p, X, y) - 1).max() > 1e-9


@pytest.mark.parametrize("name", ["logistic", "tanh", "gelu"])
@seeds
def test_an_activated_gate_has_no_scale_and_three_experts_no_twin(name, seed):
    """What leaves a linear gate with a temperature, or two experts, unchanged does change these."""
    p, X, y, _ = random_case(seed)
    told = density(GATES[name], p, X, y)
    for other in (rescaled(p, 2.0), p._replace(beta1=-p.beta1[::-1])):
        assert np.abs(density(GATES[name], other, X, y) / told - 1).max() > 1e-9


@seeds
def test_the_likelihood_has_no_bound_as_a_variance_falls_on_one_row(seed):
    """An expert whose line meets one row: a variance that is 100 times smaller adds log 10, again and again."""
    p, X, y, _ = random_case(seed)
    p = p._replace(beta1=jnp.zeros_like(p.beta1), beta0=jnp.zeros_like(p.beta0))  # so that its weight is no less
    b = p.b.at[0].set(y[0] - X[0] @ p.a[0])
    values = [float(jnp.sum(jnp.log(density(Gate(), p._replace(b=b, nu=p.nu.at[0].set(nu)), X, y))))
              for nu in (1e-10, 1e-12, 1e-14)]  # fmt: skip
    np.testing.assert_allclose(np.diff(values), np.log(10), atol=1e-3)


@seeds
def test_a_top_1_gate_is_read_through_its_partition_alone(seed):
    """Scale of the gate changes nothing, and the gradient in it is exactly 0."""
    p, X, y, rng = random_case(seed, k=2, d=1)
    gate = Gate("topk", top_k=1)
    scaled = p._replace(beta1=7.0 * p.beta1, beta0=7.0 * p.beta0)
    same(Mixture(gate, scaled), Mixture(gate, p), X, y, rtol=0)
    slope = slopes(gate, p, X, y)
    assert not np.any(slope.beta1) and not np.any(slope.beta0) and np.all(np.isfinite(slope.a))


def test_a_hard_truth_is_the_limit_of_top_2_gates_with_growing_scale():
    """Three experts, two of them copies: the likelihood grows with the norm of the gate towards that of the truth."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(300, 1))
    y = Mixture(Gate("topk", top_k=1), TRUTH).sample(jax.random.key(0), x)
    score = jax.jit(lambda p, top_k: Mixture(Gate("topk", top_k=top_k), p).log_density(x, y).sum(), static_argnums=1)
    best = float(score(TRUTH, 1))
    split = permuted(TRUTH, [0, 0, 1])
    values = []
    for scale in (1.0, 4.0, 16.0, 1e5):
        grown = split._replace(beta1=scale * split.beta1, beta0=scale * split.beta0)
        values.append(float(score(grown, 2)))
    assert values == sorted(values) and values[0] < best - 1
    # On the side of the expert that is not split, a copy of the other one is selected beside it.
    assert values[-1] < best + 1e-6


@seeds
def test_all_experts_of_a_top_k_gate_are_the_softmax(seed):
    p, X, y, _ = random_case(seed)
    assert (Mixture(Gate("topk", top_k=3), p).weights(X) == Mixture(Gate(), p).weights(X)).all()


def test_ties_go_to_the_smaller_index():
    p = Parameters.of([0.0] * 3, [1.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3)
    assert Mixture(Gate("topk", top_k=2), p).weights(np.zeros((1, 1))).tolist() == [[0.5, 0.5, 0.0]]


@gates
def test_other_units_have_the_same_conditional_density(gate):
    p, X, y, rng = random_case(3)
    units = Units.of(jnp.asarray(3 + 2 * X), jnp.asarray(y * 5 - 1), centred=gate.affine)
    inside = (X - np.asarray(units.x_mean)) / np.asarray(units.x_scale)
    within = (y - float(units.y_mean)) / float(units.y_scale)
    told = Mixture(gate, standardised(p, units)).log_density(inside, within) - np.log(float(units.y_scale))
    np.testing.assert_allclose(told, Mixture(gate, p).log_density(X, y), rtol=1e-10)
    back = unstandardised(standardised(p, units), units)
    for one, other in zip(back, p):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_draws_have_the_weights_and_the_moments_of_the_experts():
    """40,000 rows at one x, within five standard errors (false alarm 1e-6 each); a weight of 0 is never drawn."""
    p = Parameters.of([0.0] * 3, [0.0, np.log(3.0), -9.0], [1.0] * 3, [-12.0, 5.0, 50.0], [1.0, 4.0, 1.0])
    n = 40_000
    y = np.asarray(Mixture(Gate("topk", top_k=2), p).sample(jax.random.key(1), np.full((n, 1), 2.0)))
    assert y.max() < 30
    high, low = y[y > -3], y[y < -3]  # means 7 and -10, standard deviations 2 and 1
    assert abs(len(high) / n - 0.75) < 5 * np.sqrt(0.1875 / n)
    assert abs(high.mean() - 7) < 5 * 2 / np.sqrt(len(high))
    assert abs(low.var() - 1) < 5 * np.sqrt(2 / len(low))


def test_single_precision_and_underflow_give_finite_numbers(single_precision):
    p = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), TRUTH)
    x, y = jnp.array([[0.0], [1.0]]), jnp.array([500.0, -500.0])
    value, slope = jax.jit(jax.value_and_grad(lambda p: jnp.sum(Mixture(Gate(), p).log_density(x, y))))(p)
    assert value.dtype == jnp.float32
    assert all(np.isfinite(v).all() for v in jax.tree.leaves((value, slope)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gate("softmx"), "kind='softmx'. Fix: give one of softmax, topk"),
        (lambda: Gate("topk"), "top_k=None. Fix"),
        (lambda: Gate("softmax", top_k=2), "Fix: give top_k, 1 or more, with kind='topk'"),
        (lambda: Gate("activated", activation="relu"), "activation='relu'"),
        (lambda: Parameters.of([1.0, 0.0], [0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]), "beta0 has the shape"),
        (lambda: Parameters.of([1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]), "positive"),
        (lambda: Mixture(Gate("topk", top_k=3), TRUTH), "top_k=3 of 2 experts"),
    ],
)
def test_wrong_settings_are_told(make, message):
    with pytest.raises(LawfulError, match=message):
        make()


def test_wrong_data_are_told():
    mixture = Mixture(Gate(), TRUTH)
    with pytest.raises(ObservationError, match=r"shape \(3,\), expected \(rows, 1\). Fix"):
        mixture.log_density(np.zeros(3), np.zeros(3))
    with pytest.raises(ObservationError, match=r"answers have the shape \(3, 1\), expected \(3,\)"):
        mixture.log_density(np.zeros((3, 1)), np.zeros((3, 1)))


def test_the_order_of_rows_is_the_order_of_answers():
    p, X, y, _ = random_case(5)
    whole = Mixture(Gate(), p).log_density(X, y)
    for i in range(3):
        np.testing.assert_allclose(Mixture(Gate(), p).log_density(X[i : i + 1], y[i : i + 1]), whole[i : i + 1])
