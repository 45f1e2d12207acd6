"""Digests of a Form: for each site and factor a short code of what it draws from and of all that this is computed by.

Law: equal programs have equal codes, in every process with equal versions of Python and the libraries. A code reads
the sites before it by their names alone, so a change shows at the site that was changed and not at those after it.
Operations are told by what they are made of: primitive, parameters and numbers; code and closure of a function,
wherever it stands.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.form import Branch, Det, Factor, Form, Loop, Site, Var, constant_arrays
from lawful.form.digest import digest
from lawful.form.fingerprint import unwrapped
from lawful.form.fold import Fold
from lawful.form.operations.equation import Equation, traced_parts

__all__ = ["code_of", "constants_of", "content", "digests_of", "short"]

PLACE = re.compile(r" at 0x[0-9a-fA-F]+")  # where an object lies in memory, which says nothing of it
LONGEST = 200  # characters of an object that stay themselves


def digests_of(form: Form) -> dict[str, str]:
    """Give the code of each site, factor, named value, loop and branch of a form, by name.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(scale):
    ...     x = lawful.sample("x", dist.Normal(0.0, scale))
    ...     lawful.sample("y", dist.Normal(x, 1.0), obs=0.5)
    >>> sorted(digests_of(lawful.trace(model, 2.0)))
    ['return', 'x', 'y']
    """
    walk = _Walk()
    outputs = walk(form, [short("input", i, _type(v)) for i, v in enumerate(form.inputs)])
    return walk.found | {"return": short(*outputs)}


def constants_of(form: Form) -> dict[str, str]:
    """Give what each closed-over array of a form is made of, also inside loops and branches, by place and type.

    These are equal with all versions of the libraries: they are what the program holds, not how it computes.

    >>> import lawful
    >>> constants_of(lawful.trace(lambda x: lawful.factor("f", np.float32([1, 2]) @ x), np.ones(2, np.float32)))
    {'constant 1, float32(2,)': 'float32(2,) 0000803f00000040'}
    """
    held = constant_arrays(form).items()
    return {f"constant {i}, {_type(variable)}": content(array) for i, (variable, array) in enumerate(held, 1)}


def code_of(form: Form) -> str:
    """Give a code of 64 digits that differs where two programs do, in a line of their text, an operation or a number.

    >>> import lawful
    >>> one, two = (lawful.trace(lambda x, n=n: lawful.factor("f", np.full(9, n) * x), np.ones(9)) for n in (1.0, 2.0))
    >>> one.show() == two.show(), code_of(one) == code_of(two)
    (True, False)
    """
    return digest(form.show(), repr(digests_of(form)))


def short(*parts: Any) -> str:
    """Give a code of 16 digits for texts.

    >>> short("a", 1) == short("a", 1) != short("a", 2)
    True
    """
    return digest(repr(parts))[:16]


def content(value: Any) -> str:
    """Write what an object is made of, the same in every process: arrays by their bytes, functions by their code.

    >>> content({"b": 1, "a": np.float32(0.5)})
    "{'b': 1, 'a': float32() 0000003f}"
    """
    return _Contents()(value)


class _Contents:
    """Writes objects, each once; one that is met again inside itself is only named."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Any, str]] = {}  # by identity; the object is kept, so that its id stays its own

    def __call__(self, value: Any) -> str:
        if value is None or isinstance(value, str | bool | int | float | complex | bytes):
            return repr(value)
        if id(value) not in self.known:
            self.known[id(value)] = value, f"again {type(value).__qualname__}"
            text = self._written(value)
            self.known[id(value)] = value, text if len(text) <= LONGEST else short(text)
        return self.known[id(value)][1]

    def _written(self, value: Any) -> str:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return f"key {jax.random.key_impl(value)} {self(jax.random.key_data(value))}"
        if isinstance(value, np.ndarray | np.generic | jax.Array) and not isinstance(value, jax.core.Tracer):
            array = np.asarray(value)
            held = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
            code = held.hex() if len(held) <= 32 else digest(held)
            return f"{array.dtype.name}{array.shape} {code}"
        if isinstance(value, tuple | list):
            return f"{type(value).__name__}({', '.join(map(self, value))})"
        if isinstance(value, set | frozenset):
            return f"set({', '.join(sorted(map(self, value)))})"
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{self(key)}: {self(held)}" for key, held in value.items()) + "}"
        if isinstance(value, Form):
            return f"Form {digests_of(value)}"
        if isinstance(value, Var):
            return _type(value)
        if isinstance(value, Equation):
            name, params, literals = value.parts
            return f"{name}{self(params)}{self(literals)}"
        if isinstance(value, functools.partial):
            return f"partial({self(value.func)}, {self(value.args)}, {self(value.keywords)})"
        if isinstance(value, types.MethodType):
            return f"{self(value.__self__)}.{value.__func__.__qualname__}"
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, type):
            ours = value.__module__.startswith("lawful.")  # whose files move
            return value.__qualname__ if ours else f"{value.__module__}.{value.__qualname__}"
        parts = traced_parts(value)
        if parts is not None:
            return f"traced {self(parts)}"
        if type(value).__module__.startswith("numpyro."):
            return f"{type(value).__qualname__}{self(dict(sorted(vars(value).items())))}"
        if "__wrapped__" in getattr(value, "__dict__", ()):  # what JAX makes of a function, with the line of its file
            return f"{type(value).__qualname__}{self(value.__wrapped__)}"
        if dataclasses.is_dataclass(value):
            fields = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
            return f"{type(value).__qualname__}{self(fields)}"
        if getattr(type(value), "__repr__", None) is object.__repr__ and hasattr(value, "__dict__"):
            return f"{type(value).__qualname__}{self(vars(value))}"
        return PLACE.sub("", repr(value))

    def _function(self, function: types.FunctionType) -> str:
        function = unwrapped(function)
        closed = list(map(self, _held(function)))
        rest = self(function.__defaults__), self(function.__kwdefaults__)
        return f"{function.__qualname__}({self._code(function.__code__)}, {closed}, {rest})"

    def _code(self, code: types.CodeType) -> str:
        constants = [self._code(c) if isinstance(c, types.CodeType) else self(c) for c in code.co_consts]
        return short(code.co_code, code.co_names, code.co_varnames, constants)


