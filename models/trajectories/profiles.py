"""Profiles of the likelihood along the shape parameter of a class, which show kinks that errors by curvature do not.

Law: no profile is below the best -2LL of a search that found the highest; at the estimate it is that value.

Source: specification sections 8.3 and 8.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from .climbing import Schedule
from .engine import Problem, climb_all
from .parameters import Model, free_shape, pack, unpack

__all__ = ["profiled"]


def profiled(
    free: np.ndarray,
    problem: Problem,
    model: Model,
    k: int,
    shapes: Sequence[float] | np.ndarray,
    penalised: bool = False,
    unit: float = 1.0,
) -> np.ndarray:
    """Hold the shape of a class at each of some values, and climb with all else.

    Args:
        free: where climbs begin (P,).
        problem: what is climbed.
        model: which mixture.
        k: the class, as the free vector counts it.
        shapes: values in standard units (m,).
        penalised: whether the penalty of the problem is added.
        unit: of a shape in the user's units, for messages.

    Returns: log-likelihoods in standard units (m,).

    Raises:
        LawfulError: the curve has no shape parameter, or a value is none that it can have.
    """
    if model.form.shape is None:
        raise LawfulError(
            f"profile: the {model.form.long_name} curve has no shape parameter. Fix: take curve 'EXP', 'JB' or 'BLS'."
        )
    _check_admissible(np.asarray(shapes), unit, problem, model)
    at = unpack(jnp.asarray(free), model, problem.bounds)
    starts = np.stack([
        pack(at._replace(shape=at.shape.at[k, 0].set(shape)), model, problem.bounds) for shape in shapes
    ])  # fmt: skip
    place = model.places("shape")[k, 0]
    starts[:, place] = free_shape(np.asarray(shapes), model, problem.bounds)  # near a bound, too
    moving = np.ones_like(starts)
    moving[:, place] = 0.0
    schedule = Schedule(jnp.zeros(1), jnp.full(1, 1e-7), 300)
    stage = jnp.zeros(len(starts), int)
    found = climb_all(jnp.asarray(starts), jnp.asarray(moving), stage, schedule, problem, model, penalised)
    return np.asarray(found.value)


def _check_admissible(shapes: np.ndarray, unit: float, problem: Problem, model: Model) -> None:
    low, high = {"EXP": (0.0, np.inf), "JB": (-np.inf, 0.0)}.get(
        model.curve, (float(problem.bounds.low), float(problem.bounds.high))
    )
    slack = 1e-9 * (high - low) if np.isfinite(high - low) else 0.0
    wrong = shapes[~((shapes >= low - slack) & (shapes <= high + slack))]
    if wrong.size or shapes.ndim != 1 or not shapes.size:
        given = f"{wrong[0] * unit:g}" if wrong.size else f"an array of shape {shapes.shape}"
        other = ", or fit with other knot_bounds" if model.curve == "BLS" else ""
        raise LawfulError(
            f"profile: {given} for the {model.form.shape}, expected values (m,) between {low * unit:g} and "
            f"{high * unit:g}. Fix: leave others out{other}."
        )
