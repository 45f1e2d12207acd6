"""Values of summed sites, once they are drawn back: each is read where the plates of its values were picked.

Law: given the picks, the value of a site is that of its world; of a site in several arms, that of the arm
that runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Plate, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice

from .records import Found, Walker
from .tables import Picks, pick


def picked(walk: Walker, block: Block, found: Found, picks: Picks) -> Var:
    """The value of a site at its pick."""
    value = found.values
    for plate in value.plates:
        places = walk.axes_of(value, plate) or ()
        value = pick(block, value, plate, picks[plate], places)
    return value


def picked_choice(walk: Walker, block: Block, choice: Choice, picks: Picks) -> Var:
    """The value of a choice of a node that was written out, its steps stacked."""
    if choice.address in walk.stacked:
        return walk.stacked[choice.address]
    cells = list(np.ndindex(*choice.loops))
    if not cells:
        return block.constant(np.zeros(choice.full_shape, choice.dtype))
    found = {cell: [f for f in walk.sites if f.address == choice.address and f.steps == cell] for cell in cells}
    values = [_of_the_arm_that_runs(walk, block, found[cell], picks) for cell in cells]
    if not choice.loops:
        return values[0]
    shape = choice.full_shape
    return block.det(lambda *xs: jnp.stack(xs).reshape(shape), *values, label="steps")


def unravelled(block: Block, index: Var, plates: Sequence[Plate]) -> dict[Plate, Var]:
    """Split the pick of a state, which stands for some sites at once, into those of the sites."""
    found, stride = {}, math.prod(p.size for p in plates)
    for plate in plates:
        stride //= plate.size
        found[plate] = block.det(_digit(stride, plate.size), index, label="index")
    return found


def _digit(stride: int, size: int) -> Callable[..., Any]:
    return lambda index: (index // stride) % size


def _of_the_arm_that_runs(walk: Walker, block: Block, same: Sequence[Found], picks: Picks) -> Var:
    value = picked(walk, block, same[0], picks)
    for other in same[1:]:
        assert other.guard is not None
        runs = other.guard
        for plate in runs.plates:
            runs = pick(block, runs, plate, picks[plate], ())
        value = block.det(_choose, runs, picked(walk, block, other, picks), value, label="of the arm that runs")
    return value


def _choose(runs: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(runs, new, old)
