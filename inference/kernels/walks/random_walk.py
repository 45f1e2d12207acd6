"""Random walk: a symmetric normal step in unconstrained space, each site by itself or all with one covariance.

Law: the proposal density is symmetric in the unconstrained coordinates u, whatever its covariance, so the ratio is
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
from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of

from ...contract import Contract
from ...registered import stored_as
from ...representations.absent_elements import presence_of, stay
from ...representations.coordinates import Map, Step, map_of, walk_ratio, walking
from ...representations.kernel_form import Proposed, State, scored
from ..base.base import INVARIANT
from ..base.frame import refuse_other_size
from ..base.redraw import PREFIX

SYMMETRIC = 1e-5  # largest difference across the diagonal of a covariance, relative to the largest entry


@stored_as("kernels.random_walk")
@dataclass(frozen=True)
class RandomWalk:
    """A normal step of all continuous sites, or of the named ones.

    Attributes:
        scale: one for all sites, or one for each by name.
        sites: names of the sites that move; None for all, or those in the mapping.
        root: rows of the lower triangle of the covariance, which the scale multiplies; or where the root of all of it
            stands among the program's inputs; None for independent steps.
    """

    scale: Any
    sites: tuple[Any, ...] | None = None
    contract: Contract = INVARIANT
    root: tuple[tuple[float, ...], ...] | int | None = None
    keeps_absent = True

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the step and the ratio."""
        values, jacobian = self.stepped(block, program, inputs, choices, state.values)
        log_density, flags = scored(block, program, inputs, values)
        ratio = block.det(walk_ratio, log_density, state.log_density, jacobian, label="log ratio")
        return Proposed(State(values, flags, log_density), ratio)

    def stepped(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], old: Sequence[Var]
    ) -> tuple[tuple[Var, ...], Var]:
        """Append the step alone; gives the new values, and the change of the log Jacobian."""
        moved, presence, values = self._moved(choices), presence_of(program), list(old)
        places = [position for position, choice in enumerate(choices) if choice.address in moved]
        maps = tuple(map_of(choices[p]) for p in places)
        step = self._step(block, inputs, [choices[p] for p in places], maps)
        present = presence.vector(block, inputs, [choices[p] for p in places], [m.shape for m in maps])
        if present is not None:
            step = block.det(jnp.multiply, step, present, label="step of what is there")
        *new, jacobian = block.det(Step(maps), step, *(old[p] for p in places), label="step in coordinates")
        masks = presence.masks(block, inputs)
        for position, value in zip(places, new, strict=True):
            values[position] = stay(block, masks.get(choices[position].address), value, old[position])
        return tuple(values), jacobian

    def _step(self, block: Block, inputs: Sequence[Var], moved: Sequence[Choice], maps: Sequence[Map]) -> Var:
        """Append the step as a vector of the coordinates of all sites that move."""
        dtype = jnp.result_type(float)
        if self.root is None:
            steps, scales = [], self._moved(moved)
            for choice, m in zip(moved, maps, strict=True):
                law, parameters = law_of(dist.Normal(np.zeros(m.shape, choice.dtype), scales[choice.address]))
                given = [block.constant(p) for p in parameters]
                steps.append(block.site((PREFIX, "step", *choice.address), law, given))
            joined: Var = block.det(_vector, *steps, label="steps")
            return joined
        if isinstance(self.root, int):
            root = inputs[self.root]
            refuse_other_size("population_walk", root, sum(m.size for m in maps))
        else:
            self._refuse_other_size(moved, maps)
            root = block.constant(np.asarray(self.scale * np.asarray(self.root), dtype))
        law, parameters = law_of(dist.Normal(np.zeros(root.shape[0], dtype), np.ones((), dtype)))
        noise = block.site((PREFIX, "step"), law, [block.constant(p) for p in parameters])
        step: Var = block.det(jnp.matmul, root, noise, label="joint step")
        return step

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        choices = choices_of(program)
        moved = self._moved(choices)
        maps = {c.address: map_of(c) for c in choices if c.address in moved}
        joint = None
        if self.root is not None:
            self._refuse_other_size([c for c in choices if c.address in moved], list(maps.values()))
            joint = f"in a joint normal step of {self.scale:g} x the root of the given covariance"
        return [
            f"{c.name}: {joint or f'normal step of scale {moved[c.address]}'} ({maps[c.address].space} coordinates)"
            if c.address in moved
            else f"{c.name}: not moved"
            for c in choices
        ]

    def log_jacobian(self, choices: Sequence[Choice], values: Sequence[Any]) -> float:
        """Log |dx/du| at the values of the choices that move."""
        moved = self._moved(choices)
        pairs = [(map_of(c), v) for c, v in zip(choices, values, strict=True) if c.address in moved]
        return sum((float(m.log_jacobian(m.coordinates(v), v)) for m, v in pairs), 0.0)

    def _moved(self, choices: Sequence[Choice]) -> dict[Any, Any]:
        """Map the addresses that move to their scales."""
        scales = {as_address(k): v for k, v in self.scale.items()} if isinstance(self.scale, Mapping) else None
        wanted = self.sites if self.sites is not None or scales is None else tuple(scales)
        moved = walking(choices, wanted)
        return {c.address: self.scale if scales is None else scales[c.address] for c in choices if c.address in moved}

    def _refuse_other_size(self, moved: Sequence[Choice], maps: Sequence[Map]) -> None:
        """Refuse a covariance of other coordinates than those that move."""
        assert isinstance(self.root, tuple)
        size = sum(m.size for m in maps)
        if size != len(self.root):
            names = ", ".join(f"{c.name} ({m.size})" for c, m in zip(moved, maps, strict=True))
            raise LawfulError(
                f"random_walk: covariance of {len(self.root)} coordinates for {size}, those of {names}. Fix: give one "
                "row for each unconstrained coordinate of the sites that move, in the order of the program."
            )

    def __repr__(self) -> str:
        """Show scale and size."""
        if not isinstance(self.root, tuple):
            return f"random_walk({self.scale})"
        return f"random_walk({self.scale:g}, covariance of {len(self.root)} coordinates)"


def random_walk(scale: Any, *, covariance: Any = None, sites: Sequence[Any] | None = None) -> RandomWalk:
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
    root = None if covariance is None else _joint(scale, covariance)
    return RandomWalk(scale if root is None else float(scale), chosen, root=root)


def _joint(scale: Any, covariance: Any) -> tuple[tuple[float, ...], ...]:
    """Check scale and covariance of a joint step; gives the root of the covariance."""
    if not isinstance(scale, int | float | np.number) or not 0 < scale < np.inf:
        raise LawfulError(f"random_walk: with a covariance, expected a positive number as scale, got {scale!r}.")
    matrix = np.asarray(covariance, np.float64)
    if matrix.ndim != 2 or len(matrix) != matrix.shape[1]:
        raise LawfulError(f"random_walk: expected a square covariance, got shape {matrix.shape}.")
    if not np.isfinite(matrix).all() or np.abs(matrix - matrix.T).max(initial=0) > SYMMETRIC * np.abs(matrix).max(
        initial=0
    ):
        raise LawfulError("random_walk: the covariance is not a symmetric matrix of finite numbers.")
    try:
        root = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError as error:
        raise LawfulError(
            "random_walk: the covariance is not positive definite. Fix: add a small number to its diagonal."
        ) from error
    return tuple(tuple(map(float, row)) for row in root)


def _vector(*steps: jax.Array) -> jax.Array:
    return jnp.concatenate([jnp.ravel(x).astype(jnp.result_type(float)) for x in steps])
