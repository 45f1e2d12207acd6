"""Chain loop: many chains of a kernel, a warm-up that tunes it where it has settings, and draws, as one Form.

Law: the steps of the warm-up alone learn and restart chains, so that the draws are chains of one kernel. Warm-up and
draws are one loop, which is compiled once: its input says which steps learn. Only where draws are thinned they have a
loop of their own. Chains that run after each other, for models whose chains do not fit in memory side by side, have a
key of their own number each, and one that tunes itself does so alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import emit
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.form.liveness import without_dead_code
from lawful.form.rewriting import with_addresses
from lawful.passes.add_plate import lift

from ...kernels.base.base import KernelForm, state_inputs
from ...kernels.gradient.gradient import SETTINGS, SIGNAL, Gradient
from ...kernels.gradient.window_adaptation import ROW, Learnt, Tuner, schedule, tuned_names
from ...representations.densities_of import unweighed
from ...representations.kernel_parts import parts_of, replaced
from ...running.memory import held_by
from .warm_up_restarts import RESTARTS, Watched, Window, closed, moved, observed, seen, watched, window


class Drawn(NamedTuple):
    """What chains left: states of warm-up and draws, (step, chain, ...), and numbers of all steps, (step, chain)."""

    early: Sequence[Any]
    late: Sequence[Any]
    numbers: Sequence[Any]
    warm: int
    last: Sequence[Any]
    tuned: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class ChainLoop:
    """The chains as a Form.

    Attributes:
        form: inputs are the program's, then the state of each chain; outputs the last state, states and numbers of
            all steps (where draws are thinned: of the warm-up, then of the draws), and the settings.
        kernel: names, choices and state of the kernel, on the inputs of the program alone where it is entered or left.
        warmup: steps before the first draw.
        draws: states kept after that.
        thin: steps per draw.
        names: names of the settings.
        writer: writes the loops.
        slopes: whether the kernel, or a part of it, moves along gradients.
        after_each_other: how many chains run one by one, each by the form; 0 where those of the form are all.
    """

    form: Form
    kernel: KernelForm
    warmup: int
    draws: int
    thin: int
    names: tuple[str, ...]
    writer: _Writer
    slopes: bool
    after_each_other: int = 0

    @property
    def learns(self) -> bool:
        """Whether a warm-up finds settings of the kernel, or looks after chains in coordinates of their own."""
        return self.writer.learns

    @cached_property
    def divisible(self) -> Form:
        """The form for runs in portions: where draws are thinned, the numbers of a draw's steps stay a row."""
        return self.form if self.thin == 1 else self.writer.write(self.warmup, self.draws, self.thin, joined=False)

    @cached_property
    def _run(self) -> Callable[..., Any]:
        return emit(self.form)

    def __call__(self, key: jax.Array, inputs: Sequence[Any], state: Sequence[Any]) -> dict[str, Any]:
        """Run all steps.

        Returns: the "last" state; "kept", the states (step, chain, ...) for `parts`; "numbers" (step, chain), of all;
            "tuned", the settings by name.
        """
        if not self.after_each_other:
            return self._of_form(key, inputs, state)

        def one(chain: jax.Array) -> dict[str, Any]:
            own = [jnp.asarray(x)[chain][None] for x in state]
            return self._of_form(jax.random.fold_in(key, chain), inputs, own)

        out = jax.lax.map(one, jnp.arange(self.after_each_other))
        kept, numbers = jax.tree.map(lambda x: jnp.moveaxis(x[:, :, 0], 0, 1), (out["kept"], out["numbers"]))
        return {"last": [x[:, 0] for x in out["last"]], "kept": kept, "numbers": numbers, "tuned": out["tuned"]}

    def _of_form(self, key: jax.Array, inputs: Sequence[Any], state: Sequence[Any]) -> dict[str, Any]:
        outputs, _ = self._run(key, *inputs, *state)
        size, info = self.kernel.size, len(self.kernel.info)
        rest = iter(outputs)
        last = [next(rest) for _ in range(size)]
        kept, counted = [], []
        for _ in range(1 if self.thin == 1 else 2):
            kept.append([jnp.swapaxes(next(rest), 0, 1) for _ in range(size)])
            counted.append([jnp.swapaxes(next(rest), 0, 1) for _ in range(info)])
        numbers = [jnp.concatenate(parts) for parts in zip(*counted, strict=True)]
        tuned = dict(zip(self.names, rest, strict=True))
        return {"last": last, "kept": kept, "numbers": numbers, "tuned": tuned}

    def drawn(self, out: Mapping[str, Any]) -> Drawn:
        """Read what a run gave; on the host warm-up and draws are parts of one array, and none is copied."""
        early, late = self.parts([[np.asarray(x) for x in states] for states in out["kept"]])
        return Drawn(early, late, out["numbers"], self.warmup, out["last"], out["tuned"])

    def memory(self) -> tuple[int, int]:
        """Tell the bytes of all states and numbers that are kept, and those that a run takes at its peak."""
        held, count = held_by(self.form), self.after_each_other
        if not count:
            return held.outputs, held.peak
        return count * held.outputs, held.peak + (2 * count - 1) * held.outputs  # what these leave is put side by side

    def parts(self, kept: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Any]]:
        """Give the states of the warmup and the draws, from what a run kept."""
        if len(kept) == 1:
            return [x[: self.warmup] for x in kept[0]], [x[self.warmup :] for x in kept[0]]
        warm, drawn = kept
        return list(warm), list(drawn)


