"""Replica exchange: a kernel of copies of a program at several powers of its likelihood, which change places.

Law: the copies together have the product measure of prior * likelihood ^ power over the powers, whose marginal at power
1 is the program's measure; a kernel for each copy keeps it, and so does the swap of two neighbours with probability
min(1, exp((p_i - p_j) (l_j - l_i))), l the log likelihoods. A step moves all copies, swaps the even pairs, moves them
again, and swaps the odd pairs.

The copy at power 1 has the choices of the program; those of the others are choices of the kernel's own, so that they
are a part of the state. A chain carries all copies side by side, with their log priors and log likelihoods.

Reference: Swendsen and Wang (1986), Replica Monte Carlo simulation of spin glasses; Syed, Bouchard-Cote, Deligiannidis
and Doucet (2022), Non-reversible parallel tempering, for the order of the pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.form.bundles import changed, filled
from lawful.form.choices import choices_of
from lawful.form.liveness import without_dead_code
from lawful.inspection.lint.improper_priors import refuse_improper
from lawful.passes.add_plate import lift
from lawful.passes.record import record
from lawful.passes.thread_sites import score

from ...contract import Contract
from ...laws.picks import CoinLaw
from ...representations.annealing_paths import prior_to_posterior
from ...representations.kernel_form import SIGNAL, KernelForm, exact, scoped, state_inputs, without_weights
from ...representations.tempered_program import Entered, powered, times
from ..base.acceptance import acceptance
from ..base.base import finished, nothing_to_move

OTHERS = "~copies"  # begins the address of a choice of a copy at a power below 1


def at_power(program: Form) -> Form:
    """Write prior * likelihood ^ power as a program; its inputs are the program's, the number 0, and the power."""
    entries, _ = prior_to_posterior().entries(program)
    return powered(program, entries, Entered())


@dataclass(frozen=True)
class Tempering:
    """Moves and swaps of copies of a program.

    Attributes:
        kernel: what moves each copy.
        powers: increasing, the last of them 1.
    """

    kernel: Any
    powers: tuple[float, ...]

    @property
    def contract(self) -> Contract:
        """What the kernel of a copy claims; the step as a whole is not reversible."""
        own: Contract = self.kernel.contract
        return own if not own.exact else Contract("invariant_kernel", target=own.target, parametric=own.parametric)

    def build(self, program: Form) -> KernelForm:
        """Write moves and swaps, and the ways to the copies and back.

        Raises: ImproperPriorError where a copy has a prior that is no distribution for its target.
        """
        if self.powers[0] == 0:
            refuse_improper(program, "parallel_tempering with the power 0")
        writer = _Writer(program, self.kernel, self.powers)
        step, info = writer.step()
        return KernelForm(
            step, (*writer.choices, *writer.others), info, writer.enter(), writer.leave(), writer.states(),
            writer.begin(),
        )  # fmt: skip

    def plan(self, program: Form) -> list[str]:
        """Say what moves the sites of each copy."""
        powers = ", ".join(f"{p:.3g}" for p in self.powers)
        return [f"{line}, at powers {powers}" for line in self.kernel.plan(at_power(program))]

    def __repr__(self) -> str:
        """Show kernel and powers."""
        return f"tempering({self.kernel!r}, {[round(p, 4) for p in self.powers]})"


@dataclass(frozen=True)
class Copies:
    """All copies side by side, in the order of the powers: choices, flags of conditional ones, and their densities."""

    values: tuple[Var, ...]
    flags: tuple[Var, ...]
    prior: Var
    likelihood: Var


@dataclass(frozen=True)
class Apart:
    """A state of a chain: the copy at power 1 and the others, and the log density of the first."""

    values: tuple[Var, ...]
    other_values: tuple[Var, ...]
    flags: tuple[Var, ...]
    other_flags: tuple[Var, ...]
    log_density: Var


