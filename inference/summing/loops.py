"""Loops under sums: one whose carry depends on summed sites, by the forward recursion, drawn back step by step.

Law: the weights carried through the loop are, up to the factors put forward, those of the loop's state with all earlier
sites summed, so T steps of K states cost T K^2. Going back, a step is drawn given the state after it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.form import Entering, Loop, Plate, Var
from lawful.form.builder import Block, total
from lawful.form.bundles import filled
from lawful.passes.thread_sites import Threaded

from ..laws.log_sum import log_sum
from .axes import Axes
from .records import Frame, Terms, Value, Walker, reached
from .tables import PREFIX, NotChain, Picks, Pool, Summand, flat, unflat
from .values import picked_choice, unravelled


@dataclass(eq=False)
class _Setting:
    """What is known of a chain before its body is walked.

    Attributes:
        node: the loop.
        body: its body, with its choices among the outputs.
        values: the loop's operands.
        own: the inputs of the body.
        outer: summed sites that the operands depend on.
        label: stands in the addresses of the factors and picks.
        carried: the inputs of the state that depend on summed sites, with the axes of the elements in them.
        shape: elements of the state.
        scaled: whether each step takes the largest weight out.
    """

    node: Loop
    body: Threaded
    values: Entering
    own: Entering
    outer: tuple[Plate, ...]
    label: Address
    carried: dict[Var, Axes]
    shape: tuple[int, ...]
    scaled: bool = False

    @property
    def after(self) -> list[Var]:
        """The outputs of the body that are the state after a step."""
        return self.node.split_out(self.body.parts.own)[0]


@dataclass(eq=False)
class _Body:
    """A walked body: inputs, weights of the state before a step, and what it gives."""

    walk: Walker
    inputs: Entering
    belief: Var
    previous: Plate
    frame: Frame
    after: tuple[Plate, ...]

    def carry(self, setting: _Setting) -> list[Value]:
        return [self.frame.env[v] for v in setting.after]

    def summed(self) -> set[Address]:
        """The sites that are summed in it, and in the chains among its steps."""
        inner = [step.body.summed() for step in self.walk.pool.steps if isinstance(step, ChainStep)]
        return {found.address for found in self.walk.sites}.union(*inner)


def chain(walk: Walker, node: Loop, frame: Frame) -> None:
    """Sum a loop along its states.

    Raises: NotChain where the state after a step depends on more than the state before it.
    """
    setting = _settle(walk, node, frame)
    before = math.prod(p.size for p in setting.outer)
    probe = _find_state(walk, setting, before)
    after = math.prod(p.size for p in probe.after)
    size = before if probe.after == (probe.previous,) else max(before, after)
    # What draws the sites that stay weighs by the evidence of each step, which is taken out of the weights. Else double
    # precision keeps ten digits of log weights up to 1e6; single precision needs the largest taken out.
    setting.scaled = not _each_weighed(walk, setting, probe) and probe.belief.dtype != np.float64
    body = _walk_body(walk, setting, size)
    _write(walk, setting, body, size, frame)


def _settle(walk: Walker, node: Loop, frame: Frame) -> _Setting:
    read = [frame.env[v] for v in node.ins]
    plain = [v for v in read if isinstance(v, Var)]
    if len(plain) < len(read):
        raise NotChain(node, "it reads a sum over elements")
    outer = walk.plates(plain)
    pool = walk.pool
    for plate in outer:
        pool.refuse_closed(plate)
        if set(pool.dims(plate)) != set(pool.dims(outer[0])):
            raise NotChain(node, "it reads sites with different elements")
    shape = pool.summands[outer[0]].shape if outer else ()
    inside = [n for n in node.body.sites() if walk.job.sums(n)]
    address = inside[0].address if inside else pool.summands[outer[0]].address
    body = walk.job.recorded(node)
    values, own = node.split(plain), node.split(body.form.inputs)
    carried = {v: _common(walk, x, node) for v, x in zip(own.carry, values.carry, strict=True) if x.plates}
    return _Setting(node, body, values, own, outer, walk.job.label(address), carried, shape)


def _common(walk: Walker, value: Var, node: Loop) -> Axes:
    """The axes of the elements in a value, the same for all its sites."""
    found = {walk.axes_of(value, plate) or () for plate in value.plates}
    if len(found) != 1:
        raise NotChain(node, "its state holds sites with different elements")
    return found.pop()


def _find_state(walk: Walker, setting: _Setting, size: int) -> _Body:
    """Walk the body until it is known which carries depend on summed sites, and on which."""
    while True:
        names = Counter(walk.job.names)
        body = _walk_body(walk, setting, size)
        walk.job.names.clear()
        walk.job.names.update(names)
        known = dict(setting.carried)
        for own, value in zip(setting.own.carry, body.carry(setting), strict=True):
            if isinstance(value, Terms):
                raise NotChain(setting.node, "it carries a sum over elements")
            if value.plates:
                axes = _common(body.walk, value, setting.node)
                if known.setdefault(own, axes) != axes:
                    raise NotChain(setting.node, "the elements of its state move")
        shape = body.walk.pool.summands[body.after[0]].shape
        if known == setting.carried and shape == setting.shape:
            return body
        if shape != setting.shape and (setting.outer or setting.shape):
            raise NotChain(setting.node, "its state has other elements than its start")
        setting.carried, setting.shape = known, shape


def _walk_body(walk: Walker, setting: _Setting, size: int) -> _Body:
    """Walk the body, given the state before the step as one more summed site."""
    inner = walk.child()
    block, node = inner.block, setting.node
    previous = Plate(f"state before {show_address(setting.label)}", size)
    place = (*setting.label, "before")
    inner.pool.declare(Summand(place, previous, setting.shape, place, node))
    entering = _entering(walk, setting)
    inputs: list[Var] = []
    given: list[Value] = []
    for own in setting.body.form.inputs:
        if own in entering:
            flat_in = Var((size, *own.shape), own.dtype)
            inside = unflat(block, flat_in, (previous,))
            inner.axes[inside] = {previous: entering[own]}
        else:
            flat_in = inside = own.like()
        inputs.append(flat_in)
        given.append(inside)
    belief = Var((size, *setting.shape), jnp.result_type(float))
    weights = _without(inner, belief, _largest, setting) if setting.scaled else belief
    inner.pool.add(unflat(block, weights, (previous,)), {previous: tuple(range(len(setting.shape)))})
    frame = inner.run(setting.body.form, given, _wanted(walk, setting, entering))
    after = inner.plates([frame.env[v] for v in setting.after])
    for plate in after:
        inner.pool.refuse_closed(plate)
    fixed = any(v.plates for v in (*setting.values.constants, *setting.values.xs))
    if fixed and after and after != (previous,):
        names = ", ".join(walk.pool.summands[p].name for p in setting.outer)
        raise NotChain(node, f"every step reads {names} besides the state before it")
    if previous in after and after != (previous,):
        raise NotChain(node, "its state after a step depends on more than the step's own sites")
    return _Body(inner, node.split(inputs), belief, previous, frame, after or (previous,))


def _entering(walk: Walker, setting: _Setting) -> dict[Var, Axes]:
    """The inputs of the body that depend on summed sites, with the axes of the elements in one step of them."""
    node, values, own, found = setting.node, setting.values, setting.own, dict(setting.carried)
    for inside, value in zip(own.constants, values.constants, strict=True):
        if value.plates:
            found[inside] = _common(walk, value, node)
    for inside, value in zip(own.xs, values.xs, strict=True):
        if value.plates:
            axes = _common(walk, value, node)
            if 0 in axes:
                raise NotChain(node, "its steps are elements of a site")
            found[inside] = tuple(a - 1 for a in axes)
    return found


def _wanted(walk: Walker, setting: _Setting, entering: Mapping[Var, Axes]) -> set[Var]:
    """The outputs of the body that are computed in the forward pass: the carry, and what no summed site reaches."""
    form = setting.body.form
    touched = reached(form, entering, walk.job)
    return {*setting.after, *(v for v in form.outputs if v not in touched)}


def _write(walk: Walker, setting: _Setting, body: _Body, size: int, frame: Frame) -> None:
    """Close the body, write the loop, and hand its last state to what comes after."""
    inner, node, block = body.walk, setting.node, body.walk.block
    pool = inner.pool
    pool.eliminate({p for t in pool.tables for p in t.term.plates} - set(body.after))
    weights = _padded(block, flat(block, pool.joint(body.after), body.after), size, -jnp.inf)
    kept = _kept(setting, body)
    if _each_weighed(walk, setting, body):
        weights = _without(inner, weights, log_sum, setting)
    if pool.totals:
        block.factor((PREFIX, *walk.job.label(("~total", *setting.label))), total(block, pool.totals))
    carry: list[Var] = []
    for v, value in zip(setting.own.carry, body.carry(setting), strict=True):
        assert isinstance(value, Var)
        carry.append(_flat_padded(block, value, body.after, size) if v in setting.carried else value)
    _, ys = node.split_out(setting.body.parts.own)
    seen = {out: body.frame.env.get(v) for out, v in zip(node.ys, ys, strict=True)}
    plain = {out: x for out, x in seen.items() if isinstance(x, Var) and not x.plates}
    saved = _saved(body)
    given = _Outputs(plain, kept, tuple(flat(block, v, v.plates) if v.plates else v for v in saved))
    own = body.inputs
    form = block.form((own.constants, (own.carry, body.belief), own.xs), ((carry, weights), given))
    # The loop itself.
    shared, init, xs = _start(walk, setting, size)
    ended, stacked = walk.block.loop(form, node.length, shared, init, xs, node.reverse)
    (last, left), given = filled((carry, weights), ended), filled(given, stacked)
    frame.env |= given.plain
    walk.stacked |= given.kept
    after = Plate(f"state after {show_address(setting.label)}", size)
    place = (*setting.label, "after")
    walk.pool.declare(Summand(place, after, setting.shape, place, node))
    for v, value, out in zip(setting.own.carry, last, node.carry_out, strict=True):
        if v in setting.carried:
            value = unflat(walk.block, value, (after,))
            walk.axes[value] = {after: setting.carried[v]}
        frame.env[out] = value
    step = ChainStep(setting, body, after, saved, given.stored, walk.stacked)
    walk.pool.steps.append(step)
    walk.pool.add(unflat(walk.block, left, (after,)), {after: tuple(range(len(setting.shape)))})


@dataclass(frozen=True)
class _Outputs:
    """What each step gives.

    Attributes:
        plain: outputs of the loop that no summed site reaches.
        kept: the values of the sites that stay.
        stored: what going back needs.
    """

    plain: dict[Var, Var]
    kept: dict[Address, Var]
    stored: tuple[Var, ...]


def _kept(setting: _Setting, body: _Body) -> dict[Address, Var]:
    """The values of the sites that stay."""
    found, summed = {}, body.summed()
    for choice, value in zip(setting.body.choices, setting.body.parts.values, strict=True):
        if choice.address not in summed:
            own = body.frame.env.get(value)
            if not isinstance(own, Var) or own.plates:
                raise NotChain(setting.node, f"'{choice.name}' is drawn in a part that summed sites decide")
            found[choice.address] = own
    return found


def _each_weighed(walk: Walker, setting: _Setting, body: _Body) -> bool:
    """Whether each step takes the log density of its data, given those before, out of the weights."""
    return walk.job.by_step or bool(_kept(setting, body))


def _saved(body: _Body) -> tuple[Var, ...]:
    """What going back needs of each step."""
    sites = body.walk.sites
    wanted = [v for step in body.walk.pool.steps for v in step.saved]
    wanted += [*(f.values for f in sites), *(f.guard for f in sites if f.guard is not None)]
    return tuple(dict.fromkeys(wanted))


def _start(walk: Walker, setting: _Setting, size: int) -> tuple[list[Var], list[Var], list[Var]]:
    """The loop's operands: constants, initial carry with the weights of the state, scanned values."""
    block, outer, node, values = walk.block, setting.outer, setting.node, setting.values
    constants = [_flat_padded(block, v, outer, size) if v.plates else v for v in values.constants]
    init = [
        _flat_padded(block, v, outer, size) if own in setting.carried else v
        for own, v in zip(setting.own.carry, values.carry, strict=True)
    ]
    xs = [
        block.det(_steps_first, _flat_padded(block, v, outer, size), label="steps first") if v.plates else v
        for v in values.xs
    ]
    if outer:
        weights = flat(block, walk.pool.use_up(outer, node), outer)
        weights = _without(walk, weights, log_sum, setting) if walk.job.by_step else weights
    else:
        weights = block.constant(np.zeros((1, *setting.shape), jnp.result_type(float)))
    return constants, [*init, _padded(block, weights, size, -jnp.inf)], xs


