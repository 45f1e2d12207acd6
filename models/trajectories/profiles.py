"""Profiles of the likelihood along the shape parameter of a class, which show kinks that errors by curvature do not.

Law: no profile is below the best -2LL of a search that found the highest; at the estimate it is that value.

Source: specification sections 8.3 and 8.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from .climbing import Schedule
from .engine import Problem, climb_all
from .parameters import Model, pack, unpack

__all__ = ["profiled"]


def profiled(
    free: np.ndarray,
    problem: Problem,
    model: Model,
    k: int,
    shapes: Sequence[float] | np.ndarray,
    penalised: bool = False,
) -> np.ndarray:
    """Hold the shape of a class at each of some values, and climb with all else.

    Args:
        free: where climbs begin (P,).
        problem: what is climbed.
        model: which mixture.
        k: the class, as the free vector counts it.
        shapes: values in standard units (m,).
        penalised: whether the weak penalty is added.

    Returns: log-likelihoods in standard units (m,).

    Raises:
        LawfulError: the curve has no shape parameter.
    """
    if model.form.shape is None:
        raise LawfulError(
            f"profile: the {model.form.long_name} curve has no shape parameter. "
            "Fix: take curveFun 'EXP', 'JB' or 'BLS'."
        )
    at = unpack(jnp.asarray(free), model, problem.bounds)
    starts: list[Any] = [
        pack(at._replace(shape=at.shape.at[k, 0].set(shape)), model, problem.bounds) for shape in shapes
    ]
    moving = np.ones((len(starts), model.size))
    moving[:, model.places("shape")[k]] = 0.0
    schedule = Schedule(jnp.zeros(1), jnp.full(1, 1e-7), 300)
    stage = jnp.zeros(len(starts), int)
    found = climb_all(jnp.stack(starts), jnp.asarray(moving), stage, schedule, problem, model, penalised)
    return np.asarray(found.value)
