"""What a fit reports of its parameters: growth factors as readers know them, in the user's units, class by class.

Law: reports are functions of the free vector, so that their errors follow by the delta method; an order of the
classes and a reference class change the words alone, not the density.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .parameters import Bounds, Model, Parameters, unpack
from .scaling import Scaling, in_user_units

__all__ = ["Row", "changes_of", "listed", "ordered", "reported", "rows_of", "slopes_of", "ties_of", "values_of"]


class Row(NamedTuple):
    """A reported parameter: its class from 1, its name in the words of nlpsem, what it means; whether a variance."""

    label: int
    parameter: str
    meaning: str
    variance: bool = False


def rows_of(
    model: Model, gate: Sequence[str], growth: Sequence[str], reference: int = 0, varying: Sequence[str] = ()
) -> list[Row]:
    """List the parameters in the order of `values_of`.

    Args:
        model: which mixture.
        gate: names of the gate covariates.
        growth: names of the growth covariates.
        reference: the class that others are compared with, from 0.
        varying: names of the time-varying covariates.

    >>> [row.parameter for row in rows_of(Model("LIN", 2), [], [])][:6]
    ['mueta0', 'mueta1', 'psi00', 'psi10', 'psi11', 'residuals']
    >>> rows_of(Model("LIN", 2), [], [])[-1]
    Row(label=2, parameter='beta0', meaning='log odds of class 2 against class 1: intercept', variance=False)
    """
    form = model.form
    factors = [*form.factors, *([form.shape] if model.intrinsic else [])]
    marks = [str(i) for i in range(form.q)] + ["g"] * model.intrinsic
    order = [str(v + 1) for v in range(len(varying))] if len(varying) > 1 else [""] * len(varying)
    found = []
    for k in range(1, model.n_classes + 1):
        found += [Row(k, f"mu{factor}", f"intercept of {factor}") for factor in form.factors]
        found += [Row(k, "mug", str(form.shape))] if form.shape else []
        for a in range(len(factors)):
            for b in range(a + 1):
                what = _moment(factors[a], factors[b])
                found.append(Row(k, f"psi{marks[a]}{marks[b]}", f"residual {what}" if growth else what, a == b))
        for a, factor in enumerate(factors):
            found += [Row(k, f"beta{j + 1}{marks[a]}", f"{factor} on {name}") for j, name in enumerate(growth)]
        if model.joint:
            found += [Row(k, f"mux{j + 1}", f"mean of {name}") for j, name in enumerate(growth)]
            found += [
                Row(k, f"phi{a + 1}{b + 1}", _moment(growth[a], growth[b]), a == b)
                for a in range(len(growth)) for b in range(a + 1)
            ]  # fmt: skip
        found += [Row(k, f"kappa{mark}", f"direct effect of {name}") for mark, name in zip(order, varying, strict=True)]
        for moment, word in (("mean", "mutvc"), ("variance", "vartvc")):
            found += [
                Row(k, f"{word}{mark}_{j + 1}", f"{moment} of {name} at wave {j + 1}", moment == "variance")
                for mark, name in zip(order, varying, strict=True) for j in range(model.waves * model.joint)
            ]  # fmt: skip
        found.append(Row(k, "residuals", "residual variance", True))
    for k in range(model.n_classes):
        if k != reference:
            odds = f"log odds of class {k + 1} against class {reference + 1}"
            found += [Row(k + 1, f"beta{j}", f"{odds}: {name}") for j, name in enumerate(["intercept", *gate])]
    return found


def _moment(a: Any, b: Any) -> str:
    return f"variance of {a}" if a == b else f"covariance of {a} and {b}"


@partial(jax.jit, static_argnames=("model", "order", "reference"))
def values_of(
    free: Any, model: Model, bounds: Bounds, scaling: Scaling, order: tuple[int, ...], reference: int = 0
) -> jax.Array:
    """Give the reported parameters (R,) at a free vector (P,).

    Args:
        free: the point.
        model: which mixture.
        bounds: of a knot.
        scaling: the user's units.
        order: which class comes first, second, and so on.
        reference: the class that others are compared with, after ordering.
    """
    at = in_user_units(unpack(free, model, bounds), model, scaling)
    return listed(ordered(at, order, reference), model, reference)


def listed(parameters: Parameters, model: Model, reference: int = 0) -> jax.Array:
    """Give the reported parameters (R,) of parameters in the user's units, as `rows_of` names them."""
    told = reported(parameters, model)
    lower, below = np.tril_indices(model.n_factors), np.tril_indices(told.x_mean.shape[1])
    found = []
    for k in range(model.n_classes):
        found += [told.mean[k], told.shape[k], told.chol[k][lower], told.slope[k].reshape(-1)]
        found += [told.x_mean[k], told.x_chol[k][below]]
        found += [] if told.varying is None else [leaf[k].reshape(-1) for leaf in told.varying]
        found += [told.noise[k][None]]
    found += [told.gate[k] for k in range(model.n_classes) if k != reference]
    return jnp.concatenate(found)


