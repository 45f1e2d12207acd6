"""The program, transformed, is the closed form: densities, conditionals, gradients, and what it simulates."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.form.choices import choices_of
from lawful.inference import integrate_normals, marginalise, noncentred
from lawful.inference.check import two_sample
from lawful.inference.summing.tables import PREFIX
from lawful.models.trajectories import (
    Bounds,
    Design,
    Model,
    Parameters,
    Priors,
    draw_parameters,
    factor_scores,
    log_likelihood_by_person,
    log_memberships,
    panel,
    parameters_of,
    trajectory_mixture,
    unpack,
)
from lawful.passes.condition import conditioned
from lawful.passes.record import record

from .truth import BOUNDS, MODELS, case

BEFORE = integrate_normals(["eta"]) >> marginalise(["z"])
AFTER = noncentred(["eta"]) >> marginalise(["z"]) >> integrate_normals(["eta"])
ORDERS = {"growth factors first": BEFORE, "classes first": AFTER}
WIDTH = 1e-2


def traced(model, data, at, width=0.0):
    return lawful.trace(partial(_run, model, width), data, at)


def _run(model, width, data, at):
    trajectory_mixture(data, at, model, width)


def density(model, data, at, how, width=0.0):
    """The log density that a transformer leaves, as a function of the data and the parameters."""
    marginal = inference.enumeration(traced(model, data, at, width), how).marginal
    assert not choices_of(marginal)
    return lambda data, at: marginal.log_density({}, data, at)


def wide(at):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], at)


def slim(free, model):
    return jax.tree.map(lambda leaf: leaf[..., 0], unpack(jnp.asarray(free), model, BOUNDS))


FIRST, LAST = ORDERS
ORDINARY = [(MODELS[6], FIRST), (MODELS[3], LAST)]  # all models in both orders are among the slow tests


@pytest.mark.rest_slow
@pytest.mark.kills("42c", model=Model("BLS", 2, p_gate=2, p_growth=2), order="growth factors first")
@pytest.mark.parametrize(("model", "order"), ORDINARY, ids=str)
def test_the_program_without_factors_and_classes_is_the_closed_form(model, order):
    """Masked outcomes too: with a mask of its own in each data set, the closed form has dropped these rows."""
    width = WIDTH if model.intrinsic else 0.0
    _, data, free = case(model, missing=0.3, seed=3)
    found = jax.jit(density(model, data, slim(free, model), ORDERS[order], width))
    for seed, missing in ((3, 0.3), (4, 0.0)):
        _, data, free = case(model, missing=missing, seed=seed)
        truth = log_likelihood_by_person(unpack(jnp.asarray(free), model, BOUNDS), data, model, width).sum()
        assert float(found(data, slim(free, model))) == pytest.approx(float(truth), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_curve_and_variant_has_the_value_and_the_gradient_of_the_closed_form(model, order):
    _gradients_agree(model, ORDERS[order])


@pytest.mark.slow
def test_the_gradient_by_the_parameters_is_that_of_the_closed_form():
    _gradients_agree(Model("LIN", 2, p_gate=1, p_growth=1), BEFORE)


def _gradients_agree(model, how):
    width = WIDTH if model.intrinsic else 0.0
    _, data, free = case(model, missing=0.3, seed=5)
    program = density(model, data, slim(free, model), how, width)
    value, own = jax.jit(jax.value_and_grad(lambda free: program(data, slim(free, model))))(free)
    expected, truth = jax.value_and_grad(
        lambda free: log_likelihood_by_person(unpack(free, model, BOUNDS), data, model, width).sum()
    )(free)
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(own, truth, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("order", [pytest.param(FIRST, marks=pytest.mark.slow), LAST])
def test_masked_outcomes_are_rows_that_never_were(order):
    model = Model("LIN", 2, p_growth=1)
    (y, t, _, x), data, free = case(model, seed=6)
    at = slim(free, model)
    whole = density(model, data, at, ORDERS[order])(data, at)
    gap = np.full((len(y), 1), np.nan)
    more = panel(np.c_[y, gap], np.c_[t, gap], growth=x)
    more = more._replace(y=more.y.at[-1].set(1e6), t=more.t.at[-1].set(7.0))  # masked, whatever stands there
    assert float(density(model, more, at, ORDERS[order])(more, at)) == pytest.approx(float(whole), rel=1e-13)


@pytest.mark.rest_slow
@pytest.mark.reference
@pytest.mark.parametrize("order", ORDERS)
def test_the_program_meets_the_fixture_of_sixty_digits(data, order):
    known = json.loads((data / "exact" / "moe_trajectories_k2.json").read_text())
    at = {name: np.array(value) for name, value in known["model"].items()}
    model = Model("LIN", 2, p_gate=2, p_growth=1, joint=False)
    parameters = Parameters(
        np.concatenate([at["gate_intercept"][:, None], at["gate_slope"]], axis=1), at["alpha"], np.zeros((2, 0)),
        at["beta"], np.linalg.cholesky(at["psi"]), at["theta"], np.zeros((2, 0)), np.zeros((2, 0, 0)),
    )  # fmt: skip
    parameters, rows = jax.tree.map(jnp.asarray, parameters), known["data"]
    made = panel(rows["y"], rows["time"], rows["xg"], rows["xe"])
    found = density(model, made, parameters, ORDERS[order])(made, parameters)
    assert float(found) == pytest.approx(known["exact"]["log_likelihood"], abs=1e-10)


@pytest.mark.rest_slow
@pytest.mark.reference
@pytest.mark.parametrize("order", ORDERS)
def test_the_program_meets_the_closed_form_on_the_demonstration(demo, order):
    y, t = (np.stack([demo[f"{name}{j}"] for j in range(1, 11)], axis=1) for name in "YT")
    made = panel(y, t, np.c_[demo["gx1"], demo["gx2"]], np.c_[demo["ex1"], demo["ex2"]])
    at, model = jax.tree.map(jnp.asarray, Design().parameters), Model("BLS", 2, 2, 2)
    truth = float(log_likelihood_by_person(wide(at), made, model).sum())
    assert float(density(model, made, at, ORDERS[order])(made, at)) == pytest.approx(truth, abs=1e-8)
    assert -2 * truth == pytest.approx(22956.757, abs=1e-3)


# ---- conditionals


def test_the_conditional_of_a_class_is_its_membership_and_of_factors_their_scores():
    """Of a class: the density with one person's class changed. Of factors: what is drawn back is affine in noises."""
    model, n = Model("BLS", 2, p_gate=1, p_growth=1), 4
    _, data, free = case(model, n=n, missing=0.2, seed=7)
    at = slim(free, model)
    summed = inference.enumeration(traced(model, data, at), integrate_normals(["eta"]))
    assert [c.name for c in choices_of(summed.marginal)] == ["z"]
    labels = jnp.array([0, 1, 1, 0])
    each = [[labels.at[i].set(k) for i in range(n)] for k in range(2)]
    scores = jax.jit(jax.vmap(jax.vmap(lambda z: summed.marginal.log_density({"z": z}, data, at))))(
        jnp.array([[np.asarray(z) for z in row] for row in each])
    )
    expected = log_memberships(unpack(jnp.asarray(free), model, BOUNDS), data, model)
    np.testing.assert_allclose(jax.nn.log_softmax(scores, axis=0), expected, atol=1e-10)
    mean, cov = factor_scores(unpack(jnp.asarray(free), model, BOUNDS), data, model)
    fixed = conditioned(summed.full, [("z",), (PREFIX, "noise", "eta")])
    run, leaves = emit(fixed.form), [*jax.tree.leaves(data), *jax.tree.leaves(at)]
    eta = [c.name for c in summed.choices].index("eta")
    drawn = jax.jit(lambda noise: run(jax.random.key(0), *leaves, labels, noise)[0][eta])
    zero = jnp.zeros((n, 3))
    centre = drawn(zero)
    root = np.stack([drawn(zero.at[:, c].set(1.0)) - centre for c in range(3)], axis=-1)
    own = np.asarray(labels), np.arange(n)
    np.testing.assert_allclose(centre, np.asarray(mean)[own], atol=1e-10)
    np.testing.assert_allclose(root @ np.swapaxes(root, 1, 2), np.asarray(cov)[own], atol=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("curve", "error"), [("EXP", 1e-10), ("BLS", 1e-6)])  # the kinks of a spline cost the sum
