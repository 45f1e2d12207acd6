"""Local form: the program that one device runs, from the Form of an algorithm whose particles many devices share.

Law: the devices together run the Form. A value under a sharded plate is held in parts; an operation on single particles
runs on the device's own; one that looks across particles is told what it needs: sums in fixed blocks where there is a
way to, else the whole population, gathered. A site draws its lanes in fixed blocks, with a key for each. So the
measure does not depend on the number of devices, nor do the bits of what is drawn and summed in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.distributions.batched import draw_lanes
from lawful.distributions.observed_law import DerivedLaw
from lawful.distributions.protocol import Law
from lawful.errors import LawfulError
from lawful.form import Branch, Det, Factor, Form, Loop, Node, Plate, Site, Var
from lawful.form.builder import Tupled

from ..laws.resampling_schemes import Distinct
from ..representations.population import take
from .axis import Axis, blocks_of
from .reductions import across
from .routing import CountedRoute, Route, route_of


class Share(Plate):
    """What one device has of a plate; equal to no plate that all devices have, whatever name and size."""

    __slots__ = ()


@dataclass
class Localiser:
    """Rewrites forms for one device.

    Attributes:
        axis: the devices.
        plates: the sharded plates, each with what one device has of it.
        whole: plates that every device has, but that are drawn in blocks all the same.
    """

    axis: Axis
    plates: Mapping[Plate, Plate]
    whole: Sequence[Plate] = ()
    known: dict[Var, Var] = field(default_factory=dict)
    routes: dict[Var, tuple[Route, Var]] = field(default_factory=dict)

    def form(self, form: Form) -> Form:
        """Rewrite a form, and those inside it."""
        inner = Localiser(self.axis, self.plates, self.whole)
        inputs = tuple(map(inner.value, form.inputs))
        nodes: list[Node] = []
        constants = []
        for variable, array in form.constants:
            if any(p in self.plates for p in variable.plates):
                whole = Var(variable.full_shape, variable.dtype)
                nodes.append(inner.cut(whole, variable))
            else:
                whole = inner.value(variable)
            constants.append((whole, array))
        position = 0
        while position < len(form.nodes):
            run = inner.gathers(form.nodes, position)
            nodes += [inner.routed(run)] if run else inner.node(form.nodes[position])
            position += max(len(run), 1)
        outputs = tuple(inner.known[v] for v in form.outputs)
        return Form(inputs, tuple(nodes), outputs, tuple(constants))

    def value(self, value: Var) -> Var:
        """Make the value that a device has."""
        sharded = [p for p in value.plates if p in self.plates]
        if len(sharded) > 1:
            raise LawfulError(
                f"a value has the axes {' and '.join(p.name for p in sharded)}, both of them spread over devices.",
                plates=tuple(p.name for p in sharded),
            )
        self.known[value] = value.like(self.own(value.plates)) if sharded else value.like()
        return self.known[value]

    def own(self, plates: Sequence[Plate]) -> tuple[Plate, ...]:
        """Give what a device has of some plates."""
        return tuple(self.plates.get(p, p) for p in plates)

    def cut(self, whole: Var, value: Var) -> Det:
        """Take a device's part of a constant."""
        places = _places((value,), (), self.plates)
        return Det(Tupled(Whole(_identity, self.axis, (None,), places)), (whole,), (self.value(value),), "own part")

    def node(self, node: Node) -> list[Node]:
        """Rewrite a node."""
        if isinstance(node, Det):
            return [self.det(node)]
        if isinstance(node, Site):
            return self.site(node)
        if isinstance(node, Factor):
            return [replace(node, term=self.known[node.term], plates=self.own(node.plates))]
        if isinstance(node, Loop):
            return [self.loop(node)]
        return [self.branch(node)]

    def values(self, values: Sequence[Var]) -> tuple[Var, ...]:
        """Look values up."""
        return tuple(self.known[v] for v in values)

    def det(self, node: Det) -> Det:
        """Rewrite an operation; where it sees particles of other devices it is given them."""
        if _calls(node, Distinct) and node.ins[0] in self.routes:
            route, kept = self.routes[node.ins[0]]
            if isinstance(route, CountedRoute):
                return Det(Tupled(route.distinct), (kept,), (self.value(node.outs[0]),), node.label)
        ins, outs = _places(node.ins, node.plates, self.plates), _places(node.outs, node.plates, self.plates)
        function = node.function
        if any(place is not None for place in (*ins, *outs)):
            if any(p in self.plates for p in node.plates):
                raise LawfulError(f"'{node.label}' runs under two axes that are both spread over devices.")
            function = Tupled(across(node.function, self.axis, ins, outs) or Whole(function, self.axis, ins, outs))
        values = self.values(node.ins)
        made = tuple(map(self.value, node.outs))
        return replace(node, function=function, ins=values, outs=made, plates=self.own(node.plates))

    def site(self, node: Site) -> list[Node]:
        """Rewrite a random choice: lanes are drawn in blocks, a resampling by its route, others from the whole."""
        parameters = self.values(node.parameters)
        observed = None if node.observed is None else self.known[node.observed]
        places = _places(node.parameters, node.plates, self.plates)
        if any(p in self.plates or p in self.whole for p in node.plates):
            if any(place is not None for place in places):
                raise LawfulError(f"a site under '{node.plates[0].name}' reads a whole axis that devices share.")
            law: Any = Blocks.of(node, self.axis, self.plates, self.whole)
            return [replace(node, law=law, parameters=parameters, out=self.value(node.out), plates=())]
        route = route_of(node.law, self.axis) if places == (0,) else None
        if route is None:
            law = node.law if all(place is None for place in places) else Seen(node.law, self.axis, places)
            out = self.value(node.out)
            return [replace(node, law=law, parameters=parameters, observed=observed, out=out, plates=node.plates)]
        found = Routed(route, route.kept(self.plates[node.parameters[0].plates[0]].size))
        each, *rest = found.shape  # another one on each device
        kept = Var(tuple(rest), found.dtype, (Share("kept", each),))
        self.routes[node.out] = route, kept
        joined = Det(Tupled(route.join), (kept,), (self.value(node.out),), "ancestors of all")
        return [replace(node, law=found, parameters=parameters, out=kept), joined]

    def gathers(self, nodes: Sequence[Node], position: int) -> list[Det]:
        """Find the gathers that stand side by side and move particles along one route."""
        run: list[Det] = []
        for node in nodes[position:]:
            if not _is_take(node) or node.ins[1] not in self.routes or node.plates:
                break
            if _places(node.ins[:1], (), self.plates) != (0,) or _places(node.outs, (), self.plates) != (0,):
                break
            if node.ins[0] not in self.known or (run and run[0].ins[1] is not node.ins[1]):
                break
            assert isinstance(node, Det)
            run.append(node)
        return run

    def routed(self, run: Sequence[Det]) -> Det:
        """Write gathers along a route as one operation."""
        route, found = self.routes[run[0].ins[1]]
        ins = (found, *self.values([node.ins[0] for node in run]))
        return Det(Tupled(route.move), ins, tuple(self.value(node.outs[0]) for node in run), "move particles")

    def loop(self, node: Loop) -> Loop:
        """Rewrite a loop."""
        ins = self.values(node.constants), self.values(node.init), self.values(node.xs)
        outs = tuple(map(self.value, node.carry_out)), tuple(map(self.value, node.ys))
        return replace(
            node, body=self.form(node.body), constants=ins[0], init=ins[1], xs=ins[2], carry_out=outs[0], ys=outs[1],
            plates=self.own(node.plates),
        )  # fmt: skip

    def branch(self, node: Branch) -> Branch:
        """Rewrite a branch."""
        index, operands = self.known[node.index], self.values(node.operands)
        forms, outs = tuple(map(self.form, node.forms)), tuple(map(self.value, node.outs))
        return replace(node, index=index, forms=forms, operands=operands, outs=outs, plates=self.own(node.plates))


