"""Choose the shrinkage of classes by the data: the number of persons that makes the data likeliest.

Law: to second order where classes are alike, the pooling penalty of a number m of borrowed persons is the log of a
normal density of the differences between classes, with precision proportional to m. The evidence of m is the integral
over parameters, by Laplace's approximation `l - penalty + d / 2 log m - 1 / 2 log det H`, with d such differences and H
the curvature there, knots held: it falls where classes are alike and little is borrowed, and where they are not and
much is. A fit with the number chosen is the fit with that number given.

Source: Tierney and Kadane 1986, "Accurate approximations for posterior moments and marginal densities"; MacKay 1992,
"Bayesian interpolation", section 4, on choosing a strength so.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from ..likelihood.penalties import Pooling
from ..model.parameters import Model, Parameters
from .batches import Walk
from .objective import Problem, curvature
from .search import searched

__all__ = ["chosen_pooling", "differences", "log_evidence", "with_pooling"]

GRID = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)


def chosen_pooling(
    problem: Problem, model: Model, n_starts: int, seed: int, smoothing: str = "mixed", own: Parameters | None = None,
    map: Any = None,
) -> float:  # fmt: skip
    """Give the number of persons, of 10, 30, 100, ..., 10,000, at which the evidence has its first maximum.

    The fit that borrows least is searched for; the others are climbed to from it, each from the one before. A number
    whose fit empties a class or is no maximum is passed over.

    Args:
        problem: what is climbed; its own pooling tells what was seen.
        model: which mixture; a single class has nobody to borrow from, and gets none.
        n_starts: number of random starts.
        seed: of the starts.
        smoothing: of kinks; see `TrajectoryMixture`.
        own: a start of the user's, in standard units.
        map: an executor that climbs batches of starts.

    Raises:
        LawfulError: no number has an evidence.
    """
    if model.n_classes == 1:
        return 0.0
    ends = searched(with_pooling(problem, GRID[0]), model, n_starts, seed, smoothing, True, own, map)
    end, best, chosen = ends.at([ends.best]), -np.inf, None
    for persons in GRID:
        posed = with_pooling(problem, persons)
        if persons > GRID[0]:
            walk = Walk(posed, model, True, map)
            end = walk.climbed(end.free, walk.direct)
        found = -np.inf if end.degenerate[0] else log_evidence(end.free[0], end.value[0], posed, model)
        if chosen is not None and np.isfinite(found) and found < best:
            break
        if found > best:
            best, chosen = found, persons
    if chosen is None:
        raise LawfulError(
            "TrajectoryMixture: penalty='pooled', and the data do not tell how many persons classes should borrow: no "
            "fit is a maximum with all classes. Fix: say it, as by pooling=100, or take fewer classes."
        )
    return chosen


def with_pooling(problem: Problem, persons: float) -> Problem:
    """Give the problem where each class borrows as many."""
    assert isinstance(problem.pooling, Pooling)
    return problem._replace(pooling=problem.pooling._replace(persons=jnp.asarray(persons, float)))


def log_evidence(free: np.ndarray, value: float, problem: Problem, model: Model) -> float:
    """Give the log evidence of the number of persons borrowed, up to what does not depend on it; else -inf.

    Knots are held, whose curvature jumps at kinks and has nothing to do with borrowing; what neither data nor penalty
    touch, as covariates of a wave that nobody was seen at, is left out.

    Args:
        free: the highest point (P,), and
        value: the log-likelihood there, less the penalty.
        problem: what was climbed.
        model: which mixture.
    """
    assert problem.pooling is not None
    hessian = -np.asarray(curvature(jnp.asarray(free), problem, model, True)[0])
    touched = np.any(hessian != 0, axis=1)
    idle = np.sum(~touched) * (model.n_classes - 1) // model.n_classes
    touched[model.places("shape").ravel()] = False
    curved = hessian[np.ix_(touched, touched)]
    if not np.isfinite(curved).all() or np.linalg.eigvalsh(curved)[0] <= 0:
        return -np.inf
    weight = np.linalg.slogdet(curved)[1]
    prior = 0.5 * (differences(model) - idle) * np.log(float(problem.pooling.persons))
    return float(value + prior - 0.5 * weight)


def differences(model: Model) -> int:
    """Give the number of differences between classes that are pooled: of all parameters but curves and gate.

    >>> differences(Model("BLS", 2, 2, 2)), differences(Model("LIN", 3))
    (18, 8)
    """
    own = model.form.q + (model.form.shape is not None)
    gates = (model.n_classes - 1) * (1 + model.p_gate)
    return ((model.size - gates) // model.n_classes - own) * (model.n_classes - 1)
