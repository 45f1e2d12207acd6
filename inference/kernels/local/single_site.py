"""Single site: draw one part of the choices again from its prior, and score only what that part reaches.

Law: pi K = pi, and K is reversible. A part is one element of a site's batch at one step of its loops. Which part moves
does not depend on the state, but inside a branch, where one of the n parts that are active is taken: there n / n' stays
in the ratio. Sites that begin to run are drawn from their prior, and those that stop are dropped with theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.form import Form, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.operations.from_jaxpr import inlined
from lawful.inference.kernels.local.frames import alone
from lawful.inference.kernels.local.reach import Target, targets
from lawful.inference.kernels.local.slice_operations import Take

from ...contract import Contract
from ...laws.picks import UniformIndexLaw
from ...registered import stored_as
from ...representations.kernel_form import KernelForm
from ..base.acceptance import INFO, accept
from ..base.base import INVARIANT, finished, opened, scored_anew
from ..base.redraw import PREFIX
from .local import Local, State, write_move
from .slots import Starts, Unravel, apply, shape_in, slots_of, table_of


@stored_as("kernels.single_site")
@dataclass(frozen=True)
class SingleSite:
    """Draw one part again from its prior, chosen uniformly among all parts.

    Reference: Wingate, Stuhlmueller and Goodman (2011), Lightweight implementations of probabilistic programming
    languages.
    """

    contract: Contract = INVARIANT
    keeps_absent = True

    def whole(self, program: Form) -> KernelForm:
        """Write its kernel: choice of the part, its move, coin, and what is written where it shows heads."""
        choices, block, inputs, state = opened(program)
        form = inlined(program)
        groups = [group for group in targets(form) if _parts(group)]
        if not groups:  # every site is an empty array
            still = (
                block.constant(np.zeros((), jnp.result_type(float))),
                block.constant(np.zeros((), bool)),
                block.constant(np.zeros((), bool)),
            )
            return KernelForm(block.form((*inputs, *state.flat), (*state.flat, *still)), choices, INFO)
        counts = [math.prod(group.sizes) for group in groups]
        count = block.constant(np.asarray(sum(counts), np.int32))
        part = block.site((PREFIX, "part"), UniformIndexLaw(sum(counts), shared=True), (count,))
        which, position = block.det(Split(tuple(counts)), part, label="which part")
        arms = [
            _Arm(form, choices, group, [v.like() for v in (*inputs, *state.values, *state.flags)]) for group in groups
        ]
        slots = slots_of([arm.move for arm in arms])
        whole = _by_address(choices, state.values, state.flags)
        forms = [arm.close([(shape_in(s, whole[s.address, s.flag]), whole[s.address, s.flag].dtype, edits[g])
                            for s, edits in slots]) for g, arm in enumerate(arms)]  # fmt: skip
        operands = [position, *inputs, *state.values, *state.flags]
        if len(forms) == 1:
            outs = block.splice(forms[0], operands)
        else:
            outs = block.branch(which, forms, operands, forms[0].outputs, label="which part")
        log_ratio, change, *written = outs
        probability, coin, broken = accept(block, log_ratio)
        for (slot, edits), new, valid in zip(slots, written[::2], written[1::2], strict=True):
            tables = tuple(table_of(arm.move, edit) for arm, edit in zip(arms, edits, strict=True))
            axes = slot.drop + len(slot.axes)
            starts = block.det(Starts(tables, axes), which, position, label="where") if axes else ()
            key = (slot.address, slot.flag)
            accepted = block.det(jnp.logical_and, coin, valid, label="accept?")
            whole[key] = apply(block, slot, starts, whole[key], new, accepted)
        log_density = block.det(_moved, coin, state.log_density, change, label="log density")
        values = [whole[c.address, False] for c in choices]
        flags = [whole[c.address, True] for c in choices if c.conditional]
        closed = block.form((*inputs, *state.flat), (*values, *flags, log_density, probability, coin, broken))
        return KernelForm(finished(closed), choices, INFO, leave=scored_anew(program))

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        return [f"{c.name}: one part at a time, proposed from its prior" for c in choices_of(program)]

    def __repr__(self) -> str:
        """Show the name."""
        return "single_site()"


def single_site() -> SingleSite:
    """Single-site moves from the prior, for programs of any kind of site, branches included.

    A move scores only what the moved part reaches: its own children, at one step of a loop or one element of a plate.

    >>> single_site()
    single_site()
    """
    return SingleSite()


class _Arm:
    """The move of one target, in a block of its own."""

    def __init__(self, form: Form, choices: Sequence[Choice], target: Target, operands: Sequence[Var]) -> None:
        self.block, self.target, self.operands = Block(), target, operands
        block, n = self.block, len(form.inputs)
        self.position = Var((), jnp.dtype("int32"))
        indices = block.det(Unravel(target.sizes), self.position, label="indices") if target.sizes else ()
        conditional = [c.address for c in choices if c.conditional]
        values = dict(zip((c.address for c in choices), operands[n : n + len(choices)], strict=True))
        flags = dict(zip(conditional, operands[n + len(choices) :], strict=True))
        self.again: dict[Address, Var] = {}
        one = block.constant(np.ones((), np.int32))
        self.count = after = one
        inner: tuple[Choice, ...] = ()
        if not isinstance(target.node, Site):
            inner = choices_of(alone(target.node))
            here = [_take(block, flags[c.address], indices) for c in inner]
            self._choose(inner, here)
        self.move = write_move(
            block,
            lambda whole: Local(block, form, target, indices, operands[:n], State(values, flags), self.again, whole),
        )
        if inner:
            rows = []
            for c in inner:
                depth, flag = self.move.flags_after[c.address]
                rows.append(_take(block, flag, indices[depth:]))
            after = block.det(count_active, *self._active(inner, rows), label="active parts")
        self.outputs = block.det(
            move_weights, *self.move.sums(True), *self.move.sums(False), self.count, after, label="log ratio"
        )

    def _active(self, inner: Sequence[Choice], flags: Sequence[Var]) -> list[Var]:
        shapes = [(*c.loops, *c.units) for c in inner]
        return [self.block.det(Spread(s), f, label="active?") for s, f in zip(shapes, flags, strict=True)]

    def _choose(self, inner: Sequence[Choice], flags: Sequence[Var]) -> None:
        """Choose one of the active parts of a branch."""
        active = self._active(inner, flags)
        self.count = self.block.det(count_active, *active, label="active parts")
        address = (PREFIX, "inside", *inner[0].address)
        index = self.block.site(address, UniformIndexLaw(_parts(self.target)), (self.count,))
        again = self.block.det(select_part, index, *active, label="which part")
        self.again = dict(zip((c.address for c in inner), again, strict=True))

    def close(self, slots: Sequence[tuple[tuple[int, ...], Any, Any]]) -> Form:
        """Close the block: log ratio, change of the log density, then part and validity of each slot."""
        zeros: dict[Any, Var] = {}

        def zero(shape: tuple[int, ...], dtype: Any) -> Var:
            if (shape, dtype) not in zeros:
                zeros[shape, dtype] = self.block.constant(np.zeros(shape, dtype))
            return zeros[shape, dtype]

        yes = self.block.constant(np.ones((), bool))
        written = []
        for shape, dtype, edit in slots:
            if edit is None:
                written += [zero(shape, dtype), zero((), jnp.dtype(bool))]
            else:
                written += [edit.part, edit.valid or yes]
        return without_dead_code(self.block.form((self.position, *self.operands), (*self.outputs, *written)))


def move_weights(
    kept_new: jax.Array,
    likelihood_new: jax.Array,
    drawn_new: jax.Array,
    kept_old: jax.Array,
    likelihood_old: jax.Array,
    drawn_old: jax.Array,
    count_old: jax.Array,
    count_new: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Log Hastings ratio of a move, and the change of the log density.

    The densities of what is drawn from the prior cancel in the ratio; n / n' stays. Where nothing can move (no part of
    the branch is active) the ratio is zero.
    """
    target = (kept_new + likelihood_new) - (kept_old + likelihood_old)
    ratio = target + jnp.log(count_old * 1.0) - jnp.log(count_new * 1.0)
    return jnp.where(count_old == 0, -jnp.inf, ratio), target + (drawn_new - drawn_old)


