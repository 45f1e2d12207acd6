"""Undrawn sites: choices of a program that a result has no draws of, as predictions need them.

Law: what a prediction runs with has the posterior of the program. A choice that neither the draws at hand nor the data
read, directly or through other choices without draws, has its own law there, and is drawn as the program runs. All
others have their exact conditional, drawn where finite sums and normal integrals give it, or are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lawful.addresses import Address
from lawful.errors import LawfulError
from lawful.form import Factor, Form, walk
from lawful.form.choices import Choice, choices_of, finite_sites
from lawful.form.dependence import dependence
from lawful.form.liveness import without_dead_code
from lawful.form.pipeline import per_form
from lawful.passes.record import record
from lawful.tracing.trace import trace

from ..summing.tables import PREFIX
from ..transformers.enumeration import Enumeration, enumeration
from ..transformers.gaussian.integrate_normals import integrate_normals
from ..transformers.marginalise import marginalise
from ..transformers.noncentred import is_normal
from .batches import BatchSize
from .record import Record
from .recover import recover


def withheld(result: Record, form: Form, held: Collection[Address], anew: Collection[Address]) -> tuple[Choice, ...]:
    """Find the choices of a program that have no draws, and whose law in the posterior is not that of the program.

    Args:
        result: a result; where it does not know its program, that which predicts stands for it.
        form: the program that predicts.
        held: its choices that have draws.
        anew: its choices that are drawn anew although the result has them; what reads them is new, too.
    """
    known = _known(result, form)
    graph, own = dependence(known), {c.address for c in choices_of(known)}
    named = result.groups.get("observed_data", ())
    data = {a for a, v in graph.vertices.items() if v.observed or v.kind == "factor" or v.name in named}
    free = {c.address for c in choices_of(known) if c.name not in result._posterior} - data
    found = _reached({*graph.vertices} - free, ((head, tail) for tail, head in graph.edges), free) & free
    # A site that was written in another way, as by its noise, is the beginning of other addresses.
    found |= {address[:n] for address in graph.vertices for n in range(1, len(address))} - own - data
    rest = {c.address for c in choices_of(form)} - {*held}
    found -= _reached(anew, dependence(form).edges, rest)
    return tuple(c for c in choices_of(form) if c.address in found & rest)


def _known(result: Record, form: Form) -> Form:
    """Return the program of the inference; sums put factors in the place of sites, so that names are lost."""
    if not isinstance(result.form, Form):
        return form
    factors = (node.address[0] for node in walk(result.form) if isinstance(node, Factor))
    return form if PREFIX in factors else result.form


def _reached(
    start: Iterable[Address], edges: Iterable[tuple[Address, Address]], through: Collection[Address]
) -> set[Address]:
    """Follow edges from some vertices as far as they lead through others."""
    onward: dict[Address, list[Address]] = {}
    for tail, head in edges:
        onward.setdefault(tail, []).append(head)
    waiting, found = list(start), {*start}
    while waiting:
        for other in onward.get(waiting.pop(), ()):
            if other in through and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def drawn_back(
    result: Record,
    model: Callable[..., Any] | Form,
    args: tuple[Any, ...] | None,
    missing: Sequence[Choice],
    draws: Mapping[str, np.ndarray],
    key: Any,
    batch_size: BatchSize,
) -> dict[str, np.ndarray]:
    """Draw choices, as `withheld` finds them, from their exact conditional given the draws of the others and the data.

    Raises: LawfulError where the conditional is not known, as without the arguments of the inference; says what to do.
    """
    if args is None:
        raise _refused(result, missing, "the arguments of the inference are not known.")
    try:
        summed = _summed(trace(model, *args), frozenset(c.address for c in missing), frozenset(draws))
    except LawfulError as error:
        raise _refused(result, missing, str(error).splitlines()[0]) from error
    absent = [c.name for c in choices_of(summed.marginal) if c.name not in draws]
    if absent:
        raise _refused(result, missing, f"it asks for draws of {', '.join(absent)}, too.")
    return recover(summed, draws, key, *args, batch_size=batch_size)


@per_form
def _summed(form: Form, missing: frozenset[Address], held: frozenset[str]) -> Enumeration:
    """Sum and integrate choices out of a program, once; choices that weigh nothing are left out."""
    recorded = record(form, ("sample",))
    values = [
        value
        for choice, value in zip(recorded.choices, recorded.parts.values, strict=True)
        if choice.address in missing or choice.name in held
    ]
    small = without_dead_code(replace(recorded.form, outputs=tuple(values), out_tree=None))
    finite = tuple(c.address for c in finite_sites(small) if c.address in missing)
    normal = [c for c in choices_of(small) if c.address in missing - {*finite}]
    for choice in normal:
        if not is_normal(choice):
            raise LawfulError(f"the law of '{choice.name}', {choice.law.label}, is neither finite nor normal.")
    by = marginalise(finite)
    if normal:
        normals = integrate_normals([choice.address for choice in normal])
        by = normals >> by if finite else normals
    return enumeration(small, by)


def _refused(result: Record, missing: Sequence[Choice], why: str) -> LawfulError:
    names = [c.name for c in missing]
    sites = ", ".join(f"'{c.name}' ({c.source})" for c in missing)
    held = ", ".join(result._posterior) or "nothing"
    return LawfulError(
        f"predictive: the result has no draws of {sites}, which the data or the draws inform; it has {held}. From the "
        f"prior they would make no posterior prediction, and their exact conditional is not at hand: {why} Fix: run "
        "the inference so that it keeps them (keep='paths' of smc and pmmh), predict with the program that it ran on, "
        f"or, where they belong to new units that no data inform, say redraw={names}.",
        withheld=tuple(names), held=tuple(result._posterior),
    )  # fmt: skip
