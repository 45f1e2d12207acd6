"""Scales: the parameters of sites that the arguments of a program alone decide.

Law: a site that passes has a positive scale in every element, a covariance whose leading minors are all positive, and
no parameter outside its constraint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from ...backends.xla import compile
from ...distributions.absent import is_guarded
from ...distributions.invalid_parameters import ROOTS, fault_of, outside, scales_of, singular, unlawful
from ...distributions.parameter_constraints import parameters_of
from ...form import Det, Form, Loop, Site, Var
from ...form.builder import Block
from ...form.cached import per_form
from ...form.liveness import random_values
from ...form.operations.primitive_rows import row_of


@dataclass(frozen=True)
class _Settled:
    """A parameter that no choice moves; one that is no scale has a constraint."""

    site: Site
    name: str
    value: Var
    constraint: Any = None

    def check(self, value: Any) -> None:
        """Raise the error of a value that does not fit."""
        address, source = self.site.address, self.site.source
        if self.constraint is None:
            fault = fault_of(self.name, value)
            if fault is not None:
                raise singular(fault, address, source)
        else:
            fault = outside(self.name, self.constraint, value)
            if fault is not None:
                raise unlawful(fault, self.site.law.label, address, source)


def checked_scales(form: Form, inputs: Sequence[Any]) -> None:
    """Check the parameters that no choice moves; those of arms, which may never run, are left to the run.

    Raises: SingularScaleError naming the site and the value, or the leading minor; ParameterError for other parameters.
    """
    settled, run = _reader(form)
    if not settled or any(isinstance(x, jax.core.Tracer) for x in inputs):
        return
    given = dict(zip(form.inputs, inputs, strict=True))
    values = [given[s.value] for s in settled] if run is None else run(*inputs)
    for item, value in zip(settled, values, strict=True):
        item.check(value)


@per_form
def _reader(form: Form) -> tuple[list[_Settled], Callable[..., Any] | None]:
    block = Block()
    block.constants.extend(form.constants)
    known = {v: v for v in form.inputs} | {v: v for v, _ in form.constants}
    wanted = list(_settled(form, block, known))
    constants = dict(form.constants) | dict(block.constants)
    moving = []
    for item in wanted:  # what is constant is known for good
        if item.value in constants:
            item.check(constants[item.value])
        else:
            moving.append(item)
    if all(item.value in form.inputs for item in moving):
        return moving, None
    run = compile(block.form(form.inputs, [item.value for item in moving]))
    return moving, lambda *inputs: run(jax.random.key(0), *inputs)[0]


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
            for name, value, constraint in _named(node, made):
                if value in known:
                    yield _Settled(node, name, known[value], constraint)
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
                    for name, value, constraint in _named(site, {}):
                        if value in stacked:
                            yield _Settled(site, name, stacked[value], constraint)


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