def local_form(form: Form, axis: Axis, plates: Sequence[Plate], whole: Sequence[Plate] = ()) -> Form:
    """Write the program of one device.

    Args:
        form: the algorithm.
        axis: the devices.
        plates: the plates that they share; each size is a multiple of their number.
        whole: plates that are not shared because of their size alone, and draw as if they were.

    Returns: a form with the same outputs, those under a sharded plate in parts; it runs under the axis.
    """
    return Localiser(axis, {p: Share(p.name, p.size // axis.size) for p in plates}, whole).form(form)


def _places(values: Sequence[Var], mapped: Sequence[Plate], plates: Mapping[Plate, Plate]) -> tuple[int | None, ...]:
    """Find for each value the axis of a sharded plate among those that an operation sees, or None."""
    found: list[int | None] = []
    for value in values:
        seen = [p for p in value.plates if p not in mapped]
        found.append(next((i for i, p in enumerate(seen) if p in plates), None))
    return tuple(found)


def _is_take(node: Node) -> bool:
    return isinstance(node, Det) and getattr(node.function, "function", None) is take


def _calls(node: Det, kind: type) -> bool:
    return isinstance(getattr(node.function, "function", None), kind)


def _identity(whole: jax.Array) -> jax.Array:
    return whole


@dataclass(frozen=True)
class Whole:
    """An operation on whole populations: what is in parts is gathered, and of results a part is kept."""

    function: Callable[..., Any]
    axis: Axis
    ins: tuple[int | None, ...]
    outs: tuple[int | None, ...]

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """Gather, run, and cut."""
        whole = [v if at is None else self.axis.gather(v, at) for v, at in zip(values, self.ins, strict=True)]
        results = self.function(*whole)
        results = results if isinstance(results, tuple | list) else (results,)
        return tuple(x if at is None else self.axis.own(x, at) for x, at in zip(results, self.outs, strict=True))


@dataclass(frozen=True)
class Seen(DerivedLaw):
    """A law whose parameters are gathered: every device draws the same."""

    base: Any
    axis: Axis
    places: tuple[int | None, ...]

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw."""
        pairs = zip(parameters, self.places, strict=True)
        return self.base.draw(key, *(v if at is None else self.axis.gather(v, at) for v, at in pairs))


@dataclass(frozen=True)
class Routed(Law):
    """What a device draws of a resampling."""

    route: Route
    kept: jax.ShapeDtypeStruct

    @property
    def shape(self) -> tuple[int, ...]:
        """That of what is kept."""
        return tuple(self.kept.shape)

    @property
    def dtype(self) -> Any:
        """That of what is kept."""
        return self.kept.dtype

    def draw(self, key: jax.Array, part: jax.Array) -> jax.Array:
        """Draw."""
        return self.route.draw(key, part)


@dataclass(frozen=True)
class Blocks(DerivedLaw):
    """The draw of a device's lanes, block by block.

    Attributes:
        base: the law of one lane.
        axis: the devices.
        block: how many lanes one block has, for each plate of the site.
        place: which of these is the sharded one.
        count: how many blocks one device has.
        laned: for each parameter which of the plates it has.
        shared: whether devices have different blocks.
    """

    base: Any
    axis: Axis
    block: tuple[int, ...]
    place: int
    count: int
    laned: tuple[tuple[bool, ...], ...]
    shared: bool

    @classmethod
    def of(cls, node: Site, axis: Axis, plates: Mapping[Plate, Plate], whole: Sequence[Plate]) -> Blocks:
        """Cut the lanes of a site into blocks."""
        shared = any(p in plates for p in node.plates)
        place = next(i for i, p in enumerate(node.plates) if p in (plates if shared else whole))
        plate = node.plates[place]
        blocks = blocks_of(plate.size)
        lanes = tuple(plate.size // blocks if p == plate else p.size for p in node.plates)
        laned = tuple(tuple(p in v.plates for p in node.plates) for v in node.parameters)
        count = blocks // axis.size if shared else blocks
        return cls(node.law, axis, lanes, place, count, laned, shared)

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw every block with its number folded into the key."""
        numbers = jnp.arange(self.count) + (self.axis.index() * self.count if self.shared else 0)
        axes = [sum(flags[: self.place]) if flags[self.place] else None for flags in self.laned]
        parts = [
            x if at is None else x.reshape((*x.shape[:at], self.count, -1, *x.shape[at + 1 :]))
            for x, at in zip(parameters, axes, strict=True)
        ]

        def block(number: jax.Array, *own: jax.Array) -> jax.Array:
            return draw_lanes(self.base, jax.random.fold_in(key, number), self.block, own, self.laned)

        drawn = jax.vmap(block, (0, *axes), self.place)(numbers, *parts)
        shape = drawn.shape
        return drawn.reshape((*shape[: self.place], -1, *shape[self.place + 2 :]))
