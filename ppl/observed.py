"""Observed data of a traced program: their values, and whether they fit their sites, at every call.

Law: data that reach a site through the program's arguments meet the same rules as concrete data at the site: no NaN,
and inside a support that no choice can move.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from .addresses import show_address
from .analysis import random_values, without_dead_code
from .block import Block
from .emitter import emit
from .errors import ObservationError
from .form import Form, Loop, Node, Site, Var
from .lanes import LanesLaw
from .lowering import lower
from .observations import nan_message, support_message
from .packing import packed
from .uncollected import uncollected

TESTS = ("inside", "broken")


@dataclass(frozen=True)
class Datum:
    """An observed site whose value depends on the arguments alone, and the tests of it that no choice can move."""

    site: Site
    value: Var
    inside: Var | None
    broken: Var | None

    @property
    def outputs(self) -> list[Var]:
        """What has to be computed for it."""
        return [v for v in (self.value, self.inside, self.broken) if v is not None]


_cache: weakref.WeakKeyDictionary[Form, tuple[list[Datum], Callable[..., Any]]] = weakref.WeakKeyDictionary()


@uncollected()
def _reader(form: Form) -> tuple[list[Datum], Callable[..., Any]]:
    if form not in _cache:
        found, reading = _read(form)
        small = packed(without_dead_code(reading))
        run = jax.jit(emit(small.form))
        _cache[form] = found, lambda *inputs: small.unpack(run(jax.random.key(0), *inputs)[0])
    return _cache[form]


def _read(form: Form) -> tuple[list[Datum], Form]:
    """Write the Form that computes all observations that depend on the arguments alone, and their support tests."""
    random = random_values(form)
    block = Block()
    block.constants.extend(form.constants)
    found: list[Datum] = []
    outputs: list[Var] = []
    for node in form.nodes:
        if isinstance(node, Site) and node.observed is not None:
            if node.observed in random:
                continue
            inside, broken = (_test(block, node, random, name) for name in TESTS)
            found.append(Datum(node, node.observed, inside, broken))
            outputs.extend(found[-1].outputs)
        elif isinstance(node, Loop):
            _read_loop(node, block, random, found, outputs)
        elif _settled(node, random):
            block.nodes.append(node)
    return found, block.form(form.inputs, outputs)


def _settled(node: Node, random: set[Var]) -> bool:
    """Tell whether a node gives values, and none that a choice can move; a factor gives none."""
    return bool(node.outs) and not any(out in random for out in node.outs)


def _test(block: Block, node: Site, random: set[Var], name: str) -> Var | None:
    """Append a test of the data by their law, where no choice moves it: only what it reads has to be settled."""
    assert node.observed is not None
    asked = _ask(node.law, name)
    if asked is None:
        return None
    operands = (node.observed, *node.parameters)
    test = _written(node.law, name, tuple(jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in operands))
    if test is None:
        return None
    read = {v for inner in test.nodes for v in inner.ins} | set(test.outputs)
    if any(v in read and operand in random for v, operand in zip(test.inputs, operands, strict=True)):
        return None
    return block.splice(test, operands)[0]


@functools.lru_cache(maxsize=256)
def _written(law: Any, name: str, operands: tuple[Any, ...]) -> Form | None:
    """Write a test of a law as a form, once for all sites that have it."""
    try:
        with jax.ensure_compile_time_eval():  # the caller may be traced; what is remembered never is
            return without_dead_code(lower(_ask(law, name), *operands)[0])
    except NotImplementedError:  # a constraint without a test: nothing is written
        return None


def _ask(law: Any, name: str) -> Any:
    """Return the test of a law; copies of a law are asked one by one."""
    if isinstance(law, LanesLaw) and name == "broken":
        inner = _ask(law.base, name)
        return None if inner is None else law.mapped(inner, (True,) * len(law.lanes))
    return getattr(law, name, None)


def _read_loop(node: Loop, block: Block, random: set[Var], found: list[Datum], outputs: list[Var]) -> None:
    n_const, n_carry = len(node.constants), len(node.init)
    body = node.body
    start = [inner for inner, outer in zip(body.inputs, node.ins, strict=True) if outer in random] + list(
        body.inputs[n_const : n_const + n_carry]
    )
    # A carry may depend on choices of earlier steps: treat it as random.
    inner_random = random_values(body, start)
    inside_block = Block()
    inside_block.constants.extend(body.constants)
    wanted: list[Var] = []
    data: list[Datum] = []
    for inner in body.nodes:
        if isinstance(inner, Site) and inner.observed is not None:
            if inner.observed in inner_random:
                continue
            inside, broken = (_test(inside_block, inner, inner_random, name) for name in TESTS)
            data.append(Datum(inner, inner.observed, inside, broken))
            wanted.extend(data[-1].outputs)
        elif not isinstance(inner, Loop) and _settled(inner, inner_random):
            inside_block.nodes.append(inner)
    if not data:
        return
    kept = [i for i, outer in enumerate(node.ins) if outer not in random and not n_const <= i < n_const + n_carry]
    constants = [node.ins[i] for i in kept if i < n_const]
    xs = [node.ins[i] for i in kept if i >= n_const]
    reading = inside_block.form([body.inputs[i] for i in kept], wanted)
    _, ys = block.loop(reading, node.length, constants, (), xs, node.reverse)
    rest = iter(ys)
    for datum in data:
        stacked = [None if v is None else next(rest) for v in (datum.value, datum.inside, datum.broken)]
        assert stacked[0] is not None
        found.append(replace(datum, value=stacked[0], inside=stacked[1], broken=stacked[2]))
        outputs.extend(found[-1].outputs)


def checked_data(form: Form, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the observations that depend on the arguments alone, by name; refuse NaN and values outside their support.

    Raises: ObservationError naming site, index, value and support.
    """
    found, run = _reader(form)
    if not found or any(isinstance(x, jax.core.Tracer) for x in inputs):
        return {}
    values = iter(run(*inputs))
    observed = {}
    for datum in found:
        value = np.asarray(next(values))
        inside = None if datum.inside is None else np.asarray(next(values))
        broken = np.asarray(next(values)) if datum.broken is not None else _nan(value)
        _refuse(datum.site, value, inside, broken)
        observed[show_address(datum.site.address)] = value
    return observed


def _nan(value: np.ndarray) -> np.ndarray:
    return np.asarray(np.isnan(value)) if np.issubdtype(value.dtype, np.inexact) else np.zeros(value.shape, bool)


def _refuse(site: Site, value: np.ndarray, inside: np.ndarray | None, broken: np.ndarray) -> None:
    if broken.any():
        where = tuple(int(i) for i in np.argwhere(broken)[0])
        message = nan_message(site.address, where, site.source)
        raise ObservationError(message, site=site.address, index=where, source=site.source)
    if inside is not None and not inside.all():
        where = tuple(int(i) for i in np.argwhere(~inside)[0])
        message = support_message(site.address, where, value[where], _support_of(site.law), site.source)
        raise ObservationError(message, site=site.address, index=where, value=value[where], source=site.source)


def _support_of(law: Any) -> str:
    base = getattr(law, "base", law)
    return f"the support of {base.label}"
