"""Buckets: which tables meet at each variable, and how each reads its marginal back, before a number is touched.

Law: every table is used once, when the first variable of its scope is eliminated. What is left joins a table with the
same scope where there is one. The variables of a round do not meet, so they are eliminated at once, whatever the shapes
of their tables, and a graph is a short list of batches whatever its size. Going back, a state of the variables of a
table has the share of all joint states that agree with it, each counted once.

Reference: Dechter (1999), Bucket elimination: a unifying framework for reasoning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from ..model.structure import Structure
from .elimination import NOWHERE, Batch, Index, Places, Reading

type Scope = tuple[int, ...]
type Shape = tuple[int, ...]
type Axes = tuple[int, ...]

ARRAY = 1 << 7  # entries that take about as long as what another array costs


def placed(
    structure: Structure, variables: Sequence[int], scopes: Mapping[int, Scope], rounds: Sequence[Sequence[int]]
) -> Places:
    """Say where the numbers of an elimination stand.

    Args:
        structure: of the graph.
        variables: all of them, in the order in which they are eliminated.
        scopes: for each, by number, its neighbours at its turn, in that order.
        rounds: the variables that are eliminated at once.
    """
    buckets = _Buckets(structure, variables, scopes)
    inputs = range(structure.size, len(buckets.starts))
    eliminated = [batch for own in rounds for batch in buckets.eliminate(own)]
    readers = Readers(buckets.uses)
    batches = tuple(
        made.batch._replace(readers=readers.of(made.results, made.turned, made.batch.targets.shape[1]))
        for made in eliminated
    )
    constants = [start for start, scope in zip(buckets.starts, buckets.scopes, strict=True) if not scope]
    cards = structure.cardinalities
    owner, first = np.repeat(np.arange(structure.size), cards), np.cumsum(cards) - cards
    tables = readers.of(inputs, [0] * len(inputs))
    places = Places(batches, np.array(constants), _variables(batches, cards), tables, owner, first, buckets.size)
    return jax.tree.map(lambda x: x.astype(np.int32), places)  # single precision has no longer indices


def _variables(batches: Sequence[Batch], cards: np.ndarray) -> np.ndarray:
    """Say where the marginals of each variable in turn stand among those of all batches (B, K)."""
    begins, done = np.zeros(len(cards), np.int64), 0
    for batch in batches:
        many, states = batch.sources.near.shape[1:]
        begins[batch.variables] = done + np.arange(many) * states
        done += many * states
    own = np.arange(cards.sum()) - np.repeat(np.cumsum(cards) - cards, cards)
    return np.repeat(begins, cards) + own


@dataclass
class _Kind:
    """Joint tables of one shape to which tables come with the same axes."""

    shape: Shape
    axes: tuple[Axes, ...]
    variables: list[int] = field(default_factory=list)
    tables: list[list[int]] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int, int]:
        """Number of tables that meet, of own states, and of those that are left."""
        return len(self.axes), self.shape[0], math.prod(self.shape[1:])

    def column(self, source: int) -> list[int]:
        """Give the tables that come with the same axes."""
        return [tables[source] for tables in self.tables]


@dataclass
class _Eliminated:
    """A batch without its readers, and the tables that its results join, with the numbers of how their axes stand."""

    batch: Batch
    results: list[int] = field(default_factory=list)
    turned: list[int] = field(default_factory=list)


class _Buckets:
    """All tables, which wait for the first variable of their scope.

    Attributes:
        starts: place of each table among the scores.
        scopes: its variables, in the order of its axes.
        uses: how it went into a joint table.
        size: number of scores so far.
    """

    def __init__(self, structure: Structure, variables: Sequence[int], left: Mapping[int, Scope]) -> None:
        self.cards, self.left = structure.cardinalities.tolist(), left
        self.turn = dict(zip(variables, range(structure.size), strict=True))
        self.starts, self.scopes, self.uses = list[int](), list[Scope](), Uses()
        self.size = self._shares = 2
        self._opened: dict[Scope, int] = {}
        self._waiting: list[list[int]] = [[] for _ in self.cards]
        for variable in range(structure.size):
            self._file((variable,))
        for group in structure.groups:
            for scope in group.scopes.tolist():
                self._file(tuple(scope))

    def _file(self, scope: Scope) -> int:
        """Give a table a place among the scores, and let it wait."""
        table, inward = len(self.starts), tuple(sorted(scope, key=self.turn.__getitem__))
        self.starts.append(self.size)
        self.scopes.append(scope)
        self.uses.new()
        self.size += math.prod([self.cards[v] for v in scope])
        self._opened.setdefault(inward, table)
        if inward:
            self._waiting[inward[0]].append(table)
        return table

    def eliminate(self, variables: Sequence[int]) -> Iterator[_Eliminated]:
        """Eliminate the variables of a round."""
        kinds: dict[tuple[Shape, tuple[Axes, ...]], _Kind] = {}
        for v in variables:
            axis = {u: k for k, u in enumerate((v, *self.left[v]))}
            met = sorted((tuple([axis[u] for u in self.scopes[t]]), t) for t in self._waiting[v])
            key = tuple([self.cards[u] for u in axis]), tuple([axes for axes, _ in met])
            kind = kinds.setdefault(key, _Kind(*key))
            kind.variables.append(v)
            kind.tables.append([table for _, table in met])
        listed = list(kinds.values())
        for members, size in shared_arrays([k.size for k in listed], [len(k.variables) for k in listed]):
            yield self._batch([listed[k] for k in members], *size)

    def _batch(self, kinds: Sequence[_Kind], sources: int, states: int, rest: int) -> _Eliminated:
        """Put joint tables side by side. What is padded has score -inf, by its first source."""
        many, width = sum(len(k.variables) for k in kinds), max(len(k.shape) for k in kinds) - 1
        near = np.ones((sources, many, states), np.int32)
        far = np.zeros((sources, many if len(kinds) > 1 else 1, rest), np.int32)
        near[0] = far[0] = NOWHERE
        targets, scopes, strides = (np.zeros((many, n), np.int32) for n in (rest, width, width))
        own = np.zeros(many, np.int32)
        made, begun = _Eliminated(Batch(Index(near, far), targets, None, own, scopes, strides)), 0
        for kind in kinds:
            shape, rows = kind.shape, slice(begun, begun + len(kind.variables))
            spread = rows if len(kinds) > 1 else slice(None)
            bases = range(self._shares, self._shares + len(kind.variables) * states * rest, states * rest)
            for k, axes in enumerate(kind.axes):
                along, tables = dict(zip(axes, strides_of([shape[a] for a in axes]), strict=True)), kind.column(k)
                starts = np.array([self.starts[table] for table in tables])
                near[k, rows, : shape[0]] = starts[:, None] + offsets(shape[:1], [along[0]])
                steps = offsets(shape[1:], [along.get(a, 0) for a in range(1, len(shape))])
                far[k, spread, : len(steps)] = steps
                self.uses.use(tables, bases, shape, axes, rest)
            left = [self.left[v] for v in kind.variables]
            own[rows] = kind.variables
            scopes[rows, : len(shape) - 1], strides[rows, : len(shape) - 1] = left, strides_of(shape[1:])
            for scope in left:
                self._join(made, scope)
            self._target(made, rows, shape[1:])
            begun, self._shares = rows.stop, bases.stop
        return made

    def _join(self, made: _Eliminated, scope: Scope) -> None:
        """Find the table that a result joins, and how its axes stand there."""
        table = self._opened.get(scope)
        if table is None:
            table = self._file(scope)
        own = self.scopes[table]
        made.results.append(table)
        made.turned.append(self.uses.turn(None if own == scope else tuple(map(own.index, scope))))

    def _target(self, made: _Eliminated, rows: slice, shape: Shape) -> None:
        """Say where the entries of results of one shape go."""
        starts = np.array([self.starts[table] for table in made.results[rows]])
        turned, turns = np.array(made.turned[rows]), list(self.uses.turns)
        for number in np.unique(turned).tolist():
            turn = turns[number] or tuple(range(len(shape)))
            own = strides_of([shape[turn.index(axis)] for axis in range(len(shape))])
            steps, chosen = offsets(shape, [own[axis] for axis in turn]), np.flatnonzero(turned == number)
            made.batch.targets[rows.start + chosen, : len(steps)] = starts[chosen, None] + steps


@dataclass
class Uses:
    """How tables went into joint tables.

    Attributes:
        ways: number of the way of each table, -1 for one without variables.
        bases: place of the joint table among the shares; for a table without variables that of what is possible.
        known: shape of a joint table, axes at which a table enters it, and room for the states that are left to it.
        turns: how the axes of a result stand in the table that it joins; None where they are those.
    """

    ways: list[int] = field(default_factory=list)
    bases: list[int] = field(default_factory=list)
    known: dict[tuple[Shape, Axes, int], int] = field(default_factory=dict)
    turns: dict[Axes | None, int] = field(default_factory=lambda: {None: 0})

    def new(self) -> None:
        """Add a table that was not used yet."""
        self.ways.append(-1)
        self.bases.append(1)

    def use(self, tables: Sequence[int], bases: Sequence[int], shape: Shape, axes: Axes, room: int) -> None:
        """Say how tables go into joint tables of one shape."""
        way = self.known.setdefault((shape, axes, room), len(self.known))
        for table, base in zip(tables, bases, strict=True):
            self.ways[table], self.bases[table] = way, base

    def turn(self, turn: Axes | None) -> int:
        """Number a way to stand."""
        return self.turns.setdefault(turn, len(self.turns))


class Readers:
    """Finds readers when all joint tables have their places."""

    def __init__(self, uses: Uses) -> None:
        """Look the uses up by number."""
        self._ways, self._bases = np.array(uses.ways, np.int64), np.array(uses.bases, np.int64)
        self._known, self._turns = list(uses.known), list(uses.turns)

    def of(self, tables: Sequence[int], turned: Sequence[int], width: int | None = None) -> Reading:
        """Read tables one after the other, or in rows of a width, where what is padded is of no account.

        Args:
            tables: their numbers.
            turned: for each, the number of the way in which its axes are wanted.
            width: of a row.
        """
        ids = np.array(tables, np.int64)
        codes, kind_of = np.unique(self._ways[ids] * len(self._turns) + np.array(turned, np.int64), return_inverse=True)
        steps = [self._steps(*divmod(code, len(self._turns))) for code in codes.tolist()]
        sizes = [(len(near), len(far)) for near, far in steps]
        arrays = shared_arrays(sizes, np.bincount(kind_of, minlength=len(codes)).tolist())
        lengths = np.array([size for size, _ in sizes], np.int64)[kind_of]
        begins = np.arange(len(ids)) * width if width else np.cumsum(lengths) - lengths
        order = np.zeros(len(ids) * width if width else int(lengths.sum()), np.int64)
        blocks, done = [], 0
        for members, (long, terms) in arrays:
            chosen = np.zeros(len(codes), bool)
            chosen[members] = True
            rows = np.flatnonzero(chosen[kind_of])
            long = width if width and len(arrays) == 1 else long
            near = np.full((len(rows), long), NOWHERE)
            far = np.full((len(rows) if len(members) > 1 else 1, terms), NOWHERE)
            for member in members:
                own, (first, second) = np.flatnonzero(kind_of[rows] == member), steps[member]
                near[own, : len(first)] = self._bases[ids[rows[own]], None] + first
                far[own if len(members) > 1 else slice(None), : len(second)] = second
                along = np.arange(len(first))
                order[begins[rows[own], None] + along] = done + own[:, None] * long + along
            blocks.append(Index(near, far))
            done += near.size
        whole = len(arrays) == 1 and (width is not None or bool((lengths == lengths[0]).all()))
        return Reading(tuple(blocks), None if whole else order)

    def _steps(self, way: int, turn: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the places in a joint table of the states of a table, and of the states of all other variables there."""
        if way < 0:
            return offsets([], []), offsets([], [])
        shape, axes, room = self._known[way]
        wanted = self._turns[turn]
        axes = axes if wanted is None else tuple(axes[k] for k in wanted)
        strides, others = [room, *strides_of(shape[1:])], [a for a in range(len(shape)) if a not in axes]
        near, far = (offsets([shape[a] for a in own], [strides[a] for a in own]) for own in (axes, others))
        return near, far