@partial(jax.jit, static_argnames=("model", "order", "reference"))
def slopes_of(
    free: Any, model: Model, bounds: Bounds, scaling: Scaling, order: tuple[int, ...], reference: int = 0
) -> jax.Array:
    """Give the derivatives of `values_of` by the free vector (R, P)."""
    return jax.jacfwd(lambda free: values_of(free, model, bounds, scaling, order, reference))(free)


def ties_of(rows: Sequence[Row], model: Model, bounds: Bounds, scaling: Scaling, reference: int = 0) -> np.ndarray:
    """Say of each reported parameter whether it is "fixed", or "equal" in all classes, or neither (R,).

    It is read off the reports at a point where nothing else makes numbers alike, so it holds for reported parameters:
    equal covariances of a spline's level at its knot are others at time 0 where knots differ.

    Args:
        rows: what is reported.
        model: which mixture.
        bounds: of a knot.
        scaling: the user's units.
        reference: the class that others are compared with.
    """
    found = np.full(len(rows), "", object)
    if not model.constrained:
        return found
    free = jnp.asarray(np.random.default_rng(0).normal(size=model.size))
    at = free, model, bounds, scaling, tuple(range(model.n_classes)), reference
    moves = np.concatenate([np.asarray(slopes_of(*at)), np.asarray(values_of(*at))[:, None]], axis=1)
    found[~np.any(moves[:, :-1] != 0, axis=1)] = "fixed"
    own = len(rows) - (model.n_classes - 1) * (1 + model.p_gate)  # odds come last, and belong to no class alone
    places: dict[str, list[int]] = {}
    for i, row in enumerate(rows[:own]):
        places.setdefault(row.parameter, []).append(i)
    for group in places.values():
        same = len(group) > 1 and np.allclose(moves[group], moves[group[:1]], rtol=1e-9, atol=0.0)
        if same and not (found[group] == "fixed").any():
            found[group] = "equal"
    return found


def ordered(parameters: Parameters, order: Sequence[int], reference: int = 0) -> Parameters:
    """Put classes in an order, and compare with a reference class."""
    return _ordered(parameters, np.asarray(order), reference)


@partial(jax.jit, static_argnames="reference")
def _ordered(parameters: Parameters, order: Any, reference: int) -> Parameters:
    found: Parameters = jax.tree.map(lambda leaf: leaf[order], parameters)
    return found._replace(gate=found.gate - found.gate[reference : reference + 1])


def changes_of(parameters: Parameters, model: Model) -> tuple[jax.Array, jax.Array]:
    """Give the intercepts of reports (K, q), and the change of growth factors (K, Q, Q) from those of the basis.

    Args:
        parameters: in the user's units, without an axis of persons.
        model: which mixture.
    """
    form = model.form

    def turn(shape: Any, mean: Any) -> tuple[jax.Array, jax.Array]:
        matrix = form.reported(shape)
        if not model.intrinsic:
            return matrix @ mean, matrix
        by_shape = jax.jacfwd(lambda shape: form.reported(shape) @ mean)(shape)
        big = jnp.block([[by_shape[:, None], matrix], [jnp.ones((1, 1)), jnp.zeros((1, form.q))]])
        return matrix @ mean, big

    shape = parameters.shape[:, 0] if form.shape else jnp.zeros_like(parameters.noise)
    return jax.vmap(turn)(shape, parameters.mean)


def reported(parameters: Parameters, model: Model) -> Parameters:
    """Take parameters in the user's units to the growth factors of reports, with covariances in place of factors.

    A random shape comes last here, as in nlpsem.

    >>> model = Model("BLS", 1)
    >>> at = Parameters(jnp.zeros((1, 1)), jnp.array([[7.0, 2.0, 1.0]]), jnp.array([[3.0]]), jnp.zeros((1, 3, 0)),
    ...     jnp.eye(3)[None], jnp.ones(1), jnp.zeros((1, 0)), jnp.zeros((1, 0, 0)))
    >>> reported(at, model).mean.tolist()  # the level at time 0 from that at the knot
    [[1.0, 2.0, 1.0]]
    """
    mean, change = changes_of(parameters, model)
    psi = parameters.chol @ jnp.swapaxes(parameters.chol, 1, 2)
    phi = parameters.x_chol @ jnp.swapaxes(parameters.x_chol, 1, 2)
    varying = parameters.varying
    return parameters._replace(
        mean=mean, chol=change @ psi @ jnp.swapaxes(change, 1, 2), slope=change @ parameters.slope, x_chol=phi,
        varying=None if varying is None else varying._replace(spread=varying.spread**2),
    )  # fmt: skip
