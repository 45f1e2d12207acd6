"""Scales: the standard deviations, factors and covariances of the sites of a program, and whether they are proper.

Law: a site that passes has a positive scale in every element, and a covariance whose leading minors are all positive. A
point mass is a law only where it is asked for by name, as `dist.Delta`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpyro.distributions import Distribution

from .addresses import Address, show_address
from .analysis import random_values, without_dead_code
from .block import Block
from .censoring import CensoredLaw
from .emitter import emit
from .errors import SingularScaleError
from .form import Det, Form, Loop, Site, Var
from .messages import Source
from .partly import PartlyObservedLaw
from .weighting import WeightedLaw

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


def singular(fault: Fault, address: Address | None, source: Source) -> SingularScaleError:
    """Word the error."""
    where = f" at index {fault.index}" if fault.index else ""
    site = f"site '{show_address(address)}' ({source})" if address else f"the distribution at {source}"
    return SingularScaleError(
        f"{site}: {fault.words}{where}. Fix: use dist.Delta or lawful.deterministic where a point mass is meant, else "
        "a positive scale; to a covariance add a small multiple of the identity (jitter), or model fewer dimensions.",
        site=address, index=fault.index, value=fault.value, source=source,
    )  # fmt: skip


# Scales that the arguments alone decide


@dataclass(frozen=True)
class _Settled:
    site: Site
    name: str
    value: Var


type _Reader = tuple[list[_Settled], Callable[..., Any] | None]
_readers: weakref.WeakKeyDictionary[Form, _Reader] = weakref.WeakKeyDictionary()


def checked_scales(form: Form, inputs: Sequence[Any]) -> None:
    """Check the scales that no choice moves; those of arms, which may never run, are left to the run.

    Raises: SingularScaleError naming the site and the value, or the leading minor.
    """
    if form not in _readers:
        _readers[form] = _reader(form)
    settled, run = _readers[form]
    if not settled or any(isinstance(x, jax.core.Tracer) for x in inputs):
        return
    given = dict(zip(form.inputs, inputs, strict=True))
    values = [given[s.value] for s in settled] if run is None else run(*inputs)
    for item, value in zip(settled, values, strict=True):
        fault = fault_of(item.name, value)
        if fault is not None:
            raise singular(fault, item.site.address, item.site.source)


def _reader(form: Form) -> _Reader:
    block = Block()
    block.constants.extend(form.constants)
    known = {v: v for v in form.inputs} | {v: v for v, _ in form.constants}
    wanted = list(_settled(form, block, known))
    constants = dict(form.constants) | dict(block.constants)
    moving = []
    for item in wanted:  # what is constant is known for good
        if item.value in constants:
            fault = fault_of(item.name, constants[item.value])
            if fault is not None:
                raise singular(fault, item.site.address, item.site.source)
        else:
            moving.append(item)
    if all(item.value in form.inputs for item in moving):
        return moving, None
    run = emit(without_dead_code(block.form(form.inputs, [item.value for item in moving])))
    return moving, jax.jit(lambda *inputs: run(jax.random.key(0), *inputs)[0])


def _settled(form: Form, block: Block, known: dict[Var, Var]) -> Iterator[_Settled]:
    """Walk the sites of a form; append what computes their settled scales, by values that are known outside."""
    random = random_values(form, [v for v in form.inputs if v not in known])
    made: dict[Var, Det] = {}
    for node in form.nodes:
        if isinstance(node, Det):
            made |= dict.fromkeys(node.outs, node)
            if not any(v in random or v not in known for v in node.ins):
                outs = tuple(v.like() for v in node.outs)
                block.nodes.append(Det(node.function, tuple(known[v] for v in node.ins), outs, node.label, node.plates))
                known |= zip(node.outs, outs, strict=True)
        elif isinstance(node, Site):
            for name, value in _named(node, made):
                if value in known:
                    yield _Settled(node, name, known[value])
        elif isinstance(node, Loop):
            n_const, n_carry = len(node.constants), len(node.init)
            inner = {v: v for v, _ in node.body.constants}
            block.constants.extend(node.body.constants)
            pairs = [*zip(node.body.inputs[:n_const], node.constants, strict=False)]
            inner |= {v: known[outer] for v, outer in pairs if outer in known}
            direct = zip(node.body.inputs[n_const + n_carry :], node.xs, strict=True)
            stacked = {v: known[outer] for v, outer in direct if outer in known}
            yield from _settled(node.body, block, inner)
            for site in node.body.nodes:
                if isinstance(site, Site):
                    for name, value in _named(site, {}):
                        if value in stacked:
                            yield _Settled(site, name, stacked[value])


def _named(site: Site, made: Mapping[Var, Det]) -> Iterator[tuple[str, Var]]:
    """Name the values that are scales; for the root of a matrix, the matrix, where the form computes the root."""
    law, parameters = site.law, site.parameters
    while isinstance(law, WeightedLaw | PartlyObservedLaw | CensoredLaw):
        law, parameters = law.base, law.split(parameters)[-1]
    law = getattr(law, "base", law)
    if not hasattr(law, "distribution"):
        return
    for name, value in scales_of(law.distribution(*parameters)).items():
        if isinstance(value, Var):
            matrix = _factorised(value, made) if name in ROOTS else None
            yield ("covariance_matrix", matrix) if matrix is not None else (name, value)


def _factorised(root: Var, made: Mapping[Var, Det]) -> Var | None:
    """Find the matrix whose Cholesky factor a value is."""
    waiting: list[Var] = [root]
    seen: set[int] = set()
    while waiting:
        node = made.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if "cholesky" in node.label:
            return node.ins[0]
        waiting.extend(node.ins)
    return None
