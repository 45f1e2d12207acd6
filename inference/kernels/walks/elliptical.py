"""Elliptical slice: sites with a normal prior move on an ellipse through their value and a fresh draw of the prior.

Law: the ellipse carries the prior, so a point of it where the rest of the density is above a random height, found by
shrinkage of the angle, keeps the posterior. All randomness is made of sites: the fresh draw, the height, the angles.

Reference: Murray, Adams and MacKay (2010), Elliptical slice sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.addresses import Address
from lawful.backends.xla import emit
from lawful.distributions.law import law_of, position_of
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.dependence import dependence
from lawful.form.markov_blanket import reached
from lawful.passes.thread_sites import Answer, Answers, Given, interpose

from ...contract import Contract
from ...registered import stored_as
from ...representations.kernel_form import KernelForm, State, state_inputs
from ...representations.naming import named_sites
from ..base.base import INVARIANT, finished, scored_anew
from ..base.redraw import PREFIX
from .shrinkage import shrunk
from .slice import INFO

NORMAL = ("Normal", "MultivariateNormal")


@stored_as("kernels.elliptical_slice")
@dataclass(frozen=True)
class EllipticalSlice:
    """Moves on ellipses; see `elliptical_slice`."""

    sites: tuple[Any, ...] | None = None
    tries: int = 64
    contract: Contract = INVARIANT

    def build(self, program: Form) -> KernelForm:
        """Write the draws, and the search for an angle."""
        choices = choices_of(program)
        moved = self._moved(program, choices)
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        fresh = interpose(program, _Fresh(frozenset(moved))).spliced(block, [*inputs, *state.values])
        places = tuple(i for i, c in enumerate(choices) if c.address in moved)
        draws, centres = ([fresh.outputs[i][k] for i in places] for k in range(2))
        reach = reached(program, moved)
        likelihood = interpose(program, Given(), reach.terms - frozenset(moved), apart=False)
        dtype = jnp.result_type(float)
        height = _site(block, "height", dist.Exponential(jnp.ones((), dtype)))
        angles = _site(block, "angles", dist.Uniform(jnp.zeros(self.tries + 1, dtype), 1.0))
        search = _Search(likelihood.form, likelihood.own, places, len(inputs))
        *new, evaluations, exhausted, broken = block.det(
            search, height, angles, *draws, *centres, *inputs, *state.values, label="angle"
        )
        values = list(state.values)
        for place, value in zip(places, new, strict=True):
            values[place] = value
        there = State(tuple(values), state.flags, state.log_density)
        form = block.form((*inputs, *state.flat), (*there.flat, evaluations, exhausted, broken))
        return KernelForm(finished(form), choices, INFO, leave=scored_anew(program))

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        choices = choices_of(program)
        moved = self._moved(program, choices)
        return [f"{c.name}: {'on an ellipse of its normal prior' if c.address in moved else 'not moved'}"
                for c in choices]  # fmt: skip

    def _moved(self, program: Form, choices: Sequence[Choice]) -> set[Address]:
        """Find the sites, and refuse those whose prior is not normal or changes with them."""
        known = {c.address: c for c in choices}
        wanted = {c.address for c in choices if _refusal(c) is None}
        if self.sites is not None:
            wanted = set(named_sites(choices, self.sites, "elliptical_slice"))
        if not wanted:
            names = ", ".join(c.name for c in choices)
            raise LawfulError(
                f"elliptical_slice: no site has a normal prior; the program has: {names}. Fix: move them by another "
                "kernel, as slice()."
            )
        edges = [(a, b) for a, b in dependence(program).edges if a in wanted and b in wanted]
        for address in wanted:
            why = _refusal(known[address])
            if why is None and any(address == b for _, b in edges):
                why = "has a prior that depends on another site that moves"
            if why is not None:
                raise UnsupportedProgramError(
                    f"elliptical_slice: site '{known[address].name}' ({known[address].source}) {why}. Fix: name the "
                    "sites to move, elliptical_slice(['x']), one kernel for each where one depends on the other.",
                    site=address,
                )
        return wanted

    def __repr__(self) -> str:
        """Show the sites."""
        return f"elliptical_slice({'' if self.sites is None else list(self.sites)})"


def elliptical_slice(sites: Sequence[Any] | None = None, *, tries: int = 64) -> EllipticalSlice:
    """Move sites with a normal prior on an ellipse: no tuning, and all of them together.

    Mean and covariance are those of the program, whatever they are computed from.

    Args:
        sites: names of the sites, with priors Normal or MultivariateNormal; default: all that have one.
        tries: largest number of angles tried; where none is in the slice nothing moves.

    Raises: when the kernel is built, UnsupportedProgramError for a site with another prior, in a loop or a branch, or
        whose prior depends on another site that moves.

    Reference: Murray, Adams and MacKay (2010), Elliptical slice sampling.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     x = lawful.sample("x", dist.Normal(jnp.zeros(3), 1.0).to_event(1))
    ...     lawful.sample("y", dist.Poisson(jnp.exp(x)), obs=y)
    >>> elliptical_slice().plan(lawful.trace(model, jnp.zeros(3)))
    ['x: on an ellipse of its normal prior']
    """
    return EllipticalSlice(None if sites is None else tuple(sites), int(tries))


def _refusal(choice: Choice) -> str | None:
    """Say why a site has no ellipse; None where it has one."""
    law = choice.law
    if choice.conditional or choice.loops:
        return "only runs in a branch" if choice.conditional else "stands in a loop"
    if law.numbered is None or law.label not in NORMAL:
        return f"has the prior {law.label}, which is not normal"
    return None


def _site(block: Block, name: str, distribution: Any) -> Var:
    law, parameters = law_of(distribution)
    return block.site((PREFIX, "ellipse", name), law, [block.constant(p) for p in parameters])


@dataclass(frozen=True)
class _Fresh(Answers):
    """The rule that keeps all values, and gives of each moved site a draw of its prior and its mean."""

    moved: frozenset[Address]

    def inputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, place.dtype)]

    def outputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, place.dtype), Var(place.shape, place.dtype)]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        if site.address not in self.moved:
            return Answer(given[0], outputs=(given[0], given[0]))
        draw = block.site((PREFIX, "ellipse", "draw", *site.address), site.law, site.parameters)
        place = position_of(site.law, "loc")
        assert place is not None
        centre = block.det(_Spread(site.out.shape, site.out.dtype), site.parameters[place], label="mean")
        return Answer(given[0], outputs=(draw, centre))

    def absent(self, block: Block, place: Choice, given: Sequence[Var]) -> list[Var]:
        return [given[0], given[0]]


@dataclass(frozen=True)
class _Spread:
    shape: tuple[int, ...]
    dtype: Any

    def __call__(self, mean: jax.Array) -> jax.Array:
        return jnp.broadcast_to(mean, self.shape).astype(self.dtype)


@dataclass(frozen=True)
class _Search:
    """The search for an angle; operands: height, uniforms, draws, means, the program's inputs, all choices."""

    form: Form
    own: int
    places: tuple[int, ...]
    inputs: int

    def __call__(self, height: jax.Array, uniforms: jax.Array, *operands: jax.Array) -> tuple[jax.Array, ...]:
        n, dtype = len(self.places), jnp.result_type(float)
        draws, centres, rest = operands[:n], operands[n : 2 * n], operands[2 * n :]
        inputs, values = rest[: self.inputs], rest[self.inputs :]
        run = emit(self.form)

        def placed(angle: jax.Array) -> list[jax.Array]:
            new = []
            for place, draw, centre in zip(self.places, draws, centres, strict=True):
                a = angle.astype(draw.dtype)
                new.append(centre + (values[place] - centre) * jnp.cos(a) + (draw - centre) * jnp.sin(a))
            return new

        def likelihood(angle: jax.Array) -> jax.Array:
            full = list(values)
            for place, value in zip(self.places, placed(angle), strict=True):
                full[place] = value
            return run(jax.random.key(0), *inputs, *full)[0][self.own].astype(dtype)

        here = jnp.zeros((), dtype)
        level = likelihood(here)
        first = 2 * np.pi * uniforms[0]
        # The first try is the end of the bracket itself; as a share of it that is one.
        shares = jnp.concatenate([jnp.ones((1,), dtype), uniforms[1:]])
        found = shrunk(likelihood, here, level, level - height, (first - 2 * np.pi, first), shares)
        new = [jnp.where(found.exhausted, values[p], v) for p, v in zip(self.places, placed(found.place), strict=True)]
        return (*new, found.tries + 1, found.exhausted.astype(jnp.int32), found.broken)
