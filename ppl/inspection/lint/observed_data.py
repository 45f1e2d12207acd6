"""Observed data of a traced program: their values, and whether they fit their sites, at every call.

Law: data that reach a site through the program's arguments meet the same rules as concrete data at the site: no NaN,
and inside a support that no choice can move.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...addresses import Address, show_address
from ...backends.compile_options import QUICK
from ...backends.xla import emit
from ...distributions.batched import LanesLaw
from ...distributions.bijections import fixed_support
from ...distributions.censoring import empty_message
from ...distributions.law import DistributionLaw
from ...distributions.support import contains
from ...errors import ObservationError
from ...form import Branch, Form, Loop, Node, Site, Var
from ...form.builder import Block
from ...form.cached import per_form
from ...form.fold import Visitor
from ...form.liveness import is_random, random_values, without_dead_code
from ...language.data.checked import nan_message, support_message
from ...language.data.missing import unobserved_part
from ...passes.packing import packed
from ...passes.rolling.unnamed_steps import folded
from ...tracing.lower import lower
from .views import is_view, view


@dataclass(frozen=True)
class Datum:
    """An observed site whose value depends on the arguments alone, and the tests of it that no choice can move.

    A `support` that is fixed needs no test in the program: it is asked about the value. A datum that stands in an `arm`
    has NaN for its value where the arm does not run.
    """

    site: Site
    value: Var
    inside: Var | None
    broken: Var | None
    support: Any = None
    arm: bool = False

    @property
    def outputs(self) -> list[Var]:
        """What has to be computed for it."""
        return [v for v in (self.value, self.inside, self.broken) if v is not None]

    def renamed(self, names: Mapping[Var, Var]) -> Datum:
        """Return the datum of other values."""
        inside, broken = (None if v is None else names[v] for v in (self.inside, self.broken))
        return Datum(self.site, names[self.value], inside, broken, self.support, self.arm)


@per_form
def _reader(form: Form) -> tuple[list[Datum], Callable[[Sequence[Any]], list[Any]]]:
    small = folded(form).form
    found, block, _ = _read(small, ())
    reading = without_dead_code(block.form(small.inputs, [v for datum in found for v in datum.outputs]))
    return found, partial(view, reading) if is_view(reading) else _compiled(reading)


def _compiled(reading: Form) -> Callable[[Sequence[Any]], list[Any]]:
    """Compile what computes the data; thousands of them leave the program together."""
    small = packed(reading)
    run = jax.jit(emit(small.form), compiler_options=QUICK)
    return lambda inputs: small.unpack(run(jax.random.key(0), *inputs)[0])


def _read(form: Form, start: Iterable[Var], arm: bool = False) -> tuple[list[Datum], Block, set[Var]]:
    """Write what computes the observations that choices cannot move, and the tests of them by their laws.

    Args:
        form: the form.
        start: the inputs that choices can move.
        arm: whether the form stands in an arm, so that every test has to be a part of the program.

    Returns: the data, what computes them, and the values that choices can move, or that are not computed.
    """
    reader = _Reader(start, arm)
    reader.block.constants.extend(form.constants)
    for node in form.nodes:
        reader.node(node)
    return reader.found, reader.block, reader.random


class _Reader(Visitor):
    def __init__(self, start: Iterable[Var], arm: bool) -> None:
        self.random, self.arm = set(start), arm
        self.block = Block()
        self.found: list[Datum] = []

    def site(self, node: Site) -> None:
        if node.observed is None:
            self.det(node)
            return
        if node.observed not in self.random:
            support = None if self.arm else _fixed(node)
            inside = _test(self.block, node, self.random, "inside") if support is None else None
            broken = _test(self.block, node, self.random, "broken")
            self.found.append(Datum(node, node.observed, inside, broken, support, self.arm))
        self.random.add(node.out)

    def loop(self, node: Loop) -> None:
        self.found += _read_loop(node, self.block, self.random, self.arm)

    def branch(self, node: Branch) -> None:
        if node.index not in self.random and _holds_data(node):
            self.found += _read_branch(node, self.block, self.random)
        else:
            self.det(node)

    def det(self, node: Node) -> None:
        if is_random(node) or any(v in self.random for v in node.ins):
            self.random.update(node.outs)
        else:
            self.block.nodes.append(node)

    def factor(self, node: Node) -> None:
        """A factor gives nothing."""


def _fixed(node: Site) -> Any | None:
    """Return the support of a site where it is known and can be asked about an array of numbers."""
    if not isinstance(node.law, DistributionLaw):
        return None
    support = fixed_support(node.law, tuple(jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in node.parameters))
    try:
        tested = None if support is None else support(np.zeros(node.law.shape, node.law.dtype))
    except NotImplementedError:  # a constraint without a test
        return None
    return support if isinstance(tested, np.ndarray | np.generic) else None


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


def _holds_data(node: Branch) -> bool:
    return not node.plates and any(site.observed is not None for arm in node.forms for site in arm.sites())


def _read_branch(node: Branch, block: Block, random: set[Var]) -> list[Datum]:
    """Write a branch that gives the data of the arm that runs, and those of its results that choices cannot move."""
    known = [i for i, v in enumerate(node.operands) if v not in random]
    parts = [_read(arm, [v for i, v in enumerate(arm.inputs) if i not in known], arm=True) for arm in node.forms]
    moved = [[v in part[2] for v in arm.outputs] for arm, part in zip(node.forms, parts, strict=True)]
    kept = [i for i in range(len(node.outs)) if not any(flags[i] for flags in moved)]
    random.update(v for i, v in enumerate(node.outs) if i not in kept)
    data = [(number, datum) for number, (found, _, _) in enumerate(parts) for datum in found]
    arms, fresh = [], []
    for number, (arm, (_, inside, _)) in enumerate(zip(node.forms, parts, strict=True)):
        columns = [v for owner, datum in data for v in _answers(inside, datum, owner == number)]
        arms.append(inside.form([arm.inputs[i] for i in known], [*(arm.outputs[i] for i in kept), *columns]))
        fresh = [v.like() for v in columns]
    block.nodes.append(
        Branch(
            node.index,
            tuple(arms),
            tuple(node.operands[i] for i in known),
            (*(node.outs[i] for i in kept), *fresh),
            label=node.label,
        )
    )
    triples = zip(data, fresh[::3], fresh[1::3], fresh[2::3], strict=True)
    return [Datum(datum.site, value, good, bad, arm=True) for (_, datum), value, good, bad in triples]


def _answers(block: Block, datum: Datum, runs: bool) -> tuple[Var, Var, Var]:
    """Give value, test of the support and test for NaN of a datum: its own where its arm runs, else that none is."""
    value = datum.value
    if not runs:
        shape = value.shape if datum.inside is None else datum.inside.shape
        arrays = np.full(value.shape, np.nan), np.ones(shape, bool), np.zeros(value.shape, bool)
        nothing, fine, whole = map(block.constant, arrays)
        return nothing, fine, whole
    inside, broken = datum.inside, datum.broken
    if inside is None:
        inside = block.constant(np.ones(value.shape, bool))
    if broken is None:
        broken = block.det(jnp.isnan, value, label="missing number")
    return block.det(_as_float, value, label="as float"), inside, broken


def _as_float(value: jax.Array) -> jax.Array:
    return value.astype(jnp.result_type(float))


def _read_loop(node: Loop, block: Block, random: set[Var], arm: bool) -> list[Datum]:
    """Write a loop that gives the data of all steps, and those of its results that choices cannot move."""
    body, n_const, n_carry = node.body, len(node.constants), len(node.init)
    found, inside, moved = _read(body, _moved(node, random), arm)
    random.update(v for v, inner in zip(node.outs, body.outputs, strict=True) if inner in moved)
    kept = [i for i, v in enumerate(body.inputs) if v not in moved]
    carried = [i - n_const for i in kept if n_const <= i < n_const + n_carry]
    stacked = {v: Var((node.length, *v.shape), v.dtype, v.plates) for datum in found for v in datum.outputs}
    ys = [(v, y) for v, y in zip(body.outputs[n_carry:], node.ys, strict=True) if v not in moved]
    ys += stacked.items()
    block.nodes.append(
        Loop(
            inside.form([body.inputs[i] for i in kept], [*(body.outputs[i] for i in carried), *(v for v, _ in ys)]),
            node.length,
            tuple(node.constants[i] for i in kept if i < n_const),
            tuple(node.init[i] for i in carried),
            tuple(node.xs[i - n_const - n_carry] for i in kept if i >= n_const + n_carry),
            tuple(node.carry_out[i] for i in carried),
            tuple(y for _, y in ys),
            node.reverse,
        )
    )
    return [datum.renamed(stacked) for datum in found]


def _moved(node: Loop, random: set[Var]) -> set[Var]:
    """Find the inputs of a body that choices can move, in the first step or later."""
    body, first = node.body, len(node.constants)
    carry = list(zip(body.inputs[first : first + len(node.init)], body.outputs, strict=False))
    start = {inner for inner, outer in zip(body.inputs, node.ins, strict=True) if outer in random}
    while True:
        reached = random_values(body, start)
        grown = start | {inner for inner, out in carry if out in reached}
        if grown == start:
            return start
        start = grown


def checked_data(form: Form, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the observations that depend on the arguments alone, by name; refuse NaN and values outside their support.

    Raises: ObservationError naming site, index, value and support.
    """
    found, run = _reader(form)
    if not found or any(isinstance(x, jax.core.Tracer) for x in inputs):
        return {}
    values, steps = iter(run(inputs)), folded(form).steps
    observed: dict[str, np.ndarray] = {}
    for datum in found:
        value = np.asarray(next(values))
        inside = None if datum.support is None else np.asarray(contains(datum.support, value))
        if datum.inside is not None:
            inside = np.asarray(next(values))
        broken = np.asarray(next(values)) if datum.broken is not None else _nan(value)
        addresses = steps.get(datum.site.address)
        if broken.any() or (inside is not None and not inside.all()):
            raise _refusal(form, datum.site, addresses, value, inside, broken)
        if addresses is None:
            name = show_address(datum.site.address)
            other = observed.get(name)  # of another arm
            both = datum.arm and other is not None and other.shape == value.shape
            observed[name] = value if other is None or not both else np.where(np.isnan(other), value, other)
        else:
            observed |= {show_address(address): value[k, ...] for k, address in enumerate(addresses)}
    return observed


def _nan(value: np.ndarray) -> np.ndarray:
    return np.asarray(np.isnan(value)) if np.issubdtype(value.dtype, np.inexact) else np.zeros(value.shape, bool)


def _refusal(
    form: Form,
    site: Site,
    addresses: Sequence[Address] | None,
    value: np.ndarray,
    inside: np.ndarray | None,
    broken: np.ndarray,
) -> ObservationError:
    """Make the error of a site, or of the sites with given addresses that it stands for."""
    bad = broken if broken.any() or inside is None else ~inside
    place = where = tuple(int(i) for i in np.argwhere(bad)[0])
    if addresses is not None:
        site, where = next(s for s in form.sites() if s.address == addresses[place[0]]), place[1:]
    if bad is broken:
        word = empty_message if unobserved_part(site.law) == "censored" else nan_message
        message = word(site.address, where, site.source)
        return ObservationError(message, site=site.address, index=where, source=site.source)
    message = support_message(site.address, where, value[place], _support_of(site.law), site.source)
    return ObservationError(message, site=site.address, index=where, value=value[place], source=site.source)


def _support_of(law: Any) -> str:
    base = getattr(law, "base", law)
    return f"the support of {base.label}"