def chain_loop(
    kernel: Any, program: Form, chains: int, warmup: int, draws: int, thin: int, *, one_by_one: bool = False
) -> ChainLoop:
    """Write warm-up and draws of many chains."""
    leaves = parts_of(kernel, Gradient)
    slotted, tuners = _with_slots(kernel, leaves, program)
    own, settings = len(program.inputs), [v for tuner in tuners for v in _settings_of(tuner)]
    extended = replace(program, inputs=(*program.inputs, *settings)) if settings else program
    built = unweighed(slotted.build(extended), "mcmc")
    ways = {name: getattr(built, name) for name in ("enter", "leave", "states", "begin")}
    slots = [own + SETTINGS * i for i in range(len(tuners))]
    built = replace(built, **{name: form and _without_settings(form, own, settings) for name, form in ways.items()})
    carrying = built if built.enter is not None else replace(built, leave=None)  # rows are scored when they are read
    writer = _Writer(carrying, own, tuners, slots, Plate("chain", 1 if one_by_one else chains))
    info = tuple(name for name in built.info if not name.startswith(SIGNAL))
    names = [f"{name}{suffix}" for suffix in tuned_names(slots) for name in ("step_size", "inverse_mass")]
    if writer.watches:
        names += RESTARTS
    form, shown = writer.write(warmup, draws, thin), replace(built, info=info)
    return ChainLoop(form, shown, warmup, draws, thin, tuple(names), writer, bool(leaves), chains if one_by_one else 0)


def _with_slots(kernel: Any, leaves: Sequence[Gradient], program: Form) -> tuple[Any, list[Tuner]]:
    """Give the kernels that are tuned a place among the program's inputs; the sizes are seen by building once."""
    tuned, sizes = [i for i, leaf in enumerate(leaves) if leaf.tuned], dict[int, int]()
    if not tuned:
        return kernel, []
    count = iter(range(len(leaves)))
    told = replaced(kernel, Gradient, lambda leaf: replace(leaf, seen=partial(sizes.__setitem__, next(count))))
    told.build(program)
    tuned = [i for i in tuned if i in sizes]
    tuners = [
        Tuner(
            sizes[i], leaves[i].dense, leaves[i].target, leaves[i].step_size,
            None if leaves[i].tunes_mass else leaves[i].root(sizes[i]),
        )
        for i in tuned
    ]  # fmt: skip
    places = {i: len(program.inputs) + SETTINGS * number for number, i in enumerate(tuned)}
    count = iter(range(len(leaves)))
    return replaced(kernel, Gradient, lambda leaf: replace(leaf, slot=places.get(next(count)))), tuners


def _settings_of(tuner: Tuner) -> tuple[Var, Var, Var]:
    dtype = jnp.result_type(float)
    return Var((), dtype), Var((tuner.size,) * (2 if tuner.dense else 1), dtype), Var((), jnp.dtype(bool))


def _without_settings(form: Form, own: int, settings: Sequence[Var]) -> Form:
    """Give a way in or out or a draw, which no setting changes, on the inputs of the program alone."""
    block, inputs = Block(), tuple(v.like() for v in form.inputs)
    inputs, state = inputs[:own], inputs[own + len(settings) :]
    none = [block.constant(np.zeros(v.shape, v.dtype)) for v in settings]
    return block.form((*inputs, *state), block.splice(form, [*inputs, *none, *state]))


