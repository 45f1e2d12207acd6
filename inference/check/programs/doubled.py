"""Doubled: a form that does everything twice, and adds to its factors what it takes away again.

Law: it has the measure of the form. It is what rewriting is checked on: [[simplified(doubled(p))]] = [[p]].
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from lawful.form import Det, Factor, Form, Site, Var
from lawful.form.builder import Block
from lawful.form.rewriting import with_operands, with_results, with_subforms
from lawful.passes.simplify import simplified

from ...contract import PRESERVES, Transformer
from ...representations.population import Population


def doubled(form: Form) -> Form:
    """Write each operation twice, the results read in turn, and weigh by f + log p - log p in place of f.

    >>> import lawful
    >>> form = lawful.trace(lambda x: jnp.exp(jnp.sin(x)), 0.5)
    >>> [node.label for node in doubled(form).nodes], [node.label for node in simplified(doubled(form)).nodes]
    (['sin', 'sin', 'exp', 'exp'], ['sin', 'exp'])
    """
    block = Block()
    block.constants.extend(form.constants)
    copies: dict[Var, list[Var]] = {}

    def read(value: Var) -> Var:
        held = copies.get(value, [value])
        held.append(held.pop(0))
        return held[-1]

    drawn: list[Site] = []
    for node in form.nodes:
        node = with_subforms(node, doubled)
        if isinstance(node, Det) and node.address is None:
            for outs in (node.outs, tuple(v.like() for v in node.outs)):
                again = with_results(with_operands(node, tuple(map(read, node.ins))), tuple(outs))
                block.nodes.append(again)
                for value, copy in zip(node.outs, outs, strict=True):
                    copies.setdefault(value, []).append(copy)
            continue
        node = with_operands(node, tuple(map(read, node.ins)))
        if isinstance(node, Factor):
            node = replace(node, term=_padded(block, node.term, drawn))
        elif isinstance(node, Site) and node.observed is None:
            drawn.append(node)
        block.nodes.append(node)
    return block.form(form.inputs, tuple(map(read, form.outputs)), in_tree=form.in_tree, out_tree=form.out_tree)


def _padded(block: Block, term: Var, sites: list[Site]) -> Var:
    """Add the log density of each choice, and take it away again."""
    for site in sites:
        densities = [block.log_prob(site.law, site.out, site.parameters, label="log p") for _ in range(2)]
        if term.dtype == densities[0].dtype and not term.shape:
            term = block.det(jnp.add, term, densities[0], label="plus")
            term = block.det(jnp.subtract, term, densities[1], label="minus")
    return term


def _simplified(view: Any) -> Any:
    """Rewrite a form, or what a finished population has written."""
    if isinstance(view, Form):
        return simplified(view)
    assert isinstance(view, Population) and view.pending is None
    block = Block()
    form = simplified(view.block.form(view.inputs, (*view.values, view.log_weight)))
    block.nodes.extend(form.nodes)
    block.constants.extend(form.constants)
    *values, log_weight = form.outputs
    return replace(view, block=block, values=tuple(values), log_weight=log_weight, weight=None, ess=None)


Simplify = Transformer("simplify", _simplified, PRESERVES)
Double = Transformer("double", doubled, PRESERVES)
