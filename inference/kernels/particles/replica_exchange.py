"""Replica exchange: copies of a program at several powers of its likelihood, and the kernel that moves and swaps them.

Law: the copies together have the product measure of prior * likelihood ^ power over the powers; a kernel for each copy
keeps it, and so does the swap of two neighbours with probability min(1, exp((p_i - p_j) (l_j - l_i))), l the log
likelihoods. A step moves all copies, swaps the even pairs, moves them again, and swaps the odd pairs.

Reference: Swendsen and Wang (1986), Replica Monte Carlo simulation of spin glasses; Syed, Bouchard-Cote, Deligiannidis
and Doucet (2022), Non-reversible parallel tempering, for the order of the pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.passes.add_plate import lift
from lawful.passes.thread_sites import score
from lawful.tracing.trace import trace

from ...contract import Contract
from ...laws.picks import CoinLaw
from ...representations.annealing_paths import prior_to_posterior
from ...representations.tempered_program import Entered, powered, times
from ..base.acceptance import acceptance
from ..base.base import KernelForm, exact, finished, scoped, state_inputs


def at_power(program: Form) -> Form:
    """Write prior * likelihood ^ power as a program; its inputs are the program's, the number 0, and the power."""
    entries, _ = prior_to_posterior().entries(program)
    return powered(program, entries, Entered())


def replicated(program: Form, powers: Sequence[float]) -> Form:
    """Write the copies as one program: a loop over the powers, whose steps do not read each other."""
    body = at_power(program)
    body = replace(body, outputs=(), in_tree=None, out_tree=None)
    block, inputs = Block(), tuple(v.like() for v in program.inputs)
    first = block.constant(np.zeros((), np.int32))
    xs = block.constant(np.asarray(powers, jnp.result_type(float)))
    block.loop(body, len(powers), (*inputs, first), (), (xs,))
    return block.form(inputs, ())


@dataclass(frozen=True)
class Tempering:
    """Moves and swaps of the copies of a program.

    Attributes:
        program: the program, of which the kernel is given the copies; a function or a form.
        kernel: what moves each copy.
        powers: increasing, the last of them 1.
    """

    program: Callable[..., Any] | Form
    kernel: Any
    powers: tuple[float, ...]

    @property
    def contract(self) -> Contract:
        """What the kernel of a copy claims; the step as a whole is not reversible."""
        own: Contract = self.kernel.contract
        return own if not own.exact else Contract("invariant_kernel", target=own.target, parametric=own.parametric)

    def build(self, copies: Form) -> KernelForm:
        """Write moves and swaps for the program of the copies."""
        program = trace(self.program, *[jax.ShapeDtypeStruct(v.shape, v.dtype) for v in copies.inputs])
        choices, size = choices_of(program), len(self.powers)
        together = choices_of(copies)
        if [(c.address, (size, *c.loops), c.shape) for c in choices] != [
            (c.address, c.loops, c.shape) for c in together
        ]:
            raise LawfulError(
                f"{self!r}: expected {size} copies of the program's sites, got {', '.join(c.name for c in together)}."
            )
        block, inputs, state = Block(), tuple(v.like() for v in copies.inputs), state_inputs(together)
        plate = Plate("power", size)
        flat = [_apart(block, v, plate) for v in state.flat[:-1]]
        powers = block.constant(np.asarray(self.powers, jnp.result_type(float)))
        copy = _Copies(self, block, program, choices, inputs, plate, _apart(block, powers, plate))
        numbers: list[dict[str, Var]] = []
        chances: dict[int, Var] = {}
        prior, likelihood = copy.scores(flat)
        for half in range(2 if size > 2 else 1):
            flat, info = copy.moved(flat, prior, likelihood, half)
            numbers.append(info)
            prior, likelihood = copy.scores(flat)
            pairs = range(half, size - 1, 2)
            chances |= copy.chances(likelihood, pairs)
            order = copy.order(chances, pairs, half)
            flat = [block.det(_permuted, v, order, label="swap", adds=(plate,)) for v in flat]
            prior, likelihood = (
                block.det(_permuted, v, order, label="swap", adds=(plate,)) for v in (prior, likelihood)
            )
        log_density = block.det(_product, prior, likelihood, powers, label="log density of all copies")
        after = [block.det(_as_it_is, v, label="all copies") for v in flat]
        cold = {name: block.det(_Last(name), *(n[name] for n in numbers), label=name) for name in numbers[0]}
        swaps = {f"swap_{p}_{p + 1}": chances[p] for p in range(size - 1)}
        form = block.form((*inputs, *state.flat), (*after, log_density, *cold.values(), *swaps.values()))
        return KernelForm(finished(form), together, (*cold, *swaps))

    def plan(self, copies: Form) -> list[str]:
        """Say what moves the sites of each copy."""
        program = trace(self.program, *[jax.ShapeDtypeStruct(v.shape, v.dtype) for v in copies.inputs])
        powers = ", ".join(f"{p:.3g}" for p in self.powers)
        return [f"{line}, at powers {powers}" for line in self.kernel.plan(at_power(program))]

    def __repr__(self) -> str:
        """Show kernel and powers."""
        return f"parallel_tempering({self.kernel!r}, {[round(p, 4) for p in self.powers]})"


