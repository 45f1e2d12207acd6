"""Block Gibbs: draw sets of finite variables at once, each set from its exact conditional given all others.

Law: pi K = pi, since each draw keeps pi, and the sets are scanned in a fixed order. A set is one of variables, the
elements of sites: what lies outside is held at its values, so that the conditional is the full one. A set of factors,
as a spanning tree, would be another distribution.

Reference: Jensen, Kjaerulff and Kong (1995), Blocking Gibbs sampling in very large probabilistic expert systems; Hamze
and de Freitas (2004), From fields to trees, for sets without a cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of

from ...contract import Contract
from ...graphs.blocks import chosen_blocks, plan_of_block, refuse_wide_blocks
from ...graphs.model.potentials import Potentials
from ...graphs.model.restriction import Restriction
from ...graphs.planning import BUDGET
from ...graphs.reading.discrete_part import DiscretePart
from ...graphs.reading.lifted import TABLE
from ...registered import stored_as
from ...representations.kernel_form import KernelForm
from ..base.redraw import PREFIX
from .discrete import part_of, redrawn


@stored_as("kernels.block_gibbs")
@dataclass(frozen=True)
class BlockGibbs:
    """Exact draws of sets of variables; see `block_gibbs`."""

    sites: tuple[Any, ...] | None
    blocks: Any
    width_budget: int
    max_table: int
    contract: Contract = Contract("invariant_kernel", target="the program's posterior", parametric=True)

    def build(self, program: Form) -> KernelForm:
        """Write the draw of one block after the other."""
        part, blocks = self._planned(program)

        def draw(block: Block, states: Var, leaves: list[Var]) -> Var:
            for number, variables in enumerate(blocks):
                restriction = Restriction(part.structure, variables)
                restricted = Restricted(restriction, part.tree)
                inner = block.det(restricted, states, *leaves, label="given the others")
                law = part.law(self.width_budget, restriction.structure, restricted.tree)
                drawn = block.site((PREFIX, "block_gibbs", str(number)), law, inner)
                states = block.det(_Placed(restriction.variables.astype(np.int32)), states, drawn, label="drawn")
            return states

        return redrawn(program, part, draw)

    def plan(self, program: Form) -> list[str]:
        """Say which sites are drawn, in how many blocks."""
        part, blocks = self._planned(program)
        widest = max((plan_of_block(part.structure, b, self.width_budget).largest for b in blocks), default=1)
        number = f"{len(blocks)} block{'s' * (len(blocks) != 1)}"
        how = f"drawn exactly in {number} of variables, the largest table {widest}"
        moved = {c.address for c in part.choices}
        return [f"{c.name}: {how if c.address in moved else 'not moved'}" for c in choices_of(program)]

    def _planned(self, program: Form) -> tuple[DiscretePart, list[np.ndarray]]:
        part = part_of(program, self.sites, self.max_table, "block_gibbs")
        blocks = self._blocks(part)
        refuse_wide_blocks(part.structure, blocks, self.width_budget)
        return part, blocks

    def _blocks(self, part: DiscretePart) -> list[np.ndarray]:
        if self.blocks == "auto":
            return chosen_blocks(part.structure, part.determined, self.width_budget)
        return [np.union1d(part.determined, _numbers(part, given)) for given in self.blocks]

    def __repr__(self) -> str:
        """Show the sites."""
        sites = "" if self.sites is None else f"sites={list(self.sites)}"
        return f"block_gibbs({sites})"


def block_gibbs(
    sites: str | Sequence[Any] | None = None,
    blocks: Any = "auto",
    *,
    width_budget: int = BUDGET,
    max_table: int = TABLE,
) -> BlockGibbs:
    """Gibbs sampling of finite variables in blocks: each block is drawn at once, exactly, given all others.

    Where variables depend on each other strongly, a block of them moves as far as single parts (`gibbs`) do in many
    steps. A block costs an elimination of its variables, whose tables must fit the budget.

    Args:
        sites: names of the finite sites to draw; default: all. Other sites stay; move them by another kernel, as in
            `cycle(block_gibbs(), on("mu", nuts()))`.
        blocks: "auto" draws all variables at once where the tables fit the budget, and else takes sets without a cycle
            that cover all. Or the blocks: each a name, a list of names, or a mapping from names to indices or to masks
            of the elements; what no block holds stays.
        width_budget: largest number of entries of a table of an elimination.
        max_table: largest number of entries of a factor's table.

    Raises: when the kernel is built, LawfulError for a name that is no finite site; WidthError for a block over budget;
        UnsupportedProgramError where the sites decide whether another site runs that is held; errors of
        `graphs.to_factor_graph`.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def ring():
    ...     with lawful.plate("i", 4):
    ...         z = lawful.sample("z", dist.Bernoulli(0.5))
    ...     lawful.factor("pull", jnp.sum(jnp.where(z == jnp.roll(z, 1), 2.0, 0.0)))
    >>> block_gibbs().plan(lawful.trace(ring))
    ['z: drawn exactly in 1 block of variables, the largest table 8']
    >>> block_gibbs(width_budget=4).plan(lawful.trace(ring))
    ['z: drawn exactly in 2 blocks of variables, the largest table 4']
    """
    named = None if sites is None else (sites,) if isinstance(sites, str) else tuple(sites)
    if isinstance(blocks, str) and blocks != "auto":
        raise LawfulError(f"block_gibbs: blocks: expected 'auto' or a list of blocks, got {blocks!r}.")
    return BlockGibbs(named, blocks if isinstance(blocks, str) else tuple(blocks), width_budget, max_table)


def _numbers(part: DiscretePart, given: Any) -> np.ndarray:
    """Give the numbers of the variables of a block."""
    whole: Mapping[str, Any] = given if isinstance(given, Mapping) else dict.fromkeys(_names(given), ...)
    found = [np.zeros(0, np.int64)]
    for name, index in whole.items():
        family = part.structure.family(name)
        if family is None or name.startswith("~"):
            known = ", ".join(c.name for c in part.choices)
            raise LawfulError(f"block_gibbs: blocks: no site '{name}' is drawn; these are: {known}.", site=name)
        numbers = family.offset + np.arange(family.size).reshape(family.shape)
        found.append(np.atleast_1d(numbers[index if index is ... else np.asarray(index)]).reshape(-1))
    return np.concatenate(found)


def _names(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


@dataclass(frozen=True)
class Restricted:
    """The leaves of the potentials of a restricted graph, from all states and the leaves of the whole graph."""

    restriction: Restriction
    source: Any

    @property
    def tree(self) -> Any:
        """That of the restricted potentials."""
        inner = self.restriction.structure
        return jax.tree.structure(Potentials((0,) * len(inner.families), (0,) * len(inner.groups)))

    def __call__(self, states: jax.Array, *leaves: jax.Array) -> tuple[jax.Array, ...]:
        """Restrict."""
        return tuple(jax.tree.leaves(self.restriction.potentials(jax.tree.unflatten(self.source, leaves), states)))


@dataclass(frozen=True, eq=False)
class _Placed:
    variables: np.ndarray

    def __call__(self, states: jax.Array, drawn: jax.Array) -> jax.Array:
        return states.at[self.variables].set(drawn)
