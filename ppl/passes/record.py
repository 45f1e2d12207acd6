"""Record: a form that also gives its choices.

Law: the recorded form has the measure of the form, on choices and outputs together. The choices of a loop are stacked
along the steps; the choices of a branch carry a flag that tells whether their arm ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from ..addresses import Address
from ..form import Branch, Det, Form, Loop, Site, Var
from ..form.builder import Block
from ..form.choices import Choice, choices_of


@dataclass(frozen=True)
class Recorded:
    """A form whose outputs are the form's own, then the values of `choices`, then one flag for each conditional one."""

    form: Form
    choices: tuple[Choice, ...]
    own: int

    @property
    def values(self) -> tuple[Var, ...]:
        """The outputs that hold the choices."""
        return self.form.outputs[self.own : self.own + len(self.choices)]

    @property
    def flags(self) -> tuple[Var, ...]:
        """The outputs that hold the flags of conditional choices, in order."""
        return self.form.outputs[self.own + len(self.choices) :]


def record(form: Form, kinds: Sequence[str] = ("sample", "deterministic")) -> Recorded:
    """Add the choices of a form to its outputs."""
    block = Block()
    block.constants.extend(form.constants)
    values: dict[Address, Var] = {}
    flags: dict[Address, Var] = {}
    for node in form.nodes:
        if isinstance(node, Loop):
            inner = record(node.body, kinds)
            fresh = [Var((node.length, *v.shape), v.dtype, v.plates) for v in inner.form.outputs[inner.own :]]
            block.nodes.append(replace(node, body=inner.form, ys=(*node.ys, *fresh)))
            _note(inner, fresh, values, flags)
            continue
        if isinstance(node, Branch):
            _record_branch(node, block, kinds, values, flags)
            continue
        block.nodes.append(node)
        if isinstance(node, Site) and node.observed is None and "sample" in kinds:
            values[node.address] = node.out
        elif isinstance(node, Det) and node.address is not None and "deterministic" in kinds:
            values[node.address] = node.outs[0]
    choices = choices_of(form, kinds)
    conditional = [c.address for c in choices if c.conditional]
    outputs = (*form.outputs, *(values[c.address] for c in choices), *(flags[a] for a in conditional))
    recorded = block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
    return Recorded(recorded, choices, len(form.outputs))


def _note(inner: Recorded, fresh: Sequence[Var], values: dict[Address, Var], flags: dict[Address, Var]) -> None:
    for choice, out in zip(inner.choices, fresh, strict=False):
        values[choice.address] = out
    conditional = [c for c in inner.choices if c.conditional]
    for choice, out in zip(conditional, fresh[len(inner.choices) :], strict=True):
        flags[choice.address] = out


def _record_branch(
    node: Branch, block: Block, kinds: Sequence[str], values: dict[Address, Var], flags: dict[Address, Var]
) -> None:
    arms = [record(arm, kinds) for arm in node.forms]
    merged: dict[Address, Choice] = {}
    for arm in arms:
        for choice in arm.choices:
            merged.setdefault(choice.address, choice)
    forms = []
    for arm in arms:
        inside = Block()
        outs = list(inside.splice(arm.form, arm.form.inputs))
        held: dict[Address, Var] = {}
        active: dict[Address, Var] = {}
        _note(arm, outs[arm.own :], held, active)
        extra_values, extra_flags = [], []
        for address, choice in merged.items():
            there = address in held
            value = held.get(address) or inside.constant(np.zeros(choice.full_shape, choice.dtype))
            flag = active.get(address)
            extra_values.append(value)
            extra_flags.append(flag if flag is not None else inside.constant(np.full(choice.loops, there)))
        forms.append(inside.form(arm.form.inputs, (*outs[: arm.own], *extra_values, *extra_flags)))
    fresh_values = [Var(c.full_shape, c.dtype) for c in merged.values()]
    fresh_flags = [Var(c.loops, jnp.dtype(bool)) for c in merged.values()]
    block.nodes.append(replace(node, forms=tuple(forms), outs=(*node.outs, *fresh_values, *fresh_flags)))
    values |= dict(zip(merged, fresh_values, strict=True))
    flags |= dict(zip(merged, fresh_flags, strict=True))