class _Writer:
    """Writes the forms of a kernel; inside of them, and nowhere else, the copies have the plate of the powers."""

    def __init__(self, program: Form, kernel: Any, powers: tuple[float, ...]) -> None:
        self.program, self.powers, self.size = program, powers, len(powers)
        self.plate = Plate("power", self.size)
        self.choices = choices_of(program)
        if not self.choices:
            raise nothing_to_move()
        self.others = tuple(
            replace(c, address=(OTHERS, *c.address), loops=(self.size - 1, *c.loops)) for c in self.choices
        )
        self.built: KernelForm = exact(kernel.build(at_power(program)), "parallel_tempering")

    @cached_property
    def scoring(self) -> Form:
        """Log prior and log likelihood of one copy."""
        found = score(self.program)
        return replace(found.form, outputs=found.parts.sums)

    def opened(self) -> tuple[Block, tuple[Var, ...]]:
        """Begin a form: a block, and the inputs of the program."""
        return Block(), tuple(v.like() for v in self.program.inputs)

    def state(self) -> Apart:
        """Make fresh values of a state."""
        own, other = state_inputs(self.choices), state_inputs(self.others)
        return Apart(own.values, other.values, own.flags, other.flags, own.log_density)

    def copies(self) -> Copies:
        """Make fresh values of all copies."""
        along = state_inputs([replace(c, loops=(self.size, *c.loops)) for c in self.choices])
        density = Var((self.size,), along.log_density.dtype)
        return Copies(along.values, along.flags, density, density.like())

    def begin(self) -> Form:
        """Write the way from a state of the program to one of the kernel: all copies begin there."""
        (block, inputs), own = self.opened(), state_inputs(self.choices)
        others = changed((own.values, own.flags), lambda v: block.det(_Repeated(self.size - 1), v, label="copies"))
        return block.form((inputs, own.flat), Apart(own.values, others[0], own.flags, others[1], own.log_density))

    def states(self) -> Form:
        """Write a draw of all copies from the prior, weighed by the likelihoods at their powers."""
        block, inputs = self.opened()
        prior = record(without_weights(self.program), ("sample",))
        drawn = replace(prior.form, outputs=prior.form.outputs[prior.own :], out_tree=None)
        outs = self.lifted(block, drawn, inputs, ())
        copies = self.scored(block, inputs, outs[: len(self.choices)], outs[len(self.choices) :])
        weight = block.det(_weight, copies.likelihood, self.power(block), label="weight of all copies")
        block.factor((OTHERS, "weight"), weight)
        return finished(block.form(inputs, self.apart(block, copies)))

    def enter(self) -> Form:
        """Write the way from a state to all copies side by side."""
        (block, inputs), state = self.opened(), self.state()
        values, flags = (
            tuple(block.det(_joined, *pair, label="copies", adds=(self.plate,)) for pair in zip(*group, strict=True))
            for group in ((state.other_values, state.values), (state.other_flags, state.flags))
        )
        copies = self.scored(block, inputs, values, flags)
        return without_dead_code(block.form((inputs, state), self.plain(block, copies)))

    def leave(self) -> Form:
        """Write the way back."""
        (block, inputs), copies = self.opened(), self.copies()
        return without_dead_code(block.form((inputs, copies), self.apart(block, copies)))

    def step(self) -> tuple[Form, tuple[str, ...]]:
        """Write a step: moves and swaps, twice where there are two kinds of pairs; gives it with its numbers' names."""
        (block, inputs), given = self.opened(), self.copies()
        here, power = self.marked(block, given), self.power(block)
        numbers: list[Mapping[str, Var]] = []
        chances: dict[int, Var] = {}
        for half in range(2 if self.size > 2 else 1):
            here, info = self.moved(block, inputs, here, power, half)
            numbers.append(info)
            pairs = range(half, self.size - 1, 2)
            chances |= {p: block.det(SwapChance(p, *self.powers[p : p + 2]), here.likelihood, label=f"swap {p}")
                        for p in pairs}  # fmt: skip
            here = self.swapped(block, here, chances, pairs, half)
        told = {name: block.det(_Last(name), *(n[name] for n in numbers), label=name) for name in numbers[0]}
        told |= {f"swap_{p}_{p + 1}": chances[p] for p in range(self.size - 1)}
        form = block.form((inputs, given), (self.plain(block, here), told))
        return finished(form), tuple(told)

    def moved(
        self, block: Block, inputs: Sequence[Var], here: Copies, power: Var, half: int
    ) -> tuple[Copies, Mapping[str, Var]]:
        """Append one move of every copy at its power; gives the copies and the numbers."""
        log_density = block.det(_raised, here.prior, here.likelihood, power, label="log density", plates=(self.plate,))
        form, first = scoped(self.built.form, (OTHERS, str(half))), block.constant(np.zeros((), np.int32))
        state = (*here.values, *here.flags, log_density)
        outs = self.lifted(block, form, (*inputs, first), (power, *state))
        values, flags, _ = filled((here.values, here.flags, log_density), outs[: len(state)])
        numbers = dict(zip(self.built.info, outs[len(state) :], strict=True))
        return self.scored(block, inputs, values, flags), numbers

    def swapped(
        self, block: Block, here: Copies, chances: Mapping[int, Var], pairs: Sequence[int], half: int
    ) -> Copies:
        """Append the coins of the swaps, and let the copies of those that fell so change places."""
        coins = [block.site(("~swap", str(half), str(p)), CoinLaw(str(chances[p].dtype)), (chances[p],)) for p in pairs]
        order = block.det(_Order(self.size, tuple(pairs)), *coins, label="who goes where")
        found: Copies = changed(here, lambda v: block.det(_permuted, v, order, label="swap", adds=(self.plate,)))
        return found

    def scored(self, block: Block, inputs: Sequence[Var], values: Sequence[Var], flags: Sequence[Var]) -> Copies:
        """Append log prior and log likelihood of each copy."""
        prior, likelihood = self.lifted(block, self.scoring, inputs, values)
        return Copies(tuple(values), tuple(flags), prior, likelihood)

    def lifted(self, block: Block, form: Form, shared: Sequence[Var], own: Sequence[Var]) -> tuple[Var, ...]:
        """Append a form for every copy."""
        plated = [*[False] * len(shared), *[True] * len(own)]
        copied = lift(form, self.plate, plated, carried=[True] * len(form.outputs)).form
        return block.splice(copied, (*shared, *own))

    def apart(self, block: Block, copies: Copies) -> Apart:
        """Append the copy at power 1 and the others."""
        log_density = block.det(_log_density, copies.prior, copies.likelihood, label="log density")
        (values, flags), (other_values, other_flags) = (
            changed((copies.values, copies.flags), partial(_picked, block, pick)) for pick in (_last, _others)
        )
        return Apart(values, other_values, flags, other_flags, log_density)

    def power(self, block: Block) -> Var:
        """Append the power of each copy."""
        powers = block.constant(np.asarray(self.powers, jnp.result_type(float)))
        found: Var = self.marked(block, powers)
        return found

    def marked[Bundle](self, block: Block, bundle: Bundle) -> Bundle:
        """Append that the first axis of some values is that of the copies."""
        found: Bundle = changed(bundle, lambda v: block.det(_as_it_is, v, label="copies", adds=(self.plate,)))
        return found

    def plain[Bundle](self, block: Block, bundle: Bundle) -> Bundle:
        """Append that the copies are an axis as any other."""
        found: Bundle = changed(bundle, lambda v: block.det(_as_it_is, v, label="all copies"))
        return found