def count_active(*active: jax.Array) -> jax.Array:
    """Count the active parts of all sites."""
    return sum((jnp.sum(a, dtype=jnp.int32) for a in active), jnp.zeros((), jnp.int32))


def select_part(index: jax.Array, *active: jax.Array) -> tuple[jax.Array, ...]:
    """Mark the part whose rank among the active ones is the index."""
    flat = jnp.concatenate([a.reshape(-1) for a in active])
    rank = jnp.cumsum(flat.astype(jnp.int32)) - 1
    chosen = flat & (rank == index)
    out, start = [], 0
    for a in active:
        out.append(chosen[start : start + a.size].reshape(a.shape))
        start += a.size
    return tuple(out)


@dataclass(frozen=True)
class Spread:
    """The flag of each run of a site, for each of its parts."""

    shape: tuple[int, ...]

    def __call__(self, flag: jax.Array) -> jax.Array:
        """Repeat a flag over the parts."""
        return jnp.broadcast_to(flag.reshape(flag.shape + (1,) * (len(self.shape) - flag.ndim)), self.shape)


@dataclass(frozen=True)
class Split:
    """Which target a part belongs to, and its position among the parts of that target."""

    counts: tuple[int, ...]

    def __call__(self, part: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Split the number of a part."""
        ends = np.cumsum(self.counts).astype(np.int32)
        which = jnp.sum(part >= jnp.asarray(ends), dtype=jnp.int32)
        return which, part - jnp.asarray(ends - np.asarray(self.counts, np.int32))[which]


def _parts(target: Target) -> int:
    """Number of parts that can be chosen at one place: elements of a site's batch, or parts inside a branch."""
    if isinstance(target.node, Site):
        return math.prod(target.sizes)
    inner = sum(math.prod((*c.loops, *c.units)) for c in choices_of(alone(target.node)))
    return inner if math.prod(target.sizes) else 0


def _take(block: Block, value: Var, indices: Sequence[Var]) -> Var:
    return block.det(Take(len(indices), ()), value, *indices, label="slice") if indices else value


def _by_address(
    choices: Sequence[Choice], values: Sequence[Var], flags: Sequence[Var]
) -> dict[tuple[Address, bool], Var]:
    found = {(c.address, False): v for c, v in zip(choices, values, strict=True)}
    conditional = (c.address for c in choices if c.conditional)
    return found | {(a, True): v for a, v in zip(conditional, flags, strict=True)}


def _moved(coin: jax.Array, log_density: jax.Array, change: jax.Array) -> jax.Array:
    return jnp.where(coin, log_density + change, log_density)
