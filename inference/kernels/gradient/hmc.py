"""HMC, Hamiltonian Monte Carlo, and Langevin's special case of one leapfrog.

Law: momentum is drawn anew, the flow of some leapfrogs with the momentum negated at its end is an involution that keeps
volume, and its coin has min(1, exp(energy here - energy there)): a reversible kernel that keeps exp(log density).
Source: Neal (2011), MCMC using Hamiltonian dynamics; Roberts and Tweedie (1996), Exponential convergence of Langevin
distributions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.distributions.law import law_of
from lawful.errors import LawfulError
from lawful.form import Var
from lawful.form.builder import Block

from ...contract import Contract
from ...registered import stored_as
from ..base.acceptance import accept, acceptance
from ..base.frame import Frame
from .gradient import PREFIX, Gradient, Point, Settings, checked
from .trajectories import LARGEST_ERROR, Passed, Phase, Target, energy, flipped, flow

MOST = 64  # leapfrogs of a trajectory whose length is given
REVERSIBLE = Contract("invariant_kernel", target="the program's posterior", reversible=True)
INFO = (
    "acceptance_rate", "accepted", "n_nonfinite", "n_nonfinite_grad", "diverging", "energy", "step_size", "n_steps",
)  # fmt: skip


@stored_as("kernels.hmc")
@dataclass(frozen=True)
class Hamiltonian:
    """A flow of some leapfrogs and its coin.

    Attributes:
        steps: leapfrogs; None: as many as make a trajectory of the length, at most `MOST`.
        name: of the kernel.
        contract: what it claims.
        info: names of its numbers.
        jitter: the share by which the step is shortened at random, at most.
        length: of a trajectory, in units of the scales.
    """

    steps: int | None
    name: str = "hmc"
    contract: Contract = REVERSIBLE
    info: tuple[str, ...] = INFO
    jitter: float = 0.0
    length: float = 0.0

    def append(
        self, block: Block, frame: Frame, inputs: Sequence[Var], point: Point, momentum: Var, settings: Settings
    ) -> tuple[Point, tuple[Var, ...]]:
        """Append flow, coin and choice."""
        step = settings.step
        if self.steps is None:
            count = block.det(_Count(self.length), step, label="number of leapfrogs")
        else:
            count = block.constant(np.asarray(self.steps, jnp.int32))
        if self.jitter:
            law, parameters = law_of(dist.Uniform(np.zeros((), step.dtype), np.ones((), step.dtype)))
            u = block.site((PREFIX, "length"), law, [block.constant(p) for p in parameters])
            step = block.det(_Shortened(self.jitter), step, u, label="length of a step")
        flow_of = _Flow(frame, len(inputs), self.steps)
        *there, ratio, here_energy, there_energy, lost, slope = block.det(
            flow_of, *inputs, count, *point, momentum, step, settings.root, label="leapfrogs"
        )
        probability, coin, broken = accept(block, ratio)
        broken = block.det(_by_the_model, broken, lost, slope, label="not a number?")
        chosen = block.det(_choose, coin, *there, there_energy, *point, here_energy, label="accept?")
        numbers = (probability, coin, broken, slope, lost, chosen[3], step, count)
        return Point(*chosen[:3]), numbers

    def words(self) -> str:
        """Say what it does."""
        return "Langevin step" if self.name == "mala" else f"{self.steps} leapfrogs"

    def on_integers(
        self, start: Any, shifted: Callable[[Any, Any], Any], log_weight: Callable[[Any], Any], turning: Any, flip: Any
    ) -> Any:
        """Move on an orbit that is a row of integers, by coins of given probabilities; see `check.orbit`."""
        forward = flip(jnp.asarray(0.5))
        assert self.steps is not None
        there = start
        for _ in range(self.steps):
            there = shifted(there, jnp.where(forward, 1, -1))
        taken = flip(acceptance(log_weight(there) - log_weight(start)))
        return Phase(*(jnp.where(taken, a, b) for a, b in zip(there, start, strict=True)))

    def __repr__(self) -> str:
        """Show the number of leapfrogs."""
        return "mala()" if self.name == "mala" else f"{self.name}({self.steps} leapfrogs)"


@dataclass(frozen=True, eq=False)
class _Flow:
    """Operands: the program's inputs, number of leapfrogs, the point, the momentum, step size and root."""

    frame: Frame
    inputs: int
    steps: int | None

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        inputs, (count, *rest, step, root) = operands[: self.inputs], operands[self.inputs :]
        position, score, gradient, momentum = rest
        start, steps = Phase(position, momentum, score, gradient), count if self.steps is None else self.steps
        end, passed = involution(lambda x: self.frame.value_and_grad(inputs, x), root, step, start, steps)
        here, there = energy(start), energy(end)
        lost = (-passed.least - here > LARGEST_ERROR) | (there - here > LARGEST_ERROR)
        return end.position, end.log_density, end.gradient, here - there, here, there, lost, passed.no_slope


