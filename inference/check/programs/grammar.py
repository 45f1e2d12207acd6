"""The grammar's generator: one source of small integers turns into a finite program.

Law: the number of choice sequences never exceeds `max_paths`, by counting while the program grows; and the integer 0
always means the simplest alternative, so a shrinking source shrinks towards fewer statements, two values, uniform rows
and factors of 1. What belongs to a statement is picked together, so that it can be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from .leaves import CARDINALITIES, SEEDS, Leaves, Pick, Scope
from .limits import KINDS, Limits
from .programs import FiniteProgram, paths_through
from .statements import (
    Assign,
    Block,
    Branch,
    Call,
    Loop,
    Repeat,
    Site,
    Statement,
    Switch,
    Table,
    Variable,
    Weighed,
    with_tables,
)

type Whole = Callable[[Callable[[], list[Statement]]], list[Statement]]
INSIDE = ("guard", "branch", "switch", "repeat", "loop", "plate", "weigh", "call")
RESERVE = 4  # choice sequences that are kept for each statement that must occur


def random_program(seed: int, **limits: Any) -> FiniteProgram:
    """Generate a program from a seed.

    Args:
        seed: any integer; equal seeds and limits give equal programs.
        limits: fields of `Limits`.

    >>> program = random_program(3, statements=3, loops=False)
    >>> program == random_program(3, statements=3, loops=False), program.path_count() <= 4096
    (True, True)
    >>> random_program(0, loops="exactly one", include=["guard"]).features >= {"scan", "guard"}
    True
    """
    rng = np.random.default_rng(seed)
    return generate(lambda n: int(rng.integers(n)), Limits(**limits))


def picks(seed: int, limits: Limits) -> list[int]:
    """List the integers that the program of a seed was generated from; where there was no choice, none."""
    rng, taken = np.random.default_rng(seed), []

    def pick(n: int) -> int:
        drawn = int(rng.integers(n))
        taken.extend([drawn] if n > 1 else [])
        return drawn

    generate(pick, limits)
    return taken


def generate(pick: Pick, limits: Limits, whole: Whole = lambda make: make()) -> FiniteProgram:
    """Generate a program from a source of integers: `pick(n)` lies in 0..n-1.

    `whole` makes a statement; all that is picked meanwhile belongs to it, and could be left out together.
    """
    return _Generator(pick, limits, whole).program()


class _Generator(Leaves):
    def __init__(self, pick: Pick, limits: Limits, whole: Whole) -> None:
        Leaves.__init__(self, pick, limits)
        self.whole = whole

    def program(self) -> FiniteProgram:
        scope, statements = Scope([], nested=self.limits.nested), []
        count, demanded = self.schedule()
        self.reserved = RESERVE ** sum(map(len, demanded))
        for place in range(count + 1):
            for kind in demanded[place]:
                self.reserved //= RESERVE
                statements += self.whole(partial(self.statements, kind, scope))
            if place < count:
                statements += self.whole(lambda: self.statements(self.kind(), scope))
        visible = [*scope.scalars, *scope.arrays]
        returned = tuple(variable for variable in visible if self.pick(3)) or tuple(visible[-1:])
        return FiniteProgram(tuple(statements), returned)

    def schedule(self) -> tuple[int, list[list[str]]]:
        """Choose the number of statements of any kind, and which others stand before each of them and at the end."""
        limits, one = self.limits, self.limits.loops == "exactly one"
        count = self.pick(limits.statements) + (not one)
        demanded: list[list[str]] = [[] for _ in range(count + 1)]
        for kind in limits.include:
            if kind != "loop":
                demanded[count - self.pick(count + 1)].append(kind)
        if one or "loop" in limits.include:
            demanded[count - (0 if limits.loop_last else self.pick(count + 1))].append("loop")
        return count, demanded

    def kind(self) -> str:
        """Choose the kind of an outermost statement."""
        limits = self.limits
        allowed = [kind for kind in KINDS if kind in limits.kinds and not (kind == "loop" and limits.loops is not True)]
        allowed = [kind for kind in allowed if not (kind == "repeat" and limits.loops == "exactly one")]
        return allowed[self.pick(len(allowed))]

    def statements(self, kind: str, scope: Scope) -> list[Statement]:
        """Generate one statement of a kind, after a site where it needs a variable that is not there yet."""
        needs = {"branch": 2, "guard": 2, "switch": 2, "assign": 1, "call": 1, "repeat": 1}.get(kind, 0)
        before: list[Statement] = []
        if needs and not _any_of_card(scope, needs):
            before = [self.site(scope, at_least=needs)]
            # Where the budget of paths is spent, no variable can have two values any more.
            kind = kind if _any_of_card(scope, needs) else "factor"
        makers: dict[str, Callable[[Scope], Statement]] = {
            "site": self.site,
            "factor": self.factor,
            "observe": self.observe,
            "assign": self.assign,
            "branch": self.branch,
            "guard": self.guard,
            "plate": self.plate,
            "loop": self.loop,
            "call": self.call,
            "switch": self.switch,
            "repeat": self.repeat,
            "weigh": self.weigh,
        }
        return [*before, makers[kind](scope)]

    def perhaps(self, kinds: Sequence[str], scope: Scope) -> list[Statement]:
        """Generate a statement of one of the kinds, or none."""
        allowed = [kind for kind in kinds if kind in self.limits.kinds]
        return self.statements(allowed[self.pick(len(allowed))], scope) if allowed and self.pick(2) else []

    def inside(self, scope: Scope) -> list[Statement]:
        """Generate a construct inside the body of another one, or none."""
        allowed = [kind for kind in INSIDE if kind in self.limits.kinds]
        if not (scope.nested and scope.level == 1 and allowed and self.pick(4)):
            return []
        return self.statements(allowed[self.pick(len(allowed))], scope)

    # Statements. Each notes in its scope what it defines.

    def branch(self, scope: Scope) -> Branch:
        return self.cond(scope, guard=False)

    def guard(self, scope: Scope) -> Branch:
        return self.cond(scope, guard=True)

    def cond(self, scope: Scope, guard: bool) -> Branch:
        name = self.name("b")
        tests = [variable for variable in scope.scalars if variable.card >= 2]
        test = tests[-1 - self.pick(len(tests))]
        value = test.low + self.pick(test.card)
        before = self.budget
        first = self.arm(scope)
        left, self.budget = self.budget, before
        second = Block((), scope.scalars[-1 - self.pick(len(scope.scalars))]) if guard else self.arm(scope, first)
        self.budget = min(left, self.budget)
        arms = (second, first) if guard and self.pick(2) else (first, second)
        variable = Variable(name, max(arm.result.card for arm in arms))
        scope.scalars.append(variable)
        return Branch(variable, test, value, arms)

    def arm(self, scope: Scope, *other: Block) -> Block:
        """Generate an arm: a site, which another arm may draw too, and perhaps a factor or one more branch."""
        inner = scope.inner(deeper=1)
        again = self.same_arm(inner, *other)
        if again is not None:
            return again
        statements: list[Statement] = [self.same_site(inner, *other) or self.site(inner)]
        statements += self.inside(inner)
        nested = ("guard", "branch") if inner.depth < 2 else ()
        statements += self.perhaps(("factor", "observe", "assign", *nested, "weigh"), inner)
        return Block(tuple(statements), inner.scalars[-1])

    def same_site(self, inner: Scope, *other: Block) -> Site | None:
        """Draw the first site of another arm by another law, or none."""
        if not (self.limits.shared and other and self.pick(2)):
            return None
        (first, *_), copies = other[0].statements, inner.copies
        assert isinstance(first, Site)
        variable = first.variable
        if variable.low or variable.card**copies * self.reserved > self.budget:
            return None
        self.budget //= variable.card**copies
        parents = self.parents(inner.scalars, most=2)
        shape = (*(parent.card for parent in parents), variable.card)
        inner.scalars.append(variable)
        return Site(variable, "categorical", parents, self.table(self.name("t"), "rows", shape))

    def same_arm(self, inner: Scope, *other: Block) -> Block | None:
        """Repeat another arm by other laws, or none; where programs are nested, it may hold loops."""
        if not (self.limits.shared and inner.nested and other and self.pick(2)):
            return None
        paths = paths_through(other[0].statements) ** inner.copies
        if paths * self.reserved > self.budget:
            return None
        self.budget //= paths

        def redrawn(table: Table) -> Table:
            if table.kind == "integers":
                return table
            return replace(table, name=self.name("t"), seed=self.pick(SEEDS), extreme=False, flaw="")

        again: Block = with_tables(other[0], redrawn)
        return again

    def switch(self, scope: Scope) -> Switch:
        name = self.name("w")
        tests = [variable for variable in scope.scalars if variable.card >= 2]
        test = tests[-1 - self.pick(len(tests))]
        before, left = self.budget, []
        arms: list[Block] = []
        for _ in range(min(test.card, 3)):
            self.budget = before
            arms.append(self.arm(scope, *arms[:1]))
            left.append(self.budget)
        self.budget = min(left)
        variable = Variable(name, max(arm.result.card for arm in arms))
        scope.scalars.append(variable)
        return Switch(variable, test, tuple(arms))

    def repeat(self, scope: Scope) -> Statement:
        """Generate a bounded loop, or a factor where the budget of paths does not hold its coins."""
        bound = min((1, 2, 3, 0)[self.pick(4)], self.limits.max_length)
        while bound >= 0 and 2 ** ((bound + 1) * scope.copies) * self.reserved > self.budget:
            bound -= 1
        if bound < 0:
            return self.factor(scope)
        self.budget //= 2 ** ((bound + 1) * scope.copies)
        name, start = self.name("r"), scope.scalars[-1 - self.pick(len(scope.scalars))]
        state = Variable(f"{name}_state", start.card)
        coin = self.table(f"{name}_coin", "rows", (start.card, 2))
        inner = scope.inner(state, copies=max(bound, 1))
        body: list[Statement] = []
        if self.pick(2):
            drawn = Variable(self.name("x"), self.spend(start.card, inner.copies))
            rows = self.table(drawn.name, "rows", (start.card, drawn.card))
            body = [Site(drawn, "categorical", (state,), rows)]
            inner.scalars.append(drawn)
        else:
            following = Variable(self.name("d"), start.card)
            body = [Assign(following, "sum", (state, state))]
            inner.scalars.append(following)
        result = inner.scalars[-1]
        body += self.inside(inner)
        if inner.scalars[-1] is not result:
            both = Assign(Variable(self.name("d"), start.card), "sum", (result, inner.scalars[-1]))
            body, result = [*body, both], both.variable
        body += self.perhaps(("factor", "observe"), inner)
        variable = Variable(name, start.card)
        scope.scalars.append(variable)
        return Repeat(variable, state, bound, start, coin, Block(tuple(body), result))

    def weigh(self, scope: Scope) -> Weighed:
        """Generate a mask, or a scale of 1 or 2, around a few statements."""
        how: Literal["mask", "scale"] = ("mask", "scale")[self.pick(2)]
        parents = self.parents(scope.scalars, most=1) if scope.nested else ()
        cards = tuple(parent.card for parent in parents)
        table = self.integers(self.name("m"), cards, 0 if how == "mask" else 1, 2)
        statements = self.perhaps(("site",), scope)
        statements += self.inside(replace(scope, level=scope.level + 1))  # what it defines is visible after it
        statements += [self.observe(scope) if "observe" in self.limits.kinds and self.pick(2) else self.factor(scope)]
        return Weighed(how, table, tuple(statements), parents)

    def loop(self, scope: Scope) -> Loop:
        one = self.limits.loops == "exactly one"
        lengths = [length for length in ((2, 3, 1) if one else (2, 1, 3, 0)) if length <= self.limits.max_length]
        name, length = self.name("s"), lengths[self.pick(len(lengths))]
        card = self.carried_card(length * scope.copies)
        carry = [Variable(f"{name}_state", card)]
        if self.pick(3) == 2:
            carry.append(Variable(f"{name}_memory", 2))
        starts = tuple(self.start(scope, variable) for variable in carry)
        inner = scope.inner(*carry, copies=length)
        state = self.transition(inner, carry[0])
        statements: list[Statement] = [state]
        datum = one or ("observe" in self.limits.kinds and self.pick(2) == 1)
        data = self.integers(f"{name}_data", (length,), 0, 2) if datum else None
        if datum:
            statements.append(self.emission(state.variable, f"{name}_data"))
        following = [state.variable]
        statements += self.inside(inner)
        if scope.nested and inner.scalars[-1] is not state.variable:
            both = Assign(Variable(self.name("d"), card), "sum", (state.variable, inner.scalars[-1]))
            statements, following = [*statements, both], [both.variable]
        statements += self.perhaps(("factor", "guard", "branch", "assign"), inner)
        if len(carry) > 1:
            memory = Variable(f"{name}_next", 2)
            statements.append(Assign(memory, "sum", (carry[1], inner.scalars[-1])))
            following.append(memory)
        output = inner.scalars[-1]
        ends = tuple(Variable(f"{variable.name}_end", variable.card) for variable in carry)
        history = Variable(f"{name}_history", output.card, 0, (length,))
        scope.scalars += ends
        scope.arrays.append(history)
        body = tuple(statements)
        return Loop(name, length, tuple(carry), starts, body, tuple(following), ends, output, history, data)

    def start(self, scope: Scope, carried: Variable) -> Table | Variable:
        """Choose what a carried variable begins with: a number of the program, or a variable before the loop."""
        known = [variable for variable in scope.scalars if variable.card <= carried.card] if scope.nested else []
        if known and self.pick(2):
            return known[-1 - self.pick(len(known))]
        return self.integers(f"{carried.name}_start", (), 0, carried.card)

    def carried_card(self, copies: int) -> int:
        """Choose the number of values of a carried variable; its transition spends them from the budget."""
        return self.spend(CARDINALITIES[self.pick(3)], max(copies, 1))

    def transition(self, inner: Scope, carried: Variable) -> Site:
        """Draw the next state given the carried one and perhaps one more variable."""
        name = self.name("x")
        others = [variable for variable in inner.scalars if variable != carried]
        parents = (carried, others[-1 - self.pick(len(others))]) if others and self.pick(2) else (carried,)
        shape = (*(parent.card for parent in parents), carried.card)
        variable = Variable(name, carried.card)
        inner.scalars.append(variable)
        return Site(variable, "categorical", parents, self.table(name, "rows", shape))

    def emission(self, state: Variable, datum: str) -> Site:
        """Observe a step's datum, given the state."""
        name = self.name("y")
        table = self.table(name, "rows", (state.card, 2))
        return Site(Variable(name, 2), "bernoulli", (state,), table, observed=datum)

    def call(self, scope: Scope) -> Call:
        name = self.name("c")
        first, second = (scope.scalars[-1 - self.pick(len(scope.scalars))] for _ in range(2))
        parameter = Variable(f"{name}_argument", max(first.card, second.card))
        inner = scope.inner(parameter, copies=2)
        statements: list[Statement] = [self.site(inner)]
        statements += self.inside(inner)
        statements += self.perhaps(("factor", "observe", "assign"), inner)
        body = Block(tuple(statements), inner.scalars[-1])
        results = (Variable(f"{name}_a", body.result.card), Variable(f"{name}_b", body.result.card))
        scope.scalars += results
        return Call(name, parameter, body, (first, second), results)


def _any_of_card(scope: Scope, card: int) -> bool:
    return any(variable.card >= card for variable in scope.scalars)
