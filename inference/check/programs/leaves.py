"""Leaves: the statements of generated programs that hold no control flow, and what every statement is made with.

Law: what a statement takes from the budget of paths is at least the number of its choice sequences, on all runs of it
together; what it defines stands in the scope that it was made in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from .limits import Limits
from .statements import Assign, Family, Flaw, Plate, Site, Statement, Table, Variable, Weighed, Weight

type Pick = Callable[[int], int]
CARDINALITIES = (2, 3, 4, 1)
SEEDS = 1 << 16
FLAWS: tuple[Flaw, ...] = ("nan", "negative", "above one")
FAMILIES: tuple[Family, ...] = ("categorical", "uniform", "bernoulli")


@dataclass
class Scope:
    """What stands at one place of the program.

    `scalars` and `arrays` are visible; `mates` are the arrays of the plates around, whose elements a site may depend
    on; `plate` is the shape of these plates; `copies` counts how often each site runs; `depth` counts branches, `level`
    all constructs around. Where programs are `nested`, arrays are visible in them.
    """

    scalars: list[Variable]
    arrays: list[Variable] = field(default_factory=list)
    mates: list[Variable] = field(default_factory=list)
    plate: tuple[int, ...] = ()
    copies: int = 1
    depth: int = 0
    level: int = 0
    nested: bool = False

    def inner(self, *more: Variable, copies: int = 1, deeper: int = 0) -> Scope:
        """Return the scope of a body, with what it is given."""
        return Scope(
            [*self.scalars, *more],
            list(self.arrays) if self.nested else [],
            copies=self.copies * copies,
            depth=self.depth + deeper,
            level=self.level + 1,
            nested=self.nested,
        )


class Leaves:
    """Makes statements without control flow from a source of integers, within a budget of paths."""

    def __init__(self, pick: Pick, limits: Limits) -> None:
        self.pick = pick
        self.limits = limits
        self.budget = limits.max_paths
        self.count = 0
        self.reserved = 1
        self.may_be_extreme = limits.extreme
        self.may_be_invalid = limits.invalid

    # Pieces.

    def name(self, prefix: str) -> str:
        """Return a new name."""
        self.count += 1
        return f"{prefix}{self.count}"

    def spend(self, wanted: int, copies: int) -> int:
        """Take as many values as the budget of paths allows."""
        card = min(wanted, self.limits.max_cardinality)
        while card > 1 and card**copies * self.reserved > self.budget:
            card -= 1
        self.budget //= card**copies
        return card

    def parents(self, pool: list[Variable], most: int) -> tuple[Variable, ...]:
        """Choose up to `most` variables, recent ones first."""
        chosen: list[Variable] = []
        for _ in range(self.pick(most + 1)):
            rest = [variable for variable in pool if variable not in chosen]
            if rest:
                chosen.append(rest[-1 - self.pick(len(rest))])
        return tuple(chosen)

    def table(self, name: str, kind: Literal["rows", "log_factor"], shape: tuple[int, ...]) -> Table:
        """Make a table of probabilities or of log weights."""
        extreme = kind == "log_factor" and self.may_be_extreme and self.pick(4) == 3
        self.may_be_extreme = self.may_be_extreme and not extreme
        flaw: Flaw = ""
        if kind == "rows" and self.may_be_invalid and shape[-1] > 1 and 0 not in shape and self.pick(2):
            flaw, self.may_be_invalid = FLAWS[self.pick(len(FLAWS))], False
        return Table(name, kind, shape, seed=self.pick(SEEDS), extreme=extreme, flaw=flaw)

    def integers(self, name: str, shape: tuple[int, ...], low: int, card: int) -> Table:
        """Make a table of whole numbers."""
        return Table(name, "integers", shape, low, card, seed=self.pick(SEEDS))

    def site(self, scope: Scope, at_least: int = 1) -> Site:
        """Generate a choice."""
        size = int(np.prod(scope.plate))
        wanted = max(CARDINALITIES[self.pick(len(CARDINALITIES))], at_least)
        card = self.spend(wanted, scope.copies * size)
        site = self.distribution(scope, self.name("x"), card)
        (scope.mates if scope.plate else scope.scalars).append(site.variable)
        return site

    def distribution(self, scope: Scope, name: str, card: int) -> Site:
        """Choose the law of a site, and on what it depends."""
        kinds = FAMILIES[: 3 if card == 2 else 2]
        family = kinds[self.pick(len(kinds))]
        low = self.pick(2) if family == "uniform" else 0
        variable = Variable(name, card, low, scope.plate)
        if family == "uniform":
            return Site(variable, family)
        parents = self.parents([*scope.scalars, *scope.mates], most=2)
        each = len(scope.plate) == 1 and not any(parent.shape for parent in parents) and self.pick(2) == 1
        shape = (*(scope.plate if each else ()), *(parent.card for parent in parents), card)
        return Site(variable, family, parents, self.table(name, "rows", shape), each)

    def factor(self, scope: Scope) -> Weight:
        """Generate a factor, perhaps of an array."""
        name = self.name("f")
        arrays = scope.arrays and [scope.arrays[-1 - self.pick(len(scope.arrays))]]
        parents = self.parents([*scope.scalars, *arrays], most=3)
        return Weight(name, parents, self.table(name, "log_factor", tuple(parent.card for parent in parents)))

    def observe(self, scope: Scope) -> Site:
        """Generate an observation."""
        name = self.name("y")
        card = min(CARDINALITIES[self.pick(2)], self.limits.max_cardinality)
        site = self.distribution(scope, name, card)
        variable = Variable(name, card, 0, scope.plate)
        data = self.integers(f"{name}_data", scope.plate, 0, card)
        return Site(variable, site.family, site.parents, site.table, site.each, f'tables["{name}_data"]', data)

    def assign(self, scope: Scope) -> Assign:
        """Generate a function of variables."""
        name = self.name("d")
        operation: Literal["table", "sum", "equal"] = ("table", "sum", "equal")[self.pick(3)]
        first = scope.scalars[-1 - self.pick(len(scope.scalars))]
        pool = [*scope.scalars, *scope.arrays] if operation == "sum" else scope.scalars
        operands = (first, pool[-1 - self.pick(len(pool))])
        card = 2 if operation == "equal" else min(CARDINALITIES[self.pick(2)], self.limits.max_cardinality)
        variable = Variable(name, card)
        table = None
        if operation == "table":
            table = self.integers(name, tuple(operand.card for operand in operands), 0, card)
        scope.scalars.append(variable)
        return Assign(variable, operation, operands, table)

    def plate(self, scope: Scope) -> Plate:
        """Generate a batch of sites, perhaps with a plate inside."""
        name, size = self.name("p"), (2, 1, 3, 0)[self.pick(4)]
        # Where plates nest, the inner one is the axis further to the left.
        inner = replace(scope, mates=list(scope.mates), plate=(size, *scope.plate))
        statements: list[Statement] = [self.site(inner)]
        if scope.nested and self.pick(3) == 2:
            statements.append(self.masked(inner))
        if "observe" in self.limits.kinds and self.pick(2):
            statements.append(self.observe(inner))
        if len(inner.plate) < 2 and self.pick(3) == 2:
            statements.append(self.plate(inner))
        scope.arrays += [mate for mate in inner.mates if mate.shape == inner.plate and mate not in scope.mates]
        return Plate(name, size, tuple(statements))

    def masked(self, scope: Scope) -> Weighed:
        """Mask elements of a site: each by a number of its own, or by the value of another site."""
        parents = self.parents(scope.mates, most=1)
        shape = tuple(parent.card for parent in parents) or scope.plate
        table = self.integers(self.name("m"), shape, 0, 2)
        return Weighed("mask", table, (self.observe(scope) if self.pick(2) else self.site(scope),), parents)
