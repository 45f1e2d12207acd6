"""Gibbs: draw finite parts one after the other, each from its exact conditional given all others.

Law: pi K = pi, whatever the order of the parts, since each draw keeps pi. A part is one element of a site's batch at
one step of its loops. The conditional is that of the densities which the part reaches, at each of its values. Parts of
a site whose conditionals do not read each other are drawn at once, which is the same as in any order.

Reference: Geman and Geman (1984), Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.errors import UnsupportedProgramError
from lawful.form import Det, Form, Plate, Site, Var
from lawful.form.builder import Block, Tupled
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.operations.from_jaxpr import inlined
from lawful.inference.kernels.local.reach import Target, targets
from lawful.inference.kernels.local.slice_operations import Take
from lawful.passes.add_plate import lift
from lawful.passes.condition import conditioned

from ...contract import Contract
from ...laws.invalid_weights import cleaned
from ...laws.picks import PickLaw
from ...registered import stored_as
from ...representations.kernel_form import KernelForm, State, state_inputs
from ..base.base import finished, scored_anew
from ..base.redraw import PREFIX
from ..local.local import Local, write_move
from ..local.local import State as Old
from ..local.slots import Starts, Unravel, apply, slots_of, table_of

INFO = ("n_changed", "n_nonfinite")
LATER = "is read by all later steps of its loop"


@stored_as("kernels.gibbs")
@dataclass(frozen=True)
class Gibbs:
    """A scan over all parts of the finite sites; see `gibbs`."""

    contract: Contract = Contract("invariant_kernel", target="the program's posterior", parametric=True)

    def build(self, program: Form) -> KernelForm:
        """Write one loop over the parts of each site."""
        choices = choices_of(program)
        form = inlined(program)
        block, inputs, start = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        state, numbers = start, [block.constant(np.zeros((), np.int32)) for _ in INFO]
        for target in _moved(form):
            state, counts = scan(block, _Part(form, choices, target), inputs, state)
            numbers = [block.det(jnp.add, a, b, label=name) for name, a, b in zip(INFO, numbers, counts, strict=True)]
        closed = block.form((*inputs, *start.flat), (*state.flat, *numbers))
        return KernelForm(finished(closed), choices, INFO, leave=scored_anew(program))

    def plan(self, program: Form) -> list[str]:
        """Say which site is drawn how."""
        moved = drawn_sites(program)
        return [
            f"{c.name}: " + ("drawn from its conditional" if c.address in moved else "not moved")
            for c in choices_of(program)
        ]

    def __repr__(self) -> str:
        """Show the name."""
        return "gibbs()"


def gibbs() -> Gibbs:
    """Gibbs sampling of finite sites: a step draws each of their parts once, in the order of the program.

    Parts of a site that are independent of each other given all else, as the labels of a mixture, are drawn at once.

    Sites that are not finite and sites inside branches stay; move them by another kernel, as in
    `cycle(gibbs(), random_walk(0.5))`, or `cycle(gibbs(), conjugate())` where they have conditionals of a known family.
    To move some finite sites only, use `on(sites, gibbs())`.

    Raises: UnsupportedProgramError when the kernel is built, where a finite site decides which others run, or where all
        later steps of a loop read it: there is no conditional that a few values show.

    >>> import numpyro.distributions as dist, lawful
    >>> def mixture(y):
    ...     mean = lawful.sample("mean", dist.Normal(0.0, 3.0))
    ...     with lawful.plate("i", 4):
    ...         z = lawful.sample("z", dist.Bernoulli(0.3))
    ...         lawful.sample("y", dist.Normal(z * mean, 1.0), obs=y)
    >>> gibbs().plan(lawful.trace(mixture, np.zeros(4)))
    ['mean: not moved', 'z: drawn from its conditional']
    """
    return Gibbs()


def _moved(form: Form) -> list[Target]:
    """List the sites that are drawn."""
    found = [t for t in targets(form) if isinstance(t.node, Site) and 0 not in t.sizes]
    return [t for t in found if t.node.law.atoms is not None]


def drawn_sites(form: Form) -> set[Address]:
    """Find the finite sites that a scan draws: those inside branches stay."""
    return {target.node.address for target in _moved(inlined(form))}


def drawn_at_once(form: Form, site: Address) -> bool:
    """Tell whether no part of a site reads another one in its conditional, so that a scan draws the site exactly.

    Raises: UnsupportedProgramError where the site has no conditional.
    """
    form = inlined(form)
    parts = [t for t in _moved(form) if t.node.address == site]
    return all(not t.sizes or _Part(form, choices_of(form), t).apart for t in parts)


class _Part:
    """What one part of a target needs: the weights of its values, the values, and where the state holds it.

    Attributes:
        weigh: from position, inputs, values, flags and a value of the part to the change of the log density.
        values: from position, inputs, values and flags to all values of the part.
        count: number of values.
        slot: where it is written.
        starts: how its place follows from the position.
        apart: whether what it reaches reads no other part of its site.
    """

    def __init__(self, form: Form, choices: Sequence[Choice], target: Target) -> None:
        block, state = Block(), state_inputs(choices)
        self.target, self.choices = target, choices
        position, inputs = Var((), jnp.dtype("int32")), tuple(v.like() for v in form.inputs)
        indices = block.det(Unravel(target.sizes), position, label="indices") if target.sizes else ()
        old = Old(dict(zip((c.address for c in choices), state.values, strict=True)), _flags(choices, state))

        def build(whole: Any) -> Local:
            if whole:
                raise _refused(target.node, LATER)
            return Local(block, form, target, indices, inputs, old, {}, whole)

        local = write_move(block, build)
        if len(local.edits) != 1:
            raise _refused(target.node, "decides which other sites run")
        change = block.det(log_weight, *local.sums(True), *local.sums(False), label="change")
        operands = (position, *inputs, *state.values, *state.flags)
        move = block.form(operands, (change,))
        drawn = next((node for node in move.nodes if isinstance(node, Site) and node.observed is None), None)
        if drawn is None:
            raise _refused(target.node, LATER)
        self.count = int(drawn.law.atoms)
        self.weigh = without_dead_code(conditioned(move, {drawn.address}, ()).form)
        listed = Var((self.count, *drawn.out.shape), drawn.out.dtype)
        before = move.nodes[: move.nodes.index(drawn)]
        lister = Det(_Values(drawn.law), drawn.parameters, (listed,), "values")
        self.values = without_dead_code(replace(move, nodes=(*before, lister), outputs=(listed,)))
        ((self.slot, (edit,)),) = slots_of([local])
        axes = self.slot.drop + len(self.slot.axes)
        self.starts = Starts((table_of(local, edit),), axes) if axes else None
        assert edit is not None
        own, place = old.values[target.node.address], (*edit.steps, *(q for _, q in edit.at))
        self.apart = bool(indices) and _reads_only(
            without_dead_code(move), own, Take(self.slot.drop, self.slot.axes), tuple(indices[q] for q in place)
        )

    @property
    def choice(self) -> Choice:
        """The site among the choices."""
        return self.choices[self._number]

    def value(self, state: State) -> Var:
        """The value of the site in a state."""
        return state.values[self._number]

    def written(self, state: State, value: Var, log_density: Var) -> State:
        """Put a value of the site, and the log density, into a state."""
        k = self._number
        return State((*state.values[:k], value, *state.values[k + 1 :]), state.flags, log_density)

    @property
    def _number(self) -> int:
        return next(i for i, c in enumerate(self.choices) if c.address == self.slot.address)


def _reads_only(move: Form, whole: Var, take: Take, indices: tuple[Var, ...]) -> bool:
    """Tell whether a move reads of a value the slice at its own indices alone."""
    readers = [node for node in move.nodes if whole in node.ins]
    return all(
        isinstance(node, Det)
        and isinstance(node.function, Tupled)
        and node.function.function == take
        and node.ins == (whole, *indices)
        for node in readers
    )


def scan(block: Block, part: _Part, inputs: Sequence[Var], state: State) -> tuple[State, list[Var]]:
    """Append draws of all parts of a site; returns the state and the numbers of `INFO`."""
    return (_at_once if part.apart else _in_turn)(block, part, inputs, state)


def _at_once(block: Block, part: _Part, inputs: Sequence[Var], state: State) -> tuple[State, list[Var]]:
    """Append the draws of parts that do not read each other, each of them at the same state."""
    inner, now = Block(), state_inputs(part.choices)
    given, position = tuple(v.like() for v in inputs), Var((), jnp.dtype("int32"))
    drawn = _drawn(inner, part, given, now, position)
    one = inner.form((position, *given, *now.flat), (drawn.value, drawn.change, *drawn.numbers))
    parts = Plate("part", math.prod(part.target.sizes))
    each = block.det(_same, block.constant(np.arange(parts.size, dtype=np.int32)), label="each part", adds=(parts,))
    plated = [True] + [False] * (len(inputs) + len(now.flat))
    lifted = lift(one, parts, plated, carried=[True] * len(one.outputs)).form
    values, changes, *numbers = block.splice(lifted, (each, *inputs, *state.flat))
    whole = block.det(_Joined(part.choice.full_shape), values, label="all parts")
    log_density = block.det(_with_all, state.log_density, changes, label="log density")
    return part.written(state, whole, log_density), [block.det(_total, x, label="total") for x in numbers]


def _in_turn(block: Block, part: _Part, inputs: Sequence[Var], state: State) -> tuple[State, list[Var]]:
    """Append the draws one after the other, each at the state that the last one left."""
    inner, now = Block(), state_inputs(part.choices)
    given, position = tuple(v.like() for v in inputs), Var((), jnp.dtype("int32"))
    drawn = _drawn(inner, part, given, now, position)
    whole, yes = part.value(now), inner.constant(np.ones((), bool))
    whole = apply(inner, part.slot, drawn.starts, whole, drawn.value, yes)
    log_density = inner.det(jnp.add, now.log_density, drawn.change, label="log density")
    after = part.written(now, whole, log_density)
    body = inner.form((*given, *now.flat, position), (*after.flat, *drawn.numbers))
    length = math.prod(part.target.sizes)
    positions = block.constant(np.arange(length, dtype=np.int32))
    flat, counts = block.loop(body, length, inputs, state.flat, (positions,))
    n = len(part.choices)
    return State(flat[:n], flat[n:-1], flat[-1]), [block.det(_total, x, label="total") for x in counts]


@dataclass(frozen=True)
class _Drawn:
    """A part's new value, the change of the log density, where the part lies, and the numbers of `INFO`."""

    value: Var
    change: Var
    starts: Sequence[Var]
    numbers: tuple[Var, Var]


