"""Densities of a program, as algorithms write them into their own Forms: in total, of the prior, under a scope.

Law: at any choices the log density is that of the program; without weights the prior is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from lawful.errors import UnsupportedProgramError
from lawful.form import Factor, Form, Node, Site, Var
from lawful.form.builder import Block
from lawful.form.rewriting import with_subforms
from lawful.passes.predict import without_weights as without_weights
from lawful.passes.thread_sites import score


def scored(block: Block, program: Form, inputs: Sequence[Var], values: Sequence[Var]) -> tuple[Var, tuple[Var, ...]]:
    """Append the log density of a program at given choices; returns it with the flags of the conditional choices."""
    parts = score(program).spliced(block, [*inputs, *values])
    log_density = block.det(jnp.add, *parts.sums, label="log density")
    return log_density, parts.flags


def scoped(form: Form, scope: tuple[str, ...]) -> Form:
    """Put a scope before the addresses of a kernel's own sites, so that it can be applied more than once."""
    nodes: list[Node] = []
    for node in form.nodes:
        if isinstance(node, Site):
            nodes.append(replace(node, address=(*scope, *node.address)))
        else:
            nodes.append(with_subforms(node, lambda inner: scoped(inner, scope)))
    return replace(form, nodes=tuple(nodes))


def unweighed(built: Any, where: str) -> Any:
    """Refuse a kernel that weighs what it moves, where nothing has a weight."""
    if any(isinstance(node, Factor) for node in built.step.nodes):
        raise UnsupportedProgramError(
            f"{where}: an smcp3 move keeps the measure by weights, which only particles have. Fix: use it as "
            "smc(model, move=...); for chains, kernels.mh(program) accepts or rejects instead."
        )
    return built


def exact(built: Any, where: str, *, weighs: bool = False) -> Any:
    """Refuse a kernel whose state is more than that of the program, where others move the choices that it belongs to.

    One that weighs is refused too, unless `weighs` says that weights are kept.
    """
    if built.states is not None:
        what = "a pseudo-marginal kernel keeps an estimate"
        other = "beside others, kernels.refresh(keep='all') or kernels.particle_gibbs"
        if built.begin is not None:
            what, other = "a tempering kernel keeps copies", "other kernels go inside it, where they move each copy"
        raise UnsupportedProgramError(
            f"{where}: {what} with its state, which moves by others would leave behind. Fix: use it alone or in "
            f"`repeat`; {other}."
        )
    return built if weighs else unweighed(built, where)
