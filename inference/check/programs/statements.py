"""Statements: the grammar of finite test programs as immutable records.

Law: every record is data; it is hashable, equal records print equal text, and every number of a program stands in a
table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import numpy as np

FACTOR_VALUES = (1.0, 0.5, 2.0, 0.25, 1.5)
EXTREME_LOG_WEIGHT = 700.0


type Family = Literal["categorical", "bernoulli", "uniform"]
type Flaw = Literal["", "nan", "negative", "above one"]


@dataclass(frozen=True)
class Variable:
    """An integer variable with values low..low + card - 1; its shape comes from plates and loops.

    >>> Variable("x", card=3, low=1).index
    'x - 1'
    """

    name: str
    card: int
    low: int = 0
    shape: tuple[int, ...] = ()

    @property
    def index(self) -> str:
        """The text of the value counted from 0, to index tables with."""
        return f"{self.name} - {self.low}" if self.low else self.name


@dataclass(frozen=True)
class Table:
    """One array of parameters.

    Attributes:
        name: key of the array in the program's argument.
        kind: "rows" (probabilities over the last axis, denominators up to 12), "log_factor" (log of 0, 1/4, 1/2, 1, 3/2
            or 2) or "integers" (data, look-up tables, starts of loops).
        shape: shape of the array.
        low: for integers, the smallest value.
        card: for integers, the number of values.
        seed: what the default array is drawn with; 0 gives uniform rows, factors of 1, the smallest integer.
        extreme: for factors, whether log weights are moved by 700 up or down.
        flaw: for rows, what makes one of them no probabilities, in every family of sites; "" for none.

    >>> Table("x", "rows", (2, 4)).default().tolist()
    [[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]]
    """

    name: str
    kind: Literal["rows", "log_factor", "integers"]
    shape: tuple[int, ...]
    low: int = 0
    card: int = 1
    seed: int = 0
    extreme: bool = False
    flaw: Flaw = ""

    def default(self) -> np.ndarray:
        """Return the array that belongs to the program."""
        if self.flaw:
            rows = replace(self, flaw="").default()
            row = rows.reshape((-1, self.shape[-1]))[self.seed % (rows.size // self.shape[-1])]
            row[:] = {"nan": np.nan, "negative": [-0.5, 1.5, *row[2:] * 0], "above one": 1.25}[self.flaw]
            return rows
        if self.seed:
            return self.draw(np.random.default_rng(self.seed))
        if self.kind == "rows":
            return np.full(self.shape, 1 / self.shape[-1])
        return np.zeros(self.shape) if self.kind == "log_factor" else np.full(self.shape, self.low)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return another array of the same kind and shape."""
        if self.kind == "integers":
            return np.asarray(rng.integers(self.low, self.low + self.card, self.shape))
        if self.kind == "rows":
            counts = rng.integers(0, 4, self.shape)
            counts = np.where(counts.sum(axis=-1, keepdims=True) == 0, 1, counts)
            return counts / counts.sum(axis=-1, keepdims=True)
        log_weights = np.asarray(np.log(rng.choice(FACTOR_VALUES, self.shape)))
        if rng.random() < 1 / 3:
            log_weights = np.where(rng.random(self.shape) < 0.4, -np.inf, log_weights)
        if rng.random() < 1 / 40:
            log_weights = np.full(self.shape, -np.inf)
        shift = rng.choice([-1, 1]) * EXTREME_LOG_WEIGHT if self.extreme else 0.0
        return np.asarray(log_weights + shift)


@dataclass(frozen=True)
class Site:
    """A choice, or an observation of the value whose text is `observed`.

    With `each`, every element of a plate has its own rows.
    """

    variable: Variable
    family: Family
    parents: tuple[Variable, ...] = ()
    table: Table | None = None
    each: bool = False
    observed: str | None = None
    data: Table | None = None