def _steps_first(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x, 0, 1)


def _flat_padded(block: Block, value: Var, plates: Sequence[Plate], size: int) -> Var:
    return _padded(block, flat(block, value, plates), size, None)


def _padded(block: Block, value: Var, size: int, fill: float | None) -> Var:
    """Lengthen the first axis: with a number, or by repeating the last part."""
    more = size - value.shape[0]
    if not more:
        return value

    def pad(x: jax.Array) -> jax.Array:
        end = jnp.broadcast_to(x[-1:] if fill is None else jnp.asarray(fill, x.dtype), (more, *x.shape[1:]))
        return jnp.concatenate([x, end])

    return block.det(pad, value, label="pad")


def _without(walk: Walker, weights: Var, scale: Callable[[jax.Array], jax.Array], setting: _Setting) -> Var:
    """Take a scale out of the weights of a state, and count it among the totals of the step."""
    by = walk.block.det(scale, weights, label="scale of the weights")
    walk.pool.totals.append(walk.block.det(jnp.sum, by, label="scale") if setting.shape else by)
    return walk.block.det(_lowered, weights, by, label="weights of the state")


def _lowered(weights: jax.Array, by: jax.Array) -> jax.Array:
    limit = jnp.finfo(by.dtype).max  # weights of zero stay what they are
    return weights - jnp.clip(by, -limit, limit)


