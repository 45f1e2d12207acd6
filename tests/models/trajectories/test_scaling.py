"""A change of units changes no membership, and the likelihood by its Jacobian alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import Model, log_likelihood_by_person, panel, unpack
from lawful.models.trajectories.model.reports import ordered, reported, rows_of, values_of
from lawful.models.trajectories.model.scaling import in_standard_units, in_user_units, scaling_of, standardised

from .truth import BOUNDS, case

MODELS = [
    Model("BLS", 2, 2, 2),
    Model("QUAD", 2, 1, 1, joint=False),
    Model("BLS", 2, 0, 2, intrinsic=True),
    Model("JB", 2, 0, 1, intrinsic=True, exact=True),
]


def user_data(model):
    (y, t, x_gate, x_growth), _, free = case(model, n=12)
    return panel(50 + 8 * y, 30 * t, 3 + 2 * x_gate, 1 + 4 * x_growth), free


@pytest.mark.rest_slow
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_likelihoods_differ_by_the_jacobian_alone_and_units_are_undone(model):
    seen, free = user_data(model)
    scaling = scaling_of(seen, model)
    standard = unpack(jnp.asarray(free[:, 0]), model, BOUNDS)
    user = in_user_units(standard, model, scaling)
    wide = lambda tree: jax.tree.map(lambda leaf: leaf[..., None], tree)
    inner = log_likelihood_by_person(wide(standard), standardised(seen, scaling), model).sum()
    outer = log_likelihood_by_person(wide(user), seen, model).sum()
    assert float(outer) == pytest.approx(float(inner) + scaling.log_jacobian(60, 12, model), rel=1e-10)
    back = in_standard_units(user, model, scaling)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10), back, standard)


def test_an_order_of_the_classes_and_a_reference_change_no_likelihood():
    model = Model("LIN", 3, 1)
    _, made, free = case(model)
    at = unpack(jnp.asarray(free), model, BOUNDS)
    other = ordered(at, (2, 0, 1), 1)
    assert not np.asarray(other.gate[1]).any()
    np.testing.assert_allclose(
        log_likelihood_by_person(other, made, model), log_likelihood_by_person(at, made, model), rtol=1e-12
    )


@pytest.mark.parametrize("model", [Model("BLS", 2, 1, 2), Model("BLS", 2, 0, 1, intrinsic=True)], ids=str)
def test_reports_have_a_name_each_and_are_those_of_the_peers_matrices(model):
    """Means and covariances by the two matrices of section 3.2, from the form (1, t - g, |t - g|, extra)."""
    seen, free = user_data(model)
    scaling = scaling_of(seen, model)
    rows = rows_of(model, ["g1"][: model.p_gate], ["e1", "e2"][: model.p_growth])
    values = np.asarray(values_of(jnp.asarray(free[:, 0]), model, BOUNDS, scaling, (0, 1)))
    assert len(rows) == len(values) == model.size
    at = in_user_units(unpack(jnp.asarray(free[:, 0]), model, BOUNDS), model, scaling)
    found = reported(at, model)
    to_peer = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, -0.5, 0.5]])
    for k in range(2):
        g, a = float(at.shape[k, 0]), to_peer @ np.asarray(at.mean[k])
        np.testing.assert_allclose(found.mean[k], np.array([[1, -g, g], [0, 1, -1], [0, 1, 1]]) @ a, rtol=1e-9)
        psi = np.asarray(at.chol[k] @ at.chol[k].T)
        if model.intrinsic:
            big = np.zeros((4, 4))  # to the peers' order, the shape last
            big[:3, 1:], big[3, 0] = to_peer, 1.0
            turn = np.array([[1, -g, g, a[2] - a[1]], [0, 1, -1, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
        else:
            big, turn = to_peer, np.array([[1, -g, g], [0, 1, -1], [0, 1, 1]])
        np.testing.assert_allclose(found.chol[k], turn @ big @ psi @ big.T @ turn.T, rtol=1e-8, atol=1e-9)
    where = {(row.label, row.parameter): value for row, value in zip(rows, values, strict=True)}
    assert where[2, "psi11"] == pytest.approx(float(found.chol[1, 1, 1]))
    assert where[1, "phi11"] == pytest.approx(float(found.x_chol[0, 0, 0]))
