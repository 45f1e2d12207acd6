"""Invalid parameters: scales of zero, covariances that are not positive definite, parameters that make no distribution.

Law: a site that passes has a positive scale in every element, a covariance whose leading minors are all positive, and
no parameter outside its constraint. A point mass is a law only where it is asked for by name, as `dist.Delta`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpyro.distributions import Distribution

from ..addresses import Address, show_address
from ..errors import ParameterError, SingularScaleError
from ..messages import Source
from .constraints import fits, limits

SCALES = ("scale", "cov_diag")
MATRICES = ("covariance_matrix", "precision_matrix")
ROOTS = ("scale_tril", "scale_tril_row", "scale_tril_column")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a scale: where in its batch, in words, and the value or the leading minor that shows it."""

    index: tuple[int, ...]
    words: str
    value: float


def scales_of(distribution: Any) -> dict[str, Any]:
    """Collect the scales of a distribution, also of those that it is made of; their values may be of any kind.

    >>> import numpyro.distributions as dist
    >>> scales_of(dist.HalfNormal(2.0).expand((3,)))
    {'scale': 2.0}
    """
    found: dict[str, Any] = {}
    for name, value in vars(distribution).items():
        if isinstance(value, Distribution):
            found = {**scales_of(value), **found}
        elif name in SCALES + MATRICES + ROOTS and value is not None:
            found[name] = value
    if "covariance_matrix" in found or "precision_matrix" in found:
        found.pop("scale_tril", None)  # computed from the matrix
    return found


def fault_of(name: str, value: Any) -> Fault | None:
    """Find the first element or matrix of a scale that is not proper.

    >>> fault_of("scale", np.array([1.0, 0.0]))
    Fault(index=(1,), words='scale is 0', value=0.0)
    >>> fault_of("covariance_matrix", np.ones((2, 2))).words
    'covariance_matrix is singular: its leading minor of order 2 is 0'
    """
    array = np.asarray(value)
    if name in SCALES:
        bad = np.argwhere(array <= 0)
        if not len(bad):
            return None
        index = tuple(map(int, bad[0]))
        return Fault(index, f"{name} is {array[index]:g}", float(array[index]))
    for index in np.ndindex(*array.shape[:-2]):
        found = _fault_of_root(array[index]) if name in ROOTS else _fault_of_matrix(array[index])
        if found is not None:
            return Fault(index, f"{name} is {found[0]}", found[1])
    return None


def _fault_of_root(matrix: np.ndarray) -> tuple[str, float] | None:
    """Look for the first element of the diagonal that is not positive: the minors are squares of their products."""
    bad = np.flatnonzero(~(np.diagonal(matrix) > 0))
    if not len(bad):
        return None
    minor = float(np.prod(np.diagonal(matrix).astype(np.float64)[: bad[0] + 1]) ** 2)
    return f"singular: its leading minor of order {bad[0] + 1} is {minor:g}", minor


def _fault_of_matrix(matrix: np.ndarray) -> tuple[str, float] | None:
    """Look for a leading minor that is not positive beyond rounding, and for a rank that only rounding fills up."""
    size, precision = len(matrix), np.finfo(np.result_type(matrix, np.float32)).eps
    exact = matrix.astype(np.float64)
    diagonal = np.diagonal(exact).copy()
    try:
        ratios = np.diagonal(np.linalg.cholesky(exact)) ** 2 / diagonal
    except np.linalg.LinAlgError:
        ratios = np.zeros(size)
    if not (ratios > size * precision).all():
        found = _first_minor(exact.copy(), size * precision * np.abs(diagonal))
        if found is not None:  # elimination rounds otherwise than the root, and may pass it
            return found
    if size and ratios.min() < precision**0.5:  # else far from singular
        scale = np.sqrt(diagonal)
        values = np.linalg.eigvalsh(exact / np.outer(scale, scale))
        if values[0] < max(4, size) * precision * values[-1]:  # as a numerical rank is counted
            least = float(values[0])
            return f"singular: the smallest eigenvalue of its correlation matrix is {least:g}", least
    return None


def _first_minor(exact: np.ndarray, least: np.ndarray) -> tuple[str, float] | None:
    minor = 1.0
    for order in range(len(exact)):  # elimination, whose pivots are ratios of leading minors
        pivot = exact[order, order]
        minor *= pivot
        if not pivot > least[order]:
            what = "singular" if abs(pivot) <= least[order] else "not positive definite"
            return f"{what}: its leading minor of order {order + 1} is {minor:g}", float(minor)
        exact[order + 1 :] -= np.outer(exact[order + 1 :, order] / pivot, exact[order])
    return None


def outside(name: str, constraint: Any, value: Any) -> Fault | None:
    """Find the first element or event of a parameter that lies outside its constraint by more than rounding.

    >>> from numpyro.distributions import constraints
    >>> outside("probs", constraints.unit_interval, np.array([0.5, 1.5]))
    Fault(index=(1,), words="'probs' is 1.5, not in the unit interval", value=1.5)
    """
    with jax.ensure_compile_time_eval():  # of bounds that are arrays
        bad = np.argwhere(~np.asarray(fits(constraint, np.asarray(value))))
    if not len(bad):
        return None
    index = tuple(map(int, bad[0]))
    found = np.asarray(value)[index]
    shown = f"{found:g}" if found.ndim == 0 else np.array2string(found, precision=6, threshold=6, separator=", ")
    return Fault(index, f"'{name}' is {shown}, not {limits(constraint)}", float(found) if found.ndim == 0 else np.nan)


def error_of(
    name: str, constraint: Any, value: Any, law: str, address: Address | None, source: Source
) -> ParameterError | None:
    """Word what is wrong with a parameter of a law, by its constraint, or without one as a scale; None for nothing."""
    fault = fault_of(name, value) if constraint is None else outside(name, constraint, value)
    if fault is None:
        return None
    where = f" at index {fault.index}" if fault.index else ""
    site = f"site '{show_address(address)}' ({source})" if address else f"the distribution at {source}"
    kind, words = ParameterError, f"the parameter {fault.words}{where}, so it makes no {law}"
    remedy = "check the arithmetic that makes it"
    if constraint is None:
        kind, words = SingularScaleError, f"{fault.words}{where}"
        remedy = (
            "use dist.Delta or lawful.deterministic where a point mass is meant, else a positive scale; to a "
            "covariance add a small multiple of the identity (jitter), or model fewer dimensions"
        )
    elif "simplex" in fault.words:
        remedy = "divide probabilities by their sum, or give their logarithms as logits="
    return kind(f"{site}: {words}. Fix: {remedy}.", site=address, index=fault.index, value=fault.value, source=source)
