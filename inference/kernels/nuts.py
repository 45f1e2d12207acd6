"""The no-U-turn sampler: Hamiltonian moves whose trajectory ends where it would turn back.

Law: given a momentum, the point is drawn from the trajectory by `orbit`, which keeps exp(-energy); so the kernel keeps
exp(log density). The draw of the point is one site with a structured law, as that of a resampling scheme; what it
draws by is a stream of coins, whose tree logic `check.orbit` enumerates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from lawful.block import Block
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Var
from lawful.threefry import blocks, words

from ..check.contracts import Contract
from .frame import Frame
from .gradient import Gradient, Point, checked
from .hmc import PREFIX, refreshed
from .leapfrog import Phase, energy, lacks_slope, leapfrog
from .orbit import Chosen, Tree, grown, met, planted, turns

INVARIANT = Contract("invariant_kernel", target="the program's posterior")
INFO = (
    "acceptance_rate", "accepted", "n_nonfinite", "n_nonfinite_grad", "diverging", "energy", "step_size", "n_steps",
    "tree_depth",
)  # fmt: skip
TOLD = 8  # numbers of a draw after its point
DEEPEST = 20


@dataclass(frozen=True, eq=False)
class OrbitLaw:
    """The law of a point on the trajectory through a phase.

    Parameters: the program's inputs, position, log density, gradient, momentum, step size and root. A value is one
    vector: position, gradient, log density, and what is told of the trajectory.
    """

    frame: Frame
    inputs: int
    max_depth: int

    @property
    def shape(self) -> tuple[int, ...]:
        """A vector."""
        return (2 * self.frame.size + 1 + TOLD,)

    @property
    def dtype(self) -> Any:
        """Numbers."""
        return jnp.dtype(jnp.result_type(float))

    @property
    def atoms(self) -> None:
        """No finite number of values."""
        return None

    @property
    def units(self) -> tuple[int, ...]:
        """One part."""
        return ()

    @property
    def label(self) -> str:
        """Name for people."""
        return "point of an orbit"

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw a point."""
        return self.draw_side_by_side(key, 1, (False,) * len(parameters), *parameters)[0]

    def draw_side_by_side(
        self, key: jax.Array, count: int, flags: tuple[bool, ...], *parameters: jax.Array
    ) -> jax.Array:
        """Draw a point on each of several trajectories; those that ended wait for the longest."""
        axes = tuple(0 if flag else None for flag in flags)
        stream, lanes = words(key, (2,)), jnp.arange(count, dtype=jnp.uint32)

        def started(lane: jax.Array, *own: jax.Array) -> tuple[Tree, jax.Array]:
            start = Phase(*(own[self.inputs + i] for i in (0, 3, 1, 2)))
            first, _ = blocks(stream, lane, jnp.zeros((), jnp.uint32))
            direction = jnp.where(first & 1 == 1, 1.0, -1.0)
            return planted(start, direction, self.max_depth), jnp.zeros(2, jnp.int32)

        def step(number: jax.Array, lane: jax.Array, tree: Tree, bad: jax.Array, *own: jax.Array) -> Any:
            inputs, (position, score, _, momentum, size, root) = own[: self.inputs], own[self.inputs :]
            here = energy(Phase(position, momentum, score, score))
            target = lambda x: self.frame.value_and_grad(inputs, x)  # noqa: E731
            leaf = leapfrog(target, root, tree.direction * size, tree.here)
            found = met(tree, leaf, here - energy(leaf), turns, self.max_depth)
            after = grown(tree, found, _coins(blocks(stream, lane, number), found.odds))
            return after, bad + (tree.going & jnp.stack([jnp.isnan(leaf.log_density), lacks_slope(leaf)]))

        def more(carry: Any) -> jax.Array:
            return jnp.any(carry[1].going)

        def longer(carry: Any) -> Any:
            number, tree, bad = carry
            mapped = jax.vmap(step, in_axes=(None, 0, 0, 0, *axes), axis_size=count)
            return number + 1, *mapped(number, lanes, tree, bad, *parameters)

        tree, bad = jax.vmap(started, in_axes=(0, *axes), axis_size=count)(lanes, *parameters)
        _, tree, bad = jax.lax.while_loop(more, longer, (jnp.ones((), jnp.uint32), tree, bad))
        packed = jax.vmap(_packed, in_axes=(0, 0, *axes[self.inputs :]), axis_size=count)
        return packed(tree, bad, *parameters[self.inputs :])

    def log_prob(self, *_: Any) -> NoReturn:
        """Refuse.

        Raises: UnsupportedProgramError.
        """
        raise UnsupportedProgramError(
            "nuts: the law of a point on a trajectory is drawn from, not enumerated. Fix: check the kernel with "
            "level='statistical', and its choice of a point with check.orbit."
        )

    log_prob_units = log_prob
    enumerate = log_prob


