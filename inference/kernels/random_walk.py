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
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.transforms import biject_to

from lawful.addresses import as_address
from lawful.block import Block
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.laws import law_of
from lawful.record import Choice, choices_of

from ..check.contracts import Contract
from .base import INVARIANT, Proposed, State, scored
from .redraw import PREFIX


@dataclass(frozen=True)
class RandomWalk:
    """A joint normal step of all continuous sites, or of the named ones."""

    scale: Any
    sites: tuple[Any, ...] | None = None
    contract: Contract = INVARIANT

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the steps and the ratio."""
        moved = self._moved(choices)
        values = list(state.values)
        terms = []
        for position, choice in enumerate(choices):
            if choice.address not in moved:
                continue
            bijector = _bijector(choice)
            shape = jax.eval_shape(bijector.inv, jax.ShapeDtypeStruct(choice.full_shape, choice.dtype)).shape
            law, parameters = law_of(dist.Normal(jnp.zeros(shape, choice.dtype), moved[choice.address]))
            constants = [block.constant(p) for p in parameters]
            step = block.site((PREFIX, "step", *choice.address), law, constants)
            walk = _Walk(bijector)
            values[position], term = block.det(walk, state.values[position], step, label=f"step of {choice.name}")
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
                space = type(_bijector(choice)).__name__.removesuffix("Transform").lower()
                lines.append(f"{choice.name}: normal step of scale {moved[choice.address]} ({space} coordinates)")
            else:
                lines.append(f"{choice.name}: not moved")
        return lines

    def _moved(self, choices: Sequence[Choice]) -> dict[Any, Any]:
        """Map the addresses that move to their scales."""
        scales = {as_address(k): v for k, v in self.scale.items()} if isinstance(self.scale, Mapping) else None
        wanted = set(map(as_address, self.sites)) if self.sites is not None else None
        wanted = set(scales) if wanted is None and scales is not None else wanted
        known = {c.address: c for c in choices}
        for address in wanted or ():
            if address not in known:
                names = ", ".join(c.name for c in choices)
                raise LawfulError(f"random_walk: no latent site {address}; the program has: {names}.", site=address)
        moved = {}
        for address, choice in known.items():
            if wanted is not None and address not in wanted:
                continue
            if not jnp.issubdtype(choice.dtype, jnp.floating) or choice.conditional:
                why = "is conditional on a branch" if choice.conditional else "is discrete"
                raise UnsupportedProgramError(
                    f"random_walk: site '{choice.name}' ({choice.source}) {why}. Fix: name the sites to move, "
                    "random_walk(scale, sites=[...]), or use kernels.mh() for single-site moves.",
                    site=address,
                )
            moved[address] = self.scale if scales is None else scales[address]
        return moved

    def log_jacobian(self, choices: Sequence[Choice], values: Sequence[Any]) -> float:
        """Log |dx/du| at the values of the choices that move."""
        moved = self._moved(choices)
        total = 0.0
        for choice, value in zip(choices, values, strict=False):
            if choice.address in moved:
                bijector = _bijector(choice)
                total += float(jnp.sum(bijector.log_abs_det_jacobian(bijector.inv(value), value)))
        return total

    def __repr__(self) -> str:
        """Show the scale."""
        return f"random_walk({self.scale})"


def random_walk(scale: Any, *, sites: Sequence[Any] | None = None) -> RandomWalk:
    """Propose x' = T(T^-1(x) + scale * normal), with T onto the support of each site.

    Args:
        scale: one number for all sites, or a mapping from site name to a number or an array of the site's unconstrained
            shape.
        sites: names of the sites to move; default: all, or those in the mapping.

    Raises: UnsupportedProgramError for a discrete site or one that only runs in a branch.

    >>> random_walk(0.5)
    random_walk(0.5)
    """
    return RandomWalk(scale, None if sites is None else tuple(sites))


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


def walk_ratio(new: jax.Array, old: jax.Array, *jacobians: jax.Array) -> jax.Array:
    """Log ratio of densities in unconstrained coordinates."""
    return sum(jacobians, new - old)


def _bijector(choice: Choice) -> Any:
    """Map the whole space onto the support where it does not depend on parameters; else walk in the space itself.

    In the second case a step out of the support is rejected.
    """
    support = static_support(choice.law)
    return biject_to(constraints.real if support is None else support)


def static_support(law: Any) -> Any:
    """The support of a law where it is the same for all parameters, else None."""
    tree = getattr(getattr(law, "base", law), "tree", None)  # lanes have the support of their base
    if tree is None:
        return None
    distribution = jax.tree.unflatten(tree, [0.0] * tree.num_leaves)
    while isinstance(distribution, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        distribution = distribution.base_dist
    support = type(distribution).support
    fixed = isinstance(support, constraints.Constraint) and not isinstance(support, type(constraints.dependent))
    return support if fixed else None