@dataclass(frozen=True)
class Weight:
    """A factor whose log weight is looked up; the weights of an array are multiplied."""

    name: str
    parents: tuple[Variable, ...]
    table: Table


@dataclass(frozen=True)
class Assign:
    """A function of variables: a look-up, a sum modulo the cardinality, or a comparison; arrays are summed first."""

    variable: Variable
    operation: Literal["table", "sum", "equal"]
    operands: tuple[Variable, ...]
    table: Table | None = None


@dataclass(frozen=True)
class Block:
    """Statements in sequence, and the variable that they result in."""

    statements: tuple[Statement, ...]
    result: Variable


@dataclass(frozen=True)
class Branch:
    """A branch on an equality test. An arm without sites makes it a guard of the other arm."""

    variable: Variable
    test: Variable
    value: int
    arms: tuple[Block, Block]


@dataclass(frozen=True)
class Switch:
    """A choice among two arms or more, by a variable modulo their number."""

    variable: Variable
    test: Variable
    arms: tuple[Block, ...]


@dataclass(frozen=True)
class Repeat:
    """A bounded loop: a coin whose bias depends on the state decides before each step whether it goes on."""

    variable: Variable
    state: Variable
    bound: int
    start: Variable
    coin: Table
    body: Block


@dataclass(frozen=True)
class Weighed:
    """Statements under a mask or a scale, whose number stands in a table, or is looked up; in a plate, each its own."""

    how: Literal["mask", "scale"]
    table: Table
    statements: tuple[Statement, ...]
    parents: tuple[Variable, ...] = ()


@dataclass(frozen=True)
class Plate:
    """A batch axis around sites and further plates."""

    name: str
    size: int
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Loop:
    """A scan.

    After a step, `carry` becomes `following`; `ends` is the last carry, `history` the stack of `output`; data ride
    beside the steps.
    """

    name: str
    length: int
    carry: tuple[Variable, ...]
    starts: tuple[Table | Variable, ...]
    statements: tuple[Statement, ...]
    following: tuple[Variable, ...]
    ends: tuple[Variable, ...]
    output: Variable
    history: Variable
    data: Table | None = None


@dataclass(frozen=True)
class Call:
    """A sub-program that is called twice, under two prefixes."""

    name: str
    parameter: Variable
    body: Block
    arguments: tuple[Variable, Variable]
    results: tuple[Variable, Variable]


type Statement = Site | Weight | Assign | Branch | Switch | Repeat | Weighed | Plate | Loop | Call


def inner(statement: Statement) -> tuple[tuple[Statement, ...], ...]:
    """Return the sequences of statements inside a statement."""
    match statement:
        case Branch() | Switch():
            return tuple(arm.statements for arm in statement.arms)
        case Plate() | Loop() | Weighed():
            return (statement.statements,)
        case Call() | Repeat():
            return (statement.body.statements,)
        case _:
            return ()


def own_tables(statement: Statement) -> tuple[Table, ...]:
    """Return the tables that a statement itself reads."""
    tables: tuple[Table | Variable | None, ...]
    match statement:
        case Site():
            tables = (statement.table, statement.data)
        case Weight() | Assign() | Weighed():
            tables = (statement.table,)
        case Repeat():
            tables = (statement.coin,)
        case Loop():
            tables = (*statement.starts, statement.data)
        case _:
            tables = ()
    return tuple(table for table in tables if isinstance(table, Table))


def with_tables(part: Any, change: Callable[[Table], Table]) -> Any:
    """Change the tables of a statement and of all inside it; a part may be a record, or a tuple of such.

    >>> x = Site(Variable("x", 2), "bernoulli", (), Table("x", "rows", (2,)))
    >>> with_tables(x, lambda table: replace(table, name="t")).table.name
    't'
    """
    if isinstance(part, Table):
        return change(part)
    if isinstance(part, tuple):
        return tuple(with_tables(one, change) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: with_tables(getattr(part, field.name), change) for field in fields(part)})
    return part
