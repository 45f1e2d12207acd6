"""Joint walk: a normal step of several continuous sites with a covariance across all of their coordinates.

Law: that of a random walk: the step is symmetric in the unconstrained coordinates, whatever its covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.distributions.law import law_of
from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of

from ...contract import Contract
from ...representations.absent_elements import presence_of, stay
from ...representations.coordinates import JointStep, Map, map_of, walk_ratio, walking
from ..base.base import INVARIANT, Proposed, State, scored
from ..base.frame import refuse_other_size
from ..base.redraw import PREFIX

SYMMETRIC = 1e-5  # largest difference across the diagonal, relative to the largest entry


@dataclass(frozen=True, eq=False)
class JointWalk:
    """A joint normal step of covariance scale^2 x covariance.

    Attributes:
        scale: a number.
        root: (d, d), lower triangle of the covariance, or where it stands among the program's inputs.
        sites: names of the sites that move; None for all.
    """

    scale: float
    root: np.ndarray | int
    sites: tuple[Any, ...] | None = None
    contract: Contract = INVARIANT
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
        maps = self._maps(choices)
        places = [position for position, choice in enumerate(choices) if choice.address in maps]
        dtype, values = jnp.result_type(float), list(old)
        given = self.root
        root = inputs[given] if isinstance(given, int) else block.constant(np.asarray(self.scale * given, dtype))
        refuse_other_size("population_walk", root, sum(m.size for m in maps.values()))
        law, parameters = law_of(dist.Normal(np.zeros(root.shape[0], dtype), np.ones((), dtype)))
        moved = [choices[position] for position in places]
        shapes = [maps[choice.address].shape for choice in moved]
        present = presence_of(program).vector(block, inputs, moved, shapes)
        if present is not None:
            root = block.det(_rows, root, present, label="step of what is there")
        noise = block.site((PREFIX, "step"), law, [block.constant(p) for p in parameters])
        step = JointStep(tuple(maps.values()))
        *new, jacobian = block.det(step, root, noise, *(values[p] for p in places), label="joint step")
        masks = presence_of(program).masks(block, inputs)
        for position, value in zip(places, new, strict=True):
            values[position] = stay(block, masks.get(choices[position].address), value, values[position])
        return tuple(values), jacobian

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        choices = choices_of(program)
        maps = self._maps(choices)
        return [
            f"{c.name}: in a joint normal step of {self.scale:g} x the root of the given covariance "
            f"({maps[c.address].space} coordinates)"
            if c.address in maps
            else f"{c.name}: not moved"
            for c in choices
        ]

    def log_jacobian(self, choices: Sequence[Choice], values: Sequence[Any]) -> float:
        """Log |dx/du| at the values of the choices that move."""
        maps = self._maps(choices)
        moved = [(maps[c.address], v) for c, v in zip(choices, values, strict=False) if c.address in maps]
        return sum((float(m.log_jacobian(m.coordinates(v), v)) for m, v in moved), 0.0)

    def _maps(self, choices: Sequence[Choice]) -> dict[Any, Map]:
        """Map the sites that move to their coordinates."""
        moved = walking(choices, self.sites)
        maps = {c.address: map_of(c) for c in choices if c.address in moved}
        d = sum(m.size for m in maps.values())
        if not isinstance(self.root, int) and d != len(self.root):
            names = ", ".join(f"{c.name} ({maps[c.address].size})" for c in choices if c.address in maps)
            raise LawfulError(
                f"random_walk: covariance of {len(self.root)} coordinates for {d}, those of {names}. Fix: give one row "
                "for each unconstrained coordinate of the sites that move, in the order of the program."
            )
        return maps

    def __repr__(self) -> str:
        """Show scale and size."""
        size = "fitted" if isinstance(self.root, int) else f"{len(self.root)}"
        return f"random_walk({self.scale:g}, covariance of {size} coordinates)"


def _rows(root: jax.Array, present: jax.Array) -> jax.Array:
    return root * present.astype(root.dtype)[:, None]


def joint_walk(scale: Any, covariance: Any, sites: tuple[Any, ...] | None) -> JointWalk:
    """Check scale and covariance of a joint walk."""
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
    return JointWalk(float(scale), root, sites)
