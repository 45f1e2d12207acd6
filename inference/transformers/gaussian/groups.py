"""Normal groups: which normal sites are seen to be integrated out, and which of them at once.

Law: whatever the groups, the integral is the same; they decide the work alone. An integral over one group is a part of
the density of the next, which differentiates it, so that work grows by a factor with every group: sites that meet go
together, and apart only where a site falls into finer lanes than all of them do, as the persons of a plate whose common
mean follows. So there are as many groups as levels of large plates, whatever the number of sites.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.errors import NonFiniteError, UnsupportedProgramError
from lawful.form import Det, Factor, Form, Node, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.operations.equation import identity
from lawful.form.operations.from_jaxpr import unfold
from lawful.form.operations.on_numpy import evaluate
from lawful.passes.condition import fed

from ...representations.standard_normals import NORMAL, by_normals, normal_site, without_names
from ...summing.axes import Mixed
from .chains import Chain
from .quadratic_forms import Noises, Shape, integrated, is_quadratic, lanes_of, moved
from .terms import NormalDensity, Part, part_of, refused

type Group = tuple[Choice, ...]

FEW = 32  # numbers that are integrated together whatever lanes they have: one group is compiled faster than several
MORE = 4  # so many times more of them for each group before, which makes the next one so much harder to compile


@dataclass(frozen=True, eq=False)
class Joint:
    """Sites that are seen to be normal together, given all else.

    Attributes:
        group: the sites.
        form: the program, in which they are functions of noises.
        part: what reads these.
        density: of the noises, given the rest.
        shapes: of the noises.
        chain: the same as that of the steps of a loop, if it is one.
    """

    group: Group
    form: Form
    part: Part
    density: NormalDensity
    shapes: tuple[Shape, ...]
    chain: Chain | None

    @classmethod
    def of(cls, form: Form, group: Group) -> Joint:
        """Prove that the density is a quadratic form of all the noises.

        Raises: UnsupportedProgramError.
        """
        form = as_noises(form, group)
        part = part_of(form, {noise_of(c) for c in group})
        density = NormalDensity.of(part, group)
        chain = None if density.joint is not None else Chain.of(density.forms[0], len(part.noises))
        found = cls(group, form, part, density, tuple(s.out.shape for s in part.noises), chain)
        if chain is not None:
            return found
        parts = [density.total] if density.joint is None else [density.total, density.tables]
        if not all(is_quadratic(function, found.shapes, found.operands) for function in parts):
            raise refused(
                group, "its log density given all else is not seen to be a quadratic form of it",
                "leave it to another kernel, or sum the finite sites after it rather than before",
            )  # fmt: skip
        if density.lanes is not None:
            found._refuse_shared(density.lanes)
        return found

    @property
    def operands(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes and types of what else the density reads."""
        return [jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in self.density.operands]

    def _refuse_shared(self, lanes: Shape) -> None:
        """Refuse noises that elements of summed finite sites share."""
        try:
            flows = moved(self.density.tables, self.shapes, self.operands, len(lanes))
            apart, why = flows == tuple(range(1, len(lanes) + 1)), "along other axes than theirs"
            apart = apart and lanes_of(self.density.total, self.shapes, self.operands)[0][: len(lanes)] == lanes
        except Mixed as error:
            apart, why = False, str(error)
        if not apart:
            raise refused(
                self.group, f"elements of it meet in a sum over finite sites ({why})", "integrate before you sum"
            )

    def lanes(self, among: Sequence[Choice]) -> tuple[Shape, str]:
        """Find the finest lanes of some of the sites, given the others, and why there are no finer ones."""
        if self.density.lanes is not None:
            return self.density.lanes, "elements of finite sites were summed before"
        addresses = {noise_of(c) for c in among}
        moving = [i for i, site in enumerate(self.part.noises) if site.address in addresses]
        rest = [i for i in range(len(self.shapes)) if i not in moving]
        order = [*moving, *rest]
        places = [order.index(i) for i in range(len(order))]

        def total(*values: jax.Array) -> jax.Array:
            return self.density.total(*(values[i] for i in places), *values[len(places) :])

        fixed = [jax.ShapeDtypeStruct(self.shapes[i], jnp.result_type(float)) for i in rest]
        return lanes_of(total, [self.shapes[i] for i in moving], [*fixed, *self.operands])

    def noises(self, max_block: int) -> Noises:
        """Give the noises in their lanes.

        Raises: UnsupportedProgramError where too many numbers depend on each other.
        """
        lanes, why = self.lanes(self.group)
        noises = Noises(self.shapes, lanes)
        if noises.block > max_block:
            raise refused(
                self.group, f"{noises.block} numbers depend on each other, more than {max_block}: {why}",
                f"max_block={noises.block} integrates them all the same; the work grows as the cube",
            )  # fmt: skip
        self._refuse_infinite(noises)
        return noises

    def _refuse_infinite(self, noises: Noises) -> None:
        """Refuse an integral that is infinite whatever the values of all else, where no value enters its precision."""

        def volume(*operands: jax.Array) -> jax.Array:
            return integrated(lambda *own: self.density.each(*own, *operands), noises, self.density.worlds).log_volume

        small = without_dead_code(unfold(volume, *self.operands))
        if {v for node in small.nodes for v in node.ins}.isdisjoint(small.inputs):
            (found,) = evaluate(volume, [np.zeros(x.shape, x.dtype) for x in self.operands])
            if np.any(np.isposinf(found)):
                names = ", ".join(f"'{c.name}' ({c.source})" for c in self.group)
                raise NonFiniteError(
                    f"integrate_normals: the integral over {names} is infinite: the density grows faster than the "
                    "normal law falls. Fix: check the sign of the squares in its factors.",
                    sites=tuple(c.address for c in self.group),
                )