def test_a_shape_of_ones_own_is_a_site_that_a_fine_sum_integrates_to_the_closed_form(curve, error):
    """Growth factors integrated, classes summed, and the own shape of one person on a grid."""
    model = Model(curve, 2, p_growth=1, intrinsic=True, exact=True)
    (y, t, _, x), _, free = case(model, n=1, seed=8)
    data, at = panel(y, t, growth=x), slim(free, model)
    points, gap = np.linspace(-8.0, 8.0, 2001, retstep=True)
    marginal = inference.enumeration(traced(model, data, at), BEFORE).marginal
    assert [c.name for c in choices_of(marginal)] == ["own"]
    logs = jax.jit(jax.vmap(lambda u: marginal.log_density({"own": u[None]}, data, at)))(jnp.asarray(points))
    found = np.logaddexp.reduce(np.asarray(logs)) + np.log(gap)
    truth = log_likelihood_by_person(unpack(jnp.asarray(free), model, BOUNDS), data, model)
    assert found == pytest.approx(float(truth[0]), rel=error)


@pytest.mark.slow
def test_priors_stand_in_front_of_the_program():
    """The density that is left is prior times closed form."""
    model, knots = Model("LIN", 2, p_gate=1), Bounds(0.1, 0.9)
    _, data, _ = case(model, n=5, seed=11)

    def priors():
        return draw_parameters(model, Priors(), knots)

    def grown(data):
        trajectory_mixture(data, priors(), model)

    marginal = inference.enumeration(lawful.trace(grown, data), BEFORE).marginal
    prior = lawful.trace(priors)
    assert [c.name for c in choices_of(marginal)] == [c.name for c in choices_of(prior)]
    values = {c.name: v for c, v in zip(choices_of(prior), record_of(prior), strict=True)}
    found = marginal.log_density(values, data) - prior.log_density(values)
    truth = log_likelihood_by_person(wide(parameters_of(values, model, knots)), data, model).sum()
    assert float(found) == pytest.approx(float(truth), rel=1e-11)