class _Copies:
    """Writes what is done to the copies; values of the state have the plate of the powers."""

    def __init__(
        self, kernel: Tempering, block: Block, program: Form, choices: Sequence[Choice], inputs: Sequence[Var],
        plate: Plate, power: Var,
    ) -> None:  # fmt: skip
        self.block, self.choices, self.inputs, self.plate, self.power = block, choices, inputs, plate, power
        self.size = len(kernel.powers)
        self.built: KernelForm = exact(kernel.kernel.build(at_power(program)), "parallel_tempering")
        self.powers = kernel.powers
        self.scoring = score(program)

    def scores(self, flat: Sequence[Var]) -> tuple[Var, Var]:
        """Append log prior and log likelihood of each copy."""
        form = replace(self.scoring.form, outputs=self.scoring.parts.sums)
        plated = [False] * len(self.inputs) + [True] * len(self.choices)
        lifted = lift(form, self.plate, plated, carried=[True, True]).form
        prior, likelihood = self.block.splice(lifted, [*self.inputs, *flat[: len(self.choices)]])
        return prior, likelihood

    def moved(self, flat: Sequence[Var], prior: Var, likelihood: Var, half: int) -> tuple[list[Var], dict[str, Var]]:
        """Append one move of every copy at its power; gives the state and the numbers."""
        block, n = self.block, self.built.size
        log_density = block.det(_raised, prior, likelihood, self.power, label="log density", plates=(self.plate,))
        plated = [False] * (len(self.inputs) + 1) + [True] * (1 + n)
        form = scoped(self.built.form, ("~copies", str(half)))
        lifted = lift(form, self.plate, plated, carried=[True] * len(form.outputs)).form
        first = block.constant(np.zeros((), np.int32))
        outs = block.splice(lifted, [*self.inputs, first, self.power, *flat, log_density])
        return list(outs[: n - 1]), dict(zip(self.built.info, outs[n:], strict=True))

    def chances(self, likelihood: Var, pairs: Sequence[int]) -> dict[int, Var]:
        """Append the probabilities of swaps."""
        return {p: self.block.det(SwapChance(p, self.powers[p], self.powers[p + 1]), likelihood, label=f"swap {p}")
                for p in pairs}  # fmt: skip

    def order(self, chances: dict[int, Var], pairs: Sequence[int], half: int) -> Var:
        """Append the coins of the swaps; gives which copy goes to each power."""
        coins = []
        for p in pairs:
            law = CoinLaw(str(chances[p].dtype))
            coins.append(self.block.site(("~swap", str(half), str(p)), law, (chances[p],)))
        return self.block.det(_Order(self.size, tuple(pairs)), *coins, label="who goes where")


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
    """The number of a step for the copy at power 1; counts add up over all copies."""

    name: str

    def __call__(self, *values: jax.Array) -> jax.Array:
        joined = jnp.stack(values)
        if self.name.startswith("n_"):
            return jnp.sum(joined, dtype=jnp.int32)
        last = joined[:, -1]
        return jnp.any(last) if last.dtype == jnp.dtype(bool) else jnp.mean(last)


def _apart(block: Block, value: Var, plate: Plate) -> Var:
    out: Var = block.det(_as_it_is, value, label="copies", adds=(plate,))
    return out


def _as_it_is(value: jax.Array) -> jax.Array:
    return value


def _permuted(value: jax.Array, order: jax.Array) -> jax.Array:
    return value[order]


def _raised(prior: jax.Array, likelihood: jax.Array, power: jax.Array) -> jax.Array:
    return prior + times(power, likelihood)


def _product(prior: jax.Array, likelihood: jax.Array, powers: jax.Array) -> jax.Array:
    return jnp.sum(prior + times(powers, likelihood))
