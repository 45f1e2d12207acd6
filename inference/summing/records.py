"""Records of a walk that sums sites: what is summed and how, the values met, the sites found, and what a walk offers.

Law: none of its own; `walk`, `control`, `loops` and `values` share them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from lawful.addresses import Address
from lawful.form import Form, Loop, Node, Plate, Site, Var, subforms, walk
from lawful.form.builder import Block
from lawful.form.liveness import makes
from lawful.passes.record import record
from lawful.passes.thread_sites import Threaded

from .axes import Axes
from .tables import Pool, Summand


@dataclass(frozen=True)
class Terms:
    """A scalar that is a sum over elements: the terms before they are summed."""

    terms: tuple[Var, ...]


type Value = Var | Terms


def parts(value: Value) -> tuple[Var, ...]:
    """The arrays of a value."""
    return value.terms if isinstance(value, Terms) else (value,)


@dataclass
class Job:
    """What to sum, and how: sites whose elements are summed together, and loops that are written out, with reasons.

    A table has at most `cap` entries, and elements that are summed together at most `few` values. With `by_step` each
    step of a loop that is summed along its states has the log density of its data, given those before, as its factors.
    """

    wanted: frozenset[Address]
    cap: int
    few: int
    by_step: bool = False
    together: dict[Address, str] = field(default_factory=dict)
    unrolled: dict[Loop, str] = field(default_factory=dict)
    names: Counter[Address] = field(default_factory=Counter)
    bodies: dict[Loop, Threaded] = field(default_factory=dict)

    def recorded(self, loop: Loop) -> Threaded:
        """Add the choices of a body to its outputs: once, so that loops inside it stay the same at every attempt."""
        if loop not in self.bodies:
            self.bodies[loop] = record(loop.body, ("sample",))
        return self.bodies[loop]

    def sums(self, node: Node) -> bool:
        """Tell whether a node is a site that is summed."""
        return isinstance(node, Site) and node.observed is None and node.address in self.wanted

    def keeps(self, node: Node) -> bool:
        """Tell whether a node is a latent site that stays."""
        return isinstance(node, Site) and node.observed is None and node.address not in self.wanted

    def any_inside(self, node: Node, test: Callable[[Node], bool]) -> bool:
        """Test a node and all nodes inside it."""
        return any(test(n) for n in inside(node))

    def label(self, address: Address) -> Address:
        """Make an address that no other site of the form has."""
        self.names[address] += 1
        return address if self.names[address] == 1 else (*address, f"#{self.names[address]}")


def inside(node: Node) -> Iterator[Node]:
    """Walk a node and all nodes inside it."""
    yield node
    for form in subforms(node):
        yield from walk(form)


@dataclass(eq=False)
class Found:
    """A summed site as it was met: once for each step and arm that is written out."""

    address: Address
    steps: tuple[int, ...]
    summand: Summand
    values: Var
    guard: Var | None


@dataclass(eq=False)
class Frame:
    """One form while it is walked: its values so far, when it runs, and what of it is read."""

    env: dict[Var, Value]
    guard: Var | None
    steps: tuple[int, ...] | None
    need: set[Var]


@runtime_checkable
class Walker(Protocol):
    """What the rules for loops, branches and drawn values ask of a walk; `Walk` has it."""

    job: Job
    scope: Callable[[Form, Job], Form]
    block: Block
    pool: Pool
    axes: dict[Var, dict[Plate, Axes]]
    one: dict[Var, Var]
    sites: list[Found]
    stacked: dict[Address, Var]

    def run(
        self,
        form: Form,
        inputs: Sequence[Value],
        outputs: Collection[Var],
        guard: Var | None = None,
        steps: tuple[int, ...] | None = None,
    ) -> Frame:
        """Walk a form that is written out in place of a node."""

    def plates(self, values: Sequence[Value]) -> tuple[Plate, ...]:
        """The summed sites that some values depend on."""

    def axes_of(self, value: Var, plate: Plate) -> Axes | None:
        """Where the elements of a site stand in a value; None where it does not depend on the site."""

    def copy(self, node: Node, frame: Frame) -> None:
        """Write a node that no summed site reaches."""

    def compute(self, function: Any, values: Sequence[Value], label: str) -> list[Value]:
        """Compute a function for all values of the sites that its arguments depend on."""

    def derive(self, function: Callable[..., Any], *values: Value, label: str) -> Value:
        """Compute a function of one result likewise."""

    def map(self, function: Callable[..., Any], term: Var, *scalars: Var) -> Var:
        """Apply a function to every element of a term."""

    def child(self) -> Walker:
        """Start a walk over a body."""


def reached(form: Form, start: Iterable[Var], job: Job) -> set[Var]:
    """Find what depends on summed sites, or on given values, at the top level of a form."""
    found = set(start)
    for node in form.nodes:
        if isinstance(node, Site) and job.keeps(node):
            continue
        if job.any_inside(node, job.sums) or any(v in found for v in makes(node)):
            found.update(node.outs)
    return found


def is_observed(node: Node) -> bool:
    """Tell whether a node is an observation."""
    return isinstance(node, Site) and node.observed is not None
