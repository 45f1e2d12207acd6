"""Terms of normal noises: what reads some standard normal noises, and the log density as a function of them.

Law: the density of the form is that of the nodes that do not read the noises, times this function; where finite sites
were summed before, it is a sum over worlds, which are kept apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import Address, show_address
from lawful.backends.xla import DEFAULT, emit
from lawful.errors import UnsupportedProgramError
from lawful.form import Det, Factor, Form, Node, Site, Var
from lawful.form.builder import Tupled, add
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import dependents, without_dead_code
from lawful.passes.condition import conditioned
from lawful.passes.rolling.unrolled_sites import UnrolledWarning
from lawful.passes.thread_sites import Given, interpose

from ...summing.tables import SumOver


@dataclass(frozen=True, eq=False)
class Part:
    """What of a form reads some noises.

    Attributes:
        noises: the sites.
        before: nodes that do not read them, and
        after: those that do.
        operands: values that the latter read.
    """

    noises: tuple[Site, ...]
    before: tuple[Node, ...]
    after: tuple[Node, ...]
    operands: tuple[Var, ...]
    constants: tuple[tuple[Var, Any], ...]

    def form(self, outputs: Sequence[Var] = ()) -> Form:
        """The nodes that read the noises, as a form of the noises and the operands."""
        inputs = (*(site.out for site in self.noises), *self.operands)
        return Form(inputs, self.after, tuple(outputs), self.constants)


def part_of(form: Form, wanted: set[Address]) -> Part:
    """Find what reads the noises of some addresses, at the top level of a form."""
    noises = tuple(n for n in form.nodes if isinstance(n, Site) and n.address in wanted)
    moving = dependents(form, [site.out for site in noises])
    after = tuple(n for n in form.nodes if any(v in moving for v in n.ins))
    apart = {*noises, *after}
    read = dict.fromkeys(v for n in after for v in n.ins if v not in moving)
    known = dict(form.constants)
    operands = tuple(v for v in read if v not in known)
    constants = tuple((v, known[v]) for v in read if v in known)
    return Part(noises, tuple(n for n in form.nodes if n not in apart), after, operands, constants)


class NormalDensity:
    """The log density as a function of the noises and of those operands that weigh, world by world.

    Where finite sites were summed, one node holds the log of the sum over their values; the worlds are what it adds.
    The steps that a Python loop wrote are left apart where elements of a site are followed through them (`apart`): in a
    loop they could not be.
    """

    def __init__(
        self, operands: tuple[Var, ...], rest: Form, joint: Form | None = None, worlds: int = 1, apart: bool = True
    ) -> None:
        self.operands, self.worlds, self.forms = operands, worlds, (rest, joint)
        passes = () if apart else DEFAULT
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnrolledWarning)  # the program as a whole has warned
            self.rest = emit(rest, passes)
            self.joint = None if joint is None else emit(joint, passes)
        self.lanes = None if joint is None else joint.outputs[0].shape

    def rolled(self) -> NormalDensity:
        """The same with loops for the steps that a Python loop wrote, which are compiled faster."""
        return NormalDensity(self.operands, *self.forms, self.worlds, apart=False)

    @classmethod
    def of(cls, part: Part, group: tuple[Choice, ...]) -> NormalDensity:
        """Read the density off the nodes that weigh; lanes are followed through it where all noises have axes."""
        apart = all(site.out.shape for site in part.noises)
        weighing = without_dead_code(part.form())
        read = {v for node in weighing.nodes for v in node.ins}
        operands = tuple(v for v in part.operands if v in read)
        weighing = replace(weighing, inputs=(*weighing.inputs[: len(part.noises)], *operands))
        left = choices_of(weighing)
        if left:
            raise refused(
                group, f"the law of '{left[0].name}' ({left[0].source}), which stays, reads it",
                f"integrate or sum '{left[0].name}' first; a finite site whose law reads a normal one cannot be summed",
            )  # fmt: skip
        sums = [n for n in weighing.nodes if isinstance(n, Det) and _sums_out(n.function)]
        if not sums:
            return cls(operands, interpose(weighing, Given(), apart=False).form, apart=apart)
        node = sums[0]
        if len(sums) > 1 or not _adds_up(weighing, node):
            raise refused(group, "finite sites were summed out in more than one step", "integrate before you sum")
        joint = without_dead_code(replace(conditioned(weighing, (), ()).form, outputs=node.ins))
        free = replace(node, function=Tupled(_Zeros(node.outs[0].shape, node.outs[0].dtype)), ins=())
        nodes = tuple(free if n is node else n for n in weighing.nodes)
        rest = without_dead_code(replace(weighing, nodes=nodes))
        worlds = node.ins[0].plates[0].size
        return cls(operands, interpose(rest, Given(), apart=False).form, joint, worlds, apart)

    def total(self, *values: jax.Array) -> jax.Array:
        """The terms that are no part of a world."""
        found: jax.Array = self.rest(jax.random.key(0), *values)[0][0]
        return found

    def tables(self, *values: jax.Array) -> jax.Array:
        """The terms of each world (worlds, *lanes)."""
        assert self.joint is not None
        return self.joint(jax.random.key(0), *values)[0][0]

    def each(self, *values: jax.Array) -> jax.Array:
        """The log density of each world, summed over the lanes (worlds,)."""
        total = self.total(*values)[None]
        if self.joint is None:
            return total
        tables = self.tables(*values)
        return total + jnp.sum(tables, axis=tuple(range(1, tables.ndim)))


@dataclass(frozen=True)
class _Zeros:
    shape: tuple[int, ...]
    dtype: Any

    def __call__(self) -> jax.Array:
        return jnp.zeros(self.shape, self.dtype)


def _sums_out(function: Any) -> bool:
    return isinstance(function, Tupled) and isinstance(function.function, SumOver)


def _adds_up(form: Form, node: Det) -> bool:
    """Tell whether a value enters the density by a sum over its elements, once."""
    if not node.ins[0].plates or len(node.ins[0].plates) > 1:
        return False
    value = node.outs[0]
    while True:
        readers = [n for n in form.nodes if value in n.ins]
        if len(readers) != 1 or readers[0].ins.count(value) != 1:
            return False
        reader = readers[0]
        if isinstance(reader, Factor):
            return value.shape == ()
        if not isinstance(reader, Det) or reader.function not in (Tupled(jnp.sum), Tupled(add)):
            return False
        value = reader.outs[0]


def refused(group: tuple[Choice, ...], why: str, fix: str) -> UnsupportedProgramError:
    """Make the error of sites that cannot be integrated."""
    names = ", ".join(f"'{show_address(c.address)}' ({c.source})" for c in group)
    return UnsupportedProgramError(
        f"integrate_normals: {names} cannot be integrated out: {why}. Fix: {fix}.", site=group[0].address
    )
