"""Symmetry: operands of an operation that can change places.

Law: with the two operands exchanged the result is the same; for densities of a location, log p(x; m) = log p(m; x), to
rounding.
"""

from __future__ import annotations

import numpyro.distributions as dist

from ...distributions.law import DistributionLaw, core_of, position_of
from ...form import Det
from ...form.builder import LogProb
from ...form.operations.equation import Equation

SYMMETRIC = (dist.Normal, dist.StudentT, dist.Laplace, dist.Cauchy, dist.Logistic, dist.MultivariateNormal)


def exchangeable(node: Det) -> tuple[int, int] | None:
    """Return the positions of two operands that can change places, or None.

    >>> import lawful
    >>> from lawful.passes.thread_sites import score
    >>> form = score(lawful.trace(lambda m: lawful.sample("x", dist.Normal(m, 2.0)), 0.5)).form
    >>> first, second = exchangeable(form.nodes[0])
    >>> first, form.nodes[0].ins[second] is form.inputs[0]
    (0, True)
    """
    function = node.function
    if isinstance(function, Equation):
        pair = (0, 1) if function.row.commutes and function.literals == (None, None) else None
    elif isinstance(function, LogProb) and isinstance(function.law, DistributionLaw):
        location = _location(function.law)
        pair = None if location is None else (0, 1 + location)
    else:
        pair = None
    if pair is None:
        return None
    first, second = (node.ins[position] for position in pair)
    same = (first.shape, first.dtype, first.plates) == (second.shape, second.dtype, second.plates)
    return pair if same else None


def _location(law: DistributionLaw) -> int | None:
    """Return the position of the location among the parameters of a law that is symmetric about it."""
    core = core_of(law.distribution(*range(law.tree.num_leaves)))
    return position_of(law, "loc") if type(core) in SYMMETRIC else None