@dataclass(frozen=True)
class SwapChance:
    """The probability that the copies at two neighbouring powers change places.

    >>> round(float(SwapChance(0, 0.5, 1.0)(jnp.log(jnp.array([1.0, 4.0])))), 3)
    0.5
    >>> float(SwapChance(0, 0.5, 1.0)(jnp.log(jnp.array([4.0, 1.0]))))
    1.0
    """

    pair: int
    low: float
    high: float

    def __call__(self, likelihood: jax.Array) -> jax.Array:
        """Compare the two log likelihoods; a copy of likelihood zero stays where it may be."""
        first, second = likelihood[self.pair], likelihood[self.pair + 1]
        gap = jnp.asarray(self.high - self.low, likelihood.dtype)
        # At power 0 a likelihood of zero is allowed, so there the product is 0 * (-inf) = 0, and elsewhere -inf.
        new = times(jnp.asarray(self.low, gap.dtype), second) + times(jnp.asarray(self.high, gap.dtype), first)
        old = times(jnp.asarray(self.low, gap.dtype), first) + times(jnp.asarray(self.high, gap.dtype), second)
        finite = jnp.isfinite(first) & jnp.isfinite(second)
        ratio = jnp.where(finite, gap * (first - second), new - old)
        return acceptance(ratio)


@dataclass(frozen=True)
class _Order:
    """The order of the copies after swaps of pairs that do not overlap."""

    size: int
    pairs: tuple[int, ...]

    def __call__(self, *coins: jax.Array) -> jax.Array:
        order = jnp.arange(self.size, dtype=jnp.int32)
        for p, coin in zip(self.pairs, coins, strict=True):
            order = order.at[p].add(coin.astype(jnp.int32)).at[p + 1].add(-coin.astype(jnp.int32))
        return order


@dataclass(frozen=True)
class _Last:
    """The number of a step for the copy at power 1; counts add up over all copies, a warm-up reads the last move."""

    name: str

    def __call__(self, *values: jax.Array) -> jax.Array:
        joined = jnp.stack(values)
        if self.name.startswith("n_"):
            return jnp.sum(joined, dtype=jnp.int32)
        last = joined[:, -1]
        if self.name.startswith(SIGNAL):
            return last[-1]
        return jnp.any(last) if last.dtype == jnp.dtype(bool) else jnp.mean(last)


@dataclass(frozen=True)
class _Repeated:
    """Some copies of a value."""

    size: int

    def __call__(self, value: jax.Array) -> jax.Array:
        return jnp.broadcast_to(value, (self.size, *value.shape))


def _joined(others: jax.Array, last: jax.Array) -> jax.Array:
    return jnp.concatenate([others, last[None]])


def _last(copies: jax.Array) -> jax.Array:
    return copies[-1]


def _others(copies: jax.Array) -> jax.Array:
    return copies[:-1]


def _picked(block: Block, pick: Callable[[jax.Array], jax.Array], copies: Var) -> Var:
    found: Var = block.det(pick, copies, label="copies")
    return found


def _as_it_is(value: jax.Array) -> jax.Array:
    return value


def _permuted(value: jax.Array, order: jax.Array) -> jax.Array:
    return value[order]


def _raised(prior: jax.Array, likelihood: jax.Array, power: jax.Array) -> jax.Array:
    return prior + times(power, likelihood)


def _log_density(prior: jax.Array, likelihood: jax.Array) -> jax.Array:
    return prior[-1] + likelihood[-1]


def _weight(likelihood: jax.Array, powers: jax.Array) -> jax.Array:
    return jnp.sum(times(powers, likelihood))
