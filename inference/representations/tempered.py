"""Tempered: a program on a path of measures from its prior to itself; the last measure is the program's.

Meaning: the measure of the program. A point of the path is (block, power): the observations of the blocks before
`block` are in, those of `block` are raised to `power`, the later ones are out. Law: at (0, 0) the measure is the prior,
at (number of blocks, 0) the program's, and 0 * (-inf) = 0, so an observation that is out never counts. Inside a block
the log density is rest + power * slope, and a particle carries both numbers: no move from one power to the next scores
the program again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice
from lawful.form.liveness import without_dead_code
from lawful.passes.record import record
from lawful.passes.thread_sites import score

from .annealing_paths import Path
from .kernel_form import without_weights
from .tempered_program import Before, Entered, Entering, Entries, powered
from .traced import Traced


@dataclass(frozen=True)
class Tempered:
    """A traced program on a path, with a ladder.

    Attributes:
        view: the program with its choices in view.
        path: how the observations enter.
        ladder: where a population stops on the path.
        entries: for each weighing address, the blocks in which its parts enter.
        blocks: number of blocks.
    """

    view: Traced
    path: Path
    ladder: Any
    entries: Entries
    blocks: int

    @property
    def program(self) -> Form:
        """The program itself."""
        return self.view.program

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the program, which the particles hold."""
        return self.view.recorded.choices

    @property
    def flags(self) -> int:
        """Number of conditional choices."""
        return sum(choice.conditional for choice in self.choices)

    def target(self) -> Form:
        """Write the measure at a point as a program; its inputs are the program's, then block and power."""
        return powered(self.program, self.entries, Entered())

    def parts(self) -> Form:
        """Write the density as a form: inputs are the program's, the block, and the values of the choices.

        Outputs: `rest`, the log density with nothing of the block; `slope`, the log likelihood of the whole block; and
        the flags of the conditional choices.
        """
        block = Block()
        inputs = tuple(v.like() for v in self.program.inputs)
        at = Var((), jnp.dtype("int32"))
        values = tuple(Var(c.full_shape, c.dtype) for c in self.choices)
        if self.blocks == 1:
            parts = score(self.program).spliced(block, (*inputs, *values))
            rest, slope = block.det(split, at, *parts.sums, label="in or entering")
        else:
            power = block.constant(np.zeros((), jnp.result_type(float)))
            before, entering = (score(powered(self.program, self.entries, which)) for which in (Before(), Entering()))
            parts = before.spliced(block, (*inputs, at, power, *values))
            slope = entering.spliced(block, (*inputs, at, power, *values)).sums[1]
            rest = block.det(jnp.add, *parts.sums, label="log density")
        return without_dead_code(block.form((*inputs, at, *values), (rest, slope, *parts.flags)))

    def start(self) -> Form:
        """Write a draw from the prior: values, flags, and the parts of the density in the first block."""
        prior = record(without_weights(self.program), ("sample",))
        block = Block()
        inputs = tuple(v.like() for v in self.program.inputs)
        state = block.splice(prior.form, inputs)[prior.own :]
        first = block.constant(np.zeros((), jnp.int32))
        rest, slope = block.splice(self.parts(), (*inputs, first, *state[: len(self.choices)]))[:2]
        slope = block.det(_where_drawn, rest, slope, label="drawn from a law?")
        return without_dead_code(block.form(inputs, (*state, rest, slope)))

    def returned(self) -> Form:
        """Write what the program returns, from its inputs and the values of its choices."""
        scored = score(self.program)
        block = Block()
        inputs = tuple(v.like() for v in scored.form.inputs)
        return without_dead_code(block.form(inputs, scored.spliced(block, inputs).own))


@dataclass(frozen=True)
class Weighed:
    """The particles of a stage before they are resampled: their state, and log weights for the measure reached."""

    state: tuple[Var, ...]
    log_weight: Var


@dataclass(frozen=True)
class Point:
    """Where a population stands on a path. Its values are the choices, flags of conditional ones, rest and slope.

    Attributes:
        tempered: the program on its path.
        inputs: the program's inputs, as values of the population's block.
        block: how many blocks of observations are in.
        power: the power of the next block.
        weighed: the particles as they were weighed at this point; None at the start.
        memory: what a kernel has learned in the stages before, a number; 0 at the start.
    """

    tempered: Tempered
    inputs: tuple[Var, ...]
    block: Var
    power: Var
    weighed: Weighed | None = None
    memory: Var | None = None


def _where_drawn(rest: jax.Array, slope: jax.Array) -> jax.Array:
    """Weigh NaN what has no density where it was drawn: the parameters of a law are none there."""
    return jnp.where(jnp.isnan(rest), rest, slope)


def split(block: jax.Array, prior: jax.Array, likelihood: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Give rest and slope of a program whose observations are one block.

    >>> [float(x) for x in split(jnp.array(0), jnp.array(-1.0), jnp.array(-jnp.inf))]
    [-1.0, -inf]
    >>> [float(x) for x in split(jnp.array(1), jnp.array(-1.0), jnp.array(-2.0))]
    [-3.0, 0.0]
    """
    inside = block > 0
    return prior + jnp.where(inside, likelihood, 0.0), jnp.where(inside, 0.0, likelihood)


def tempered(view: Traced, path: Path, ladder: Any) -> Tempered:
    """Lay a path through a traced program.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference.transformers.temperatures import by_ess
    >>> from lawful.inference.representations.annealing_paths import prior_to_posterior
    >>> from lawful.inference.representations.traced import traced
    >>> def coin():
    ...     lawful.sample("heads", dist.Bernoulli(lawful.sample("p", dist.Beta(1.0, 1.0))), obs=1)
    >>> tempered(traced(lawful.trace(coin)), prior_to_posterior(), by_ess()).blocks
    1
    """
    entries, blocks = path.entries(view.program)
    return Tempered(view, path, ladder, entries, blocks)
