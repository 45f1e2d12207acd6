"""Estimates: runs of an estimator as ratios of estimate to exact integral.

Law: the ratio of a properly weighted estimator has mean 1 for every function. Ratios are formed from differences of
logarithms in float64, so that evidences far from 1 keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lawful.errors import LawfulError, NonFiniteError

type Estimator = Callable[[jax.Array], Any]
type Function = Callable[[Any], Any]


def one(draws: Any) -> float:
    """Return 1: the function whose integral is the evidence."""
    return 1.0


class Integral(NamedTuple):
    """The exact integral of a function, as sign and log magnitude."""

    function: Function
    name: str
    sign: float
    log: float


def integrals_of(truth: Any, functions: Sequence[Function] | None) -> list[Integral]:
    """Read the exact integrals of the functions to test, the evidence first.

    >>> [(i.name, i.sign, i.log) for i in integrals_of(-2.5, None)]
    [('evidence', 1.0, -2.5)]
    """
    if not isinstance(truth, Mapping):
        if functions is not None and list(functions) != [one]:
            raise LawfulError("unbiased: truth is log Z alone. Fix: give {function: exact integral}.")
        if not math.isfinite(float(truth)):
            raise LawfulError(f"unbiased: log Z is {truth}; a ratio needs a finite one. Fix: use the exact checks.")
        return [Integral(one, "evidence", 1.0, float(truth))]
    chosen = list(truth) if functions is None else list(functions)
    if not chosen:
        raise LawfulError("unbiased: no function to test. Fix: give log Z, or {function: exact integral}.")
    integrals = [_integral(truth, function) for function in chosen]
    return sorted(integrals, key=lambda integral: integral.function is not one)


def log_weights_of(output: Any) -> np.ndarray:
    """Read the log weights of an estimator's output: log Z-hat alone, or the second of (draws, log_weights)."""
    log_weights = np.asarray(output[1] if isinstance(output, tuple) else output, dtype=np.float64)
    bad = int(np.sum(np.isnan(log_weights) | (log_weights == np.inf)))
    if bad:
        raise NonFiniteError(f"unbiased: {bad} of {log_weights.size} log weights are NaN or +inf.", count=bad)
    return log_weights


def dtype_of(output: Any) -> np.dtype:
    """Return the precision that the estimator computes in."""
    return np.asarray(output[1] if isinstance(output, tuple) else output).dtype


def relative_sd(log_weights: np.ndarray) -> float:
    """Return the sd of Z-hat in units of its mean; infinite where every run gave 0.

    >>> float(relative_sd(np.log([1.0, 3.0])))
    0.707...
    """
    top = log_weights.max()
    if top == -np.inf:
        return math.inf
    totals = np.exp(log_weights - top).reshape(len(log_weights), -1).sum(axis=1)
    return float(totals.std(ddof=1) / totals.mean())


def ratios_of(estimator: Estimator, keys: jax.Array, batch: int, integrals: list[Integral]) -> np.ndarray:
    """Run the estimator once a key and return estimate / integral, shape (functions, keys).

    Batches are equal, so that one compilation serves all stages.
    """
    parts = [_ratios(estimator(keys[start : start + batch]), integrals) for start in range(0, len(keys), batch)]
    return np.concatenate(parts, axis=1)


def _integral(truth: Mapping[Function, float], function: Function) -> Integral:
    name = "evidence" if function is one else getattr(function, "__name__", repr(function))
    if function not in truth:
        raise LawfulError(f"unbiased: truth holds no exact integral of {name}.", function=name)
    value = float(truth[function])
    if value == 0 or not math.isfinite(value):
        raise LawfulError(
            f"unbiased: the integral of {name} is {value}; a ratio needs a finite one other than 0. "
            "Fix: add a constant to the function.",
            function=name,
        )
    return Integral(function, name, math.copysign(1.0, value), math.log(abs(value)))


def _ratios(output: Any, integrals: list[Integral]) -> np.ndarray:
    log_weights = log_weights_of(output)
    rows = []
    for integral in integrals:
        weights = np.exp(log_weights - integral.log)
        # A weight of zero counts for nothing, also where the function is not finite.
        terms = np.multiply(weights, _values(output, integral, log_weights.shape), where=weights > 0, out=weights)
        if not np.isfinite(terms).all():
            raise NonFiniteError(f"unbiased: a weighted value of {integral.name} is not finite.")
        rows.append(integral.sign * terms.reshape(len(terms), -1).sum(axis=1))
    return np.stack(rows)


def _values(output: Any, integral: Integral, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(output, tuple) and integral.function is not one:
        raise LawfulError(
            f"unbiased: the estimator returns log Z-hat alone, so {integral.name} cannot be tested. "
            "Fix: return (draws, log_weights)."
        )
    values = np.asarray(integral.function(output[0] if isinstance(output, tuple) else None), dtype=np.float64)
    if values.shape not in ((), shape):
        raise LawfulError(
            f"unbiased: {integral.name} gave shape {values.shape}, expected {shape}, that of the log weights."
        )
    return values