@dataclass(frozen=True)
class _Writer:
    """Writes the loops; `own` counts the program's inputs, which the settings of the tuners follow."""

    kernel: KernelForm
    own: int
    tuners: Sequence[Tuner]
    slots: Sequence[int]
    plate: Plate

    @property
    def learns(self) -> bool:
        """Whether the warm-up has anything to do."""
        return bool(self.tuners) or self.kernel.gradient

    @property
    def watches(self) -> bool:
        """Whether the warm-up restarts chains: one alone has none to be restarted from."""
        return self.plate.size > 1 and self.learns

    @property
    def compares(self) -> bool:
        """Whether the regions of chains are compared: a kernel in its own coordinates carries what that takes."""
        return self.watches and self.kernel.gradient

    def write(self, warmup: int, draws: int, thin: int, joined: bool = True) -> Form:
        block, kernel = Block(), self.kernel
        inputs = tuple(v.like() for v in kernel.step.inputs[: self.own])
        state = tuple(v.like((self.plate,)) for v in state_inputs(kernel.choices).flat)
        carried = self.lifted(block, kernel.enter, inputs, state)
        known = [x for tuner in self.tuners for x in tuner.start(self.plate.size)]
        known += window(self.plate.size, *carried[0].shape) if self.compares else ()
        known += watched(self.plate.size) if self.watches else ()
        learnt = tuple(map(block.constant, known))
        if thin == 1:
            carried, learnt, kept = self.learning(block, inputs, carried, learnt, warmup, draws)
            groups = [kept]
        else:
            carried, learnt, early = self.learning(block, inputs, carried, learnt, warmup, 0, ("warmup",))
            fixed = (*inputs, *self.settings(block, learnt))
            carried, late = self.drawn(block, fixed, carried, draws, thin, joined)
            groups = [early, late]
        settings = self.settings(block, learnt)
        last = self.lifted(block, kernel.leave, inputs, carried)
        shown = [
            block.det(show, v, label="setting")
            for at in range(0, len(settings), SETTINGS)
            for show, v in zip((_first, _inverse_mass), settings[at:], strict=False)
        ]
        shown += learnt[-len(RESTARTS) :] if self.watches else ()
        return without_dead_code(block.form((*inputs, *state), (*last, *(v for g in groups for v in g), *shown)))

    def lifted(self, block: Block, form: Form | None, shared: Sequence[Var], own: Sequence[Var]) -> tuple[Var, ...]:
        """Append a form for every chain; without one, what is each chain's stays."""
        if form is None:
            return tuple(own)
        plated = [self.plate in v.plates for v in shared] + [True] * len(own)
        copied = lift(form, self.plate, plated, carried=[True] * len(form.outputs)).form
        return block.splice(copied, (*shared, *own))

    def settings(self, block: Block, learnt: Sequence[Var], row: Var | None = None) -> list[Var]:
        """Append step size and root of every tuner, and whether the scales are known, at a row of the schedule."""
        found: list[Var] = []
        if not self.tuners:
            return found
        scaled = block.constant(np.array(True)) if row is None else block.det(_scaled, row, label="scales known?")
        for tuner, known in zip(self.tuners, self.each(learnt), strict=True):
            found += block.det(tuner.settings, scaled, *known, label="settings", adds=[(self.plate,), (), ()])
        return found

    def each(self, learnt: Sequence[Var]) -> list[Sequence[Var]]:
        """Split what is known by tuner."""
        size = len(Learnt._fields)
        return [learnt[i * size : (i + 1) * size] for i in range(len(self.tuners))]

    def step(self, block: Block, fixed: Sequence[Var], carried: Sequence[Var]) -> tuple[Any, Any, Any]:
        """Append a step; gives what is carried, numbers by name, and the signals of the tuners."""
        outs, size = self.lifted(block, self.kernel.step, fixed, carried), len(carried)
        numbers = dict(zip(self.kernel.info, outs[size:], strict=True))
        signals = [numbers.pop(f"{SIGNAL}{slot}") for slot in self.slots]
        return outs[:size], tuple(numbers.values()), signals

    def learning(
        self,
        block: Block,
        inputs: Sequence[Var],
        carried: Sequence[Var],
        learnt: Sequence[Var],
        warmup: int,
        draws: int,
        name: tuple[str, ...] = (),
    ) -> tuple[tuple[Var, ...], tuple[Var, ...], tuple[Var, ...]]:
        """Append a loop whose first steps learn; gives what is carried, what is learnt, and states and numbers of all.

        `name` stands before the addresses of its sites.
        """
        inner = Block()
        shared, state, known = (tuple(v.like() for v in group) for group in (inputs, carried, learnt))
        count = (
            [Var((), jnp.dtype("int32"))] if known else []
        )  # where nothing is learnt, no step is told what it learns
        plan = schedule(warmup)
        row = inner.det(plan, *count, label="what the step learns") if known else Var((ROW,), jnp.result_type(float))
        fixed = (*shared, *self.settings(inner, known, row))
        after, numbers, signals = self.step(inner, fixed, state)
        after, new = self.learnt(inner, row, signals, known, state, after)
        kept = self.lifted(inner, self.kernel.leave, shared, after)
        later = [inner.det(plan.after, at, label="steps so far") for at in count]
        body = inner.form((*shared, *state, *known, *count), (*after, *new, *later, *kept, *numbers))
        if name:
            body = with_addresses(body, lambda address: (*name, *address))
        zero = [block.constant(np.zeros((), np.int32)) for _ in count]
        last, stacked = block.loop(body, warmup + draws, inputs, (*carried, *learnt, *zero), ())
        known_last = last[len(carried) : len(carried) + len(learnt)]
        return last[: len(carried)], known_last, stacked

    def learnt(
        self, block: Block, row: Var, signals: Sequence[Var], known: Sequence[Var], before: Sequence[Var],
        after: Sequence[Var],
    ) -> tuple[tuple[Var, ...], tuple[Var, ...]]:  # fmt: skip
        """Append what a step teaches, in a branch that draws do not enter; gives what is carried, and what is known."""
        if not known:
            return tuple(after), ()
        index = block.det(_learns, row, label="does the step learn?")
        operands, size = (row, *signals, *before, *known, *after), 1 + len(signals) + len(before)
        taught = _Taught(self.tuners, len(before), self.plate.size, self.watches, self.compares)
        arms = []
        for learns in (False, True):
            inside = Block()
            given = tuple(v.like() for v in operands)
            plates = [v.plates for v in operands[size:]]
            found = inside.det(taught, *given, label="what a step teaches", adds=plates) if learns else given[size:]
            arms.append(inside.form(given, found))
        outs = block.branch(index, arms, operands, operands[size:], label="does the step learn?")
        return outs[len(known) :], outs[: len(known)]

    def drawn(
        self, block: Block, fixed: Sequence[Var], carried: Sequence[Var], draws: int, thin: int, joined: bool
    ) -> tuple[tuple[Var, ...], tuple[Var, ...]]:
        """Append the draws; gives what is carried, the states that are kept, and the numbers of all steps."""
        inner = Block()
        shared, state = (tuple(v.like() for v in group) for group in (fixed, carried))
        after, numbers, _ = self.step(inner, shared, state)
        one, outer = inner.form((*shared, *state), (*after, *numbers)), Block()
        shared, state = (tuple(v.like() for v in group) for group in (fixed, carried))
        after, stacked = outer.loop(one, thin, shared, state, ())
        kept = self.lifted(outer, self.kernel.leave, shared[: self.own], after)
        body = outer.form((*shared, *state), (*after, *kept, *stacked))
        last, late = block.loop(body, draws, fixed, carried, ())
        if not joined:
            return last, late
        size = len(kept)
        flat = [block.det(_joined, v, label="steps", plates=v.plates) for v in late[size:]]
        return last, (*late[:size], *flat)


