"""Finite programs: test programs as immutable records that print the Python text that is run.

Law: what is printed is what runs. A program is a function of one pytree, its tables of small rationals; the structure
stays fixed while the tables vary, so one compiled program serves many parameter sets.
"""

from __future__ import annotations

import functools
import linecache
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .printing import HEADER, indented, tuple_text
from .statements import (
    Branch,
    Call,
    Loop,
    Plate,
    Repeat,
    Site,
    Statement,
    Switch,
    Table,
    Variable,
    Weighed,
    Weight,
    inner,
    own_tables,
)


@dataclass(frozen=True, repr=False)
class FiniteProgram:
    """A finite program of the grammar: its statements and the variables that it returns.

    >>> x = Variable("x", 2)
    >>> coin = FiniteProgram((Site(x, "categorical", (), Table("x", "rows", (2,))),), (x,))
    >>> print(coin.source().removeprefix(HEADER))
    def program(tables):
        x = sample("x", dist.Categorical(probs=tables["x"]))
        return (x,)
    <BLANKLINE>
    >>> from lawful.inference.check import enumerate_measure
    >>> enumerate_measure(coin.program, coin.default_tables()).total()
    1.0
    """

    statements: tuple[Statement, ...]
    returns: tuple[Variable, ...]

    def source(self) -> str:
        """Return the program as Python text that runs by itself."""
        returned = tuple_text([variable.name for variable in self.returns], always=True)
        # The body of a scan of no steps meets abstract values even in an eager run, and these cannot index NumPy
        # arrays.
        lifted = ["    tables = jax.tree.map(jnp.asarray, tables)"] if _has_empty_loop(self.statements) else []
        text = ["def program(tables):", *lifted, *indented(self.statements), f"    return {returned}", ""]
        return HEADER + "\n".join(text)

    @property
    def program(self) -> Callable[..., Any]:
        """The program as a function of its tables; the same object each time."""
        return _compiled(self.source())

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that the program reads."""
        return _tables(self.statements)

    def default_tables(self) -> dict[str, np.ndarray]:
        """Return the arrays that belong to the program."""
        return {table.name: table.default() for table in self.tables}

    def random_tables(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return other arrays for the same structure, zeros in probabilities and factors included."""
        return {table.name: table.draw(rng) for table in self.tables}

    def path_count(self) -> int:
        """Return a bound on the number of choice sequences; values of probability zero make it smaller."""
        return paths_through(self.statements)

    def population_path_count(self, particles: int) -> int:
        """Bound the choice sequences of multinomial SMC that resamples between steps and picks one particle."""
        resampled = max(self.loop_length - 1, 0)
        return self.path_count() ** particles * particles ** (particles * resampled) * particles

    @property
    def site_count(self) -> int:
        """Number of sites in the text, observed ones and the coins of bounded loops among them."""
        return _sites(self.statements)

    @property
    def loop_length(self) -> int:
        """Steps of all loops at the outermost level."""
        return sum(statement.length for statement in self.statements if isinstance(statement, Loop))

    @property
    def features(self) -> frozenset[str]:
        """The constructs that occur.

        "site", "dependence" (of a site on one before it), "factor", "observation", "deterministic", "branch" (sites in
        both arms), "guard" (in at most one),
        "switch", "repeat" (a bounded loop), "weigh" (and "mask" or "scale"), "plate", "scan",
        "loop" (a scan of two steps or more), "call", and "nested" (a branch or plate inside another).
        """
        return _features(self.statements)

    def __repr__(self) -> str:
        """Show the text and the default tables, so that a failure can be repeated by hand."""
        shown = [f"{name!r}: {_array(array)}" for name, array in self.default_tables().items()]
        return f"{self.source()}\ntables = {{{', '.join(shown)}}}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the same text where Hypothesis or IPython prints a failure."""
        printer.text(repr(self))


def _array(array: np.ndarray) -> str:
    """Write an array so that it is read to the bit; an empty one keeps its shape."""
    if not array.size:
        return f"np.zeros({array.shape}, {array.dtype.name!r})"
    return f"np.array({array.tolist()})".replace("inf", "np.inf").replace("nan", "np.nan")


def _tables(statements: Sequence[Statement]) -> tuple[Table, ...]:
    return tuple(
        table
        for statement in statements
        for table in (*own_tables(statement), *(t for block in inner(statement) for t in _tables(block)))
    )


def _sites(statements: Sequence[Statement]) -> int:
    own = sum(isinstance(statement, Site | Repeat) for statement in statements)
    return own + sum(_sites(block) for statement in statements for block in inner(statement))


def _has_empty_loop(statements: Sequence[Statement]) -> bool:
    empty = any(isinstance(statement, Loop) and statement.length == 0 for statement in statements)
    return empty or any(_has_empty_loop(block) for statement in statements for block in inner(statement))


def paths_through(statements: Sequence[Statement]) -> int:
    """Bound the number of choice sequences of statements one after the other."""
    return math.prod(_through(statement) for statement in statements)


def _through(statement: Statement) -> int:
    match statement:
        case Site():
            return 1 if statement.observed else statement.variable.card ** math.prod(statement.variable.shape)
        case Branch() | Switch():
            return max(paths_through(block) for block in inner(statement))
        case Repeat():
            return 2 ** (statement.bound + 1) * paths_through(statement.body.statements) ** statement.bound
        case Loop():
            return paths_through(statement.statements) ** statement.length
        case Call():
            return paths_through(statement.body.statements) ** 2
        case Plate() | Weighed():
            return paths_through(statement.statements)
        case _:
            return 1


def _features(statements: Sequence[Statement]) -> frozenset[str]:
    return frozenset().union(*(_features_of(statement) for statement in statements))


def _features_of(statement: Statement) -> frozenset[str]:
    blocks = [_features(block) for block in inner(statement)]
    inside = frozenset().union(*blocks)
    match statement:
        case Site():
            several = statement.variable.card > 1 and any(parent.card > 1 for parent in statement.parents)
            kind = "observation" if statement.observed else "site"
            return frozenset({kind} | ({"dependence"} if several and kind == "site" else set()))
        case Weight():
            return frozenset({"factor"})
        case Branch():
            kind = "branch" if all("site" in block for block in blocks) else "guard"
            return inside | {kind} | ({"nested"} if inside & {"branch", "guard"} else set())
        case Switch():
            return inside | {"switch"}
        case Repeat():
            return inside | {"site", "repeat"}
        case Weighed():
            return inside | {"weigh", statement.how}
        case Plate():
            return inside | {"plate"} | ({"nested"} if "plate" in inside else set())
        case Loop():
            return inside | {"scan"} | ({"loop"} if statement.length > 1 else set())
        case Call():
            return inside | {"call"}
        case _:
            return frozenset({"deterministic"})


@functools.lru_cache(maxsize=4096)
def _compiled(source: str) -> Callable[..., Any]:
    """Run the text; tracebacks show its lines."""
    file = f"<finite program {zlib.crc32(source.encode()):08x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {}
    exec(compile(source, file, "exec"), namespace)
    return namespace["program"]
