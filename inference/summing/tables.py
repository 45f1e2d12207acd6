"""Tables: log weights by the values of summed sites, eliminated one site at a time, and drawn back in reverse.

Law: the sum over all sites of exp(sum of the tables) is kept by every elimination, and drawing the sites back in the
reverse order gives them from the exact conditional. A site with elements has one row of a table for each element;
it is summed element by element, before the sites that all its elements share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.errors import LawfulError, PathLimitError
from lawful.form import Loop, Plate, Var
from lawful.form.builder import Block, add

from ..laws.log_sum import log_sum
from .axes import Axes
from .laws import IndexLaw

PREFIX = "~summed"
MAX_TABLE = 1 << 22

type Dim = tuple[Plate, int]
type Picks = dict[Plate, Var]


class Conflict(Exception):
    """Sites cannot be summed element by element: their elements meet each other's."""

    def __init__(self, summand: Summand, why: str) -> None:
        super().__init__(why)
        self.summand, self.why = summand, why


@dataclass(frozen=True, eq=False)
class Summand:
    """A site that is summed.

    Attributes:
        address: of the site.
        plate: the axis of its values.
        shape: its elements, each summed on its own; () where all are summed together.
        label: what stands behind the prefix in the addresses of the sites that draw it back.
        loop: the loop whose state it is, where it is no site of the program.
    """

    address: Address
    plate: Plate
    shape: tuple[int, ...]
    label: Address
    loop: Loop | None = None

    @property
    def name(self) -> str:
        """Name for people."""
        return show_address(self.address)


class NotChain(Exception):
    """A loop cannot be summed step by step."""

    def __init__(self, loop: Loop, why: str) -> None:
        super().__init__(why)
        self.loop, self.why = loop, why


@dataclass(frozen=True, eq=False)
class Table:
    """Log weights by the plates of the term; each axis of its shape is one of elements."""

    term: Var
    dims: tuple[Dim, ...]


@runtime_checkable
class Step(Protocol):
    """Something that was eliminated and can be drawn back, from what was saved."""

    @property
    def saved(self) -> tuple[Var, ...]:
        """What it is drawn back from."""

    def moved(self, here: Mapping[Var, Var], results: dict[Address, Var]) -> Step:
        """Read what was saved from elsewhere, and put the values of loops that are drawn back somewhere else."""

    def draw(self, block: Block, picks: Picks, pool: Pool) -> None:
        """Add the picks of what was eliminated, given those of what was eliminated later."""


@dataclass(frozen=True, eq=False)
class Elimination:
    """One site summed out of the sum of its tables, `joint`."""

    summand: Summand
    joint: Var

    @property
    def saved(self) -> tuple[Var, ...]:
        """The table that it was summed out of."""
        return (self.joint,)

    def moved(self, here: Mapping[Var, Var], results: dict[Address, Var]) -> Elimination:
        """Read the table from elsewhere."""
        return replace(self, joint=here[self.joint])

    def draw(self, block: Block, picks: Picks, pool: Pool) -> None:
        """Draw the site given the sites in its tables."""
        logits = self.joint
        for plate in self.joint.plates:
            if plate != self.summand.plate:
                logits = pick(block, logits, plate, picks[plate], pool.places(plate, self.summand.plate))
        whole = block.det(lambda x: x, logits, label="log weights")
        law = IndexLaw(self.summand.plate.size, self.summand.shape)
        picks[self.summand.plate] = block.site((PREFIX, *self.summand.label), law, (whole,), droppable=True)


