"""Cancel: log densities that stand in a sum with both signs are left out of it.

Law: the sum is what it was, to rounding, and NaN where it was: in (a + b) - a = b the density a stays as a witness, for
a - a is NaN where a is not finite, so that what is impossible, or broken, is not hidden. There is no witness where
nothing else asks for a density and it is that of a draw under the law that drew it: the ratio of a law to itself is 1
at all that it draws, so that density is never computed. Terms other than log densities stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...form import Det, Form, Node, Site, Var
from ...form.builder import LogProb
from ...form.fingerprint import Describer, is_readable
from ...form.operations.sums import Signed, Zero, signs_of
from ...form.ratio import is_log_ratio
from ...form.rewriting import with_nodes, with_subforms
from .symmetry import exchangeable

DEPTH = 8  # of sums in sums


def cancelled(form: Form) -> Form:
    """Leave out what cancels, also inside loops and branches; equal operations are one already, see `common`.

    >>> import jax.numpy as jnp, numpyro.distributions as dist
    >>> from lawful.form.builder import Block
    >>> from lawful.distributions.law import law_of
    >>> block, law = Block(), law_of(dist.Normal(0.0, 1.0))[0]
    >>> x, rest = (Var((), jnp.dtype(float)) for _ in range(2))
    >>> density = block.log_prob(law, x, (x, x), label="log p")
    >>> both = block.det(jnp.add, density, rest, label="sum")
    >>> out = block.det(jnp.subtract, both, density, label="difference")
    >>> small = cancelled(block.form((x, rest), (out,))).nodes[-1]
    >>> small.function, [v is w for v, w in zip(small.ins, (rest, density))]
    (Signed(signs=(1,)), [True, True])
    """
    reader = _Reader(value for value, array in form.constants if _is_zero(value, array))
    return _without_witnesses(
        with_nodes(form, [with_subforms(reader.rewritten(node), cancelled) for node in form.nodes])
    )


class _Reader:
    """Reads the nodes of a form in order."""

    def __init__(self, zeros: Iterable[Var]) -> None:
        self.sums: dict[Var, tuple[tuple[int, Var], ...]] = {value: () for value in zeros}
        self.densities: set[Var] = set()

    def rewritten(self, node: Node) -> Node:
        """Return a node, with less to add up where terms of it cancel."""
        if not isinstance(node, Det):
            return node
        if isinstance(node.function, LogProb):
            self.densities.update(node.outs)
        elif len(node.ins) == 2 and node.ins[0] is node.ins[1] and is_log_ratio(node.function):
            return self.nothing(node)
        signs = signs_of(node)
        if signs is None:
            return node
        self.sums[node.outs[0]] = tuple(zip(signs, node.ins, strict=True))
        return self.rest(node)

    def nothing(self, node: Det) -> Det:
        (out,) = node.outs
        self.sums[out] = ()
        return replace(node, function=Zero(out.shape, out.dtype), ins=(), label="zero")

    def rest(self, node: Det) -> Det:
        """Write a sum without the densities that stand in it with both signs, and without zeros."""
        found = list(self.terms(node.outs[0], 1, DEPTH))
        plus, minus = ({v for own, v in found if own == sign} for sign in (1, -1))
        cancels = plus & minus & self.densities
        both = dict.fromkeys(v for _, v in found if v in cancels)
        if not both:  # then the sums in the sum stay as they are, and so does their rounding
            found = [(sign, value) for sign, value in self.sums[node.outs[0]] if self.sums.get(value) != ()]
            if len(found) == len(node.ins):
                return node
        kept = [(sign, value) for sign, value in found if value not in both]
        for value in both:
            count = sum(sign for sign, other in found if other is value)
            kept += [(1 if count > 0 else -1, value)] * abs(count)
        if not kept and not both:
            return self.nothing(node)
        signs = tuple(sign for sign, _ in kept)
        return replace(node, function=Signed(signs), ins=(*(value for _, value in kept), *both))

    def terms(self, value: Var, sign: int, depth: int) -> Iterator[tuple[int, Var]]:
        if depth == 0 or value not in self.sums:
            yield sign, value
            return
        for own, term in self.sums[value]:
            yield from self.terms(term, own * sign, depth - 1)


def _is_zero(value: Var, array: Any) -> bool:
    return (
        not value.shape and is_readable(array) and jnp.issubdtype(value.dtype, jnp.floating) and not np.asarray(array)
    )


def _without_witnesses(form: Form) -> Form:
    """Drop the witnesses that nothing else reads, where they are densities of draws under the law that drew them."""
    if not any(map(_witnesses, form.nodes)):
        return form
    drawn = _densities_of_draws(form)
    read = set(form.outputs)
    for node in reversed(form.nodes):
        if not isinstance(node, Det) or node.address is not None or not read.isdisjoint(node.outs):
            witnesses = _witnesses(node)
            read.update(node.ins[: len(node.ins) - len(witnesses)])
            read.update(v for v in witnesses if v not in drawn)
    nodes = []
    for node in form.nodes:
        witnesses = _witnesses(node)
        if isinstance(node, Det) and any(v not in read for v in witnesses):
            count = len(node.ins) - len(witnesses)
            kept = (*node.ins[:count], *(v for v in witnesses if v in read))
            (out,) = node.outs
            node = replace(node, ins=kept, function=node.function if kept else Zero(out.shape, out.dtype))
        nodes.append(node)
    return with_nodes(form, nodes)


def _witnesses(node: Node) -> tuple[Var, ...]:
    if isinstance(node, Det) and isinstance(node.function, Signed):
        return node.ins[len(node.function.signs) :]
    return ()


def _densities_of_draws(form: Form) -> set[Var]:
    describe = Describer()
    sites = {node.out: node for node in form.nodes if isinstance(node, Site) and node.observed is None}
    found: set[Var] = set()
    for node in form.nodes:
        if not isinstance(node, Det) or not isinstance(node.function, LogProb):
            continue
        orders, pair = [node.ins], exchangeable(node)
        if pair is not None:  # value and location, where the law is symmetric
            places = dict([pair, pair[::-1]])
            orders.append(tuple(node.ins[places.get(i, i)] for i in range(len(node.ins))))
        for value, *parameters in orders:
            site = sites.get(value)
            if site is not None and site.parameters == tuple(parameters):
                if describe.content(site.law) == describe.content(node.function.law):
                    found.update(node.outs)
    return found