def _joined(steps: jax.Array) -> jax.Array:
    """Make one axis of draws and of their steps."""
    return steps.reshape((-1, *steps.shape[2:]))


def _scaled(row: jax.Array) -> jax.Array:
    return row[5] == 0


def _learns(row: jax.Array) -> jax.Array:
    return (row[2] > 0).astype(jnp.int32)


@dataclass(frozen=True)
class _Taught:
    """What is known after a step of the warm-up, then what is carried on, of all chains.

    Operands: the row of the schedule, the signals, what was carried before the step, what was known, what is carried.
    """

    tuners: Sequence[Tuner]
    carried: int
    chains: int
    watches: bool
    compares: bool

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Learn."""
        count, size = len(self.tuners), self.carried
        row, signals, before = operands[0], operands[1 : 1 + count], operands[1 + count : 1 + count + size]
        known, after = operands[1 + count + size : -size], operands[-size:]
        watch: tuple[jax.Array, ...] = ()
        places = jnp.arange(self.chains)
        apart, below = jnp.zeros(self.chains, bool), jnp.zeros(self.chains, row.dtype)
        if self.watches:
            found = Watched(*known[-len(Watched._fields) :])
            if self.compares:
                at = len(known) - len(Watched._fields)
                # Before the first scales are found, a chain may still be on its way.
                points = Window(*known[at - len(Window._fields) : at])
                vector, log_density, gradient = after[:3]
                points = observed(points, vector, log_density, gradient, row[0] * (1 - row[5]))
                points, below = closed(points, row[1] * (1 - row[5]) > 0)
                watch = points
            found, places = seen(found, moved(before, after), row[4] == 0, below)
            apart, watch = found.apart, (*watch, *found)
            after = tuple(x[places] for x in after)
        new: list[jax.Array] = []
        for number, (tuner, signal) in enumerate(zip(self.tuners, signals, strict=True)):
            own = known[number * len(Learnt._fields) : (number + 1) * len(Learnt._fields)]
            learnt = tuner.update(row, apart, signal, *own)
            new += tuner.taken(places, *learnt) if self.watches else learnt
        return (*new, *watch, *after)


def _first(steps: jax.Array) -> jax.Array:
    """All chains have the same step size in the end."""
    return steps[0]


def _inverse_mass(root: jax.Array) -> jax.Array:
    return root**2 if root.ndim == 1 else root @ root.T