@dataclass
class Pool:
    """The tables at one moment.

    Attributes:
        block: where their nodes are written.
        cap: largest number of entries of one table.
        tables: those that are left.
        totals: scalars that depend on no summed site.
        steps: what was eliminated, in order.
        summands: every site by its plate, in the order of the program.
        closed: sites that a loop has used up, with the loop.
    """

    block: Block
    cap: int = MAX_TABLE
    tables: list[Table] = field(default_factory=list)
    totals: list[Var] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    summands: dict[Plate, Summand] = field(default_factory=dict)
    closed: dict[Plate, Loop] = field(default_factory=dict)
    parents: dict[Dim, Dim] = field(default_factory=dict)

    def declare(self, summand: Summand) -> None:
        """Make a site known."""
        self.summands[summand.plate] = summand

    def refuse_closed(self, plate: Plate) -> None:
        """Refuse to read a site that a loop has used up."""
        if plate in self.closed:
            raise NotChain(self.closed[plate], f"'{self.summands[plate].name}' is read after the loop that it starts")

    def ordered(self, plates: Iterable[Plate]) -> tuple[Plate, ...]:
        """Sort plates in the order of the program."""
        wanted = set(plates)
        return tuple(p for p in self.summands if p in wanted)

    def dims(self, plate: Plate) -> tuple[Dim, ...]:
        """The elements of a site, axis by axis."""
        return tuple(self.find((plate, j)) for j in range(len(self.summands[plate].shape)))

    def find(self, dim: Dim) -> Dim:
        """Follow an axis of elements to the one that stands for all that are the same."""
        while dim in self.parents:
            dim = self.parents[dim]
        return dim

    def places(self, plate: Plate, inside: Plate) -> Axes:
        """Where the elements of one site stand among those of another."""
        own = self.dims(inside)
        return tuple(own.index(dim) for dim in self.dims(plate))

    def add(self, term: Var, axes: Mapping[Plate, Axes]) -> None:
        """Add a term; axes of its shape that are no elements are summed."""
        for plate in term.plates:
            self.refuse_closed(plate)
        owners: dict[int, Dim] = {}
        for plate in term.plates:
            for j, place in enumerate(axes.get(plate, ())):
                mine = self.find((plate, j))
                other = self.find(owners.setdefault(place, mine))
                if mine != other:
                    self.parents[mine] = other
        spare = tuple(a for a in range(len(term.shape)) if a not in owners)
        if spare:
            term = self.block.det(lambda x: jnp.sum(x, axis=spare), term, label="sum", plates=term.plates)
        dims = tuple(self.find(owners[a]) for a in sorted(owners))
        if len(set(dims)) < len(dims):
            raise Conflict(self._with_elements(term.plates), "two of its elements meet in one term")
        self._keep(Table(term, dims))

    def _keep(self, table: Table) -> None:
        if table.term.plates:
            self.tables.append(table)
        else:
            self.totals.append(_summed(self.block, table.term))

    def _with_elements(self, plates: Iterable[Plate]) -> Summand:
        return next(self.summands[p] for p in plates if self.summands[p].shape)

    def component(self, plates: Iterable[Plate]) -> set[Plate]:
        """All sites that share a table, directly or not, with the given ones."""
        found = set(plates)
        while True:
            grown = found.union(*(t.term.plates for t in self.tables if found & set(t.term.plates)))
            if grown == found:
                return found
            found = grown

    def eliminate(self, plates: Iterable[Plate]) -> None:
        """Sum sites out, always the one whose table is smallest.

        Raises:
            Conflict: elements of two sites meet.
            PathLimitError: a table is larger than the cap.
        """
        left = set(plates)
        while left:
            able = [p for p in self.ordered(left) if self._obstacle(p) is None]
            if not able:
                first = self._with_elements(self.ordered(left))
                raise Conflict(first, f"its elements meet those of '{self._obstacle(first.plate)}'")
            best = min(able, key=self._cost)
            self._eliminate(best)
            left.discard(best)

    def _obstacle(self, plate: Plate) -> str | None:
        """Name a site with elements of its own that has to be summed before this one."""
        own = set(self.dims(plate))
        for table in self._tables_of(plate):
            extra = set(map(self.find, table.dims)) - own
            for other in table.term.plates:
                if other != plate and extra & set(self.dims(other)):
                    return self.summands[other].name
        return None

    def _tables_of(self, plate: Plate) -> list[Table]:
        return [t for t in self.tables if plate in t.term.plates]

    def _cost(self, plate: Plate) -> int:
        plates = {plate}.union(*(t.term.plates for t in self._tables_of(plate)))
        return math.prod(p.size for p in plates) * math.prod(self.summands[plate].shape)

    def _eliminate(self, plate: Plate) -> None:
        summand = self.summands[plate]
        joint = self.joint((plate,))
        self.tables = [t for t in self.tables if plate not in t.term.plates]
        rest = tuple(p for p in joint.plates if p != plate)
        over = SumOver(joint.plates.index(plate))
        message = self.block.det(over, joint, label=f"sum over {summand.name}", adds=rest)
        self.steps.append(Elimination(summand, joint))
        self._keep(Table(message, self.dims(plate)))

    def joint(self, plates: Sequence[Plate]) -> Var:
        """Add all tables of some sites, which have the same elements; the result has these elements as its shape."""
        dims, shape = self.dims(plates[0]), self.summands[plates[0]].shape
        if any(set(self.dims(p)) != set(dims) for p in plates):
            raise Conflict(self._with_elements(plates), "it meets a site with other elements")
        mine = [t for t in self.tables if set(plates) & set(t.term.plates)]
        every = self.ordered({*plates, *(p for t in mine for p in t.term.plates)})
        count = math.prod(p.size for p in every) * math.prod(shape)
        if count > self.cap:
            names = ", ".join(dict.fromkeys(self.summands[p].name for p in every))
            raise PathLimitError(
                f"summing over {names} needs a table of {count} entries, more than the cap of {self.cap}. Fix: sum "
                "fewer sites (enumerate=[...]), make them smaller, or raise the cap with marginalise(max_table=).",
                needed=count, cap=self.cap,
            )  # fmt: skip
        zero = self.block.constant(np.zeros(shape, jnp.result_type(float)))
        parts = [zero, *(self._arranged(t, dims) for t in mine)]
        return self.block.det(add, *parts, label="joint", plates=every)

    def _arranged(self, table: Table, dims: tuple[Dim, ...]) -> Var:
        """Sum the elements that are not asked for, and put the others in order."""
        have = [self.find(d) for d in table.dims]
        drop = tuple(a for a, d in enumerate(have) if d not in dims)
        left = [d for d in have if d in dims]
        order = tuple(left.index(d) for d in dims)
        if not drop and order == tuple(range(len(order))):
            return table.term

        def arrange(x: jax.Array) -> jax.Array:
            return jnp.transpose(jnp.sum(x, axis=drop), order)

        return self.block.det(arrange, table.term, label="elements", plates=table.term.plates)

    def onto(self, plates: Sequence[Plate]) -> Var:
        """Give the log weights of some sites, all others summed; the tables stay as they are."""
        aside = Pool(self.block, self.cap, list(self.tables), [], [], self.summands, self.closed, dict(self.parents))
        aside.eliminate(aside.component(plates) - set(plates))
        return aside.joint(plates)

    def use_up(self, plates: Sequence[Plate], loop: Loop) -> Var:
        """Sum all sites that hang together with some sites, for good, and give the log weights of these."""
        others = self.component(plates) - set(plates)
        self.eliminate(others)
        weights = self.joint(plates)
        self.tables = [t for t in self.tables if not set(plates) & set(t.term.plates)]
        self.closed |= dict.fromkeys([*plates, *others], loop)
        return weights


