"""Enumeration: the exact measure of a finite program, all joint values of its sites at once, as arrays.

Law: the sum over worlds of exp(log mass) delta(outputs) is exactly the measure of the form. A world is one joint value
of the choices, as in possible worlds; worlds are a leading axis, which each site multiplies by its number of values.
The arms of a branch share their worlds: a branch multiplies by the largest number that an arm needs, and a site of an
arm that does not run has one world.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from .xla import broadcast_plates, laned_flags, map_over, select_arms


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


@dataclass
class _Value:
    """An array, with a leading axis of `worlds` worlds, or none where it is the same in all."""

    array: jax.Array
    worlds: int | None


@dataclass
class _State:
    count: int = 1
    log_probability: Any = None
    log_weight: Any = None
    decisions: list[tuple[str, Any, Any, int]] = field(default_factory=list)
    overflow: Any = None
    blame: bool = False
    broken: list[tuple[str, Any, int]] = field(default_factory=list)


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
        state = _State(1, zero, zero, blame=blame)
        outputs = _Run(state, None)(form, [_Value(jnp.asarray(x), None) for x in inputs])
        full = [_spread(v, state.count) for v in outputs]
        decisions: dict[str, jax.Array] = {}
        for label, index, guard, worlds in state.decisions:
            seen = _seen(_spread_array(index, worlds, state.count), _guard(guard, state.count), state.log_probability)
            decisions[label] = decisions.get(label, 0.0) + seen
        possible = state.log_probability != -jnp.inf  # NaN is no probability, and has to be seen
        log_mass = jnp.where(possible, state.log_probability + state.log_weight, -jnp.inf)
        log_overflow = None
        if state.overflow is not None:
            log_overflow = jnp.where(state.overflow, log_mass, -jnp.inf)
            log_mass = jnp.where(state.overflow, -jnp.inf, log_mass)
        broken: dict[str, jax.Array] = {}
        for name, flags, worlds in state.broken:
            here = _spread_array(flags, worlds, state.count)
            broken[name] = broken[name] | here if name in broken else here
        return Worlds(full, log_mass, state.log_probability, decisions, log_overflow, broken)

    return run


jax.tree_util.register_dataclass(
    Worlds,
    data_fields=["outputs", "log_mass", "log_probability", "decisions", "log_overflow", "broken"],
    meta_fields=[],
)


def _seen(index: jax.Array, guard: jax.Array, log_probability: jax.Array) -> jax.Array:
    """Probability of each of the values 0 and 1 (and more) of a decision, as a vector of two."""
    p = jnp.where(guard, jnp.exp(log_probability), 0.0)
    return jnp.stack([jnp.sum(jnp.where(index == k, p, 0.0)) for k in range(2)])


def _guard(guard: _Value | None, count: int) -> jax.Array:
    return jnp.ones((count,), bool) if guard is None else _spread(guard, count)


def _spread(value: _Value, count: int) -> jax.Array:
    """Give a value the leading axis of all worlds; worlds multiply on the right, so older values repeat."""
    if value.worlds is None:
        return jnp.broadcast_to(value.array, (count, *value.array.shape))
    return _spread_array(value.array, value.worlds, count)


def _spread_array(array: jax.Array, worlds: int, count: int) -> jax.Array:
    return array if worlds == count else jnp.repeat(array, count // worlds, axis=0)


def _align(values: Sequence[_Value], count: int) -> tuple[list[jax.Array], list[int | None]]:
    arrays = [v.array if v.worlds is None else _spread_array(v.array, v.worlds, count) for v in values]
    return arrays, [None if v.worlds is None else 0 for v in values]


def _map_worlds(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    return function if all(a is None for a in axes) else jax.vmap(function, in_axes=tuple(axes))


class _Run(Fold[_Value]):
    """The value of a node in all worlds; `guard` tells in which of them it runs."""

    def __init__(self, state: _State, guard: _Value | None) -> None:
        self.state, self.guard = state, guard

    def constant(self, variable: Var, array: Any) -> _Value:
        return _Value(jnp.asarray(array), None)

    def det(self, node: Det, ins: list[_Value]) -> list[_Value]:
        return _det(node, ins, self.state)

    def site(self, node: Site, ins: list[_Value]) -> _Value:
        return _site(node, ins, self.state, self.guard)

    def factor(self, node: Factor, term: _Value) -> None:
        weigh = _cut_off if node.role == OVERFLOW else _weigh
        weigh(node, term, self.state, self.guard)

    def loop(self, node: Loop, ins: list[_Value]) -> list[_Value]:
        return _loop(node, ins, self.state, self.guard)

    def branch(self, node: Branch, index: _Value, operands: list[_Value]) -> list[_Value]:
        return _branch(node, index, operands, self.state, self.guard)


def _det(node: Det, operands: Sequence[_Value], state: _State) -> list[_Value]:
    arrays, axes = _align(operands, state.count)
    function = _map_worlds(map_over(node.function, node.plates, [v.plates for v in node.ins]), axes)
    worlds = None if all(a is None for a in axes) else state.count
    return [_Value(x, worlds) for x in function(*arrays)]


def _weigh(node: Site | Factor, term: _Value, state: _State, guard: _Value | None) -> None:
    add = _spread(term, state.count)
    if guard is not None:
        add = jnp.where(_spread(guard, state.count), add, 0.0)
    if state.overflow is not None:
        add = jnp.where(state.overflow, 0.0, add)
    if state.blame:
        kind = "site" if isinstance(node, Site) else "factor"
        bad = (jnp.isnan(add) | (add == jnp.inf)) & (state.log_probability > -jnp.inf)
        state.broken.append((f"{kind} '{show_address(node.address)}' ({node.source})", bad, state.count))
    state.log_weight = jnp.where(state.log_weight == -jnp.inf, -jnp.inf, state.log_weight + add)


def _cut_off(node: Factor, term: _Value, state: _State, guard: _Value | None) -> None:
    """Note the worlds in which a bounded loop has not ended; their mass is measured apart."""
    over = _spread(term, state.count) == -jnp.inf
    if guard is not None:
        over = over & _spread(guard, state.count)
    state.overflow = over if state.overflow is None else over | state.overflow


def _site(node: Site, operands: list[_Value], state: _State, guard: _Value | None) -> _Value:
    if node.observed is not None:
        *parameters, observed = operands
        arrays, axes = _align([observed, *parameters], state.count)
        term = _map_worlds(node.law.log_prob, axes)(*arrays)
        _weigh(node, _Value(term, None if all(a is None for a in axes) else state.count), state, guard)
        return observed
    law = node.law
    if node.plates:
        law = LanesLaw(law, tuple(p.size for p in node.plates), laned_flags(node.plates, node.parameters))
    arrays, axes = _align(operands, state.count)
    listed, masses = _map_worlds(law.enumerate, axes)(*arrays)
    old, atoms = state.count, site_atoms(node)
    shape = tuple(law.shape)
    listed = jnp.broadcast_to(listed, (old, atoms, *shape)).reshape((old * atoms, *shape))
    masses = jnp.broadcast_to(masses, (old, atoms))
    if guard is not None:
        one = jnp.where(jnp.arange(atoms) == 0, 0.0, -jnp.inf)
        masses = jnp.where(_spread(guard, old)[:, None], masses, one)
    ended = (state.log_probability == -jnp.inf) | (state.log_weight == -jnp.inf)  # where nothing is drawn any more
    masses = jnp.where(ended[:, None] & jnp.isnan(masses), -jnp.inf, masses)
    if state.blame:
        bad = jnp.repeat(jnp.isnan(masses).any(axis=1), atoms)
        state.broken.append((f"site '{show_address(node.address)}' ({node.source})", bad, old * atoms))
    state.count = old * atoms
    state.log_probability = jnp.repeat(state.log_probability, atoms) + masses.reshape(-1)
    state.log_weight = jnp.repeat(state.log_weight, atoms)
    state.overflow = None if state.overflow is None else jnp.repeat(state.overflow, atoms)
    return _Value(listed, state.count)


def _loop(node: Loop, ins: list[_Value], state: _State, guard: _Value | None) -> list[_Value]:
    constants, init, stacks = node.split(ins)
    expected, given = node.split(node.body.inputs)[1], node.split_out(node.body.outputs)[0]
    carry = [_replated(x, v, want) for x, v, want in zip(init, node.init, expected, strict=True)]
    order = range(node.length - 1, -1, -1) if node.reverse else range(node.length)
    stacked: dict[int, list[_Value]] = {}
    for step in order:
        xs = [_step(x, v, step) for x, v in zip(stacks, node.xs, strict=True)]
        outputs = _Run(state, guard)(node.body, [*constants, *carry, *xs])
        after, stacked[step] = node.split_out(outputs)
        carry = [_replated(x, have, want) for x, have, want in zip(after, given, expected, strict=True)]
    return [*carry, *(_stack(node, position, stacked, state) for position in range(len(node.ys)))]


def _replated(value: _Value, have: Var, want: Var) -> _Value:
    if have.plates == want.plates:
        return value
    function = _map_worlds(lambda x: broadcast_plates(x, have, want), [None if value.worlds is None else 0])
    return _Value(function(value.array), value.worlds)


def _step(value: _Value, variable: Var, step: int) -> _Value:
    axis = len(variable.plates) + (0 if value.worlds is None else 1)
    return _Value(jnp.take(value.array, step, axis=axis), value.worlds)


def _stack(node: Loop, position: int, stacked: dict[int, list[_Value]], state: _State) -> _Value:
    out, inner = node.ys[position], node.body.outputs[len(node.init) + position]
    if node.length == 0:
        return _Value(jnp.zeros(out.full_shape, out.dtype), None)
    parts = [stacked[step][position] for step in range(node.length)]
    axis = len(inner.plates)
    if all(p.worlds is None for p in parts):
        return _Value(jnp.stack([p.array for p in parts], axis=axis), None)
    return _Value(jnp.stack([_spread(p, state.count) for p in parts], axis=axis + 1), state.count)


def _branch(node: Branch, index: _Value, operands: list[_Value], state: _State, guard: _Value | None) -> list[_Value]:
    if node.index.plates:
        return _plated_branch(node, index, operands, state, guard)
    index = _Value(jnp.clip(index.array.astype(jnp.int32), 0, len(node.forms) - 1), index.worlds)
    state.decisions.append((node.label, _spread(index, state.count), guard, state.count))
    states, arms = [], []
    for number, form in enumerate(node.forms):
        arm, runs = replace(state, decisions=[], broken=[]), _Value(index.array == number, index.worlds)
        outputs = _Run(arm, _both(runs, guard, arm))(form, operands)
        arms.append([_replated(v, have, want) for v, have, want in zip(outputs, form.outputs, node.outs, strict=True)])
        states.append(arm)
    places = _join(states, index, state)
    return [_select(index, [arm[i] for arm in arms], states, places, state) for i in range(len(node.outs))]


def _join(arms: Sequence[_State], index: _Value, state: _State) -> list[Any]:
    """Go on from a branch: of the worlds that its arms share, each keeps what the arm that runs in it has found.

    Returns, for each arm, the place of every shared world among its own, and which of the shared worlds it has.
    """
    old = state.count
    share = max(arm.count for arm in arms) // old
    state.count = old * share
    before, within = np.divmod(np.arange(state.count), share)
    places = []
    for arm in arms:
        own = arm.count // old
        places.append((before * own + np.minimum(within, own - 1), within < own))

    def shared(parts: Sequence[Any], absent: Any) -> Any:
        found = [jnp.where(has, part[at], absent) for part, (at, has) in zip(parts, places, strict=True)]
        return jax.lax.select_n(_spread(index, state.count), *found)

    state.log_probability = shared([arm.log_probability for arm in arms], -jnp.inf)
    state.log_weight = shared([arm.log_weight for arm in arms], 0.0)
    if any(arm.overflow is not None for arm in arms):
        state.overflow = shared([jnp.zeros(a.count, bool) if a.overflow is None else a.overflow for a in arms], False)
    for arm, (at, has) in zip(arms, places, strict=True):
        for label, which, guard, worlds in arm.decisions:
            runs = _Value(_guard(guard, arm.count)[at] & has, state.count)
            state.decisions.append((label, _spread_array(which, worlds, arm.count)[at], runs, state.count))
        for name, flags, worlds in arm.broken:
            state.broken.append((name, _spread_array(flags, worlds, arm.count)[at] & has, state.count))
    return places


def _both(first: _Value, second: _Value | None, state: _State) -> _Value:
    if second is None:
        return first
    return _Value(_spread(first, state.count) & _spread(second, state.count), state.count)


def _select(
    index: _Value, outputs: Sequence[_Value], arms: Sequence[_State], places: Sequence[Any], state: _State
) -> _Value:
    """Take a value from the arm that runs."""

    def choose(which: jax.Array, *options: jax.Array) -> jax.Array:
        return jax.lax.select_n(jnp.broadcast_to(which, options[0].shape), *options)

    if index.worlds is None and all(v.worlds is None for v in outputs):
        return _Value(choose(index.array, *(v.array for v in outputs)), None)
    moved = [
        v if v.worlds is None else _Value(_spread(v, arm.count)[at], state.count)
        for v, arm, (at, _) in zip(outputs, arms, places, strict=True)
    ]
    arrays, axes = _align([index, *moved], state.count)
    return _Value(_map_worlds(choose, axes)(*arrays), state.count)


def _plated_branch(
    node: Branch, index: _Value, operands: list[_Value], state: _State, guard: _Value | None
) -> list[_Value]:
    """Run all arms; the sites of the arms not taken by a lane are drawn too, and their mass sums to one."""
    arms = [_Run(state, guard)(form, operands) for form in node.forms]
    results = []
    for position, out in enumerate(node.outs):
        parts = [_replated(arm[position], f.outputs[position], out) for arm, f in zip(arms, node.forms, strict=True)]
        arrays, axes = _align([index, *parts], state.count)
        pick = _map_worlds(lambda which, *options, out=out: select_arms(node.index, which, out, list(options)), axes)
        results.append(_Value(pick(*arrays), None if all(a is None for a in axes) else state.count))
    return results