def _largest(weights: jax.Array) -> jax.Array:
    return jax.lax.stop_gradient(jnp.max(weights, axis=0))


@dataclass(frozen=True, eq=False)
class ChainStep:
    """A loop that was summed along its states.

    Attributes:
        setting: what is known of the chain.
        body: its walked body.
        after: the state after the last step.
        stored: what going back needs of a step.
        saved: the same of all steps.
        results: where the values that are drawn back are put.
    """

    setting: _Setting
    body: _Body
    after: Plate
    stored: tuple[Var, ...]
    saved: tuple[Var, ...]
    results: dict[Address, Var]

    def moved(self, here: Mapping[Var, Var], results: dict[Address, Var]) -> ChainStep:
        """Read what was saved from elsewhere, and put what is drawn somewhere else."""
        return replace(self, saved=tuple(here[v] for v in self.saved), results=results)

    def draw(self, block: Block, picks: Picks, pool: Pool) -> None:
        """Draw the states back, the last step first."""
        setting, walk, own = self.setting, self.body.walk, Block()
        state = Var(setting.shape, jnp.dtype("int32"))
        stored = [Var(x.shape[1:], x.dtype) for x in self.saved]
        here = {v: unflat(own, x, v.plates) if len(v.plates) else x for v, x in zip(self.stored, stored, strict=True)}
        inner: Picks = dict(unravelled(own, state, self.body.after))
        view = walk.child()
        for step in reversed(walk.pool.steps):
            step.moved(here, view.stacked).draw(own, inner, walk.pool)
        for found in walk.sites:
            moved = replace(found, values=here[found.values], guard=None if found.guard is None else here[found.guard])
            view.axes[moved.values] = walk.axes.get(found.values, {})
            view.sites.append(moved)
        summed = self.body.summed()
        wanted = [c for c in setting.body.choices if c.address in summed]
        values = [picked_choice(view, own, c, inner) for c in wanted]
        form = own.form((state, *stored), (inner[self.body.previous], *values))
        length, reverse = setting.node.length, not setting.node.reverse
        (first,), ys = block.loop(form, length, (), (picks[self.after],), self.saved, reverse)
        self.results.update(zip((c.address for c in wanted), ys, strict=True))
        picks |= unravelled(block, first, setting.outer)
