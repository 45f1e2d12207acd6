"""Maps: a user's function on choices and auxiliary choices as a Form, with what each of its results passes on.

Law: the form gives every value that the map is given, in the same order: what the map leaves out it keeps. A result
that is a value as it was given is known to be one, so neither its Jacobian nor its way back is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice
from lawful.form.pipeline import through
from lawful.passes.simplify import SIMPLIFIED
from lawful.tracing.trace import trace

from ...representations.coordinates import bijector_of

GROUPS = ("choices", "auxiliary")


@dataclass(frozen=True)
class Entry:
    """One value of a map: a choice of the program (group 0) or of the auxiliary program (group 1)."""

    group: int
    choice: Choice

    @property
    def continuous(self) -> bool:
        """Whether it has coordinates that a Jacobian counts."""
        return jnp.issubdtype(self.choice.dtype, jnp.floating) and self.choice.law.atoms is None

    @property
    def described(self) -> str:
        """Words for people."""
        c = self.choice
        return f"'{c.name}' ({c.source}) of shape {c.full_shape} and type {c.dtype}"


@dataclass(frozen=True)
class MapForm:
    """A map as a Form from all entries to all entries.

    Attributes:
        form: inputs and outputs are the values of the entries, in order.
        entries: those of the program, then the auxiliary ones.
        passed: for each result, the number of the entry that it is as given, or None where it is computed.
        steady: the entries that are there after the map exactly where they were before it.
    """

    form: Form
    entries: tuple[Entry, ...]
    passed: tuple[int | None, ...]
    steady: frozenset[int] = frozenset()

    @property
    def touched(self) -> tuple[int, ...]:
        """The entries that may change."""
        return tuple(i for i, source in enumerate(self.passed) if source != i)

    @property
    def returned(self) -> tuple[bool, ...]:
        """Whether the second application is known to give an entry back, without running it."""
        return tuple(
            j is not None and self.passed[j] == i and self.moves_whole(i, j) for i, j in enumerate(self.passed)
        )

    def moves_whole(self, i: int, j: int) -> bool:
        """Whether all of entry j, where it is there, becomes all of entry i."""
        always = not any(self.entries[k].choice.conditional for k in (i, j))
        return always or (i == j and i in self.steady)


def map_form(function: Callable[..., Any], choices: Sequence[Choice], drawn: Sequence[Choice], name: str) -> MapForm:
    """Trace a map on the choices of a program and those of its auxiliary program.

    Raises:
        LawfulError: names, shapes or types that are not those of the sites, or a result that passes values on in a
            circle of three or more, which no second application undoes.
    """
    entries = tuple(Entry(g, c) for g, group in enumerate((choices, drawn)) for c in group)
    groups = [{c.name: jax.ShapeDtypeStruct(c.full_shape, c.dtype) for c in group} for group in (choices, drawn)]
    traced = trace(function, *groups)
    if any(isinstance(node, Site) for node in traced.nodes):
        raise LawfulError(f"{name}: the map samples. Fix: sample in the auxiliary program, which is scored both ways.")
    result = None if traced.out_tree is None else jax.tree.unflatten(traced.out_tree, traced.outputs)
    if not isinstance(result, tuple) or len(result) != 2 or not all(isinstance(part, Mapping) for part in result):
        raise LawfulError(
            f"{name}: expected the map to return two dictionaries, of choices and of auxiliary choices, got "
            f"{_kind(result)}. Fix: return ({{name: value}}, {{name: value}}); what is left out keeps its value."
        )
    block = Block()
    given = [Var(e.choice.full_shape, e.choice.dtype) for e in entries]
    place = {(e.group, e.choice.name): i for i, e in enumerate(entries)}
    order = [place[g, n] for g in range(2) for n in sorted(groups[g])]
    outs = dict(zip(traced.outputs, block.splice(traced, [given[i] for i in order]), strict=True))
    outputs = list(given)
    for g, part in enumerate(result):
        for key, value in part.items():
            if (g, key) not in place:
                known = ", ".join(repr(n) for n in groups[g]) or "none"
                raise LawfulError(
                    f"{name}: the map gives {key!r} among its {GROUPS[g]}, which has no such site; these are: {known}.",
                    site=key,
                )
            i = place[g, key]
            outputs[i] = _fitting(block, outs[value], entries[i], name)
    form = through(block.form(given, outputs), SIMPLIFIED)
    where = {v: i for i, v in enumerate(form.inputs)}
    made = MapForm(form, entries, tuple(where.get(v) for v in form.outputs))
    _check(made, name)
    return made


def _fitting(block: Block, value: Var, entry: Entry, name: str) -> Var:
    """Give a result the type of its site; one of another shape or kind is refused."""
    choice = entry.choice
    kinds = [next(k for k in (jnp.bool_, jnp.integer, jnp.inexact) if jnp.issubdtype(d, k))
             for d in (value.dtype, choice.dtype)]  # fmt: skip
    if value.shape != choice.full_shape or kinds[0] is not kinds[1]:
        raise LawfulError(
            f"{name}: the map gives {entry.described.split(' of shape')[0]} the shape {value.shape} and type "
            f"{value.dtype}; expected {choice.full_shape}, {choice.dtype}. Fix: return a value of the site's own shape "
            "and type; discrete values stay discrete.",
            site=choice.address,
        )
    return value if value.dtype == choice.dtype else block.det(_Cast(choice.dtype), value, label="cast")


def _check(made: MapForm, name: str) -> None:
    for i, source in enumerate(made.passed):
        back = None if source is None else made.passed[source]
        if back is not None and back != i:
            there, after = (made.entries[k].choice.name for k in (i, back))
            raise LawfulError(
                f"{name}: the map is no involution: applied twice it gives '{there}' the value of '{after}'. Fix: the "
                "way back has to be the map itself, as in a swap; let an auxiliary coin say which way to go."
            )


def refuse_surface(entry: Entry, name: str) -> None:
    """Refuse a value on a surface, as a point of a simplex, which has fewer coordinates than numbers."""
    bijector, choice = bijector_of(entry.choice), entry.choice
    free = jax.eval_shape(bijector.inv, jax.ShapeDtypeStruct(choice.full_shape, choice.dtype)).shape
    if free != choice.full_shape:
        raise UnsupportedProgramError(
            f"{name}: the map moves {entry.described}, whose values lie on a surface of {free} coordinates, so it has "
            "no Jacobian there. Fix: move the site by kernels.mh of a proposal program.",
            site=choice.address,
        )


def _kind(result: Any) -> str:
    if isinstance(result, tuple):
        return f"a tuple of {len(result)}: {', '.join(type(part).__name__ for part in result)}"
    return type(result).__name__


@dataclass(frozen=True)
class _Cast:
    dtype: Any

    def __call__(self, value: jax.Array) -> jax.Array:
        return value.astype(self.dtype)
