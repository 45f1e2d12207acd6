"""Scales: the parameters of sites that the arguments of a program alone decide.

Law: a site that passes has a positive scale in every element, a covariance whose leading minors are all positive, and
no parameter outside its constraint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax

from ...distributions.absent import is_guarded
from ...distributions.constraints import parameters_of
from ...distributions.invalid_parameters import ROOTS, error_of, scales_of
from ...form import Det, Factor, Form, Site, Var, constant_arrays, walk
from ...form.fold import placed
from ...form.liveness import moved_operands
from ...form.operations.equation import identity
from ...form.operations.primitive_rows import row_of
from ...form.pipeline import per_form
from ...passes.probe import Probe
from .settled import Answer, settled


def checked_scales(form: Form, inputs: Sequence[Any]) -> None:
    """Check the parameters that no choice moves; those of arms, which may never run, are left to the run.

    Raises: SingularScaleError naming the site and the value, or the leading minor; ParameterError for other parameters.
    """
    found, run = _reader(form)
    if run is None or any(isinstance(x, jax.core.Tracer) for x in inputs):
        return
    for part, value, _ in run(inputs):
        found[int(part.kind)](value)


@per_form
def _reader(form: Form) -> tuple[list[Callable[[Any], None]], Callable[[Sequence[Any]], list[Answer]] | None]:
    """List the checks of parameters, and what computes those that are settled; what is constant is checked for good."""
    made = {v: node for node in walk(form) if isinstance(node, Det) for v in node.outs}
    constants, surely = constant_arrays(form), {id(node) for node, around in placed(form) if not around.arm}
    moved, checks = moved_operands(form), list[Callable[[Any], None]]()

    def question(node: Site | Factor) -> Iterator[Probe]:
        if id(node) not in surely or not isinstance(node, Site):
            return
        for name, value, constraint in _named(node, made):
            check = partial(_check, node, name, constraint)
            if value in constants:
                check(constants[value])
            elif value not in moved[node]:
                checks.append(check)
                yield Probe(str(len(checks) - 1), identity, (value,))

    asked, run = settled(form, question, whole=False)
    return checks, run if asked else None


def _check(site: Site, name: str, constraint: Any, value: Any) -> None:
    """Raise the error of a value that does not fit; what is no scale has a constraint."""
    found = error_of(name, constraint, value, site.law.label, site.address, site.source)
    if found is not None:
        raise found


def _named(site: Site, made: Mapping[Var, Det]) -> Iterator[tuple[str, Var, Any]]:
    """Name the values that are scales, and with their constraints those that are other parameters.

    For the root of a matrix it is the matrix, where the form computes the root. Elements that a mask or a guard leaves
    out may have any parameters but scales.
    """
    law = site.law.innermost
    if law.numbered is None:
        return
    distribution = law.bound(site.law.own(site.parameters))
    whole = not (site.law.leaves_out or site.law.lanes or is_guarded(law))
    scales = scales_of(distribution)
    for name, value in scales.items():
        if isinstance(value, Var):
            matrix = _factorised(value, made) if name in ROOTS else None
            yield ("covariance_matrix", matrix, None) if matrix is not None else (name, value, None)
    for name, constraint, value in parameters_of(distribution) if whole else ():
        bounds = [getattr(constraint, bound, None) for bound in ("lower_bound", "upper_bound")]
        if name not in scales and isinstance(value, Var) and not any(isinstance(b, Var) for b in bounds):
            yield name, value, constraint


def _factorised(root: Var, made: Mapping[Var, Det]) -> Var | None:
    """Find the matrix whose Cholesky factor a value is."""
    waiting, seen = [root], set[Var]()
    while waiting:
        value = waiting.pop()
        node = made.get(value)
        if node is None or value in seen:
            continue
        if row_of(node.label).factorises:
            return node.ins[0]
        seen.update(node.outs)
        waiting += node.ins
    return None
