"""Enumeration: the exact measure of a finite program, all joint values of its sites at once, as arrays.

Law: the sum over worlds of exp(log mass) delta(outputs) is exactly the measure of the form. A world is one joint value
of the choices, as in possible worlds; worlds are a leading axis, which each site multiplies by its number of values.
The arms of a branch share their worlds: a branch multiplies by the largest number that an arm needs, and a site of an
arm that does not run has one world.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import show_address
from ..distributions.batched import LanesLaw
from ..errors import PathLimitError, UnsupportedProgramError
from ..form import Branch, Det, Factor, Form, Loop, Site, Var, subforms
from ..form.fold import Fold
from ..messages import OVERFLOW
from .xla import broadcast_plates, laned_flags, map_over, select, select_arms


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Worlds:
    """The result of an enumeration: outputs and flags (worlds, ...), log masses (worlds,), and the decisions seen.

    `log_overflow` is the log mass that the worlds had when a bounded loop cut them off, None without such loops.
    `broken` tells for each term, where that was asked, in which worlds it is NaN or +inf.
    """

    outputs: list[Any]
    log_mass: Any
    log_probability: Any
    decisions: dict[str, Any]
    log_overflow: Any = None
    broken: dict[str, Any] = field(default_factory=dict)


def count_worlds(form: Form) -> int:
    """Count the worlds of an enumeration without running it.

    Raises: UnsupportedProgramError where a site is not finite.
    """
    total = 1
    for node in form.nodes:
        if isinstance(node, Site) and node.observed is None:
            total *= site_atoms(node)
        elif counts := [count_worlds(form) for form in subforms(node)]:
            together = math.prod if isinstance(node, Branch) and node.index.plates else max
            total *= together(counts) ** getattr(node, "length", 1)
    return total


def site_atoms(node: Site) -> int:
    """Number of values of a site over all its plates."""
    if node.law.atoms is None:
        raise UnsupportedProgramError(
            f"site '{show_address(node.address)}' ({node.source}) with law {node.law.label} is not finite: "
            "give breakpoints, or use level='statistical'.",
            site=node.address,
        )
    return node.law.atoms ** math.prod(p.size for p in node.plates)


def emit_worlds(form: Form, max_worlds: int = 1 << 22, *, blame: bool = False) -> Callable[..., Worlds]:
    """Return the function `run(*inputs) -> Worlds` of a finite form; shapes are static, so it can be jitted.

    Args:
        form: the form.
        max_worlds: budget.
        blame: look for the terms that are NaN or +inf.

    Raises: PathLimitError with the number needed where it exceeds `max_worlds`.
    """
    needed = count_worlds(form)
    if needed > max_worlds:
        raise PathLimitError(
            f"enumeration needs {needed} worlds, more than the budget of {max_worlds}: use fewer or smaller sites, "
            "or a larger budget.",
            needed=needed, cap=max_worlds,
        )  # fmt: skip

    def run(*inputs: Any) -> Worlds:
        zero = jnp.zeros((1,), jnp.result_type(float))
        state = _Run(zero, zero, blame)
        outputs = state(form, [_Value(jnp.asarray(x)) for x in inputs])
        probability, count = state.log_probability, state.count
        decisions: dict[str, jax.Array] = {}
        for label, index, guard in state.decisions:
            p = jnp.where(_over(guard, count), jnp.exp(probability), 0.0)
            seen = jnp.stack([jnp.sum(jnp.where(index.over(count) == k, p, 0.0)) for k in range(2)])
            decisions[label] = decisions.get(label, 0.0) + seen
        possible = probability != -jnp.inf  # NaN is no probability, and has to be seen
        log_mass, log_overflow = jnp.where(possible, probability + state.log_weight, -jnp.inf), None
        if state.overflow is not None:
            log_overflow = jnp.where(state.overflow, log_mass, -jnp.inf)
            log_mass = jnp.where(state.overflow, -jnp.inf, log_mass)
        broken: dict[str, jax.Array] = {}
        for name, flags in state.broken:
            here = flags.over(count)
            broken[name] = broken[name] | here if name in broken else here
        return Worlds([v.over(count) for v in outputs], log_mass, probability, decisions, log_overflow, broken)

    return run


@dataclass(frozen=True)
class _Value:
    """An array, with a leading axis of `worlds` worlds, or none where it is the same in all."""

    array: jax.Array
    worlds: int | None = None

    def over(self, count: int) -> jax.Array:
        """Give it the leading axis of all worlds; worlds multiply on the right, so older values repeat."""
        if self.worlds is None:
            return jnp.broadcast_to(self.array, (count, *self.array.shape))
        return self.array if self.worlds == count else jnp.repeat(self.array, count // self.worlds, axis=0)


def _over(guard: _Value | None, count: int) -> jax.Array:
    return jnp.ones((count,), bool) if guard is None else guard.over(count)


@dataclass(eq=False)
class _Run(Fold[_Value]):
    """The values of nodes in all worlds that there are so far; `guard` tells in which of them the nodes run."""

    log_probability: jax.Array
    log_weight: jax.Array
    blame: bool
    count: int = 1
    overflow: jax.Array | None = None
    guard: _Value | None = None
    decisions: list[tuple[str, _Value, _Value | None]] = field(default_factory=list)
    broken: list[tuple[str, _Value]] = field(default_factory=list)

    def apply(self, function: Callable[..., Any], values: Sequence[_Value]) -> list[_Value]:
        """Apply a function, in each world by itself where an operand differs between them."""
        axes = tuple(None if v.worlds is None else 0 for v in values)
        arrays = [v.array if v.worlds is None else v.over(self.count) for v in values]
        apart = any(axis is not None for axis in axes)
        results = (jax.vmap(function, in_axes=axes) if apart else function)(*arrays)
        many = results if isinstance(results, tuple | list) else [results]
        return [_Value(x, self.count if apart else None) for x in many]

    def constant(self, variable: Var, array: Any) -> _Value:
        return _Value(jnp.asarray(array))

    def det(self, node: Det, ins: list[_Value]) -> list[_Value]:
        return self.apply(map_over(node.function, node.plates, [v.plates for v in node.ins]), ins)

    def factor(self, node: Factor, term: _Value) -> None:
        if node.role != OVERFLOW:
            self.weigh(node, term)
            return
        # A bounded loop has not ended in some worlds; their mass is measured apart.
        over = term.over(self.count) == -jnp.inf
        if self.guard is not None:
            over = over & self.guard.over(self.count)
        self.overflow = over if self.overflow is None else over | self.overflow

    def weigh(self, node: Site | Factor, term: _Value) -> None:
        add = term.over(self.count)
        if self.guard is not None:
            add = jnp.where(self.guard.over(self.count), add, 0.0)
        if self.overflow is not None:
            add = jnp.where(self.overflow, 0.0, add)
        if self.blame:
            bad = (jnp.isnan(add) | (add == jnp.inf)) & (self.log_probability > -jnp.inf)
            self.note(node, bad)
        self.log_weight = jnp.where(self.log_weight == -jnp.inf, -jnp.inf, self.log_weight + add)

    def note(self, node: Site | Factor, bad: jax.Array) -> None:
        name = f"{type(node).__name__.lower()} '{show_address(node.address)}' ({node.source})"
        self.broken.append((name, _Value(bad, len(bad))))

    def site(self, node: Site, ins: list[_Value]) -> _Value:
        if node.observed is not None:
            *parameters, observed = ins
            self.weigh(node, *self.apply(node.law.log_prob, [observed, *parameters]))
            return observed
        law, old, atoms, shape = node.law, self.count, site_atoms(node), tuple(node.law.shape)
        if node.plates:
            law = LanesLaw(law, tuple(p.size for p in node.plates), laned_flags(node.plates, node.parameters))
            shape = tuple(law.shape)
        listed, masses = (v.array for v in self.apply(law.enumerate, ins))
        listed = jnp.broadcast_to(listed, (old, atoms, *shape)).reshape((old * atoms, *shape))
        masses = jnp.broadcast_to(masses, (old, atoms))
        if self.guard is not None:
            one = jnp.where(jnp.arange(atoms) == 0, 0.0, -jnp.inf)
            masses = jnp.where(self.guard.over(old)[:, None], masses, one)
        ended = (self.log_probability == -jnp.inf) | (self.log_weight == -jnp.inf)  # where nothing is drawn any more
        masses = jnp.where(ended[:, None] & jnp.isnan(masses), -jnp.inf, masses)
        if self.blame:
            self.note(node, jnp.repeat(jnp.isnan(masses).any(axis=1), atoms))
        self.count = old * atoms
        self.log_probability = jnp.repeat(self.log_probability, atoms) + masses.reshape(-1)
        self.log_weight = jnp.repeat(self.log_weight, atoms)
        self.overflow = None if self.overflow is None else jnp.repeat(self.overflow, atoms)
        return _Value(listed, self.count)

    def loop(self, node: Loop, ins: list[_Value]) -> list[_Value]:
        constants, init, stacks = node.split(ins)
        expected, given = node.split(node.body.inputs)[1], node.split_out(node.body.outputs)[0]
        carry = self.replated(init, node.init, expected)
        stacked: dict[int, list[_Value]] = {}
        for step in range(node.length - 1, -1, -1) if node.reverse else range(node.length):
            xs = [
                _Value(jnp.take(x.array, step, axis=len(v.plates) + (x.worlds is not None)), x.worlds)
                for x, v in zip(stacks, node.xs, strict=True)
            ]
            after, stacked[step] = node.split_out(self(node.body, [*constants, *carry, *xs]))
            carry = self.replated(after, given, expected)
        if not node.length:
            return [*carry, *(_Value(jnp.zeros(v.full_shape, v.dtype)) for v in node.ys)]
        inner, columns = node.split_out(node.body.outputs)[1], zip(*(stacked[k] for k in sorted(stacked)), strict=True)
        return [*carry, *(self.stacked(column, len(v.plates)) for column, v in zip(columns, inner, strict=True))]

    def stacked(self, parts: Sequence[_Value], axis: int) -> _Value:
        if all(p.worlds is None for p in parts):
            return _Value(jnp.stack([p.array for p in parts], axis=axis))
        return _Value(jnp.stack([p.over(self.count) for p in parts], axis=axis + 1), self.count)

    def replated(self, values: Sequence[_Value], have: Sequence[Var], want: Sequence[Var]) -> list[_Value]:
        return [
            x if v.plates == w.plates else self.apply(lambda array, v=v, w=w: broadcast_plates(array, v, w), [x])[0]
            for x, v, w in zip(values, have, want, strict=True)
        ]

    def branch(self, node: Branch, index: _Value, operands: list[_Value]) -> list[_Value]:
        if node.index.plates:
            return self.plated_branch(node, index, operands)
        index = _Value(jnp.clip(index.array.astype(jnp.int32), 0, len(node.forms) - 1), index.worlds)
        self.decisions.append((node.label, _Value(index.over(self.count), self.count), self.guard))
        arms, results = [], []
        for number, form in enumerate(node.forms):
            runs = _Value(index.array == number, index.worlds)
            if self.guard is not None:
                runs = _Value(runs.over(self.count) & self.guard.over(self.count), self.count)
            arm = replace(self, guard=runs, decisions=[], broken=[])
            results.append(arm.replated(arm(form, operands), form.outputs, node.outs))
            arms.append(arm)
        places = self.merge(arms, index)

        def shared(values: Sequence[_Value]) -> Iterator[_Value]:
            for value, arm, (at, _) in zip(values, arms, places, strict=True):
                yield value if value.worlds is None else _Value(value.over(arm.count)[at], self.count)

        columns = zip(*results, strict=True)
        return [self.apply(select, [index, *shared(column)])[0] for column in columns]

    def merge(self, arms: Sequence[_Run], index: _Value) -> list[tuple[Any, Any]]:
        """Go on from a branch: of the worlds that its arms share, each keeps what the arm that runs in it has found.

        Returns, for each arm, the place of every shared world among its own, and which of the shared worlds it has.
        """
        shares = [arm.count // self.count for arm in arms]
        self.count *= max(shares)
        before, within = np.divmod(np.arange(self.count), max(shares))
        places = [(before * own + np.minimum(within, own - 1), within < own) for own in shares]

        def shared(parts: Sequence[Any], absent: Any) -> jax.Array:
            found = [jnp.where(has, part[at], absent) for part, (at, has) in zip(parts, places, strict=True)]
            return jax.lax.select_n(index.over(self.count), *found)

        self.log_probability = shared([arm.log_probability for arm in arms], -jnp.inf)
        self.log_weight = shared([arm.log_weight for arm in arms], 0.0)
        if any(arm.overflow is not None for arm in arms):
            over = [jnp.zeros(arm.count, bool) if arm.overflow is None else arm.overflow for arm in arms]
            self.overflow = shared(over, False)
        for arm, (at, has) in zip(arms, places, strict=True):
            for label, which, guard in arm.decisions:
                runs = _Value(_over(guard, arm.count)[at] & has, self.count)
                self.decisions.append((label, _Value(which.over(arm.count)[at], self.count), runs))
            for name, flags in arm.broken:
                self.broken.append((name, _Value(flags.over(arm.count)[at] & has, self.count)))
        return places

    def plated_branch(self, node: Branch, index: _Value, operands: list[_Value]) -> list[_Value]:
        """Run all arms; the sites of the arms not taken by a lane are drawn too, and their mass sums to one."""
        arms = [self.replated(self(form, operands), form.outputs, node.outs) for form in node.forms]
        results = []
        for out, column in zip(node.outs, zip(*arms, strict=True), strict=True):
            pick = partial(select_arms, node.index, out)
            results += self.apply(pick, [index, *column])
        return results
