"""Bag Gibbs: finite sites whose counts are known, many at a time, so that each count stays or follows from its bag.

Law: pi K = pi, since each of its draws is one from the exact conditional of some variables given all others, chosen
without a look at their values. First those of which no two share a factor are drawn at once, then two of each bag,
then, where bags overlap or their counts are read elsewhere, any two of one bag: see `graphs.moves.redraws`.

Reference: Kawasaki (1966), Diffusion constants near the critical point for time-dependent Ising models, for exchanges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of

from ...contract import Contract
from ...graphs.model.structure import Structure
from ...graphs.moves import redraws
from ...graphs.moves.cells import layout_of
from ...graphs.moves.member_law import MemberLaw
from ...graphs.reading.discrete_part import DiscretePart
from ...graphs.reading.lifted import TABLE
from ...laws.picks import RowPicksLaw, UniformIndexLaw
from ...registered import stored_as
from ...representations.kernel_form import KernelForm
from ..base.redraw import PREFIX
from .discrete import part_of, redrawn


@stored_as("kernels.bag_gibbs")
@dataclass(frozen=True)
class BagGibbs:
    """Exact draws of variables in bags; see `bag_gibbs`."""

    sites: tuple[Any, ...] | None
    max_table: int
    contract: Contract = Contract("invariant_kernel", target="the program's posterior", parametric=True)

    def build(self, program: Form) -> KernelForm:
        """Write the draws one after the other."""
        part = self._part(program)
        return redrawn(program, part, partial(_drawn, part))

    def plan(self, program: Form) -> list[str]:
        """Say which sites are drawn, in how many bags."""
        part = self._part(program)
        number = len(layout_of(part.structure).bags.totals)
        how = f"drawn in bags, {number} of them counted"
        moved = {c.address for c in part.choices}
        return [f"{c.name}: {how if c.address in moved else 'not moved'}" for c in choices_of(program)]

    def _part(self, program: Form) -> DiscretePart:
        part = part_of(program, self.sites, self.max_table, "bag_gibbs", count_from=1)
        loops = np.setdiff1d(part.determined, layout_of(part.structure).bags.totals)
        if len(loops):
            raise UnsupportedProgramError(
                f"bag_gibbs: {part.structure.name_of(int(loops[0]))} is determined by the sites, as the state of a "
                "loop, so that none of them moves alone. Fix: use kernels.block_gibbs()."
            )
        return part

    def __repr__(self) -> str:
        """Show the sites."""
        return f"bag_gibbs({'' if self.sites is None else f'sites={list(self.sites)}'})"


def bag_gibbs(sites: str | Sequence[Any] | None = None, *, max_table: int = TABLE) -> BagGibbs:
    """Gibbs sampling of finite variables in bags whose counts are known, many at a time.

    What `block_gibbs` draws at once is a set without a cycle; where the members of a bag depend on each other, as
    neighbours that tend to be alike, such a set may hold one member of each bag, whose count then lets nothing move.
    Here two members of a bag are drawn together, and besides all those that no factor joins. Where no variable is in
    two bags every assignment with the counts is reached; where bags overlap it may not be.

    Args:
        sites: names of the finite sites to draw; default: all. Other sites stay; move them by another kernel.
        max_table: largest number of entries of a factor's table.

    Raises: when the kernel is built, LawfulError for a name that is no finite site; UnsupportedProgramError where the
        sites decide whether another site runs that is held, or the state of a loop; errors of `graphs.to_factor_graph`.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference.graphs import count
    >>> def alike():
    ...     with lawful.plate("i", 4):
    ...         z = lawful.sample("z", dist.Bernoulli(0.5))
    ...     count("two", z, obs=jnp.array(2))
    ...     lawful.factor("pull", jnp.sum(jnp.where(z == jnp.roll(z, 1), 1.0, 0.0)))
    >>> bag_gibbs().plan(lawful.trace(alike))
    ['z: drawn in bags, 1 of them counted']
    """
    return BagGibbs(None if sites is None else (sites,) if isinstance(sites, str) else tuple(sites), max_table)


def _drawn(part: DiscretePart, block: Block, states: Var, leaves: list[Var]) -> Var:
    """Append the draws of all kinds."""
    structure, layout = part.structure, layout_of(part.structure)

    def site(name: str, law: Any, *parameters: Any) -> Var:
        return block.site((PREFIX, "bag_gibbs", name), law, parameters)

    def index(name: str, size: int) -> Var:
        return site(name, UniformIndexLaw(size), block.constant(np.asarray(size, np.int32)))

    def rows(name: str, log_weights: Var) -> Var:
        return site(name, RowPicksLaw(*log_weights.shape), log_weights)

    states = block.det(layout.settled, states, label="counted")
    which = index("labels", len(redraws.labels_of(structure)))
    given = block.det(
        _Apart(structure, part.tree), states, index("turn", structure.size), which, *leaves, label="apart"
    )
    chosen, tables = given[0], given[1:]
    ones = [
        site(f"members {k}", MemberLaw(*odds.shape), odds, weights)
        for k, (odds, weights) in enumerate(zip(tables[::2], tables[1::2], strict=True))
    ]
    states = block.det(_Placed(structure), states, which, chosen, *ones, label="drawn")
    if any(cells.rows.shape[1] > 1 for cells in layout.cells):
        picks = [
            rows(f"place {k} {member}", block.constant(weights))
            for k, pair in enumerate(redraws.picking(structure))
            for member, weights in enumerate(pair)
        ]
        turn = index("turn of cells", layout.number)
        found = block.det(
            _Together(structure, part.tree, len(picks)), states, turn, which, *picks, *leaves, label="pairs"
        )
        drawn = [rows(f"pairs {k}", weights) for k, weights in enumerate(found[2::3])]
        states = block.det(_Exchanged(structure), states, which, *found, *drawn, label="drawn")
    if len(crossing := redraws.crossing(structure)):
        size = redraws.largest_crossing(structure)
        bag, u, v = index("bag", len(crossing)), index("first", size), index("second", size)
        every, scores = block.det(_Across(structure, part.tree), states, bag, u, v, *leaves, label="two of a bag")
        states = block.det(_picked, every, rows("across", scores), label="drawn")
    return states


@dataclass(frozen=True)
class _OfGraph:
    """A function of states and of the leaves of a graph's potentials."""

    structure: Structure
    tree: Any

    def labels(self, which: Any) -> Any:
        """The two labels of a pair of labels."""
        return jnp.asarray(redraws.labels_of(self.structure))[which]

    def potentials(self, leaves: Any) -> Any:
        """The numbers of the graph."""
        return jax.tree.unflatten(self.tree, leaves)


