"""Rejuvenation: apply a kernel to the particles of a population on a path, many times, keeping the last state or all.

Law: a kernel that keeps the measure of the point keeps the population's. Keeping every state of a chain that starts at
a resampled particle keeps it too, each state being one particle of the same weight: nothing is wasted (Dau and Chopin
2022, Waste-free sequential Monte Carlo).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.passes.add_plate import lift

from ..contract import PRESERVES, Contract, Transformer
from ..findings.move_statistics import kept_of, of_particles, over_moves, told
from ..laws.resampling import Distinct, ResampleLaw
from ..laws.resampling import scheme as scheme_named
from ..representations.absent_elements import refuse_absent
from ..representations.densities_of import exact, scoped
from ..representations.population import Population, gather
from ..representations.tempered_program import times
from .temper import OnPath

LONG = 20  # moves in which a chain ought to move
PILOTS, PILOT_STEPS, GAIN = 16, 8, 2.0  # particles and moves of a pilot, and by how much its first move counts


@dataclass(frozen=True)
class Move:
    """One application of a kernel to one particle.

    Attributes:
        form: inputs are the shared values, then the state; outputs the new state, then the numbers of `info`.
        shared: the shared values, in the population's block.
        info: names of the kernel's numbers.
        carries_parts: whether the state ends with rest and slope, or with their sum, the log density.
        memory: which of the shared values the kernel remembers; None where it remembers nothing.
        learn: gives what the kernel remembers after a stage, from what it remembered and a mean acceptance.
        follows: which number of `info` that acceptance is.
    """

    form: Form
    shared: tuple[Var, ...]
    info: tuple[str, ...]
    carries_parts: bool
    memory: Var | None = None
    learn: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    follows: str = "acceptance_rate"


@runtime_checkable
class PopulationKernel(Protocol):
    """A kernel whose parameters are fitted to the particles before they are resampled."""

    def fit(self, block: Block, on: OnPath, plate: Plate) -> Move:
        """Append the fit, and write the kernel at the fitted parameters."""


def is_fitted(kernel: Any) -> bool:
    """Tell whether a kernel looks at the population."""
    return isinstance(kernel, PopulationKernel)


def contract_of(kernel: Any) -> Contract:
    """Say what moves by a kernel claim: those of a fitted one are consistent, the others exact."""
    if is_fitted(kernel):
        return kernel.contract
    return PRESERVES


def rejuvenate(kernel: Any, steps: int) -> Transformer:
    """Apply a kernel so many times to every particle of a population on a path; the last states remain.

    >>> from lawful.inference import kernels
    >>> rejuvenate(kernels.mh(), 3)
    rejuvenate(mh(single_site()), 3 steps)
    """
    return Transformer(
        f"rejuvenate({kernel!r}, {steps} steps)",
        lambda population: moved(_path_of(population, "rejuvenate"), population, kernel, steps),
        contract_of(kernel),
    )


def waste_free(kernel: Any, chains: int, scheme: Any = "systematic") -> Transformer:
    """Resample so many particles, run a chain of a kernel from each, and keep all states as the new population.

    Args:
        kernel: an invariant kernel, as for `move`.
        chains: how many; the number of particles must be a multiple of it.
        scheme: the resampling scheme, or its name.

    >>> from lawful.inference import kernels
    >>> waste_free(kernels.mh(), 10)
    waste_free(mh(single_site()), 10 chains, systematic)
    """
    scheme = scheme_named(scheme)
    return Transformer(
        f"waste_free({kernel!r}, {chains} chains, {scheme})",
        lambda population: _waste_free(population, kernel, chains, scheme),
        contract_of(kernel),
    )


def _path_of(population: Population, name: str) -> OnPath:
    if not isinstance(population.pending, OnPath):
        raise LawfulError(f"{name}: expected a population on a path. Fix: Trace >> temper() >> spawn(n) >> ...")
    return population.pending


def moved(on: OnPath, population: Population, kernel: Any, steps: int) -> Population:
    """Append the moves of every particle."""
    move, state = _start(on, population, kernel, population.values, population.plate)
    move = _piloted(population, move, state, population.log_weight, population.plate)
    chain = _Chain(move, population.plate, (*population.scope, f"move{population.stage}"))
    last, _, info = chain.run(population.block, state, population.log_weight, steps, collect=False)
    values = _with_parts(on, population.block, move, last, population.plate)
    for name, number in info.items():
        population.trail.note(name, number)
    return population.next_stage(values=values, pending=_learned(on, population.block, move, info))


def _waste_free(population: Population, kernel: Any, chains: int, scheme: Any) -> Population:
    on, block, plate = _path_of(population, "waste_free"), population.block, population.plate
    if chains < 1 or plate.size % chains:
        raise LawfulError(
            f"waste_free: {plate.size} particles are not a multiple of {chains} chains, so the chains would differ in "
            "length. Fix: give a number of chains that divides the number of particles.",
            particles=plate.size, chains=chains,
        )  # fmt: skip
    assert population.weight is not None and population.ess is not None
    chain, length = Plate("chain", chains), plate.size // chains
    if chains > 1:  # particles stand chain by chain, and at first they are independent
        population.trail.note(
            "evidence_variance", block.det(_Disagreement(chains), population.weight, label="how chains disagree")
        )
    law = ResampleLaw(scheme, plate.size, chains)
    ancestors = block.site(population.address("ancestors"), law, (population.weight,))
    distinct = Distinct(plate.size, scheme.ascending)
    population.trail.note("n_unique", block.det(distinct, ancestors, label="distinct ancestors"))
    *first, log_weight = gather(block, (*population.values, population.log_weight), ancestors, plate, (chain,))
    move, state = _start(on, population, kernel, first, chain)
    move = _piloted(population, move, state, log_weight, chain)
    scope = (*population.scope, f"chain{population.stage}")
    last, later, info = _Chain(move, chain, scope).run(block, state, log_weight, length - 1, collect=True)
    if is_fitted(kernel) and length > LONG:
        ends = [v for group in (state, last) for v in (group[-2:] if move.carries_parts else group[-1:])]
        population.trail.note("unmoved_chains", block.det(_unmoved, *ends, label="share of chains that never moved"))
    joined = tuple(
        block.det(join_states, start, rest, label="all states", adds=(plate,))
        for start, rest in zip(state, later, strict=True)
    )
    values = _with_parts(on, block, move, joined, plate)
    weight, log_weight, ess = block.det(
        _equal(plate.size), population.ess, label="equal weights", adds=[(plate,), (plate,), ()]
    )
    for name, number in info.items():
        population.trail.note(name, number)
    pending = _learned(on, block, move, info)
    return population.next_stage(values=values, weight=weight, log_weight=log_weight, ess=ess, pending=pending)


def _learned(on: OnPath, block: Block, move: Move, info: Mapping[str, Var]) -> OnPath:
    """Append what the kernel remembers of a stage."""
    if move.learn is None or move.memory is None:
        return on
    return replace(on, memory=block.det(move.learn, move.memory, info[move.follows], label="what is remembered"))


def _piloted(population: Population, move: Move, state: Sequence[Var], log_weight: Var, plate: Plate) -> Move:
    """Append moves of a few particles, by which a kernel learns before the others move; where they went is forgotten.

    The measures of two stages may want steps of different sizes, and a stage in which nothing moves is lost.
    """
    if move.learn is None or move.memory is None:
        return move
    block, size = population.block, min(PILOTS, plate.size)
    few, stride = Plate("pilot", size), plate.size // size
    index = block.det(lambda: jnp.arange(size) * stride, label="a few of them", adds=(few,))
    *start, weight = gather(block, (*state, log_weight), index, plate, (few,))
    chain = _Chain(move, few, (*population.scope, f"pilot{population.stage}"))
    memory = chain.pilot(block, start, weight)
    return replace(move, shared=tuple(memory if v == move.memory else v for v in move.shared), memory=memory)


def join_states(start: jax.Array, later: jax.Array) -> jax.Array:
    """Put the states of the chains (chains, ...) and (chains, steps, ...) into one row of particles, chain by chain."""
    states = jnp.concatenate([start[:, None], later], axis=1)
    return states.reshape((states.shape[0] * states.shape[1], *states.shape[2:]))


def _unmoved(*ends: jax.Array) -> jax.Array:
    """Give the share of chains whose log density, in its parts, is at last what it was at first."""
    half = len(ends) // 2
    same = [a == b for a, b in zip(ends[:half], ends[half:], strict=True)]
    return jnp.mean(jnp.all(jnp.stack(same), axis=0), dtype=jnp.result_type(float))


@dataclass(frozen=True)
class _Disagreement:
    """The variance of the log of the mean weight, by the mean weights of the chains that made the particles."""

    chains: int

    def __call__(self, weight: jax.Array) -> jax.Array:
        """Compute it from weights that stand chain by chain; 0 where none has weight."""
        means = jnp.mean(weight.reshape(self.chains, -1), axis=1)
        whole = jnp.mean(means)
        ratio = means / jnp.where(whole > 0, whole, 1.0)
        return jnp.where(whole > 0, jnp.var(ratio, ddof=1) / self.chains, 0.0)


def _equal(size: int) -> Callable[[jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
    """Give equal weights; those of a population without weight (ess 0) stay zero."""

    def weights(ess: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        dead = ess == 0
        ones = jnp.full(size, jnp.where(dead, 0.0, 1.0))
        return ones, jnp.full(size, jnp.where(dead, -jnp.inf, 0.0)), jnp.where(dead, 0.0, jnp.full((), float(size)))

    return weights


def _start(
    on: OnPath, population: Population, kernel: Any, values: Sequence[Var], plate: Plate
) -> tuple[Move, tuple[Var, ...]]:
    """Write the kernel at this point, and its state for the given particles."""
    block = population.block
    move = move_of(kernel, block, on, population.plate)
    if move.carries_parts:
        return move, tuple(values)
    *state, rest, slope = values
    log_density = block.det(density, on.power, rest, slope, label="log density", plates=(plate,))
    return move, (*state, log_density)


def move_of(kernel: Any, block: Block, on: OnPath, plate: Plate) -> Move:
    """Write a kernel at a point of a path; one of a population is fitted to the particles."""
    if not on.tempered.choices:
        raise UnsupportedProgramError(
            "tempered_smc: the program has no latent site to move. Fix: its log evidence is "
            "lawful.trace(model, *args).log_density({}, *args)."
        )
    if isinstance(kernel, PopulationKernel):
        return kernel.fit(block, on, plate)
    target = on.tempered.target()
    refuse_absent(kernel, target, "tempered_smc")
    built = exact(kernel.build(target), "tempered_smc")
    return Move(built.form, (*on.inputs, on.block, on.power), built.info, carries_parts=False)


def density(power: jax.Array, rest: jax.Array, slope: jax.Array) -> jax.Array:
    """Give the log density at a power.

    >>> float(density(jnp.array(0.0), jnp.array(-1.0), jnp.array(-jnp.inf)))
    -1.0
    """
    return rest + times(power, slope)


def _with_parts(on: OnPath, block: Block, move: Move, state: Sequence[Var], plate: Plate) -> tuple[Var, ...]:
    """End a state with rest and slope; a kernel that does not carry them has its particles scored once more."""
    if move.carries_parts:
        return tuple(state)
    values = state[: len(on.tempered.choices)]
    return (*state[:-1], *on.parts(block, on.block, values, plate))


@dataclass(frozen=True)
class _Chain:
    """A kernel applied again and again, for every element of a plate at once."""

    move: Move
    plate: Plate
    scope: tuple[str, ...]

    def run(
        self, block: Block, state: Sequence[Var], log_weight: Var, steps: int, collect: bool
    ) -> tuple[tuple[Var, ...], tuple[Var, ...], dict[str, Var]]:
        """Append the loop; gives the last state, all states along a first axis (or nothing), and the mean numbers.

        Args:
            block: where the nodes go.
            state: where the chains start.
            log_weight: of the chains; what weighs nothing does not count.
            steps: how many.
            collect: whether all states are given.
        """
        names = kept_of(self.move.info)
        inner, inputs, weight, out, numbers = self._step(names, len(state), log_weight)
        n_shared, n_state = len(self.move.shared), len(state)
        kept = out[:n_state] if collect else ()
        step = inner.form((*inputs[:n_shared], weight, *inputs[n_shared:]), (*out[:n_state], *kept, *numbers))
        last, ys = block.loop(step, steps, (*self.move.shared, log_weight), state, ())
        info = {
            told(name): block.det(over_moves(name), y, label=name)
            for name, y in zip(names, ys[len(kept) :], strict=True)
        }
        return last, ys[: len(kept)], info

    def pilot(self, block: Block, state: Sequence[Var], log_weight: Var) -> Var:
        """Append a loop whose moves only teach; gives what the kernel remembers after it.

        Each acceptance is that of a few particles, so what it teaches counts less and less.
        """
        assert self.move.memory is not None and self.move.learn is not None
        place, n_shared, n_state = self.move.shared.index(self.move.memory), len(self.move.shared), len(state)
        inner, inputs, weight, out, (accepted,) = self._step([self.move.follows], n_state, log_weight)
        gain = Var((), self.move.memory.dtype)
        learnt = inner.det(_Gained(self.move.learn), inputs[place], accepted, gain, label="what is remembered")
        others = tuple(v for i, v in enumerate(inputs[:n_shared]) if i != place)
        before = (*others, weight, inputs[place], *inputs[n_shared:], gain)
        step = inner.form(before, (learnt, *out[:n_state]))
        gains = block.constant(np.asarray(GAIN / np.sqrt(np.arange(1, PILOT_STEPS + 1)), gain.dtype))
        shared = tuple(v for i, v in enumerate(self.move.shared) if i != place)
        (memory, *_), _ = block.loop(step, PILOT_STEPS, (*shared, log_weight), (self.move.memory, *state), (gains,))
        return memory

    def _step(
        self, names: Sequence[str], n_state: int, log_weight: Var
    ) -> tuple[Block, tuple[Var, ...], Var, tuple[Var, ...], list[Var]]:
        """Write one move of all elements; gives the block, its inputs, the weight, the new state, and mean numbers."""
        n_shared = len(self.move.shared)
        places = [n_state + self.move.info.index(name) for name in names]
        form = scoped(self.move.form, self.scope)
        outputs = tuple(form.outputs[i] for i in (*range(n_state), *places))
        plated = [False] * n_shared + [True] * n_state
        body = lift(replace(form, outputs=outputs), self.plate, plated, carried=[True] * len(outputs)).form
        inner = Block()
        inputs = tuple(v.like() for v in body.inputs)
        out = inner.splice(body, inputs)
        weight = log_weight.like()
        numbers = [of_particles(inner, name, x, weight) for name, x in zip(names, out[n_state:], strict=True)]
        return inner, inputs, weight, out, numbers


@dataclass(frozen=True)
class _Gained:
    """What is remembered after a move that counts by a gain."""

    learn: Callable[[jax.Array, jax.Array], jax.Array]

    def __call__(self, memory: jax.Array, acceptance: jax.Array, gain: jax.Array) -> jax.Array:
        """Give it."""
        return memory + gain * (self.learn(memory, acceptance) - memory)
