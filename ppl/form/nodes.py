"""Nodes of a form, the intermediate form of a program: an immutable list of nodes over typed values.

Meaning: the measure whose density is the product of its sites' laws, its observations and its factors, pushed to its
outputs. A plate is not a node but a mark: a `Var`'s shape leaves plate axes out, and a node with fewer plates than an
operand sees the operand whole. So a reduction over particles is a plain `Det`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..addresses import Address, colliding, names_of, shared_key, show_address
from ..errors import DuplicateSiteError
from ..sources import Source, Statement

V = TypeVar("V")
CHECK = "parameters"  # the role of a factor that is 0, or NaN where a choice was drawn from no law


@dataclass(frozen=True, slots=True)
class Plate:
    """An axis that an algorithm added: particles, chains, worlds."""

    name: str
    size: int


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Var:
    """A value: shape and type without plate axes, and the plates it has, outermost first."""

    shape: tuple[int, ...]
    dtype: Any
    plates: tuple[Plate, ...] = ()
    id: int = field(default_factory=itertools.count().__next__)

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Shape of the array that holds the value: plate sizes, then the shape."""
        return (*(p.size for p in self.plates), *self.shape)

    @property
    def type(self) -> tuple[tuple[int, ...], Any, tuple[Plate, ...]]:
        """Shape, type of the numbers, and plates."""
        return self.shape, self.dtype, self.plates

    def like(self, plates: tuple[Plate, ...] | None = None) -> Var:
        """Make a new value of the same shape and type."""
        return Var(self.shape, self.dtype, self.plates if plates is None else plates)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Det(Statement):
    """A pure function of values, mapped over the plates of the node."""

    function: Callable[..., Any]
    ins: tuple[Var, ...]
    outs: tuple[Var, ...]
    label: str
    plates: tuple[Plate, ...] = ()


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Site(Statement):
    """A random choice, or an observation where `observed` is a value."""

    address: Address
    law: Any
    parameters: tuple[Var, ...]
    out: Var
    observed: Var | None = None
    plates: tuple[Plate, ...] = ()

    @property
    def ins(self) -> tuple[Var, ...]:
        """Operands: the parameters, then the observed value."""
        return self.parameters if self.observed is None else (*self.parameters, self.observed)

    @property
    def outs(self) -> tuple[Var, ...]:
        """The value."""
        return (self.out,)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Factor(Statement):
    """A factor exp(term) of the density; its `role` says whether results count it as likelihood or as prior."""

    address: Address
    term: Var
    plates: tuple[Plate, ...] = ()
    role: str = "likelihood"

    @property
    def ins(self) -> tuple[Var, ...]:
        """The log weight."""
        return (self.term,)

    @property
    def outs(self) -> tuple[Var, ...]:
        """Nothing."""
        return ()


class Entering(NamedTuple):
    """What goes into a loop, or into its body: what all steps read, the state, and what each step reads of its own."""

    constants: list[Any]
    carry: list[Any]
    xs: list[Any]


@dataclass(frozen=True, eq=False)
class Loop:
    """`length` runs of a body Form whose inputs are (constants, carry, x) and outputs (carry, y).

    The values of the loop's `ys` have the steps as their first axis, after the plates. Where a Python loop wrote the
    steps (see `rolling`), `addresses` lists each address of the body with the addresses that its steps have.
    """

    body: Form
    length: int
    constants: tuple[Var, ...]
    init: tuple[Var, ...]
    xs: tuple[Var, ...]
    carry_out: tuple[Var, ...]
    ys: tuple[Var, ...]
    reverse: bool = False
    plates: tuple[Plate, ...] = ()
    addresses: tuple[tuple[Address, tuple[Address, ...]], ...] | None = None

    @property
    def unrolled(self) -> bool:
        """Whether a Python loop wrote the steps."""
        return self.addresses is not None

    @property
    def ins(self) -> tuple[Var, ...]:
        """Constants, initial carry, scanned values."""
        return (*self.constants, *self.init, *self.xs)

    def split(self, ins: Sequence[Any]) -> Entering:
        """Split what belongs to the inputs of the loop, or of its body: constants, carry, scanned values."""
        first, rest = len(self.constants), len(self.constants) + len(self.init)
        return Entering(list(ins[:first]), list(ins[first:rest]), list(ins[rest:]))

    def split_out(self, outs: Sequence[V]) -> tuple[list[V], list[V]]:
        """Split what belongs to the outputs of the loop, or of its body: carry, stacked values."""
        return list(outs[: len(self.init)]), list(outs[len(self.init) :])

    @property
    def outs(self) -> tuple[Var, ...]:
        """Final carry, stacked outputs."""
        return (*self.carry_out, *self.ys)


