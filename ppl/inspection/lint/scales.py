"""Scales: the parameters of sites that the arguments of a program alone decide.

Law: a site that passes has a positive scale in every element, a covariance whose leading minors are all positive, and
no parameter outside its constraint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from ...distributions.absent import is_guarded
from ...distributions.constraints import parameters_of
from ...distributions.invalid_parameters import ROOTS, error_of, scales_of
from ...form import Det, Factor, Form, Site, Var, constant_arrays, walk
from ...form.cached import per_form
from ...form.fold import placed
from ...form.liveness import moved_operands
from ...form.operations.equation import identity
from ...form.operations.primitive_rows import row_of
from ...passes.probe import Probe
from .settled import Answer, settled


@dataclass(frozen=True)
class _Parameter:
    """A parameter of a site; one that is no scale has a constraint."""

    site: Site
    name: str
    value: Var
    constraint: Any = None

    def check(self, value: Any) -> None:
        """Raise the error of a value that does not fit."""
        label, address, source = self.site.law.label, self.site.address, self.site.source
        found = error_of(self.name, self.constraint, value, label, address, source)
        if found is not None:
            raise found


def checked_scales(form: Form, inputs: Sequence[Any]) -> None:
    """Check the parameters that no choice moves; those of arms, which may never run, are left to the run.

    Raises: SingularScaleError naming the site and the value, or the leading minor; ParameterError for other parameters.
    """
    found, run = _reader(form)
    if run is None or any(isinstance(x, jax.core.Tracer) for x in inputs):
        return
    for part, value, _ in run(inputs):
        found[int(part.kind)].check(value)


@per_form
def _reader(form: Form) -> tuple[list[_Parameter], Callable[[Sequence[Any]], list[Answer]] | None]:
    """List the parameters of sites, and what computes those that are settled; what is constant is checked for good."""
    made = {v: node for node in walk(form) if isinstance(node, Det) for v in node.outs}
    constants, surely = constant_arrays(form), {id(node) for node, around in placed(form) if not around.arm}
    moved, found = moved_operands(form), list[_Parameter]()

    def question(node: Site | Factor) -> Iterator[Probe]:
        if id(node) not in surely or not isinstance(node, Site):
            return
        for name, value, constraint in _named(node, made):
            parameter = _Parameter(node, name, value, constraint)
            if value in moved[node]:
                continue
            if value in constants:
                parameter.check(constants[value])
            else:
                found.append(parameter)
                yield Probe(str(len(found) - 1), identity, (value,))

    asked, run = settled(form, question, whole=False)
    return found, run if asked else None


def _named(site: Site, made: Mapping[Var, Det]) -> Iterator[tuple[str, Var, Any]]:
    """Name the values that are scales, and with their constraints those that are other parameters.

    For the root of a matrix it is the matrix, where the form computes the root. Elements that a mask or a guard leaves
    out may have any parameters but scales.
    """
    law = site.law.innermost
    if law.numbered is None:
        return
    distribution = law.bound(site.law.own(site.parameters))
    whole = not (site.law.known.leaves_out or site.law.lanes or is_guarded(law))
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
    waiting: list[Var] = [root]
    seen: set[int] = set()
    while waiting:
        node = made.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if row_of(node.label).factorises:
            return node.ins[0]
        waiting.extend(node.ins)
    return None