def _coins(drawn: tuple[jax.Array, jax.Array], odds: jax.Array) -> jax.Array:
    """Make three coins of two words; the last bit of the second word is a coin of its own."""
    dtype = odds.dtype
    leaf, half = drawn[0].astype(dtype) * 2.0**-32, (drawn[1] >> 1).astype(dtype) * 2.0**-31
    return jnp.stack([leaf, half, 0.5 * (drawn[1] & 1).astype(dtype)]) < odds


def _packed(tree: Tree, bad: jax.Array, position: jax.Array, score: jax.Array, *rest: jax.Array) -> jax.Array:
    momentum = rest[1]
    chosen: Chosen = tree.chosen
    here = energy(Phase(position, momentum, score, score)) - chosen.log_weight
    told = [
        tree.acceptance / jnp.maximum(tree.steps, 1), jnp.any(chosen.position != position), *bad, tree.diverging, here,
        tree.steps, tree.depth,
    ]  # fmt: skip
    dtype = position.dtype
    scalars = [jnp.asarray(x).astype(dtype) for x in (chosen.log_density, *told)]
    return jnp.concatenate([chosen.position, chosen.gradient, jnp.stack(scalars)])


@dataclass(frozen=True)
class NoUTurn:
    """A draw from the trajectory that a fresh momentum starts."""

    max_depth: int
    name: str = "nuts"
    target: float = 0.8
    contract: Contract = INVARIANT
    info: tuple[str, ...] = INFO

    def append(
        self, block: Block, frame: Frame, inputs: Sequence[Var], point: Point, step: Var, root: Var
    ) -> tuple[Point, tuple[Var, ...]]:
        """Append momentum and point."""
        momentum = refreshed(block, frame.size)
        law = OrbitLaw(frame, len(inputs), self.max_depth)
        drawn = block.site((PREFIX, "point"), law, [*inputs, *point.flat, momentum, step, root])
        d = frame.size
        vector, gradient, score, *told = block.det(lambda x: _unpacked(x, d), drawn, label="point")
        return Point(vector, score, gradient), (*told[:6], step, *told[6:])

    def words(self) -> str:
        """Say what it does."""
        return f"no-U-turn moves of at most {2**self.max_depth - 1} leapfrogs"

    def on_integers(
        self,
        start: Phase,
        shifted: Callable[[Phase, Any], Phase],
        log_weight: Callable[[Phase], jax.Array],
        turning: Any,
        coins: Callable[[jax.Array], Any],
    ) -> Phase:
        """Move on an orbit that is a row of integers, by coins of given probabilities; see `check.orbit`."""
        (forward,) = coins(jnp.full((1,), 0.5))
        tree = planted(start, jnp.where(forward, 1.0, -1.0), self.max_depth)
        here = log_weight(start)
        for _ in range(2**self.max_depth - 1):
            if not isinstance(tree.going, jax.core.Tracer) and not tree.going:
                break
            leaf = shifted(tree.here, tree.direction)
            found = met(tree, leaf, log_weight(leaf) - here, turning, self.max_depth)
            tree = grown(tree, found, jnp.stack(coins(found.odds)))
        chosen = tree.chosen
        return Phase(chosen.position, chosen.position, chosen.log_density, chosen.gradient)

    def __repr__(self) -> str:
        """Show the depth."""
        return f"nuts(max_depth={self.max_depth})"


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
        max_depth: most doublings of a trajectory, which has then 2^max_depth points.
        inverse_mass: (d,) variances of the unconstrained coordinates in the order of the program, or their (d, d)
            covariance; "diagonal" or "dense": tuned by the warm-up; None: tuned diagonal if the step size is tuned,
            else one for each coordinate.
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