def largest(form: Form, groups: Sequence[Group]) -> tuple[Group, ...]:
    """Find groups that are seen to be normal together, the first ones if not all."""

    def fits(some: Sequence[Group]) -> bool:
        try:
            Joint.of(form, flat(some))
        except UnsupportedProgramError:
            return False
        return True

    return _most(fits, groups)


def next_group(joint: Joint, groups: Sequence[Group], max_block: int, before: int = 0) -> tuple[Group, ...]:
    """Say which of the groups that are normal together are integrated first.

    Args:
        joint: all of them.
        groups: the same, apart.
        max_block: largest number of dependent numbers that are integrated together.
        before: number of steps before.
    """
    if joint.chain is not None:
        return tuple(groups)
    shapes = {site.address: site.out.shape for site in joint.part.noises}

    def own(some: Sequence[Group]) -> list[Shape]:
        return [shapes[noise_of(c)] for c in flat(some)]

    lanes, _ = joint.lanes(joint.group)
    whole = Noises(joint.shapes, lanes)
    if len(groups) == 1 or joint.density.joint is not None or whole.block <= min(FEW * MORE**before, max_block):
        return tuple(groups)
    best, chosen = lanes, tuple(groups)
    for length in dict.fromkeys(shape[0] for group in groups for shape in own([group]) if shape):
        alike = [group for group in groups if all(shape[:1] == (length,) for shape in own([group]))]
        some = _most(lambda some: joint.lanes(flat(some))[0] != (), alike)
        finer = joint.lanes(flat(some))[0] if some else ()
        if math.prod(finer) > math.prod(best):
            best, chosen = finer, some
    fits = [k for k in range(1, len(chosen) + 1) if Noises(tuple(own(chosen[:k])), best).block <= max_block]
    return chosen[: max(fits, default=1)]


def flat(groups: Sequence[Group]) -> Group:
    """Give the sites of all groups."""
    return tuple(choice for group in groups for choice in group)


def _most(
    fits: Callable[[Sequence[Group]], bool], groups: Sequence[Group], before: Sequence[Group] = ()
) -> tuple[Group, ...]:
    """Add groups to some as long as they fit: all at once, else each half of them."""
    if not groups or fits([*before, *groups]):
        return (*before, *groups)
    if len(groups) == 1:
        return tuple(before)
    half = len(groups) // 2
    return _most(fits, groups[half:], _most(fits, groups[:half], before))


def as_noises(form: Form, group: Group) -> Form:
    """Write sites at the top level of a program as functions of standard normals.

    Raises: UnsupportedProgramError for a site in a loop or an arm, or of a law that is not made of normals.
    """
    for choice in group:
        if choice.conditional:
            raise refused((choice,), f"'{choice.name}' stands in an arm of a choice", "leave it out")
    addresses = {c.address: c for c in group if c.address[-1] != NORMAL}
    try:
        form = by_normals(form, addresses)
    except UnsupportedProgramError as error:
        choice = addresses[error.__dict__["site"]]
        law = choice.law.label
        raise refused((choice,), f"its law, {law}, is not normal", "leave it to another kernel") from None
    noises = {noise_of(c) for c in group}
    return _lifted(without_names(form, noises), noises)


def _lifted(form: Form, noises: Set[Address]) -> Form:
    """Draw the noises of the steps of loops at once, before the loops, which read them row by row."""
    inside = {c.address for c in choices_of(form) if c.loops and c.address in noises}
    if not inside:
        return form

    def read(node: Site | Factor, given: Var | None) -> tuple[Node, ...]:
        return (node,) if given is None else (Det(identity, (given,), node.outs, "given"),)

    moved, block = fed(form, inside, read), Block()
    rows = [normal_site(block, c.address, (*c.loops, *c.shape)) for c in moved.choices]
    inputs = tuple(v.like() for v in form.inputs)
    outputs = block.splice(moved.form, (*inputs, *rows))
    return block.form(inputs, outputs[: len(form.outputs)], in_tree=form.in_tree, out_tree=form.out_tree)


def noise_of(choice: Choice) -> Address:
    """Give the address of the noise of a site."""
    return choice.address if choice.address[-1] == NORMAL else (*choice.address, NORMAL)