def _drawn(block: Block, part: _Part, inputs: Sequence[Var], state: State, position: Var) -> _Drawn:
    """Append the draw of one part from its conditional."""
    operands = (position, *inputs, *state.values, *state.flags)
    plate = Plate("value", part.count)
    (values,) = block.splice(part.values, operands)
    each = block.det(_same, values, label="each value", adds=(plate,))
    lifted = lift(part.weigh, plate, [False] * len(operands) + [True], carried=[True]).form
    (change,) = block.splice(lifted, (*operands, each))
    weights = block.det(relative, change, label="weights")
    pick = block.site((PREFIX, "gibbs", *part.target.node.address), PickLaw(part.count), (weights,))
    value, added = (block.det(_at, x, pick, label="picked") for x in (values, change))
    zero, slot = block.constant(np.zeros((), np.int32)), part.slot
    starts = block.det(part.starts, zero, position, label="where") if part.starts is not None else ()
    old = part.value(state)
    old = block.det(Take(slot.drop, slot.axes), old, *starts, label="slice") if starts else old
    numbers = (
        block.det(_differs, old, value, label="changed?"),  # of the part: a loop writes the whole in place
        block.det(_broken, change, label="not a number?"),
    )
    return _Drawn(value, added, starts, numbers)


def log_weight(*terms: jax.Array) -> jax.Array:
    """Change of the log density by a new value: the sums of the new state (see `Local.sums`) less those of the old."""
    return sum(terms[:3], jnp.zeros(())) - sum(terms[3:], jnp.zeros(()))


