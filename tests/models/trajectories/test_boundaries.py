"""Edges and kinks are found where they are, and errors are refused there and nowhere else."""

import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import Model, pack
from lawful.models.trajectories.fitting.boundaries import Finding, findings_at
from lawful.models.trajectories.fitting.objective import Problem
from lawful.models.trajectories.likelihood.penalties import log_penalty
from lawful.models.trajectories.model.parameters import Bounds, unpack
from lawful.models.trajectories.model.reports import Row
from lawful.models.trajectories.uncertainty.standard_errors import standard_errors

from .truth import case

BOUNDS = Bounds(jnp.asarray(0.1), jnp.asarray(0.9))
MODEL = Model("BLS", 2, 1, 2)


def found(change):
    """What is found at a regular point after a change of the free vector; class 2 comes first in reports."""
    _, made, free = case(MODEL, n=4, seed=2)
    free = free[:, 0]
    free[MODEL.places("shape")] = np.array([[0.3], [-0.4]])
    free[MODEL.places("chol")] = np.array([1.0, 0.2, 1.0, 0.1, 0.3, 1.0])
    change(free, made)
    return [(f.label, f.kind) for f in findings_at(free, Problem(made, BOUNDS, jnp.asarray(0.0)), MODEL, (1, 0))]


def singular(free, made):
    free[MODEL.places("chol")[1][5]] = 1e-4


def on_time(free, made):
    at = unpack(jnp.asarray(free), MODEL, BOUNDS)
    moved = at._replace(shape=at.shape.at[0, 0].set(made.t[2, 1]))
    free[:] = np.asarray(pack(moved, MODEL, BOUNDS))


def at_bound(free, made):
    free[MODEL.places("shape")[0]] = 9.0


def separated(free, made):
    free[MODEL.places("gate")[0][1]] = 60.0


def covariates(free, made):
    free[MODEL.places("x_chol")[0]] = [1.0, 5.0, 0.0]


def test_one_class_has_no_gate_to_look_at():
    model = Model("LIN", 1)
    _, made, free = case(model, n=4, seed=2)
    free = free[:, 0]
    free[model.places("chol")] = [[1.0, 0.2, 1.0]]
    assert findings_at(free, Problem(made, BOUNDS, jnp.asarray(0.0)), model, (0,)) == []


def exactly(free, made):
    free[MODEL.places("noise")[1]] = -9.0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda free, made: None, []),
        (singular, [(1, "psi")]),
        (on_time, [(2, "kink")]),
        (at_bound, [(2, "knot")]),
        (separated, [(1, "gate")]),
        (covariates, [(2, "phi")]),
        (exactly, [(1, "noise")]),
    ],
    ids=["regular", "psi", "kink", "knot", "gate", "phi", "noise"],
)
def test_each_edge_is_found_where_it_is(change, expected):
    assert found(change) == expected


def test_errors_are_refused_for_what_an_edge_decides_and_a_flat_direction_refuses_all():
    rows = [Row(1, "psi00", ""), Row(2, "psi00", ""), Row(1, "mug", "")]
    hessian, scores = -np.diag([4.0, 4.0, 1.0]), np.diag([2.0, 2.0, 1.0])
    edge = Finding(2, "psi", 0.0, (1,), "class 2: refused")
    result = standard_errors(hessian, scores, np.eye(3), rows, [edge], lambda row: False)
    np.testing.assert_allclose(result.observed, [0.5, np.nan, 1.0])
    np.testing.assert_allclose(result.robust, [0.5, np.nan, 1.0])
    assert result.refused == ["class 2: refused"]
    flat = standard_errors(np.diag([-4.0, 0.0, -1.0]), scores, np.eye(3), rows, [], lambda row: False)
    assert np.isnan(flat.observed).all() and "not positive" in flat.refused[0]


def test_what_an_edge_decides_is_held_and_the_sandwich_is_that_of_all_else():
    """The held coordinate leaves the information and the scores; both errors and the factor are those of the rest."""
    rows = [Row(1, "mueta0", ""), Row(2, "psi00", ""), Row(1, "residuals", "")]
    information = np.array([[4.0, 1.5, 0.5], [1.5, 3.0, 0.2], [0.5, 0.2, 2.0]])
    scores, slopes = np.random.default_rng(0).normal(size=(3, 6)), np.array([[1.0, 5.0, 0.3], [0, 1, 0], [0, 0, 2.0]])
    edge = Finding(2, "psi", 0.0, (1,), "class 2: refused")
    found = standard_errors(-information, scores, slopes, rows, [edge], lambda row: False)
    keep = [0, 2]
    inverse, linear = np.linalg.inv(information[np.ix_(keep, keep)]), slopes[[0, 2]][:, keep]
    meat = inverse @ scores[keep] @ scores[keep].T @ inverse
    np.testing.assert_allclose(found.observed[keep], np.sqrt(np.diag(linear @ inverse @ linear.T)), rtol=1e-12)
    np.testing.assert_allclose(found.robust[keep], np.sqrt(np.diag(linear @ meat @ linear.T)), rtol=1e-12)
    assert found.factor == pytest.approx(np.trace(inverse @ scores[keep] @ scores[keep].T) / 2, rel=1e-12)
    assert np.isnan(found.observed[1]) and np.isnan(found.covariance[1]).all()


def test_the_penalty_forbids_singular_covariances_and_reference_classes_are_alike():
    _, _, free = case(MODEL)
    at = unpack(jnp.asarray(free), MODEL, BOUNDS)
    value = float(log_penalty(at, MODEL)[0])
    gate = np.asarray(at.gate[..., 0]) - np.asarray(at.gate[..., 0]).mean(axis=0)
    expected = -0.5 * (gate**2).sum()
    for chol, usual in ((at.chol, [1.0, 2.0, 2.0]), (at.x_chol, [1.0, 1.0])):
        for root in np.moveaxis(np.asarray(chol), -1, 0)[0]:
            spread = np.sqrt(np.diagonal(root @ root.T))
            correlation = root @ root.T / np.outer(spread, spread)
            expected += np.sum(np.log(spread) - spread / usual) + np.linalg.slogdet(correlation)[1]
    assert value == pytest.approx(expected, rel=1e-10)
    other = at._replace(gate=at.gate - at.gate[1:])
    assert float(log_penalty(other, MODEL)[0]) == pytest.approx(value, rel=1e-12)
    singular = at._replace(chol=at.chol.at[0, 2, 2].set(0.0))
    assert log_penalty(singular, MODEL)[0] == -np.inf
