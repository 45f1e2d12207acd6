"""Loops of a program: their steps become variables and factors, all at once where a loop is a template.

Law: both ways give the same factors. A state that has fewer values than the variables that it depends
on becomes a variable of its own, `~state k`, so that later steps read the state and not all that led to it; a factor
says which value it has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import PathLimitError, UnsupportedProgramError
from lawful.form import Entering, Loop, Var

from .lifted import Budget, Table, Terms, of, terms
from .templates import LEAST, Lanes, at_steps, spread, states_of, template_of

type Steps = tuple[Any, ...]


class LoopReader:
    """A loop in its place.

    Attributes:
        reader: the walk over the program.
        node: the loop.
        steps: those of the loops around it.
        guard: where it runs.
        order: its steps in the order in which they run (T,).
    """

    def __init__(self, reader: Any, node: Loop, steps: Steps, guard: Any) -> None:
        """Keep the place.

        Raises: UnsupportedProgramError for a loop that an algorithm wrote.
        """
        if node.plates:
            raise UnsupportedProgramError(
                "to_factor_graph: a loop with the plates of an algorithm (particles or chains) cannot be read. Fix: "
                "read the program itself."
            )
        self.reader, self.node, self.steps, self.guard = reader, node, steps, guard
        self.order = np.arange(node.length)[:: -1 if node.reverse else 1]

    def read(self, env: dict[Var, Any]) -> None:
        """Walk the loop, and put what it gives among the values around it."""
        node, parts = self.node, self.reader.parts
        given = node.split([env[v] for v in node.ins])
        written = {name: len(own) for name, own in parts.items()}
        try:
            found = self.at_once(given)
        except (PathLimitError, Budget):  # elements of different steps would meet
            for name in list(parts):
                del parts[name][written.get(name, 0) :]
                if not parts[name]:
                    del parts[name]
            found = None
        carry, outs = found or self.one_by_one(self.order, given)
        env |= zip(node.carry_out, carry, strict=True)
        env |= {
            v: jnp.zeros(v.shape, v.dtype) if out is None else out
            for v, out in zip(node.ys, self.rows(outs), strict=True)
        }

    def at_once(self, given: Entering) -> tuple[list[Any], list[Any]] | None:
        """Read the first steps one by one and the others by a template; None where the loop is none."""
        node, reader = self.node, self.reader
        if node.length < LEAST or self.guard is not None or any(isinstance(s, np.ndarray) for s in self.steps):
            return None
        lifted = Entering(*([isinstance(x, Terms) for x in part] for part in given))
        found = template_of(node, reader.chosen, lifted)
        if found is None or node.length < found.alone + LEAST:
            return None

        def values(form: Any, env: dict[Var, Any], t: Any) -> list[Any]:
            return reader.values_of(form, env, (*self.steps, t))

        states = states_of(node, found, self.order, given, values)
        if any(self.is_wide(x) for x in states.lifted.values()):
            return None
        _, outs = self.one_by_one(self.order[: found.alone], given)
        late = self.order[found.alone :]
        rows = (Lanes(at_steps(x, late)) for x in given.xs)
        inner = [*given.constants, *states.at(found, len(given.carry)), *rows]
        env = dict(zip(node.body.inputs, inner, strict=True))
        after, ys = node.split_out(reader.nodes(node.body, env, (*self.steps, late), None))
        last = [at_steps(x.value, -1) if isinstance(x, Lanes) else x for x in after]
        return last, [*outs, [Lanes(spread(x, len(late))) for x in ys]]

    def is_wide(self, value: Lanes) -> bool:
        """Tell whether a state depends on several variables, so that it may become one of its own."""
        if not isinstance(value.value, Terms):
            return False
        return self.reader.tried("the state of a loop", value.value.single, self.reader.budget).arity > 1

    def one_by_one(self, order: np.ndarray, given: Entering) -> tuple[list[Any], list[Any]]:
        """Walk some steps; give the state, and what each gives out."""
        node, carry = self.node, given.carry
        outs: list[Any] = []
        for t in order.tolist():
            inner = [*given.constants, *carry, *(at_steps(x, t) for x in given.xs)]
            env = dict(zip(node.body.inputs, inner, strict=True))
            after, ys = node.split_out(self.reader.nodes(node.body, env, (*self.steps, t), self.guard))
            carry = [self.state(value) for value in after]
            outs.append(ys)
        return carry, outs

    def state(self, value: Any) -> Any:
        """Make the state of a loop a variable where it has fewer values than the variables that it depends on."""
        if not isinstance(value, Terms) or isinstance(value.parts[0].array, jax.core.Tracer):
            return value
        reader = self.reader
        table = reader.tried("the state of a loop", value.single, reader.budget)
        values = np.asarray(table.array)
        support = np.unique(values)
        if table.arity < 2 or len(support) >= math.prod(table.cardinalities):
            return value
        name = f"~state {len(reader.states)}"
        handle = reader.graph.variables(name, table.shape, len(support), states=[str(v) for v in support.tolist()])
        index = np.searchsorted(support, values)
        reader.states.append((handle, Table(index, table.scopes)))
        own = np.arange(len(support)).reshape((-1, *[1] * len(table.shape)))
        link = np.where(np.expand_dims(index, table.arity) == own, 0.0, -np.inf)
        scopes = np.concatenate([table.scopes, handle.numbers[..., None]], axis=-1)
        reader.parts[name] = [Table(link.astype(jnp.result_type(float)), scopes)]
        return terms(Table(np.broadcast_to(support.reshape(own.shape), (len(support), *table.shape)), scopes[..., -1:]))

    def rows(self, outs: Sequence[Sequence[Any]]) -> list[Any]:
        """Put what the steps give out in the order of their numbers; None where no step gives any."""
        if not outs:
            return [None] * len(self.node.ys)
        found = []
        for values in zip(*outs, strict=True):
            rows = [v.value if isinstance(v, Lanes) else spread(v, 1) for v in values]
            if any(isinstance(x, Terms) for x in rows):
                whole = self.reader.lifting.apply(lambda *xs: (jnp.concatenate(xs),), rows)[0]
            else:
                whole = of(*rows).concatenate(rows)
            found.append(at_steps(whole, slice(None, None, -1)) if self.node.reverse else whole)
        return found