@dataclass(frozen=True)
class _Count:
    """So many leapfrogs that the longest trajectory has its length."""

    length: float

    def __call__(self, step: jax.Array) -> jax.Array:
        return jnp.clip(jnp.round(self.length / step), 1, MOST).astype(jnp.int32)


@dataclass(frozen=True)
class _Shortened:
    """A step shortened by up to a share at random."""

    share: float

    def __call__(self, step: jax.Array, u: jax.Array) -> jax.Array:
        return step * (1.0 - self.share * u)


def involution(
    target: Target, root: jax.Array, step: jax.Array, phase: Phase, steps: int | jax.Array
) -> tuple[Phase, Passed]:
    """Go along the flow and turn round; twice leads back."""
    end, passed = flow(target, root, step, phase, steps)
    return flipped(end), passed


def _choose(coin: jax.Array, *both: jax.Array) -> tuple[jax.Array, ...]:
    half = len(both) // 2
    return tuple(jnp.where(coin, a, b) for a, b in zip(both[:half], both[half:], strict=True))


def _by_the_model(broken: jax.Array, lost: jax.Array, slope: jax.Array) -> jax.Array:
    """Tell a density that is no number by itself from one where a lost integrator, or one without a gradient, goes."""
    return broken & ~lost & ~slope


def hmc(
    step_size: float | None = None, n_steps: int = 10, *, inverse_mass: Any = None, target_acceptance: float = 0.8
) -> Gradient:
    """Hamiltonian Monte Carlo with a fixed number of leapfrogs.

    Args:
        step_size: of a leapfrog, in units of the scales that `inverse_mass` gives; None: tuned by the warm-up of
            `inference.mcmc`.
        n_steps: leapfrogs a move.
        inverse_mass: a variance of all unconstrained coordinates, (d,) variances in the order of the program, or their
            (d, d) covariance; "diagonal" or "dense": tuned by the warm-up; None: tuned diagonal if the step size is
            tuned, else one for each coordinate.
        target_acceptance: what the step size is tuned for.

    Raises: UnsupportedProgramError, when built for a program with sites that are discrete or run in one arm only.

    Reference: Neal (2011), MCMC using Hamiltonian dynamics.

    >>> hmc(0.1, 20)
    hmc(20 leapfrogs) with step 0.1, unit mass
    """
    _check_steps("hmc", n_steps)
    checked("hmc", step_size, inverse_mass, target_acceptance)
    return Gradient(Hamiltonian(int(n_steps)), step_size, inverse_mass, target_acceptance)


def mala(step_size: float | None = None, *, inverse_mass: Any = None, target_acceptance: float = 0.574) -> Gradient:
    """Metropolis-adjusted Langevin algorithm: a normal step along the gradient, accepted or not.

    The proposal is u + step^2 / 2 * C * gradient + step * C^(1/2) * normal, with C the inverse mass: one leapfrog.

    Args:
        step_size: of the step, in units of the scales that `inverse_mass` gives; None: tuned by the warm-up of
            `inference.mcmc`.
        inverse_mass: as for `hmc`.
        target_acceptance: what the step size is tuned for.

    Raises: UnsupportedProgramError, when built for a program with sites that are discrete or run in one arm only.

    Reference: Roberts and Rosenthal (1998), Optimal scaling of discrete approximations to Langevin diffusions.

    >>> mala(0.5)
    mala() with step 0.5, unit mass
    """
    checked("mala", step_size, inverse_mass, target_acceptance)
    return Gradient(Hamiltonian(1, "mala"), step_size, inverse_mass, target_acceptance)


def _check_steps(name: str, steps: Any) -> None:
    if not isinstance(steps, int) or steps < 1:
        raise LawfulError(f"{name}: n_steps: expected an integer of 1 or more, got {steps!r}.")
