"""Slice: one coordinate after the other, drawn from the part of its line where the density is above a random height.

Law: height and place are uniform under the density of the line, in coordinates without bounds, whose Jacobian counts;
stepping out and shrinkage keep that law, and so does one coordinate after the other. All randomness is made of sites:
for each coordinate a height, a place of the interval, a share of the steps, and one uniform for each try.

Reference: Neal (2003), Slice sampling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.transforms import biject_to

from lawful.addresses import as_address
from lawful.backends.xla import emit
from lawful.distributions.law import law_of
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.markov_blanket import reached

from ...contract import Contract
from ...registered import stored_as
from ...representations.absent_elements import presence_of, stay
from ...representations.coordinates import Map, map_of
from ...representations.kernel_form import KernelForm, State
from ...representations.naming import named_sites
from ..base.base import finished, opened, scored_anew
from ..base.redraw import PREFIX
from ..base.rescore import reached_score
from .shrinkage import shrunk, stepped_out

INFO = ("n_evaluations", "n_exhausted", "n_nonfinite")


@stored_as("kernels.slice")
@dataclass(frozen=True)
class Slice:
    """Univariate slice moves; see `slice`."""

    width: Any = 1.0
    sites: tuple[Any, ...] | None = None
    steps: int = 8
    tries: int = 64
    contract: Contract = Contract("invariant_kernel", target="the program's posterior")
    keeps_absent = True

    def build(self, program: Form) -> KernelForm:
        """Write the draws of all coordinates, and one sweep over them."""
        choices, block, inputs, state = opened(program)
        moved = self._moved(choices)
        lines = tuple(_line(c) for c in moved)
        sizes = [line.size for line in lines]
        d = sum(sizes)
        ones, zeros = np.ones(d), np.zeros
        height = _site(block, "height", dist.Exponential(_as_float(ones)))
        offset, share = (_site(block, n, dist.Uniform(_as_float(zeros(d)), 1.0)) for n in ("offset", "share"))
        uniforms = _site(block, "tries", dist.Uniform(_as_float(zeros((d, self.tries))), 1.0))
        widths = block.constant(np.concatenate([np.full(n, w) for n, w in zip(sizes, self._widths(moved), strict=True)])
                                .astype(jnp.result_type(float)))  # fmt: skip
        shapes = [line.shape for line in lines]
        present = presence_of(program).vector(block, inputs, moved, shapes)
        if present is not None:  # no width, no move
            widths = block.det(jnp.multiply, widths, present, label="widths of what is there")
        scoring, _ = reached_score(program, reached(program, [c.address for c in moved]))
        places = tuple(choices.index(c) for c in moved)
        sweep = _Sweep(scoring.form, scoring.own, places, lines, len(inputs), self.steps)
        *new, evaluations, exhausted, broken = block.det(
            sweep, height, offset, share, uniforms, widths, *inputs, *state.values, label="slices"
        )
        values, masks = list(state.values), presence_of(program).masks(block, inputs)
        for place, value in zip(places, new, strict=True):
            values[place] = stay(block, masks.get(choices[place].address), value, values[place])
        there = State(tuple(values), state.flags, state.log_density)
        form = block.form((*inputs, *state.flat), (*there.flat, evaluations, exhausted, broken))
        return KernelForm(finished(form), choices, INFO, leave=scored_anew(program))

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        choices = choices_of(program)
        widths = dict(zip((c.address for c in self._moved(choices)), self._widths(self._moved(choices)), strict=True))
        return [
            f"{c.name}: slices of width {widths[c.address]:g} ({_line(c).space} coordinates)"
            if c.address in widths
            else f"{c.name}: not moved"
            for c in choices
        ]

    def _moved(self, choices: Sequence[Choice]) -> list[Choice]:
        """Find the sites, and refuse those that have no line."""
        wanted = self.sites
        if wanted is None and isinstance(self.width, Mapping):
            wanted = tuple(self.width)
        found = None if wanted is None else set(named_sites(choices, wanted, "slice"))
        moved = [c for c in choices if found is None or c.address in found]
        for c in moved:
            if c.conditional or c.dtype == jnp.dtype(bool):
                why = "only runs in a branch" if c.conditional else "has truth values"
                raise UnsupportedProgramError(
                    f"slice: site '{c.name}' ({c.source}) {why}, so it has no line. Fix: name the sites to move, "
                    "slice(width, sites=[...]), and move this one by kernels.mh().",
                    site=c.address,
                )
        return moved

    def _widths(self, moved: Sequence[Choice]) -> list[float]:
        given = {as_address(k): float(v) for k, v in self.width.items()} if isinstance(self.width, Mapping) else None
        widths = [float(self.width) if given is None else given[c.address] for c in moved]
        return [w if jnp.issubdtype(c.dtype, jnp.floating) else float(max(1, round(w)))
                for w, c in zip(widths, moved, strict=True)]  # fmt: skip

    def __repr__(self) -> str:
        """Show the width."""
        return f"slice({self.width})"


def slice(width: Any = 1.0, *, sites: Sequence[Any] | None = None, steps: int = 8, tries: int = 64) -> Slice:
    """Slice sampling of every coordinate in turn: no step size to tune, only a width that should not be too small.

    Continuous sites move in coordinates without bounds. Integer sites move over the whole numbers.

    Args:
        width: of the first interval, for all coordinates, or a mapping from site name to a number; of integer sites it
            is rounded to a whole number.
        sites: names of the sites to move; default: all, or those in the mapping.
        steps: largest number of widths that an interval grows to.
        tries: largest number of points that are tried in it; where none is in the slice the coordinate stays, which
            `stats["n_exhausted"]` counts.

    Raises: when the kernel is built, UnsupportedProgramError for a site with truth values or in a branch.

    Reference: Neal (2003), Slice sampling, Annals of Statistics 31.

    >>> slice(2.0)
    slice(2.0)
    """
    widths = list(width.values()) if isinstance(width, Mapping) else [width]
    if not all(isinstance(w, int | float | np.number) and 0 < w < math.inf for w in widths):
        raise LawfulError(f"slice: expected positive numbers as width, got {width!r}.")
    if steps < 1 or tries < 1:
        raise LawfulError(f"slice: expected steps and tries of 1 or more, got {steps} and {tries}.")
    return Slice(width, None if sites is None else tuple(sites), int(steps), int(tries))


def _line(choice: Choice) -> Map:
    """Map a site to coordinates; whole numbers are their own."""
    if jnp.issubdtype(choice.dtype, jnp.floating):
        return map_of(choice)
    return Map(biject_to(constraints.real), math.prod(choice.full_shape), choice.full_shape)


def _as_float(array: np.ndarray) -> jax.Array:
    return jnp.asarray(array, jnp.result_type(float))


def _site(block: Block, name: str, distribution: Any) -> Var:
    law, parameters = law_of(distribution)
    return block.site((PREFIX, "slice", name), law, [block.constant(p) for p in parameters])


@dataclass(frozen=True)
class _Sweep:
    """One slice move of each coordinate; operands are the draws, the widths, the program's inputs, all choices.

    Attributes:
        form: scores what the moved sites reach, at output `own`.
        places: the moved sites among the choices.
        lines: their coordinates.
    """

    form: Form
    own: int
    places: tuple[int, ...]
    lines: tuple[Map, ...]
    inputs: int
    steps: int

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        height, offset, share, uniforms, widths, *rest = operands
        inputs, values = rest[: self.inputs], list(rest[self.inputs :])
        run, dtype = emit(self.form), jnp.result_type(float)
        kinds = [values[place].dtype for place in self.places]
        whole = np.concatenate([np.full(line.size, not jnp.issubdtype(kind, jnp.floating))
                                for line, kind in zip(self.lines, kinds, strict=True)])  # fmt: skip

        def placed(free: jax.Array) -> tuple[list[jax.Array], jax.Array]:
            new, jacobian, start = [], jnp.zeros((), dtype), 0
            for line, kind in zip(self.lines, kinds, strict=True):
                part = free[start : start + line.size]
                if jnp.issubdtype(kind, jnp.floating):
                    value = line.value(part.astype(kind))
                    jacobian += line.log_jacobian(part.astype(kind), value).astype(dtype)
                else:
                    value = jnp.reshape(jnp.round(part).astype(kind), line.shape)
                new.append(value)
                start += line.size
            return new, jacobian

        def score(new: Sequence[jax.Array]) -> jax.Array:
            full = list(values)
            for place, value in zip(self.places, new, strict=True):
                full[place] = value
            return run(jax.random.key(0), *inputs, *full)[0][self.own]

        def density(free: jax.Array) -> jax.Array:
            new, jacobian = placed(free)
            return score(new) + jacobian

        def move(carry: Any, xs: Any) -> tuple[Any, Any]:
            free, level = carry
            c, down, at, shared, u, width, integer = xs

            def line(place: jax.Array) -> jax.Array:
                return density(free.at[c].set(place))

            here, bar = free[c], level - down
            interval, grown = stepped_out(line, here, bar, width, at, shared, self.steps, integer)
            found = shrunk(line, here, level, bar, interval, u, integer)
            numbers = grown + 2 + found.tries, found.exhausted.astype(jnp.int32), found.broken
            return (free.at[c].set(found.place), found.log_density), numbers

        olds = [values[place] for place in self.places]
        free = jnp.concatenate([_coordinates(line, v).astype(dtype) for line, v in zip(self.lines, olds, strict=True)])
        xs = (np.arange(len(whole), dtype=np.int32), height, offset, share, uniforms, widths, whole)
        (free, _), numbers = jax.lax.scan(move, (free, density(free)), xs)
        new, _ = placed(free)
        return (*new, *(jnp.sum(x, dtype=jnp.int32) for x in numbers))


def _coordinates(line: Map, value: jax.Array) -> jax.Array:
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    return line.coordinates(value if floating else value.astype(jnp.result_type(float)))
