"""Symmetry: operands of an operation that can change places.

Law: with the two operands exchanged the result is the same; for densities of a location, log p(x; m) = log p(m; x), to
rounding.
"""

from __future__ import annotations

from ...distributions.families import core_of, family_of
from ...distributions.law import position_of
from ...form import Det
from ...form.builder import LogProb
from ...form.operations.equation import Equation


def exchangeable(node: Det) -> tuple[int, int] | None:
    """Return the positions of two operands that can change places, or None.

    >>> import lawful, numpyro.distributions as dist
    >>> from lawful.passes.thread_sites import score
    >>> form = score(lawful.trace(lambda m: lawful.sample("x", dist.Normal(m, 2.0)), 0.5)).form
    >>> first, second = exchangeable(form.nodes[0])
    >>> first, form.nodes[0].ins[second] is form.inputs[0]
    (0, True)
    """
    function = node.function
    if isinstance(function, Equation):
        pair = (0, 1) if function.row.commutes and function.literals == (None, None) else None
    elif isinstance(function, LogProb) and family_of(core_of(function.law.numbered)).symmetric:
        location = position_of(function.law, "loc")
        pair = None if location is None else (0, 1 + location)
    else:
        pair = None
    if pair is None:
        return None
    first, second = (node.ins[position] for position in pair)
    return pair if first.type == second.type else None
