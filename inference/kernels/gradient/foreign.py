"""Foreign: a step of another library as a kernel, in coordinates without bounds.

Law: where the step keeps the density that it is given, the kernel keeps the posterior. What the step draws is not made
of sites: the kernel gives it a key that is one, so it is checked by statistics, never by enumeration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.backends.xla import emit
from lawful.distributions.random_words import SeedLaw, key_of_seed
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import choices_of
from lawful.form.liveness import without_dead_code
from lawful.passes.unconstrain import Coordinates, coordinates_of

from ...contract import Contract
from ...representations.kernel_form import KernelForm, scored
from ..base.base import opened

type Position = Mapping[str, jax.Array]
type Step = Callable[[jax.Array, Position], Position]
REFUSAL = (
    "a step of another library draws its own random numbers, so it cannot be enumerated. Fix: check it with "
    "level='statistical'."
)


@dataclass(frozen=True)
class Foreign:
    """The kernel of a step that another library takes."""

    make: Callable[[Callable[[Position], jax.Array]], Step]
    contract: Contract

    def build(self, program: Form) -> KernelForm:
        """Write the way into coordinates, the step there, and the way back."""
        choices, block, inputs, state = opened(program)
        found = coordinates_of(program)
        seed = block.site(("foreign", self.name), SeedLaw(f"seed of {self.name}", REFUSAL), ())
        here = block.splice(found.free, [*inputs, *state.values])
        there = block.det(_Move(self.make, found, len(inputs)), seed, *inputs, *here, label=f"step of {self.name}")
        values = block.splice(found.values, [*inputs, *there])[1:]
        log_density, flags = scored(block, program, inputs, values)
        form = block.form((*inputs, *state.flat), (*values, *flags, log_density))
        return KernelForm(without_dead_code(form), choices, ())

    @property
    def name(self) -> str:
        """Name of what makes the step."""
        return _name(self.make)

    def plan(self, program: Form) -> list[str]:
        """Say what moves the sites."""
        return [f"{choice.name}: by the step of {self.name}" for choice in choices_of(program)]

    def __repr__(self) -> str:
        """Show where the step comes from."""
        return f"foreign({self.name})"


def _name(make: Any) -> str:
    return str(getattr(make, "__name__", type(make).__name__))


@dataclass(frozen=True)
class _Move:
    """Takes the step; operands are the words of its key, the program's inputs, the coordinates."""

    make: Callable[[Callable[[Position], jax.Array]], Step]
    found: Coordinates
    inputs: int

    @property
    def name(self) -> str:
        return _name(self.make)

    def __call__(self, seed: jax.Array, *operands: jax.Array) -> tuple[jax.Array, ...]:
        inputs, free = operands[: self.inputs], operands[self.inputs :]
        names, run = [c.name for c in self.found.choices], emit(self.found.values)

        def log_density(position: Position) -> jax.Array:
            return run(jax.random.key(0), *inputs, *(position[name] for name in names))[0][0]

        step = self.make(log_density)
        moved = step(key_of_seed(seed), dict(zip(names, free, strict=True)))
        if not isinstance(moved, Mapping) or set(moved) != set(names):
            got = ", ".join(map(str, moved)) if isinstance(moved, Mapping) else type(moved).__name__
            raise LawfulError(
                f"foreign: expected the step of {self.name} to return a position with {', '.join(names)}, got {got}. "
                "Fix: return a mapping from every name of the position that it was given."
            )
        new = [jnp.asarray(moved[name]) for name in names]
        for name, before, after in zip(names, free, new, strict=True):
            if after.shape != before.shape:
                raise LawfulError(
                    f"foreign: the step of {self.name} gave '{name}' the shape {after.shape}, expected {before.shape}, "
                    "that of its coordinates without bounds. Fix: move the coordinates that it was given.",
                    site=name,
                )
        return tuple(after.astype(before.dtype) for before, after in zip(free, new, strict=True))


def foreign(make: Callable[[Callable[[Position], jax.Array]], Step], *, reversible: bool = False) -> Foreign:
    """Use a step of another library, as BlackJAX or NumPyro, as a kernel.

    Args:
        make: takes the log density of positions, and gives the step: `(key, position) -> position`. A position maps the
            names of the sites to coordinates without bounds. The step starts from the position alone, so what it keeps
            besides (gradients, momenta) is made anew, and what it adapts has to be fixed.
        reversible: whether the step claims to be reversible, which lets `check.invariant` test ranks.

    Raises: UnsupportedProgramError for a program with discrete sites, or sites that run in one arm only.

    >>> def walk(log_density):
    ...     def step(key, position):
    ...         key, coin = jax.random.split(key)
    ...         new = {"x": position["x"] + jax.random.normal(key, position["x"].shape)}
    ...         better = log_density(new) - log_density(position) > jnp.log(jax.random.uniform(coin))
    ...         return {"x": jnp.where(better, new["x"], position["x"])}
    ...     return step
    >>> foreign(walk, reversible=True)
    foreign(walk)
    """
    if not callable(make):
        raise LawfulError(
            f"foreign: expected a function from a log density to a step, got {type(make).__name__}. "
            "Fix: write `def make(log_density): return step`, with step(key, position) -> position."
        )
    return Foreign(make, Contract("invariant_kernel", target="the program's posterior", reversible=reversible))
