"""NUTS, the no-U-turn sampler: Hamiltonian moves whose trajectory ends where it would turn back.

Law: given a momentum, the point of the trajectory is drawn as `trajectories` says, which keeps exp(-energy); so
the kernel keeps exp(log density). The draw of the point is one site with a structured law, as that of a resampling
scheme; what it draws by is a stream of coins, whose tree logic `check.orbit` enumerates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from lawful.distributions.protocol import Law
from lawful.distributions.sampling.threefry import blocks, words
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Var
from lawful.form.builder import Block

from ...contract import Contract
from ...registered import stored_as
from ..base.frame import Frame
from .gradient import PREFIX, Gradient, Point, Settings, checked
from .trajectories import (
    Chosen,
    Flip,
    Half,
    Phase,
    Tree,
    Turning,
    added,
    begun,
    coin,
    energy,
    faults,
    joined,
    leapfrog,
    planted,
    turns,
)

INVARIANT = Contract("invariant_kernel", target="the program's posterior")
INFO = (
    "acceptance_rate", "accepted", "n_nonfinite", "n_nonfinite_grad", "diverging", "energy", "step_size", "n_steps",
    "tree_depth", "reached_max_treedepth",
)  # fmt: skip
TOLD = 8  # numbers of a draw after its point
DEEPEST = 20
UNSCALED = 5  # doublings until a warm-up has first scales: long trajectories of small steps find them no sooner
FAR = 1 << 31  # counters from here on are those of doublings, below are leaves


@dataclass(frozen=True, eq=False)
class OrbitLaw(Law):
    """The law of a point on the trajectory through a phase.

    Parameters: the program's inputs, position, log density, gradient, momentum, step size, root, and whether the root
    is one for the program, without which trees stay small. A value is one vector: position, gradient, log density, and
    what is told of the trajectory.
    """

    frame: Frame
    inputs: int
    max_depth: int
    label = "point of an orbit"

    @property
    def shape(self) -> tuple[int, ...]:
        """A vector."""
        return (2 * self.frame.size + 1 + TOLD,)

    @property
    def dtype(self) -> Any:
        """Numbers."""
        return jnp.dtype(jnp.result_type(float))

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw a point."""
        return self.draw_side_by_side(key, 1, (False,) * len(parameters), *parameters)[0]

    def draw_side_by_side(self, key: jax.Array, count: int, laned: Sequence[bool], *parameters: jax.Array) -> jax.Array:
        """Draw a point on each of several trajectories, all doubled at once; those that ended wait for the others."""
        axes = tuple(0 if has else None for has in laned)
        stream, lanes = words(key, (2,)), jnp.arange(count, dtype=jnp.uint32)
        position, score, gradient, momentum, _, _, scaled = parameters[self.inputs :]
        deepest = jnp.where(scaled, self.max_depth, min(UNSCALED, self.max_depth))

        def mapped(function: Callable[..., Any], own: tuple[int | None, ...], *operands: Any) -> Any:
            return jax.vmap(function, in_axes=own, axis_size=count)(*operands)

        def leaf(number: Any, lane: Any, half: Half, bad: Any, forward: Any, here: Any, *own: Any) -> Any:
            inputs, (*_, size, root, _) = own[: self.inputs], own[self.inputs :]
            target = partial(self.frame.value_and_grad, inputs)
            new = leapfrog(target, root, jnp.where(forward, size, -size), half.here)
            word, _ = blocks(stream, lane, number[0])
            after = added(half, new, here - energy(new), number[1], turns, partial(coin, word))
            return after, bad + (half.growing & faults(new))

        def longer(carry: Any) -> Any:
            depth, tree, bad = carry
            size = jnp.left_shift(jnp.ones((), jnp.int32), depth)
            first, second = blocks(stream, lanes, jnp.asarray(FAR, jnp.uint32) + depth.astype(jnp.uint32))
            forward, second = jax.lax.optimization_barrier((first & 1 == 1, second))
            half = mapped(partial(begun, max_depth=self.max_depth), (0, 0), tree, forward)

            def grow(inner: Any) -> Any:
                number, half, bad = inner
                numbers = (size + number).astype(jnp.uint32), number
                own = (None, 0, 0, 0, 0, 0, *axes)
                return number + 1, *mapped(leaf, own, numbers, lanes, half, bad, forward, here, *parameters)

            def grows(inner: Any) -> jax.Array:
                return (inner[0] < size) & jnp.any(inner[1].growing)

            _, half, bad = jax.lax.while_loop(grows, grow, (jnp.zeros((), jnp.int32), half, bad))

            def join(tree: Tree, half: Half, forward: jax.Array, word: jax.Array) -> Tree:
                return joined(tree, half, forward, turns, partial(coin, word), deepest)

            return depth + 1, mapped(join, (0, 0, 0, 0), tree, half, forward, second), bad

        def goes(carry: Any) -> jax.Array:
            return jnp.any(carry[1].going)

        phases = tuple(axes[self.inputs + i] for i in (0, 3, 1, 2))
        start = Phase(position, momentum, score, gradient)
        tree, here = mapped(lambda *phase: (planted(Phase(*phase)), energy(Phase(*phase))), phases, *start)
        bad = jnp.zeros((count, 2), jnp.int32)
        _, tree, bad = jax.lax.while_loop(goes, longer, (jnp.zeros((), jnp.int32), tree, bad))
        return mapped(_packed, (0, 0, 0, phases[0]), tree, bad, here, position)

    def log_prob(self, *_: Any) -> NoReturn:
        """Refuse.

        Raises: UnsupportedProgramError.
        """
        raise UnsupportedProgramError(
            "nuts: the law of a point on a trajectory is drawn from, not enumerated. Fix: check the kernel with "
            "level='statistical', and its choice of a point with check.orbit."
        )

    enumerate = log_prob


