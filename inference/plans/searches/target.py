"""Target: the log density of a program on the scale of its values, at coordinates without bounds.

Law: there is no Jacobian, so that a maximum is one of the density that the program writes, in whichever coordinates it
is looked for. Values, named ones too, and their slopes are those of the same coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.initial_values import candidates, prior_coordinates
from lawful.backends.unchain_loops import UNCHAINED
from lawful.backends.xla import emit
from lawful.distributions.bijections import is_line, shown_supports
from lawful.form import Form
from lawful.form.builder import Block
from lawful.form.choices import Choice, is_own
from lawful.form.liveness import without_dead_code
from lawful.passes.record import record
from lawful.passes.rolling.roll import folded
from lawful.passes.unconstrain import at_coordinates, refuse_discrete

from ...kernels.base.frame import Frame, frame_of
from ...results.record import masked
from ..chains.chain_result import naming

CANDIDATES = 16  # among which the start of a search is chosen
BATCH = 64  # columns of a matrix of second derivatives that are computed at once


@dataclass(frozen=True, eq=False)
class Target:
    """The log density at coordinates, the values there, and their derivatives.

    Attributes:
        frame: the coordinates.
        shown: what has a value there: the choices, then what the program names.
    """

    frame: Frame
    shown: tuple[Choice, ...]

    @cached_property
    def _run(self) -> Any:
        return emit(at_coordinates(self.frame.program), UNCHAINED)

    @cached_property
    def _naming(self) -> Any:
        named = record(self.frame.program, ("deterministic",))
        return naming(named.form, named.own)

    def log_density(self, inputs: Sequence[Any], vector: jax.Array) -> jax.Array:
        """Score coordinates, without Jacobian."""
        return self._run(jax.random.key(0), *inputs, *self.frame.parts(vector))[0][0]

    def value_and_grad(self, inputs: Sequence[Any], vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score coordinates, and give the gradient; -inf, with the gradient 0, where one of them is not finite."""
        value, gradient = jax.value_and_grad(self.log_density, argnums=1)(tuple(inputs), vector)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
        return jnp.where(finite, value, -jnp.inf), jnp.where(finite, gradient, 0.0)

    def values(self, inputs: Sequence[Any], vector: jax.Array) -> dict[str, jax.Array]:
        """Give the values at coordinates by name, and what the program names; NaN where an arm did not run."""
        (_, *values), _ = self._run(jax.random.key(0), *inputs, *self.frame.parts(vector))
        count = len(values)
        named = self.shown[count:]
        rest = list(self._naming(inputs, values)) if named else []
        flags = dict(zip((c.name for c in named if c.conditional), rest[len(named) :], strict=True))
        whole = dict(zip((c.name for c in self.shown), [*values, *rest[: len(named)]], strict=True))
        return masked(whole, flags)

    def sites(self, inputs: Sequence[Any], vector: jax.Array) -> list[jax.Array]:
        """Give the values of the choices at coordinates, in their order."""
        return list(self._run(jax.random.key(0), *inputs, *self.frame.parts(vector))[0][1:])

    @cached_property
    def _back(self) -> Any:
        return emit(self.frame.found.free)

    def coordinates(self, inputs: Sequence[Any], values: Sequence[jax.Array]) -> jax.Array:
        """Give the coordinates of values of the choices."""
        return self.frame.vector(*self._back(jax.random.key(0), *inputs, *values)[0])

    def flat_values(self, inputs: Sequence[Any], vector: jax.Array) -> jax.Array:
        """Give all that is shown in one vector."""
        values = self.values(inputs, vector).values()
        return jnp.concatenate([jnp.ravel(x).astype(vector.dtype) for x in values])

    def present(self, inputs: Sequence[Any]) -> np.ndarray:
        """Tell which coordinates there are: those of absent elements change nothing."""
        block, own = Block(), tuple(v.like() for v in self.frame.program.inputs)
        mask = self.frame.present(block, own)
        if mask is None:
            return np.ones(self.frame.size, bool)
        run = emit(without_dead_code(block.form(own, (mask,))))
        return np.asarray(run(jax.random.key(0), *inputs)[0][0]) > 0

    def slopes(self, inputs: Sequence[Any], vector: jax.Array) -> tuple[jax.Array, ...]:
        """Give the log density, its gradient and second derivatives, the values in a vector, and their derivatives.

        Second derivatives are those of the gradient, forward where its parts allow that, else backward.
        """
        inputs = tuple(inputs)

        def slope(vector: jax.Array) -> jax.Array:
            return jax.grad(self.log_density, argnums=1)(inputs, vector)

        def values(vector: jax.Array) -> jax.Array:
            return self.flat_values(inputs, vector)

        def forward(unit: jax.Array) -> jax.Array:
            return jax.jvp(slope, (vector,), (unit,))[1]

        def backward(unit: jax.Array) -> jax.Array:
            return jax.vjp(slope, vector)[1](unit)[0]

        units = jnp.eye(self.frame.size, dtype=vector.dtype)
        try:
            jax.eval_shape(forward, vector)
            column = forward
        except TypeError:  # a part has a backward rule alone
            column = backward
        value, gradient = jax.value_and_grad(self.log_density, argnums=1)(inputs, vector)
        second = jax.lax.map(column, units, batch_size=BATCH)
        moved = jax.lax.map(lambda unit: jax.jvp(values, (vector,), (unit,))[1], units, batch_size=BATCH)
        return value, gradient, 0.5 * (second + second.T), values(vector), moved.T

    @cached_property
    def _prior(self) -> Any:
        drawn = prior_coordinates(self.frame.program)
        return None if drawn is None else emit(drawn, UNCHAINED)

    def candidates(self, inputs: Sequence[Any], key: jax.Array) -> jax.Array:
        """Draw coordinates where a search may begin: in the cube (-2, 2) and, where it has draws, from the prior."""
        prior, dtype = self._prior, jnp.result_type(float)
        drawn = None if prior is None else lambda key: self.frame.vector(*prior(key, *inputs)[0])
        return candidates(self.frame.size, dtype, key, drawn, CANDIDATES)

    @cached_property
    def places(self) -> list[tuple[slice, slice, bool]]:
        """Give for each choice its coordinates, its values, and whether these belong together element by element."""
        at, stop, found = 0, 0, []
        for choice, shape in zip(self.frame.choices, self.frame.shapes, strict=True):
            own, shown = math.prod(shape), math.prod(choice.full_shape)
            found.append((slice(at, at + own), slice(stop, stop + shown), shape == choice.full_shape))
            at, stop = at + own, stop + shown
        return found

    @cached_property
    def bounded(self) -> np.ndarray:
        """Tell which coordinates are of a support with bounds, or of one that is computed."""
        supports = shown_supports(self.frame.program)
        kinds = [not is_line(supports.get(choice.address)) for choice in self.frame.choices]
        return np.repeat(kinds, [math.prod(shape) for shape in self.frame.shapes])


def target_of(form: Form, name: str) -> Target:
    """Write the log density of a program at coordinates.

    Raises: UnsupportedProgramError for a site that is discrete, a point mass, or made in one arm of a branch only.
    """
    refuse_discrete(folded(form))
    frame = frame_of(form, name)
    named = record(form, ("deterministic",)).choices
    return Target(frame, (*frame.choices, *(c for c in named if not is_own(c))))