def relative(log_weights: jax.Array) -> jax.Array:
    """Weights of values on a scale where the largest is 1; what is NaN or +inf has none."""
    known, _ = cleaned(log_weights)
    top = jnp.max(known)
    return jnp.exp(known - jnp.where(top == -jnp.inf, 0.0, top))


@dataclass(frozen=True)
class _Values:
    """All values of a part, along a new first axis."""

    law: Any

    def __call__(self, *parameters: jax.Array) -> tuple[jax.Array]:
        return (self.law.enumerate(*parameters)[0],)


def _flags(choices: Sequence[Choice], state: State) -> dict[Any, Var]:
    return dict(zip((c.address for c in choices if c.conditional), state.flags, strict=True))


def _refused(site: Site, why: str) -> UnsupportedProgramError:
    return UnsupportedProgramError(
        f"gibbs: site '{show_address(site.address)}' ({site.source}) {why}, so its values alone do not show its "
        "conditional. Fix: move it by kernels.mh(), and the others by on(sites, gibbs()).",
        site=site.address,
    )


def _same(values: jax.Array) -> jax.Array:
    return values


def _at(values: jax.Array, index: jax.Array) -> jax.Array:
    return values[index]


@dataclass(frozen=True)
class _Joined:
    """The value of a site from all its parts, which come in the order of their indices."""

    shape: tuple[int, ...]

    def __call__(self, parts: jax.Array) -> jax.Array:
        return parts.reshape(self.shape)


def _with_all(log_density: jax.Array, changes: jax.Array) -> jax.Array:
    return log_density + jnp.sum(changes)


def _total(counts: jax.Array) -> jax.Array:
    return jnp.sum(counts, dtype=jnp.int32)


def _broken(log_weights: jax.Array) -> jax.Array:
    return cleaned(log_weights)[1]


def _differs(before: jax.Array, after: jax.Array) -> jax.Array:
    return jnp.any(before != after).astype(jnp.int32)