@dataclass(frozen=True)
class SumOver:
    """Sums a site out of a table of log weights, seen whole: mapped over the other plates, its axes would be moved."""

    axis: int

    def __call__(self, table: jax.Array) -> jax.Array:
        """Sum."""
        return log_sum(table, self.axis)


def _summed(block: Block, term: Var) -> Var:
    return block.det(jnp.sum, term, label="sum") if term.shape else term


def pick(block: Block, value: Var, plate: Plate, index: Var, axes: Axes) -> Var:
    """Take the part of a value at an index of a site, for each of its elements."""
    rest = tuple(p for p in value.plates if p != plate)
    return block.det(_Take(axes), value, index, label="take", plates=rest)


@dataclass(frozen=True)
class _Take:
    axes: Axes

    def __call__(self, values: jax.Array, index: jax.Array) -> jax.Array:
        """Take along the first axis."""
        if not self.axes:
            return values[index]
        shape = values.shape[1:]
        order = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        sizes = tuple(shape[a] if a in self.axes else 1 for a in range(len(shape)))
        index = jnp.broadcast_to(jnp.transpose(index, order).reshape(sizes), shape)
        return jnp.take_along_axis(values, index[None], axis=0)[0]


def flat(block: Block, value: Var, plates: Sequence[Plate]) -> Var:
    """Turn plates into one leading axis."""
    order = tuple(plates)
    full = value if value.plates == order else block.det(lambda x: x, value, label="spread", plates=order)
    count, shape = math.prod(p.size for p in order), value.shape
    return block.det(lambda x: x.reshape((count, *shape)), full, label="flatten")


def unflat(block: Block, value: Var, plates: Sequence[Plate]) -> Var:
    """Turn the leading axis into plates."""
    sizes, shape = tuple(p.size for p in plates), value.shape[1:]
    return block.det(lambda x: x.reshape((*sizes, *shape)), value, label="unflatten", adds=tuple(plates))


def too_many(name: str, count: int, cap: int, why: str) -> LawfulError:
    """Make the error of a site whose values are too many to be listed together."""
    return PathLimitError(
        f"site '{name}' cannot be summed element by element ({why}), and together its elements have {count} values, "
        f"more than the cap of {cap}. Fix: leave it out of enumerate=[...], or write the program so that each element "
        "is read on its own.",
        needed=count, cap=cap,
    )  # fmt: skip