def shared_arrays(sizes: Sequence[tuple[int, ...]], counts: Sequence[int]) -> list[tuple[list[int], tuple[int, ...]]]:
    """Say which kinds of items share an array, with the size that they are padded to.

    Args:
        sizes: size of the items of each kind along each axis.
        counts: number of items of each kind.

    >>> shared_arrays([(2, 3), (2, 4), (900, 900)], [5, 1, 1])
    [([2], (900, 900)), ([1, 0], (2, 4))]
    """
    found: list[tuple[list[int], tuple[int, ...], int]] = []
    for kind in sorted(range(len(sizes)), key=lambda k: -math.prod(sizes[k])):
        count, alone = counts[kind], math.prod(sizes[kind]) * counts[kind]
        least, place = ARRAY, len(found)
        for k, (_, size, many) in enumerate(found):
            padding = math.prod(map(max, size, sizes[kind])) * (many + count) - math.prod(size) * many - alone
            if padding < least:
                least, place = padding, k
        if place == len(found):
            found.append(([], sizes[kind], 0))
        members, size, many = found[place]
        found[place] = [*members, kind], tuple(map(max, size, sizes[kind])), many + count
    return [(members, size) for members, size, _ in found]


def strides_of(cards: Sequence[int]) -> list[int]:
    """What a state on each axis adds to the place of an entry in a row-major table.

    >>> strides_of([2, 3, 4])
    [12, 4, 1]
    """
    return [math.prod(cards[k + 1 :]) for k in range(len(cards))]


def offsets(cards: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Places of the states of some variables, the last one fastest, where each state adds its stride.

    >>> offsets([2, 3], [1, 10]).tolist()
    [0, 10, 20, 1, 11, 21]
    """
    found = np.zeros(1, np.int32)
    for card, stride in zip(cards, strides, strict=True):
        found = (found[:, None] + stride * np.arange(card, dtype=np.int32)).reshape(-1)
    return found