def _packed(tree: Tree, bad: jax.Array, here: jax.Array, position: jax.Array) -> jax.Array:
    chosen: Chosen = tree.chosen
    told = [
        tree.acceptance / jnp.maximum(tree.steps, 1), jnp.any(chosen.position != position), *bad, tree.diverging,
        here - chosen.log_weight, tree.steps, tree.depth,
    ]  # fmt: skip
    # XLA writes parts of up to eight at once, and each of more by itself.
    scalars = jnp.stack([jnp.asarray(x).astype(position.dtype) for x in told])
    return jnp.concatenate([chosen.position, chosen.gradient, chosen.log_density[None], scalars])


@stored_as("kernels.nuts")
@dataclass(frozen=True)
class NoUTurn:
    """A draw from the trajectory that a fresh momentum starts."""

    max_depth: int
    name: str = "nuts"
    contract: Contract = INVARIANT
    info: tuple[str, ...] = INFO

    def append(
        self, block: Block, frame: Frame, inputs: Sequence[Var], point: Point, momentum: Var, settings: Settings
    ) -> tuple[Point, tuple[Var, ...]]:
        """Append the draw of the point."""
        law = OrbitLaw(frame, len(inputs), self.max_depth)
        drawn = block.site((PREFIX, "point"), law, [*inputs, *point, momentum, *settings])
        d = frame.size
        vector, gradient, score, *told = block.det(lambda x: _unpacked(x, d), drawn, label="point")
        reached = block.det(lambda depth: depth >= self.max_depth, told[-1], label="deepest?")
        return Point(vector, score, gradient), (*told[:6], settings.step, *told[6:], reached)

    def words(self) -> str:
        """Say what it does."""
        return f"no-U-turn moves of at most {2**self.max_depth - 1} leapfrogs"

    def on_integers(
        self,
        start: Phase,
        shifted: Callable[[Phase, Any], Phase],
        log_weight: Callable[[Phase], jax.Array],
        turning: Turning,
        flip: Flip,
    ) -> Phase:
        """Move on an orbit that is a row of integers, by coins of given probabilities; see `check.orbit`."""
        tree, here = planted(start), log_weight(start)
        for depth in range(self.max_depth):
            if ended(tree.going):
                break
            forward = flip(jnp.where(tree.going, 0.5, 0.0))
            half = begun(tree, forward, self.max_depth)
            for number in range(2**depth):
                if ended(half.growing):
                    break
                leaf = shifted(half.here, jnp.where(forward, 1, -1))
                half = added(half, leaf, log_weight(leaf) - here, number, turning, flip)
            tree = joined(tree, half, forward, turning, flip, self.max_depth)
        chosen = tree.chosen
        return Phase(chosen.position, chosen.position, chosen.log_density, chosen.gradient)

    def __repr__(self) -> str:
        """Show the depth."""
        return f"nuts(max_depth={self.max_depth})"


def ended(going: Any) -> bool:
    """Tell whether a loop that is run step by step may stop; while JAX traces it may not."""
    return not isinstance(going, jax.core.Tracer) and not bool(going)


def _unpacked(x: jax.Array, d: int) -> tuple[jax.Array, ...]:
    acceptance, moved, nonfinite, slopes, diverging, energy, steps, depth = x[2 * d + 1 :]
    counts = (v.astype(jnp.int32) for v in (nonfinite, slopes))
    return (
        x[:d], x[d : 2 * d], x[2 * d], acceptance, moved > 0, *counts, diverging > 0, energy,
        steps.astype(jnp.int32), depth.astype(jnp.int32),
    )  # fmt: skip


def nuts(
    step_size: float | None = None,
    *,
    max_depth: int = 10,
    inverse_mass: Any = None,
    target_acceptance: float = 0.8,
) -> Gradient:
    """The no-U-turn sampler, with multinomial weights.

    Args:
        step_size: of a leapfrog, in units of the scales that `inverse_mass` gives; None: tuned by the warm-up of
            `inference.mcmc`.
        max_depth: most doublings of a trajectory, which has then 2^max_depth points; at most five until the end of the
            first window in which a warm-up learns the inverse mass.
        inverse_mass: a variance of all unconstrained coordinates, (d,) variances in the order of the program, or their
            (d, d) covariance; "diagonal" or "dense": tuned by the warm-up; None: tuned diagonal if the step size is
            tuned, else one for each coordinate.
        target_acceptance: what the step size is tuned for.

    Raises: UnsupportedProgramError, when built for a program with sites that are discrete or run in one arm only.

    Reference: Hoffman and Gelman (2014), The No-U-Turn Sampler; Betancourt (2017), A conceptual introduction to
    Hamiltonian Monte Carlo.

    >>> nuts()
    nuts(max_depth=10) with tuned step, tuned diagonal mass
    """
    checked("nuts", step_size, inverse_mass, target_acceptance)
    if not isinstance(max_depth, int) or not 1 <= max_depth <= DEEPEST:
        raise LawfulError(f"nuts: max_depth: expected an integer from 1 to {DEEPEST}, got {max_depth!r}.")
    return Gradient(NoUTurn(max_depth), step_size, inverse_mass, target_acceptance)
