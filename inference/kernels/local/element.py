"""Element: the law of one independent part of a site, drawn and scored without the others.

Law: it is the law of that part: the parts of a site are independent given its parameters, so drawing one needs the
random numbers of that one alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import run_nodes
from lawful.distributions.protocol import Law
from lawful.form import Det, Form, Site, Var
from lawful.form.builder import Block
from lawful.form.operations.equation import Equation
from lawful.form.operations.from_jaxpr import inlined
from lawful.inference.kernels.local.frames import Frame
from lawful.inference.kernels.local.places_written import Scene, Slice
from lawful.inference.kernels.local.reach import Reach, Target, reads_of, slices
from lawful.tracing.lower import lower

from ..base.redraw import PREFIX

type Type = tuple[tuple[int, ...], Any]


def element_site(frame: Frame, node: Site, at: Slice) -> Var:
    """Append the draw of one part of a site; the result keeps the axes of the parts, with one element."""
    scene, address = frame.scene, (PREFIX, "value", *frame.tag, *node.address)
    if not at:
        return scene.block.site(address, node.law, [frame.get(v) for v in node.parameters])
    wanted = slices_wanted(scoring_form(node), at)
    given = [frame.get(v, where) for v, where in zip(node.parameters, wanted, strict=True)]
    types = tuple((v.shape, jnp.dtype(v.dtype)) for v in node.parameters)
    axes = tuple(tuple(a for a, _ in where) for where in wanted)
    return scene.block.site(address, ElementLaw(node.law, types, axes), given)


def slices_wanted(scoring: Form, at: Slice) -> list[Slice]:
    """Say which slice of each parameter the score of one part reads, where that is one for all its uses."""
    wanted: dict[Var, dict[int, int]] = {scoring.outputs[0]: dict(at)}
    for node in reversed(scoring.nodes):
        asked = [wanted[v] for v in node.outs if v in wanted]
        if not asked:
            continue
        known = reads_of(node) if isinstance(node, Det) and slices(node) else {}
        for position, operand in enumerate(node.ins):
            mine = {}
            for axis, q in asked[0].items():
                read = known[axis][position] if axis in known else None
                if read is not None:
                    mine[read] = q
            before = wanted.get(operand)
            wanted[operand] = mine if before is None else {a: q for a, q in before.items() if mine.get(a) == q}
    return [tuple(sorted(wanted.get(v, {}).items())) for v in scoring.inputs[1:]]


@dataclass(frozen=True)
class ElementLaw(Law):
    """The law of one part of a value.

    Its parameters are slices: `types` are the whole shapes and types, `axes` the axes of which one element is given.
    """

    base: Any
    types: tuple[Type, ...]
    axes: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """One element along each axis of parts, then the shape of a part."""
        units = len(self.base.units)
        return (*(1,) * units, *self.base.shape[units:])

    @property
    def units(self) -> tuple[int, ...]:
        """One part."""
        return (1,) * len(self.base.units)

    @property
    def dtype(self) -> Any:
        """Type of the base."""
        return self.base.dtype

    @property
    def label(self) -> str:
        """Name for people."""
        return f"one of {self.base.label}"

    @property
    def element_values(self) -> np.ndarray | None:
        """Those of the base."""
        return self.base.element_values

    @property
    def atoms(self) -> int | None:
        """Number of values of one part."""
        return self.base.atoms if self.base.atoms == 1 else super().atoms

    def _whole(self, parameters: Sequence[Any]) -> list[Any]:
        """Repeat slices to whole parameters: every part then has the law of this one."""
        return [jnp.broadcast_to(p, shape) for p, (shape, _) in zip(parameters, self.types, strict=True)]

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw the part."""
        form = _drawing(self, _x64())
        if form is None:
            value = self.base.draw(key, *self._whole(parameters))
            return value[tuple(slice(0, 1) for _ in self.base.units)]
        return run_nodes(form, [key, *self._whole(parameters)], {})[0][0]

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score the part."""
        whole = jnp.broadcast_to(value, self.base.shape)
        scores = self.base.log_prob_units(whole, *self._whole(parameters))
        return scores[tuple(slice(0, 1) for _ in self.base.units)]

    def element_masses(self, *parameters: jax.Array) -> jax.Array:
        """Log masses (values, *shape) of the part."""
        masses = self.base.element_masses(*self._whole(parameters))
        return masses[(slice(None), *(slice(0, 1) for _ in self.base.units))]

    def enumerate(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of the part."""
        if self.base.atoms != 1:
            return super().enumerate(*parameters)
        values, masses = self.base.enumerate(*self._whole(parameters))
        return values[(slice(None), *(slice(0, 1) for _ in self.base.units))], masses

    def finite_elements(self, site_of: Callable[[Any], Any], *parameters: Any) -> Any:
        """List the elements of the part."""
        whole = tuple(
            np.broadcast_to(np.asarray(p), shape) for p, (shape, _) in zip(parameters, self.types, strict=True)
        )
        elements, assemble = self.base.finite_elements(site_of, *whole)
        inside = math.prod(self.shape)
        if len(elements) != math.prod(self.base.shape):  # listed as one value
            return elements, lambda values: np.asarray(assemble(values))[tuple(slice(0, 1) for _ in self.base.units)]

        def part(values: Sequence[Any]) -> Any:
            return np.asarray(list(values)).reshape(self.shape).astype(self.dtype)

        return list(elements)[:inside], part


def scoring_form(node: Site) -> Form:
    """Give the scores of the independent parts of a site as a form of the value and the parameters."""
    operands = (node.out, *node.parameters)
    return _scoring(node.law, tuple((v.shape, jnp.dtype(v.dtype)) for v in operands), _x64())


def _x64() -> bool:
    return bool(jax.config.read("jax_enable_x64"))


@functools.lru_cache(maxsize=1024)
def _scoring(law: Any, types: tuple[Type, ...], x64: bool) -> Form:
    with jax.ensure_compile_time_eval():  # the caller may be traced; the constants of a Form never are
        form = lower(law.log_prob_units, *(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in types))
    return inlined(form)


class _Reused(Exception):
    """Some random numbers are read both as a whole and in part."""


class _Draw(Frame):
    """The function of a draw, sliced: each operation that makes random numbers may be asked for one slice only."""

    def __init__(self, scene: Scene, form: Form, bind: Callable[[int, Slice, bool], Var]) -> None:
        super().__init__(scene, form, {}, bind)
        self.random: dict[Det, Slice] = {}

    def _note(self, node: Det, kept: Slice) -> None:
        if isinstance(node.function, Equation) and node.function.row.draws:
            if self.random.setdefault(node, kept) != kept:
                raise _Reused


@functools.lru_cache(maxsize=512)
def _drawing(law: ElementLaw, x64: bool) -> Form | None:
    """Give the draw of one part as a form of the key and the whole parameters; None where it draws all parts."""
    with jax.ensure_compile_time_eval():
        key = jax.eval_shape(lambda: jax.random.key(0))
        form = lower(law.base.draw, key, *(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in law.types))
    form = inlined(form)
    block = Block()
    zero = Var((), jnp.dtype("int32"))
    block.constants.append((zero, np.zeros((), np.int32)))  # not an array of JAX: the form outlives the trace
    scene = Scene(block, Reach(Target(())), [zero] * len(law.base.units), {})
    inputs = tuple(v.like() for v in form.inputs)
    frame = _Draw(scene, form, lambda i, at, new: scene.take(inputs[i], at))
    try:
        out = frame.get(form.outputs[0], tuple((a, a) for a in range(len(law.base.units))))
    except _Reused:
        return None
    return block.form(inputs, (out,))
