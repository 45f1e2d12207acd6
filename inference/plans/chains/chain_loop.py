"""Chain loop: many chains of a kernel, a warm-up that tunes it where it has settings, and draws, as one Form.

Law: the steps of the warm-up alone learn and restart chains, so that the draws are chains of one kernel. Warm-up and
draws are one loop, which is compiled once: its input says which steps learn. Only where draws are thinned they have a
loop of their own. Chains that run after each other, for models whose chains do not fit in memory side by side, have a
key of their own number each, and one that tunes itself does so alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import emit
from lawful.distributions.sampling.threefry import fold_in
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.form.liveness import without_dead_code
from lawful.form.rewriting import with_addresses
from lawful.passes.add_plate import lift

from ...kernels.gradient.gradient import SETTINGS, SIGNAL, tuned
from ...kernels.gradient.window_adaptation import ROW, has_scales, learns, schedule
from ...representations.kernel_form import KernelForm, unweighed
from ...running.memory import held_by
from .warm_up import RESTARTS, WarmUp


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
        writer: writes the loops.
        slopes: whether the kernel, or a part of it, moves along gradients.
        after_each_other: how many chains run one by one, each by the form; 0 where those of the form are all.
    """

    form: Form
    kernel: KernelForm
    warmup: int
    draws: int
    thin: int
    writer: _Writer
    slopes: bool
    after_each_other: int = 0

    @property
    def learns(self) -> bool:
        """Whether a warm-up finds settings of the kernel, or looks after chains in coordinates of their own."""
        return self.writer.warm_up.learns

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is told of the warm-up at the end."""
        return self.writer.warm_up.names

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
            return self._of_form(fold_in(key, chain), inputs, own)

        out = jax.lax.map(one, jnp.arange(self.after_each_other))
        kept, numbers = jax.tree.map(lambda x: jnp.moveaxis(x[:, :, 0], 0, 1), (out["kept"], out["numbers"]))
        return {"last": [x[:, 0] for x in out["last"]], "kept": kept, "numbers": numbers, "tuned": out["tuned"]}

    def _of_form(self, key: jax.Array, inputs: Sequence[Any], state: Sequence[Any]) -> dict[str, Any]:
        outputs, _ = self._run(key, *inputs, *state)
        size, info = len(state), len(self.kernel.info)
        rest = iter(outputs)
        last = [next(rest) for _ in range(size)]
        kept, counted = [], []
        for _ in range(1 if self.thin == 1 else 2):
            kept.append([jnp.swapaxes(next(rest), 0, 1) for _ in range(size)])
            counted.append([jnp.swapaxes(next(rest), 0, 1) for _ in range(info)])
        numbers = [jnp.concatenate(parts) for parts in zip(*counted, strict=True)]
        tuned = dict(zip(self.writer.warm_up.names, rest, strict=True))
        return {"last": last, "kept": kept, "numbers": numbers, "tuned": tuned}

    def drawn(self, out: Mapping[str, Any]) -> Drawn:
        """Read what a run gave; on the host warm-up and draws are parts of one array, and none is copied."""
        early, late = self.parts([[np.asarray(x) for x in states] for states in out["kept"]])
        return Drawn(early, late, out["numbers"], self.warmup, out["last"], out["tuned"])

    @cached_property
    def memory(self) -> tuple[int, int]:
        """The bytes of all states and numbers that are kept, and those that a run takes at its peak."""
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
    own = len(program.inputs)
    found, tuners, slopes = tuned(kernel, program)
    built = unweighed(found, "mcmc")
    carrying = built if built.enter is not None else replace(built, leave=None)  # rows are scored when they are read
    size = built.enter.outputs[0].shape[0] if built.gradient else None
    count = 1 if one_by_one else chains
    writer = _Writer(carrying, own, WarmUp(tuners, count, carrying.carried, size), Plate("chain", count))
    info = tuple(name for name in built.info if not name.startswith(SIGNAL))
    form, shown = writer.write(warmup, draws, thin), replace(built, info=info)
    return ChainLoop(form, shown, warmup, draws, thin, writer, slopes, chains if one_by_one else 0)


@dataclass(frozen=True)
class _Writer:
    """Writes the loops; `own` counts the program's inputs, which the settings of the tuners follow."""

    kernel: KernelForm
    own: int
    warm_up: WarmUp
    plate: Plate

    def write(self, warmup: int, draws: int, thin: int, joined: bool = True) -> Form:
        block, kernel = Block(), self.kernel
        if kernel.enter is not None:
            first, skipped = kernel.enter.inputs, self.own
        else:
            first, skipped = kernel.step.inputs, self.own + SETTINGS * len(self.warm_up.tuners)
        inputs = tuple(v.like() for v in first[: self.own])
        state = tuple(v.like((self.plate,)) for v in first[skipped:])
        carried = self.lifted(block, kernel.enter, inputs, state)
        learnt = tuple(map(block.constant, self.warm_up.start()))
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
        shown = []
        for at in range(0, len(settings), SETTINGS):
            step, root, _ = settings[at : at + SETTINGS]
            shown += [block.det(_first, step, label="setting"), block.det(_inverse_mass, root, label="setting")]
        shown += learnt[-len(RESTARTS) :] if self.warm_up.watches else ()
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
        tuners, each = self.warm_up.tuners, self.warm_up.of_each(learnt)
        if not tuners:
            return found
        scaled = block.constant(np.array(True)) if row is None else block.det(has_scales, row, label="scales known?")
        for tuner, known in zip(tuners, each, strict=True):
            found += block.det(tuner.settings, scaled, *known, label="settings", adds=[(self.plate,), (), ()])
        return found

    def step(self, block: Block, fixed: Sequence[Var], carried: Sequence[Var]) -> tuple[Any, Any, Any]:
        """Append a step; gives what is carried, numbers by name, and the signals of the tuners."""
        outs, size = self.lifted(block, self.kernel.step, fixed, carried), len(carried)
        numbers = dict(zip(self.kernel.info, outs[size:], strict=True))
        slots = range(self.own, self.own + SETTINGS * len(self.warm_up.tuners), SETTINGS)
        signals = [numbers.pop(f"{SIGNAL}{slot}") for slot in slots]
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
        index = block.det(learns, row, label="does the step learn?")
        operands, size = (row, *signals, *before, *known, *after), 1 + len(signals) + len(before)
        arms = []
        for taught in (False, True):
            inside = Block()
            given = tuple(v.like() for v in operands)
            plates = [v.plates for v in operands[size:]]
            after = given[size:]
            if taught:
                after = inside.det(self.warm_up, *given, label="what a step teaches", adds=plates)
            arms.append(inside.form(given, after))
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


def _first(steps: jax.Array) -> jax.Array:
    """All chains have the same step size in the end."""
    return steps[0]


def _inverse_mass(root: jax.Array) -> jax.Array:
    return root**2 if root.ndim == 1 else root @ root.T
