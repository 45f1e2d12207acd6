"""Random walk: a symmetric normal step in unconstrained space.

Law: the proposal density is symmetric in the unconstrained coordinates u, so the ratio is
pi(x') |dx'/du'| / (pi(x) |dx/du|).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.addresses import as_address
from lawful.distributions.law import law_of
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of

from ...contract import Contract
from ...registered import stored_as
from ...representations.absent_elements import over, presence_of, stay
from ...representations.coordinates import bijector_of, walk_ratio, walking
from ..base.base import INVARIANT, Proposed, State, scored
from ..base.redraw import PREFIX
from .joint_walk import JointWalk, joint_walk


@stored_as("kernels.random_walk")
@dataclass(frozen=True)
class RandomWalk:
    """A joint normal step of all continuous sites, or of the named ones."""

    scale: Any
    sites: tuple[Any, ...] | None = None
    contract: Contract = INVARIANT
    keeps_absent = True

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the steps and the ratio."""
        moved = self._moved(choices)
        values, present = list(state.values), presence_of(program).masks(block, inputs)
        terms = []
        for position, choice in enumerate(choices):
            if choice.address not in moved:
                continue
            bijector = bijector_of(choice)
            shape = jax.eval_shape(bijector.inv, jax.ShapeDtypeStruct(choice.full_shape, choice.dtype)).shape
            law, parameters = law_of(dist.Normal(np.zeros(shape, choice.dtype), moved[choice.address]))
            constants = [block.constant(p) for p in parameters]
            step = block.site((PREFIX, "step", *choice.address), law, constants)
            if choice.address in present:
                step = block.det(_of_present, step, present[choice.address], label="step of what is there")
            walk = _Walk(bijector)
            here = state.values[position]
            there, term = block.det(walk, here, step, label=f"step of {choice.name}")
            values[position] = stay(block, present.get(choice.address), there, here)
            terms.append(term)
        log_density, flags = scored(block, program, inputs, values)
        ratio = block.det(walk_ratio, log_density, state.log_density, *terms, label="log ratio")
        return Proposed(State(tuple(values), flags, log_density), ratio)

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        moved = self._moved(choices_of(program))
        lines = []
        for choice in choices_of(program):
            if choice.address in moved:
                space = type(bijector_of(choice)).__name__.removesuffix("Transform").lower()
                lines.append(f"{choice.name}: normal step of scale {moved[choice.address]} ({space} coordinates)")
            else:
                lines.append(f"{choice.name}: not moved")
        return lines

    def _moved(self, choices: Sequence[Choice]) -> dict[Any, Any]:
        """Map the addresses that move to their scales."""
        scales = {as_address(k): v for k, v in self.scale.items()} if isinstance(self.scale, Mapping) else None
        wanted = self.sites if self.sites is not None or scales is None else tuple(scales)
        moved = walking(choices, wanted)
        return {c.address: self.scale if scales is None else scales[c.address] for c in choices if c.address in moved}

    def log_jacobian(self, choices: Sequence[Choice], values: Sequence[Any]) -> float:
        """Log |dx/du| at the values of the choices that move."""
        moved = self._moved(choices)
        total = 0.0
        for choice, value in zip(choices, values, strict=False):
            if choice.address in moved:
                bijector = bijector_of(choice)
                total += float(jnp.sum(bijector.log_abs_det_jacobian(bijector.inv(value), value)))
        return total

    def __repr__(self) -> str:
        """Show the scale."""
        return f"random_walk({self.scale})"


def random_walk(scale: Any, *, covariance: Any = None, sites: Sequence[Any] | None = None) -> RandomWalk | JointWalk:
    """Propose x' = T(T^-1(x) + scale * normal), with T onto the support of each site.

    Args:
        scale: one number for all sites, or a mapping from site name to a number or an array of the site's unconstrained
            shape; with a covariance, one number.
        covariance: (d, d), of the step before it is scaled, across the d unconstrained coordinates of all sites that
            move, in the order of the program; default: independent steps. A good scale is then 2.38 / sqrt(d), for the
            covariance of the posterior.
        sites: names of the sites to move; default: all, or those in the mapping.

    Raises:
        UnsupportedProgramError: a site is discrete or only runs in a branch.
        LawfulError: the covariance is not symmetric and positive definite, or of another size than the sites.

    Reference: Gelman, Roberts and Gilks (1996), Efficient Metropolis jumping rules.

    >>> random_walk(0.5)
    random_walk(0.5)
    >>> random_walk(1.7, covariance=[[1.0, 0.9], [0.9, 1.0]])
    random_walk(1.7, covariance of 2 coordinates)
    """
    chosen = None if sites is None else tuple(sites)
    return RandomWalk(scale, chosen) if covariance is None else joint_walk(scale, covariance, chosen)


def _of_present(step: jax.Array, present: jax.Array) -> jax.Array:
    return jnp.where(over(present, step.shape), step, jnp.zeros((), step.dtype))


@dataclass(frozen=True)
class _Walk:
    bijector: Any

    def __call__(self, value: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Give the new value and the difference of the log Jacobians."""
        here = self.bijector.inv(value)
        there = here + step
        new = self.bijector(there)
        log_jacobian = self.bijector.log_abs_det_jacobian
        return new, jnp.sum(log_jacobian(there, new)) - jnp.sum(log_jacobian(here, value))
