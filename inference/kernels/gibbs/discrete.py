"""Discrete: what kernels share that draw finite sites anew as states of the factor graph of a program.

Law: the states of the graph's variables follow from the values of the sites and back, and all other sites are held. A
potential that is no number counts as zero, and how many there were is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import show_address
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of, finite_sites

from ...graphs.reading.discrete_part import DiscretePart, discrete_part
from ...graphs.reading.linear_counts import LARGE
from ...laws.invalid_weights import cleaned
from ...representations.kernel_form import KernelForm, State, scored, state_inputs
from ...representations.naming import named_sites
from ..base.base import finished

INFO = ("n_changed", "n_nonfinite")


def part_of(
    program: Form, given: tuple[Any, ...] | None, max_table: int, kernel: str, count_from: int = LARGE
) -> DiscretePart:
    """Read the graph of some finite sites, or of all, for a kernel of this name.

    Raises: LawfulError for a name that is no finite site; UnsupportedProgramError where the sites decide whether
        another site runs that is held; errors of `graphs.to_factor_graph`.
    """
    choices = choices_of(program)
    finite = [c.address for c in finite_sites(program) if c.law.element_values is not None]
    sites = finite if given is None else named_sites(choices, given, kernel)
    if set(sites) - set(finite) or not sites:
        wrong = ", ".join(show_address(a) for a in sites if a not in finite) or "no site"
        raise LawfulError(
            f"{kernel}: {wrong}: expected sites of finitely many values; these are: "
            f"{', '.join(map(show_address, finite)) or 'none'}. Fix: name some of them, and move the others by "
            "another kernel."
        )
    part = discrete_part(program, sites, max_table, count_from)
    switched = [c for c in part.held if c.address in part.reach.switched]
    if switched:
        raise UnsupportedProgramError(
            f"{kernel}: the values of {', '.join(c.name for c in part.choices)} decide whether "
            f"'{switched[0].name}' ({switched[0].source}) runs, which is held. Fix: draw it, too, where it is "
            "finite; else move what decides by kernels.mh().",
            site=switched[0].address,
        )
    return part


def redrawn(program: Form, part: DiscretePart, draw: Callable[[Block, Var, list[Var]], Var]) -> KernelForm:
    """Write a kernel that draws states of the graph anew.

    Args:
        program: the program.
        part: the graph of the sites.
        draw: appends the draw: a block, the states of all variables (n,), and the leaves of the graph's potentials, to
            new states.
    """
    choices = choices_of(program)
    block, inputs, start = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
    value = dict(zip((c.address for c in choices), start.values, strict=True))
    flag = dict(zip((c.address for c in choices if c.conditional), start.flags, strict=True))
    found = block.det(part.potentials, *inputs, *(value[c.address] for c in part.held), label="potentials")
    *leaves, lost = block.det(_with_numbers, *found, label="what is no number is zero")
    running = [flag[c.address] for c in part.choices if c.conditional]
    now = block.det(part.states, *(value[c.address] for c in part.choices), *running, label="states")
    states = draw(block, now, leaves)
    value |= zip((c.address for c in part.choices), block.det(part.values, states, label="values"), strict=True)
    values = tuple(value[c.address] for c in choices)
    log_density, flags = scored(block, program, inputs, values)
    sites = np.setdiff1d(np.arange(part.structure.size), part.determined)
    changed = block.det(_Changed(sites.astype(np.int32)), now, states, label=INFO[0])
    after = State(values, flags, log_density)
    return KernelForm(finished(block.form((*inputs, *start.flat), (*after.flat, changed, lost))), choices, INFO)


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