class _Apart(_OfGraph):
    def __call__(self, x: jax.Array, turn: jax.Array, which: jax.Array, *leaves: jax.Array) -> tuple[jax.Array, ...]:
        found = redraws.apart(self.structure, self.potentials(leaves), x, turn, *self.labels(which))
        return (found.chosen, *(a for pair in zip(found.odds, found.weights, strict=True) for a in pair))


@dataclass(frozen=True)
class _Placed:
    structure: Structure

    def __call__(self, x: jax.Array, which: jax.Array, chosen: jax.Array, *ones: jax.Array) -> jax.Array:
        labels = jnp.asarray(redraws.labels_of(self.structure))[which]
        return redraws.placed(self.structure, redraws.Block(chosen, (), ()), x, ones, *labels)


@dataclass(frozen=True)
class _Together(_OfGraph):
    picks: int

    def __call__(self, x: jax.Array, turn: jax.Array, which: jax.Array, *given: jax.Array) -> tuple[jax.Array, ...]:
        picks, leaves = given[: self.picks], given[self.picks :]
        pairs = list(zip(picks[::2], picks[1::2], strict=True))
        found = redraws.together(self.structure, self.potentials(leaves), x, pairs, turn, *self.labels(which))
        return tuple(a for pair in found for a in pair)


@dataclass(frozen=True)
class _Exchanged:
    structure: Structure

    def __call__(self, x: jax.Array, which: jax.Array, *given: jax.Array) -> jax.Array:
        number = len(layout_of(self.structure).cells)
        pairs = tuple(redraws.Couples(*given[3 * k : 3 * k + 3]) for k in range(number))
        labels = jnp.asarray(redraws.labels_of(self.structure))[which]
        return redraws.exchanged(self.structure, pairs, x, given[3 * number :], *labels)


class _Across(_OfGraph):
    def __call__(self, x: jax.Array, bag: jax.Array, u: jax.Array, v: jax.Array, *leaves: jax.Array) -> Any:
        found = redraws.across(self.structure, self.potentials(leaves), x, bag, jnp.stack([u, v]))
        return found.states, found.scores[None]


def _picked(states: jax.Array, which: jax.Array) -> jax.Array:
    return states[which[0]]