@dataclass(frozen=True, eq=False)
class Branch:
    """One of several Forms with equal inputs and outputs, chosen by an integer."""

    index: Var
    forms: tuple[Form, ...]
    operands: tuple[Var, ...]
    outs: tuple[Var, ...]
    plates: tuple[Plate, ...] = ()
    label: str = "branch"

    @property
    def ins(self) -> tuple[Var, ...]:
        """The index, then the operands."""
        return (self.index, *self.operands)


type Node = Det | Site | Factor | Loop | Branch


@dataclass(frozen=True)
class Hidden:
    """A choice that no inference sees: where it stands, and the handler inside the program that answers it."""

    address: Address
    source: Source
    handler: str


@dataclass(frozen=True, eq=False)
class Form:
    """A traced program: inputs, nodes in the order of evaluation, outputs.

    `constants` are closed-over arrays; `hidden` are the choices that the program draws by itself. `in_tree` is the tree
    of its arguments by name, whose leaves are its first inputs (see `arguments_of`); None where they have no names.
    """

    inputs: tuple[Var, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Var, ...]
    constants: tuple[tuple[Var, Any], ...] = ()
    in_tree: Any = None
    out_tree: Any = None
    hidden: tuple[Hidden, ...] = ()
    cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)  # see `cached`

    def __post_init__(self) -> None:
        """Refuse two sites with one address, unless they stand in different arms, and colliding address codes."""
        pair = colliding(_addresses(self))
        if pair is not None:
            raise shared_key(*pair)

    def sites(self) -> Iterator[Site]:
        """Walk all sites, also inside loops and branches."""
        for node in walk(self):
            if isinstance(node, Site):
                yield node

    def __str__(self) -> str:
        """Same as `show`."""
        return self.show()

    def __repr__(self) -> str:
        """Short description."""
        observed = [site.observed is not None for site in self.sites()]
        sites = f"{observed.count(False)} latent sites, {observed.count(True)} observed"
        return f"Form({len(self.inputs)} inputs, {sites}, {len(self.nodes)} nodes)"

    if TYPE_CHECKING:  # bound by the package, since what runs, writes, draws, scores and checks forms stands above them

        def __call__(self, *args: Any) -> Any:
            """Run eagerly, as a program: every site is announced to the handlers."""

        def show(self) -> str:
            """Write the form as text, one line per meaning."""

        def to_dot(self, *, factors: bool = False) -> str:
            """Write the graph of sites and factors in the DOT language; with `factors`, the factor graph."""

        def to_mermaid(self) -> str:
            """Write the graph of sites and factors as a Mermaid flowchart."""

        def to_svg(self) -> str:
            """Draw the graph of sites and factors as SVG, which a page or a notebook can hold."""

        def to_networkx(self) -> Any:
            """Return the networkx.DiGraph of sites and factors; an edge is a direct dependence."""

        def to_factor_graph(self) -> Any:
            """Return the bipartite networkx.Graph of sites and of the terms of the density."""

        def log_density(self, choices: Any, *args: Any) -> Any:
            """Score the form at given choices."""

        def check(self, *args: Any) -> tuple[Any, ...]:
            """Return the findings of the linter."""


def subforms(node: Node) -> tuple[Form, ...]:
    """Return the Forms inside a node."""
    if isinstance(node, Loop):
        return (node.body,)
    return node.forms if isinstance(node, Branch) else ()


def walk(form: Form) -> Iterator[Node]:
    """Walk all nodes in the order of evaluation, parents before their insides."""
    for node in form.nodes:
        yield from within(node)


def within(node: Node) -> Iterator[Node]:
    """Walk a node and all nodes inside it."""
    yield node
    for inner in subforms(node):
        yield from walk(inner)


def constant_arrays(form: Form) -> dict[Var, Any]:
    """Collect the closed-over arrays of a form and of the forms inside it."""
    found = dict(form.constants)
    for node in form.nodes:
        for inner in subforms(node):
            found |= constant_arrays(inner)
    return found


def _addresses(form: Form) -> dict[Address, Source]:
    found: dict[Address, Source] = {}
    for node in form.nodes:
        if isinstance(node, Det | Site | Factor):
            if node.address is None:
                continue
            new = {node.address: node.source}
        else:
            new = {address: source for inner in subforms(node) for address, source in _addresses(inner).items()}
        if isinstance(node, Loop) and node.addresses is not None:
            new = {own: new[first] for first, steps in node.addresses if first in new for own in steps}
        for address, source in new.items():
            if address in found:
                raise DuplicateSiteError(
                    f"site '{show_address(names_of(address))}' is used twice: at {found[address]} and at {source}. "
                    "Fix: rename one, or call the program inside lawful.scope(prefix).",
                    site=address, first=found[address], second=source,
                )  # fmt: skip
            found[address] = source
    return found