def _held(function: types.FunctionType) -> list[Any]:
    """List what a function closes over, as far as it has a value."""
    held = []
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:
            held.append(None)
    return held


class _Walk(Fold[str]):
    """The codes of the values of a form; those of its statements are `found`, by their names and the `loops` around."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.blocks = 0
        self.content = _Contents()
        self.loops: tuple[str, ...] = ()

    def constant(self, variable: Var, array: Any) -> str:
        return short("constant", self.content(array))

    def det(self, node: Det, ins: list[str]) -> list[str]:
        code = short(self.content(node.function), ins, self.content(node.plates))
        if node.address is None:
            return [short(code, i, _type(v)) for i, v in enumerate(node.outs)]
        name = self.tell(self.at(node.address), code)
        return [short("value", name, i) for i, _ in enumerate(node.outs)]

    def site(self, node: Site, ins: list[str]) -> str:
        frames = [(f.name, f.size, f.dim) for f in node.frames]
        observed = None if node.observed is None else ins.pop()
        code = short(self.law(node.law, ins), observed, self.content(node.plates), frames, _type(node.out))
        name = self.tell(self.at(node.address), code)
        return short("site", name) if observed is None else observed

    def factor(self, node: Factor, term: str) -> None:
        self.tell(f"factor {self.at(node.address)}", short([term], node.role, self.content(node.plates)))

    def law(self, law: Any, parameters: Sequence[str]) -> str:
        """Write a law with the codes of its parameters; numpyro keeps these in no fixed order, so they go by name."""
        if law.numbered is not None:
            kind = law.shape, law.batch_shape, str(law.dtype), law.label, law.support_table
            return f"{self.content(law.bound(parameters))} {self.content(kind)}"
        if law.lanes:
            laned = sorted(zip(parameters, law.laned, strict=True))
            return f"lanes {law.lanes} {laned} {self.law(law.base, parameters)}"
        if law.known_arrays or law.scaled:
            known, scale, own = law.split(parameters)
            told = known[0] if law.masked else None if not known else f"{type(law).__name__}{{}} {known}"
            return f"weighted by {told} {scale} {self.law(law.base, own)}"
        return f"{self.content(law)} {list(parameters)}"

    def loop(self, node: Loop, ins: list[str]) -> list[str]:
        constants, init, xs = node.split(ins)
        name = self.tell(self.block("loop"), short(
            node.length, node.reverse, [*init, *xs], self.content(node.plates),
            [(show_address(a), list(map(show_address, steps))) for a, steps in node.addresses or ()],
        ))  # fmt: skip
        inside = [*constants, *(short("carry", name, i) for i, _ in enumerate(init)), *(short("step", x) for x in xs)]
        after, ys = node.split_out(self.inside(name, node.body, inside))
        self.tell(f"{name} carries", short(*after))
        return [*(short("last", name, i) for i, _ in enumerate(init)), *(short("stacked", name, out) for out in ys)]

    def branch(self, node: Branch, index: str, operands: list[str]) -> list[str]:
        name = self.tell(self.block("branch"), short(index, node.label, self.content(node.plates)))
        outputs = [self.inside(f"{name} arm {i}", arm, operands) for i, arm in enumerate(node.forms)]
        return [short(name, i, [arm[i] for arm in outputs]) for i, _ in enumerate(node.outs)]

    def inside(self, name: str, form: Form, inputs: list[str]) -> list[str]:
        """Give the codes of the outputs of a form inside a node."""
        around, self.loops = self.loops, (*self.loops, name)
        outputs = self(form, inputs)
        self.loops = around
        return outputs

    def at(self, address: Address) -> str:
        """Name a statement by its address and the loops around."""
        return show_address(address) + (f" in {', '.join(self.loops)}" if self.loops else "")

    def block(self, kind: str) -> str:
        self.blocks += 1
        return f"{kind} {self.blocks}"

    def tell(self, name: str, code: str) -> str:
        """Keep a code; a name that is there already, as it may be in two arms, gets a number."""
        own, number = name, 1
        while own in self.found:
            number += 1
            own = f"{name} ({number})"
        self.found[own] = code
        return own


def _type(value: Var) -> str:
    return f"{value.dtype}{value.shape}"
