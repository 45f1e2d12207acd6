"""Templates: a loop of a program read once for all its steps, with an axis of steps in front of every value.

Law: the factors are those that the steps give one by one. It is tried where the state that a
step hands on can be told without the state that it got: parts without variables run ahead by a scan, the others come
from the variables of the last few steps. Where that does not hold, as for a count along the loop, the steps are read
one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.form import Branch, Entering, Form, Loop, Node, Site, Var, walk

from .lifted import Table, Terms, elements, known, numbers_of, of, taken
from .lifting import Each, Lifting

LEAST = 4  # steps that are worth a template


@dataclass(frozen=True, eq=False)
class Lanes:
    """Values of many steps, with an axis of steps in front; an array or `Terms`."""

    value: Any

    def __getitem__(self, steps: slice) -> Lanes:
        """Take some of the steps."""
        return Lanes(at_steps(self.value, steps))


def at_steps(value: Any, steps: Any) -> Any:
    """Take rows of a value: an int, a slice, or numbers of rows."""
    if not isinstance(value, Terms):
        return value[steps]
    return elements(value, np.asarray(numbers_of(value)[steps]))


def mapped(
    lifting: Lifting,
    function: Callable[..., Any],
    values: Sequence[Any],
    out_axis: int = 0,
) -> tuple[Any, ...]:
    """Apply a function of the values of one step to all steps at once.

    Args:
        lifting: the rules.
        function: of arrays of one step, that gives a tuple.
        values: of one step, or `Lanes`.
        out_axis: of the steps in the results.

    Raises: Budget where variables of different steps would meet.
    """
    axes = tuple(0 if isinstance(v, Lanes) else None for v in values)
    bare = [v.value if isinstance(v, Lanes) else v for v in values]
    found = lifting.at_states(function, bare, axes, out_axis)
    return tuple(map(Lanes, found or lifting.without_meeting().apply(Each(function, axes, out_axis), bare)))


def spread(value: Any, count: int, axis: int = 0) -> Any:
    """Give a value an axis of steps at a place, if it has none."""
    if isinstance(value, Lanes):
        return value.value
    if not isinstance(value, Terms):
        shape, xp = np.shape(value), of(value)
        return xp.broadcast_to(xp.expand_dims(value, axis), (*shape[:axis], count, *shape[axis:]))
    shape = (*value.shape[:axis], count, *value.shape[axis:])
    parts = []
    for part in value.parts:
        own, behind, xp = part.arity, part.shape[len(value.shape) :], of(part.array)
        array = xp.expand_dims(part.array, own + axis)
        array = xp.broadcast_to(array, (*part.cardinalities, *shape, *behind))
        scopes = np.broadcast_to(np.expand_dims(part.scopes, axis), (*shape, *behind, own))
        parts.append(Table(array, scopes))
    return Terms(shape, tuple(parts))


class Template(NamedTuple):
    """How the state of a loop is handed on.

    Attributes:
        plain: places of the parts of the state that depend on no variable.
        levels: places of the others, and from how many steps back each comes, less one.
        needed: for each place, those whose values at the start of a step its value at the end is made of.
    """

    plain: tuple[int, ...]
    levels: Mapping[int, int]
    needed: Mapping[int, frozenset[int]]

    @property
    def alone(self) -> int:
        """Number of the first steps, which read the state that the loop starts with."""
        return max(self.levels.values(), default=-1) + 1


def template_of(node: Loop, chosen: Mapping[Address, Any], lifted: Entering) -> Template | None:
    """Find how a loop hands on its state; None where a part with variables depends on itself.

    Args:
        node: the loop.
        chosen: the sites that are variables.
        lifted: whether what goes into the loop has variables.
    """
    if any(isinstance(inner, Loop) for inner in walk(node.body)):
        return None
    count, own = len(node.init), node.split(node.body.inputs)
    known: dict[Var, tuple[bool, frozenset[int]]] = {v: (False, frozenset([k])) for k, v in enumerate(own.carry)}
    for v, given in zip((*own.constants, *own.xs), (*lifted.constants, *lifted.xs), strict=True):
        known[v] = (given, frozenset())
    outputs, _ = node.split_out(_dependence(node.body, known, chosen))
    has = [inside or given for (inside, _), given in zip(outputs, lifted.carry, strict=True)]
    while True:
        more = [h or any(has[j] for j in outputs[k][1]) for k, h in enumerate(has)]
        if more == has:
            break
        has = more
    needed = {k: reads for k, (_, reads) in enumerate(outputs)}
    levels: dict[int, int] = {}
    left = {k for k in range(count) if has[k]}
    while left:
        ready = {k for k in left if not needed[k] & left}
        if not ready:
            return None
        levels |= {k: max((levels[j] + 1 for j in needed[k] if j in levels), default=0) for k in ready}
        left -= ready
    return Template(tuple(k for k in range(count) if not has[k]), levels, needed)


def _dependence(
    form: Form, known: dict[Var, tuple[bool, frozenset[int]]], chosen: Mapping[Address, Any]
) -> list[tuple[bool, frozenset[int]]]:
    """Tell of each output whether it depends on a variable, and on which parts of the state."""
    nothing: tuple[bool, frozenset[int]] = (False, frozenset())
    for node in form.nodes:
        if isinstance(node, Site):
            if node.observed is not None:
                known[node.out] = known.get(node.observed, nothing)
            else:
                known[node.out] = (node.address in chosen, frozenset())
            continue
        reads = [known.get(v, nothing) for v in node.ins]
        inside = isinstance(node, Branch) and any(
            isinstance(n, Site) and n.address in chosen for arm in node.forms for n in walk(arm)
        )
        found = (inside or any(own for own, _ in reads), frozenset().union(*(places for _, places in reads)))
        known |= dict.fromkeys(node.outs, found)
    return [known.get(v, nothing) for v in form.outputs]


def slice_of(form: Form, places: Sequence[int]) -> Form:
    """Keep what some outputs are made of; parameters of a site do not make its value."""
    outputs = tuple(form.outputs[k] for k in places)
    wanted, nodes = set(outputs), list[Node]()
    for node in reversed(form.nodes):
        if not wanted.intersection(node.outs):
            continue
        nodes.append(node)
        if not isinstance(node, Site):
            wanted |= set(node.ins)
        elif node.observed is not None:
            wanted.add(node.observed)
    return replace(form, nodes=tuple(reversed(nodes)), outputs=outputs)


type Walk = Callable[[Form, dict[Var, Any], Any], list[Any]]


class States(NamedTuple):
    """The state at the start of each step, by its places: parts without variables from the first step on (T, ...).

    The others from as many steps on as they come from, and one.
    """

    plain: Mapping[int, Any]
    lifted: Mapping[int, Lanes]

    def at(self, found: Template, count: int) -> list[Any]:
        """Give the state at the steps that are not read alone."""
        return [
            self.lifted[k][found.alone - found.levels[k] - 1 :]
            if k in self.lifted
            else Lanes(self.plain[k][found.alone :])
            for k in range(count)
        ]


def states_of(node: Loop, found: Template, order: np.ndarray, given: Entering, walk: Walk) -> States:
    """Give the state at the start of each step.

    Args:
        node: the loop.
        found: its template.
        order: the steps in the order in which they run (T,).
        given: what goes into the loop.
        walk: gives the values of the outputs of a form, from those of its inputs, at some steps.

    Returns: the state.
    """
    own = node.split(node.body.inputs)
    constants, xs = dict(zip(own.constants, given.constants, strict=True)), list(zip(own.xs, given.xs, strict=True))
    plain: dict[int, Any] = {}
    if found.plain:
        sliced = slice_of(node.body, found.plain)
        held = tuple(own.carry[k] for k in found.plain)

        def step(carry: Any, t: Any) -> tuple[Any, Any]:
            env = constants | dict(zip(held, carry, strict=True))
            env |= {v: taken(x, t) for v, x in xs if not isinstance(x, Terms)}
            after = walk(sliced, env, t)
            return tuple(jnp.asarray(a, c.dtype) for a, c in zip(after, carry, strict=True)), carry

        _, rows = jax.lax.scan(step, tuple(jnp.asarray(given.carry[k]) for k in found.plain), jnp.asarray(order))
        plain = dict(zip(found.plain, map(known, rows), strict=True))
    lifted: dict[int, Lanes] = {}
    for level in sorted(set(found.levels.values())):
        places = [k for k, there in found.levels.items() if there == level]
        sliced = slice_of(node.body, places)
        env = constants | {v: Lanes(at_steps(x, order[level:])) for v, x in xs}
        env |= {own.carry[k]: Lanes(x[level:]) for k, x in plain.items()}
        # What entered step `level` left the step before; the part of place j is known from step levels[j] + 1 on.
        env |= {own.carry[j]: x[level - found.levels[j] - 1 :] for j, x in lifted.items()}
        after = walk(sliced, env, order[level:])
        lifted |= {k: Lanes(spread(x, len(order) - level)) for k, x in zip(places, after, strict=True)}
        ready = {k: x[:-1] for k, x in lifted.items() if found.levels[k] == level}
        lifted |= ready
    return States(plain, lifted)
