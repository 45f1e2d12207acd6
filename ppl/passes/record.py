"""Record: a Form that also gives its choices.

Law: the recorded form has the measure of the form, on choices and outputs together. The choices of a loop are stacked
along the steps; the choices of a branch carry a flag that tells whether their arm ran.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..addresses import Address, show_address
from ..errors import UnsupportedProgramError
from ..form import Branch, Det, Factor, Form, Loop, Site, Var
from ..form.builder import Block
from ..messages import PlateFrame, Source


@dataclass(frozen=True)
class Choice:
    """A place in a Form where a value is chosen (or named): its address, type and surroundings."""

    address: Address
    shape: tuple[int, ...]
    dtype: Any
    kind: str
    loops: tuple[int, ...] = ()
    conditional: bool = False
    law: Any = None
    frames: tuple[PlateFrame, ...] = ()
    source: Source = Source("<algorithm>", 0)
    event_dims: tuple[str, ...] = ()
    loop_names: tuple[str | None, ...] = ()

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Loop lengths, then the shape of one value."""
        return (*self.loops, *self.shape)

    @property
    def steps(self) -> list[tuple[str | None, int]]:
        """Name, or None, and length of the loops around it; those of JAX, which are not ours, have no names."""
        ours = len(self.loop_names) == len(self.loops)
        return list(zip(self.loop_names if ours else (None,) * len(self.loops), self.loops, strict=True))

    @property
    def name(self) -> str:
        """Name in results."""
        return show_address(self.address)


def choices_of(form: Form, kinds: Sequence[str] = ("sample",)) -> tuple[Choice, ...]:
    """List the choices of a form in the order of evaluation, those of exclusive arms merged by address.

    Kinds: "sample" for latent sites, "observed" for observed ones, "deterministic" for named values, and "factor".
    """
    return tuple(_choices(form, kinds).values())


def _choices(form: Form, kinds: Sequence[str]) -> dict[Address, Choice]:
    found: dict[Address, Choice] = {}
    for node in form.nodes:
        if isinstance(node, Site) and node.observed is None and "sample" in kinds:
            out = node.out
            found[node.address] = Choice(
                node.address, out.shape, out.dtype, "sample", (), False, node.law, node.frames, node.source,
                node.event_dims, node.loop_names,
            )  # fmt: skip
        elif isinstance(node, Site) and node.observed is not None and "observed" in kinds:
            out = node.out
            found[node.address] = Choice(
                node.address, out.shape, out.dtype, "observed", (), False, node.law, node.frames, node.source,
                node.event_dims, node.loop_names,
            )  # fmt: skip
        elif isinstance(node, Det) and node.address is not None and "deterministic" in kinds:
            out = node.outs[0]
            found[node.address] = Choice(
                node.address, out.shape, out.dtype, "deterministic", frames=node.frames, source=node.source,
                loop_names=node.loop_names,
            )  # fmt: skip
        elif isinstance(node, Factor) and "factor" in kinds:
            term = node.term
            found[node.address] = Choice(node.address, term.shape, term.dtype, "factor", loop_names=node.loop_names)
        elif isinstance(node, Loop):
            for address, inner in _choices(node.body, kinds).items():
                found[address] = replace(inner, loops=(node.length, *inner.loops))
        elif isinstance(node, Branch):
            for arm in node.forms:
                for address, inner in _choices(arm, kinds).items():
                    _agree(found.get(address), inner)
                    found[address] = replace(inner, conditional=True)
    return found


def _agree(first: Choice | None, second: Choice) -> None:
    if first is not None and (first.shape, first.dtype, first.loops) != (second.shape, second.dtype, second.loops):
        raise UnsupportedProgramError(
            f"site '{second.name}' has shape {first.full_shape} and type {first.dtype} in one arm ({first.source}) and "
            f"{second.full_shape}, {second.dtype} in another ({second.source}): give the two different names.",
            site=second.address,
        )


def loop_dims(loops: Mapping[str, Sequence[tuple[str | None, int]]]) -> dict[str, tuple[str, ...]]:
    """Name the axes of the steps of loops: as the loop is called, or time, time1, ... by its depth.

    Where loops without a name differ in length, an axis is called <variable>_time, so that no name has two lengths.

    Args:
        loops: name, or None, and length of the loops around each variable, the outermost first.

    >>> loop_dims({"x": [(None, 3)], "y": [(None, 5)], "z": [("year", 4)]})
    {'x': ('x_time',), 'y': ('y_time',), 'z': ('year',)}
    """
    lengths: dict[int, set[int]] = {}
    for around in loops.values():
        for depth, (name, length) in enumerate(around):
            if name is None:
                lengths.setdefault(depth, set()).add(length)

    def called(variable: str, depth: int, name: str | None) -> str:
        own = "" if len(lengths.get(depth, ())) < 2 else f"{variable}_"
        return name or f"{own}time{depth or ''}"

    return {v: tuple(called(v, depth, name) for depth, (name, _) in enumerate(each)) for v, each in loops.items()}


def dims_of(choices: Sequence[Choice]) -> dict[str, tuple[str, ...]]:
    """Name the axes of each choice: loops (see `loop_dims`), plates and event_dims have names, others numbers."""
    steps = loop_dims({choice.name: choice.steps for choice in choices})
    dims = {}
    for choice in choices:
        own = [f"{choice.name}_dim_{axis}" for axis in range(len(choice.shape))]
        named = choice.kind == "deterministic"
        event = _trailing(choice) if named else len(choice.shape) - len(getattr(choice.law, "units", ()))
        if event is not None:
            for frame in choice.frames:
                own[frame.dim - event] = frame.name
        if choice.event_dims:
            own[len(own) - len(choice.event_dims) :] = choice.event_dims
        dims[choice.name] = (*steps[choice.name], *own)
    return dims


def _trailing(value: Choice) -> int | None:
    """Count the axes after those of the plates in a named value, the fewest that fit; None where no plate is in it.

    >>> rows = (PlateFrame("row", 3, -1),)
    >>> _trailing(Choice(("v",), (3, 2), float, "deterministic", frames=rows))
    1
    """
    batch = max((-frame.dim for frame in value.frames), default=0)
    fits = (
        event
        for event in range(len(value.shape) - batch + 1)
        if all(value.shape[frame.dim - event] == frame.size for frame in value.frames)
    )
    return next(fits, None)


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
