"""How much classes borrow, chosen by the data: the number of persons that makes the data likeliest.

Law: with a number m of borrowed persons the pooling penalty is the log of a normal density of the differences between
classes, whose precision is m; the evidence of m is the integral over parameters, by Laplace's approximation
`l - penalty + d / 2 log m - 1 / 2 log det H`, with d such differences and H the curvature there. It falls where classes
are alike and little is borrowed, and where they are not and much is. A fit with the number chosen is the fit with that
number given.

Source: Tierney and Kadane 1986, "Accurate approximations for posterior moments and marginal densities"; MacKay 1992,
"Bayesian interpolation", section 4, on choosing a strength so.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .engine import Problem, curvature
from .parameters import Model, Parameters
from .pooling import Pooling
from .search import searched
from .walking import Walk

__all__ = ["chosen_pooling", "differences", "log_evidence", "with_pooling"]

GRID = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)


def chosen_pooling(
    problem: Problem, model: Model, n_starts: int, seed: int, smoothing: str = "mixed", own: Parameters | None = None,
    map: Any = None,
) -> float:  # fmt: skip
    """Give the number of persons, of 10, 30, 100, ..., 10,000, at which the evidence has its first maximum.

    The fit that borrows least is searched for; the others are climbed to from it, each from the one before.

    Args:
        problem: what is climbed; its own pooling tells what was seen.
        model: which mixture; a single class has nobody to borrow from, and gets the least.
        n_starts: number of random starts.
        seed: of the starts.
        smoothing: of kinks; see `TrajectoryMixture`.
        own: a start of the user's, in standard units.
        map: an executor that climbs batches of starts.
    """
    if model.n_classes == 1:
        return GRID[0]
    ends = searched(with_pooling(problem, GRID[0]), model, n_starts, seed, smoothing, True, own, map)
    free, value, best = ends.free[ends.best], ends.value[ends.best], -np.inf
    for before, persons in zip((GRID[0], *GRID), GRID, strict=False):
        posed = with_pooling(problem, persons)
        if persons > GRID[0]:
            walk = Walk(posed, model, True, map)
            end = walk.climbed(free[None], walk.direct)
            free, value = end.free[0], end.value[0]
        found = log_evidence(free, value, posed, model)
        if not found > best:
            return before
        best = found
    return GRID[-1]


def with_pooling(problem: Problem, persons: float) -> Problem:
    """Give the problem where each class borrows as many."""
    assert isinstance(problem.pooling, Pooling)
    return problem._replace(pooling=problem.pooling._replace(persons=jnp.asarray(persons, float)))


def log_evidence(free: np.ndarray, value: float, problem: Problem, model: Model) -> float:
    """Give the log evidence of the number of persons borrowed, up to what does not depend on it.

    Args:
        free: the highest point (P,), and
        value: the log-likelihood there, less the penalty.
        problem: what was climbed.
        model: which mixture.
    """
    assert problem.pooling is not None
    hessian, _ = curvature(jnp.asarray(free), problem, model, True)
    weight = np.linalg.slogdet(np.asarray(hessian))[1]
    return float(value + 0.5 * differences(model) * np.log(float(problem.pooling.persons)) - 0.5 * weight)


def differences(model: Model) -> int:
    """Give the number of differences between classes that are pooled: of all parameters but curves and gate.

    >>> differences(Model("BLS", 2, 2, 2)), differences(Model("LIN", 3))
    (18, 8)
    """
    own = model.form.q + (model.form.shape is not None)
    gates = (model.n_classes - 1) * (1 + model.p_gate)
    return ((model.size - gates) // model.n_classes - own) * (model.n_classes - 1)