def record_of(form):
    recorded = record(form)
    return emit(recorded.form)(jax.random.key(3))[0][recorded.own :]


# ---- simulation


@pytest.mark.slow
def test_what_is_simulated_is_the_same_before_and_after_the_transformers():
    """The transformed program, nothing seen, draws classes and factors back from their laws; outcomes follow."""
    model, n = Model("LIN", 2, p_gate=1), 1000
    (_, t, gate, _), _, free = case(model, n=n, waves=2, seed=9)
    at = slim(free, model)
    blank = panel(np.full((n, 2), np.nan), np.zeros(2), gate)
    blank = blank._replace(t=jnp.asarray(t.T))
    free_to_draw = blank._replace(y=None)
    original = record(traced(model, free_to_draw, at)).form
    z, _, y = jax.jit(emit(original))(jax.random.key(1), *jax.tree.leaves((free_to_draw, at)))[0]
    summed = inference.enumeration(traced(model, blank, at), BEFORE)
    drawn = jax.jit(emit(summed.full))(jax.random.key(2), *jax.tree.leaves((blank, at)))[0]
    label, eta = (np.asarray(value) for value in drawn)
    assert [c.name for c in summed.choices] == ["z", "eta"]
    noise = np.sqrt(np.asarray(at.noise)[label])[:, None] * np.random.default_rng(0).normal(size=t.shape)
    other = eta[:, :1] + eta[:, 1:] * t + noise
    found = two_sample({"z": np.asarray(z) + 0.0, "y": np.asarray(y).T}, {"z": label + 0.0, "y": other})
    assert found.passed, found
