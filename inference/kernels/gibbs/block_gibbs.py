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
import jax.numpy as jnp
import numpy as np

from lawful.addresses import show_address
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.builder import Block
from lawful.form.choices import choices_of, finite_sites

from ...contract import Contract
from ...graphs.blocks import chosen_blocks, plan_of_block, refuse_wide_blocks
from ...graphs.model.potentials import Potentials
from ...graphs.model.restriction import Restriction
from ...graphs.planning import BUDGET
from ...graphs.reading.discrete_part import DiscretePart, discrete_part
from ...graphs.reading.lifted import TABLE
from ...laws.invalid_weights import cleaned
from ...registered import stored_as
from ...representations.kernel_form import KernelForm, State, scored, state_inputs
from ...representations.naming import named_sites
from ..base.base import finished
from ..base.redraw import PREFIX

INFO = ("n_changed", "n_nonfinite")


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
        choices = choices_of(program)
        part, blocks = self._planned(program)
        block, inputs, start = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        value = dict(zip((c.address for c in choices), start.values, strict=True))
        flag = dict(zip((c.address for c in choices if c.conditional), start.flags, strict=True))
        found = block.det(part.potentials, *inputs, *(value[c.address] for c in part.held), label="potentials")
        *leaves, lost = block.det(_with_numbers, *found, label="what is no number is zero")
        running = [flag[c.address] for c in part.choices if c.conditional]
        now = states = block.det(part.states, *(value[c.address] for c in part.choices), *running, label="states")
        for number, variables in enumerate(blocks):
            restriction = Restriction(part.structure, variables)
            restricted = Restricted(restriction, part.tree)
            inner = block.det(restricted, states, *leaves, label="given the others")
            law = part.law(self.width_budget, restriction.structure, restricted.tree)
            drawn = block.site((PREFIX, "block_gibbs", str(number)), law, inner)
            states = block.det(_Placed(restriction.variables.astype(np.int32)), states, drawn, label="drawn")
        value |= zip((c.address for c in part.choices), block.det(part.values, states, label="values"), strict=True)
        values = tuple(value[c.address] for c in choices)
        log_density, flags = scored(block, program, inputs, values)
        sites = np.setdiff1d(np.arange(part.structure.size), part.determined)
        changed = block.det(_Changed(sites.astype(np.int32)), now, states, label=INFO[0])
        after = State(values, flags, log_density)
        return KernelForm(finished(block.form((*inputs, *start.flat), (*after.flat, changed, lost))), choices, INFO)

    def plan(self, program: Form) -> list[str]:
        """Say which sites are drawn, in how many blocks."""
        part, blocks = self._planned(program)
        widest = max((plan_of_block(part.structure, b, self.width_budget).largest for b in blocks), default=1)
        number = f"{len(blocks)} block{'s' * (len(blocks) != 1)}"
        how = f"drawn exactly in {number} of variables, the largest table {widest}"
        moved = {c.address for c in part.choices}
        return [f"{c.name}: {how if c.address in moved else 'not moved'}" for c in choices_of(program)]

    def _planned(self, program: Form) -> tuple[DiscretePart, list[np.ndarray]]:
        choices = choices_of(program)
        finite = [c.address for c in finite_sites(program) if c.law.element_values is not None]
        sites = finite if self.sites is None else named_sites(choices, self.sites, "block_gibbs")
        if set(sites) - set(finite) or not sites:
            wrong = ", ".join(show_address(a) for a in sites if a not in finite) or "no site"
            raise LawfulError(
                f"block_gibbs: {wrong}: expected sites of finitely many values; these are: "
                f"{', '.join(map(show_address, finite)) or 'none'}. Fix: name some of them, and move the others by "
                "another kernel."
            )
        part = discrete_part(program, sites, self.max_table)
        switched = [c for c in part.held if c.address in part.reach.switched]
        if switched:
            raise UnsupportedProgramError(
                f"block_gibbs: the values of {', '.join(c.name for c in part.choices)} decide whether "
                f"'{switched[0].name}' ({switched[0].source}) runs, which is held. Fix: draw it, too, where it is "
                "finite; else move what decides by kernels.mh().",
                site=switched[0].address,
            )
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

    >>> import numpyro.distributions as dist, lawful
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


def _with_numbers(*leaves: jax.Array) -> tuple[jax.Array, ...]:
    """Read what is NaN or +inf in potentials as zero, and count it."""
    pairs = [cleaned(leaf) for leaf in leaves]
    return (*(leaf for leaf, _ in pairs), sum((lost for _, lost in pairs), jnp.zeros((), jnp.int32)))


@dataclass(frozen=True, eq=False)
class _Changed:
    """How many elements of sites have another state than before."""

    variables: np.ndarray

    def __call__(self, before: jax.Array, after: jax.Array) -> jax.Array:
        return jnp.sum(before[self.variables] != after[self.variables], dtype=jnp.int32)
