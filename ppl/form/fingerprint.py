"""Fingerprint: a signature of nodes; two of equal signature do the same thing to operands of equal types.

Law: a node keeps its meaning when its function is exchanged for that of a node of equal signature, once the literals
of the two agree. Functions are compared by what they are made of (primitive and parameters, code and closure), never
by their names; what cannot be compared equals itself alone.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .builder import Tupled
from .nodes import Branch, Det, Factor, Form, Loop, Node, Site, Var
from .operations.equation import Equation, traced_parts
from .operations.stacks import opened

CHECKERS = ("<@beartype", "jaxtyping")  # where the code stands that checks types around a function, in tests
LARGE = 1 << 12  # an array of more elements equals itself alone


class Describer:
    """Computes signatures, and remembers what it described."""

    def __init__(self) -> None:
        self._known: dict[
            int, tuple[Any, Hashable]
        ] = {}  # by identity; the object is kept, so that its id stays its own

    def signature(self, node: Node) -> Hashable:
        """Describe what a node does and the types of its operands and results, without names, literals and operands."""
        does: Hashable
        match node:
            case Det():
                does = self._operation(node.function), node.address is None
            case Site():
                does = self.content(node.law), node.observed is None, tuple((f.size, f.dim) for f in node.frames)
            case Factor():
                does = node.role
            case Loop():
                counts = len(node.constants), len(node.init), len(node.xs)
                does = node.length, node.reverse, counts, node.unrolled, self.form(node.body)
            case Branch():
                does = node.label, tuple(map(self.form, node.forms))
        return type(node), node.plates, tuple([v.type for v in node.ins]), tuple([v.type for v in node.outs]), does

    def _operation(self, function: Any) -> Hashable:
        """Describe a function but for the values of its literals."""
        literals = function.literals if isinstance(function, Equation) else ()
        function = function if any(literals) else opened(function)[0]  # a slice is a window
        if not isinstance(function, Equation):
            return self.content(function)
        name, params, _ = function.parts
        held = tuple([None if literal is None else (np.shape(literal[0]), literal[1]) for literal in literals])
        return name, self.content(params) if params else (), held

    def form(self, form: Form) -> Hashable:
        """Describe a form up to the names of its values and sites; its literals and constants count."""
        numbers: dict[Var, int] = {}

        def number(values: Sequence[Var]) -> tuple[int, ...]:
            return tuple(numbers.setdefault(v, len(numbers)) for v in values)

        head = number(form.inputs), number([v for v, _ in form.constants])
        constants = tuple(self.content(array) for _, array in form.constants)
        body = tuple(
            (self.signature(node), self.literals(node), number(node.ins), number(node.outs)) for node in form.nodes
        )
        return tuple([v.type for v in form.inputs]), head, constants, body, number(form.outputs)

    def literals(self, node: Node) -> Hashable:
        """Describe the numbers that the program wrote into an operation."""
        return tuple(map(self.content, opened(node.function)[1].values())) if isinstance(node, Det) else ()

    def content(self, value: Any) -> Hashable:
        """Describe a value by its content: arrays by their bytes, functions by their code, others by equality."""
        if value is None or isinstance(value, str | bool | int | np.dtype):
            return type(value), value
        if isinstance(value, float | complex):
            return type(value), repr(value)  # tells 0.0 from -0.0
        if isinstance(value, tuple | list):
            return type(value), tuple(map(self.content, value))
        if isinstance(value, dict):
            return dict, tuple((name, self.content(inner)) for name, inner in value.items())
        if id(value) not in self._known:
            self._known[id(value)] = value, ("again", len(self._known))  # met again inside itself
            self._known[id(value)] = value, self._content(value)
        return self._known[id(value)][1]

    def _content(self, value: Any) -> Hashable:
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return array_key(value)
        if isinstance(value, Equation):
            return "equation", self._operation(value), tuple(map(self.content, opened(value)[1].values()))
        if isinstance(value, Tupled):
            return "tupled", self.content(value.function)
        if isinstance(value, functools.partial):
            return "partial", self.content((value.func, value.args, value.keywords))
        if isinstance(value, types.MethodType):
            return "method", self.content((value.__func__, value.__self__))
        if isinstance(value, types.FunctionType):
            return self._function(value)
        parts = traced_parts(value)
        if parts is not None:
            return "traced", self.content(parts)
        try:
            hash(value)
        except TypeError:
            return "itself", id(value)
        return type(value), value

    def _function(self, function: types.FunctionType) -> Hashable:
        function = unwrapped(function)
        try:
            held = tuple(self.content(cell.cell_contents) for cell in function.__closure__ or ())
        except ValueError:  # a cell that has no value yet
            return "itself", id(function)
        rest = self.content(function.__defaults__), self.content(function.__kwdefaults__)
        return "code", id(function.__code__), id(function.__globals__), held, rest


def unwrapped(function: types.FunctionType) -> types.FunctionType:
    """Return a function without the code that checks types around it."""
    while any(name in function.__code__.co_filename for name in CHECKERS) and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def is_readable(array: Any) -> bool:
    """Tell whether an array has values that can be read now: a traced one has not, nor has one of keys."""
    return not isinstance(array, jax.core.Tracer) and not jnp.issubdtype(array.dtype, jax.dtypes.extended)


def array_key(value: Any) -> Hashable:
    """Describe an array by type, shape and bytes; a large one, a traced one, and one of keys, by its identity."""
    if not is_readable(value) or value.size > LARGE:
        return "itself", id(value)
    array = np.asarray(value)
    return "array", array.dtype, array.shape, array.tobytes()
