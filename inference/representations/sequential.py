"""Sequential: a program cut into segments; it pauses between two of them, and at every step of a loop that is weighed.

Meaning: the program, run to its end. Law: finish . advance = finish. Between two segments live only the values that
later segments read; what only the end reads is left behind, to be fetched by lineage. A loop that pauses reads by the
number of the step what choices have made, since a population carries what varies with the particle as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp

from lawful.addresses import Address, as_address, show_address
from lawful.errors import LawfulError
from lawful.form import Factor, Form, Loop, Node, Site, Var, subforms, walk
from lawful.form.builder import Block
from lawful.form.liveness import has_weight, is_random, random_values
from lawful.passes.record import record

from ..contract import PRESERVES, Transformer

type Cuts = None | str | Sequence[str | Address]

STEPS, DRAWS, FACTORS = "loops", "draws", "factors"


@dataclass(frozen=True)
class Segment:
    """A part of a program without a pause inside, or a loop with a pause before each step.

    Attributes:
        form: the part, from the values that it reads to those that later segments read; the body of a loop.
        loop: the loop, or None.
        pauses: whether the program pauses before the part.
    """

    form: Form
    loop: Loop | None = None
    pauses: bool = True

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes of the program that the segment runs."""
        return self.form.nodes if self.loop is None else (self.loop,)

    @property
    def stages(self) -> int:
        """How many pauses there are."""
        return self.loop.length if self.loop is not None else int(self.pauses)


@dataclass(frozen=True)
class Sequential:
    """A Form in segments.

    Attributes:
        form: the whole form.
        segments: the first is run before the first pause, the last after the last one; neither is a loop.
        live: after each segment but the last, the values that a later segment reads, the last segment left out.
        kept: after each segment but the last, the values that the last segment or the outputs read.
        hold: whether the choices stay in view, so that they can be moved; then all choices that were made are live, and
            everything else is computed from them again.
        choices: with `hold`, the value of each choice by address.
        weighings: how many stages have a factor or an observation.
    """

    form: Form
    segments: tuple[Segment, ...]
    live: tuple[tuple[Var, ...], ...]
    kept: tuple[frozenset[Var], ...]
    hold: bool = False
    choices: dict[Address, Var] = field(default_factory=dict)
    weighings: int = 0

    @property
    def prefix(self) -> Form:
        """What is run before the first pause."""
        return self.segments[0].form

    @property
    def suffix(self) -> Form:
        """What is run after the last pause."""
        return self.segments[-1].form

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The loops whose steps are pauses."""
        return tuple(segment.loop for segment in self.segments if segment.loop is not None)

    def so_far(self, position: int, outputs: Iterable[Var]) -> Form:
        """Give the program up to the pause after a segment, with the given outputs."""
        nodes = [node for segment in self.segments[: position + 1] for node in segment.nodes]
        return Form(self.form.inputs, tuple(nodes), tuple(outputs), self.form.constants)


def sequential(form: Form, cuts: Cuts = None, *, hold: bool = False) -> Sequential:
    """Cut a form into segments.

    Args:
        form: the program.
        cuts: where it pauses beside the steps of its weighed loops. "loops": nowhere else; "draws": before a draw that
            follows a factor; "factors": after every factor and observation; names: after these factors and
            observations. Default: "loops" for a program with a weighed loop, else "draws". A weight that no choice can
            move never makes a pause; what is weighed between two loops always makes one.
        hold: keep all choices in view until the end, so that they can be moved at a pause.

    Raises: LawfulError for a name that is no factor and no observation at the top level of the program.

    >>> import lawful
    >>> sequential(lawful.trace(lambda: lawful.factor("once", -1.0))).weighings
    1
    """
    form = indexed(form, _pauses_inside)
    recorded = record(form, ("sample",)) if hold else None
    source = form if recorded is None else recorded.form
    pieces = _pieces(source, cuts)
    constants = {v for v, _ in source.constants}
    held: tuple[Var, ...] = () if recorded is None else recorded.parts.values
    middle = pieces[1:-1]
    end_reads = {*_reads(pieces[-1][0]), *form.outputs} - constants if not hold else set()
    made: set[Var] = set(form.inputs) | constants
    live: list[tuple[Var, ...]] = []
    kept: list[frozenset[Var]] = []
    for position, (nodes, _) in enumerate(pieces[:-1]):
        made |= {v for node in nodes for v in node.outs}
        wanted = [v for later, _ in middle[position:] for v in _loop_reads(later, constants)]
        live.append(tuple(v for v in dict.fromkeys([*wanted, *held]) if v in made))
        kept.append(frozenset(v for v in end_reads if v in made))
    segments = _segments(source, form, pieces, live, kept)
    addresses = () if recorded is None else tuple(choice.address for choice in recorded.choices)
    paused = sum(segment.stages * has_weight(segment.form) for segment in segments[1:-1])
    weighings = has_weight(segments[0].form) + paused + has_weight(segments[-1].form)
    choices = dict(zip(addresses, held, strict=True))
    return Sequential(source, segments, tuple(live), tuple(kept), hold, choices, weighings)


type _Piece = tuple[tuple[Node, ...], bool]


def _segments(
    source: Form, form: Form, pieces: Sequence[_Piece], live: Sequence[tuple[Var, ...]], kept: Sequence[frozenset[Var]]
) -> tuple[Segment, ...]:
    """Close each piece into a Form of its own."""
    constants = {v for v, _ in source.constants}
    found: list[Segment] = []
    for position, (nodes, pauses) in enumerate(pieces):
        if _is_loop(nodes):
            loop = nodes[0]
            assert isinstance(loop, Loop)
            found.append(Segment(loop.body, loop))
            continue
        if position == len(pieces) - 1:
            writes: tuple[Var, ...] = form.outputs
        else:
            later = dict.fromkeys([*live[position], *sorted(kept[position], key=lambda v: v.id)])
            here = {v for node in nodes for v in node.outs}
            here |= {*form.inputs, *constants} if position == 0 else set()
            writes = tuple(v for v in later if v in here)
        made = {v for node in nodes for v in node.outs}
        used = dict.fromkeys([*(v for node in nodes for v in node.ins), *writes])
        reads = form.inputs if position == 0 else tuple(v for v in used if v not in made and v not in constants)
        own = tuple((v, array) for v, array in source.constants if v in used)
        found.append(Segment(Form(reads, nodes, writes, own), None, pauses))
    return tuple(found)


def _is_loop(nodes: tuple[Node, ...]) -> bool:
    return len(nodes) == 1 and isinstance(nodes[0], Loop) and _pauses_inside(nodes[0])


def _pauses_inside(node: Node) -> bool:
    return isinstance(node, Loop) and node.length > 0 and has_weight(node.body)


def _reads(nodes: Sequence[Node]) -> list[Var]:
    made = {v for node in nodes for v in node.outs}
    return [v for node in nodes for v in node.ins if v not in made]


def _loop_reads(nodes: tuple[Node, ...], constants: set[Var]) -> list[Var]:
    """Say what a segment reads; constants are its own, except those of a loop."""
    return _reads(nodes) if _is_loop(nodes) else [v for v in _reads(nodes) if v not in constants]


def _pieces(form: Form, cuts: Cuts) -> list[_Piece]:
    """Split the nodes of a form, each piece with whether there is a pause before it; a loop that pauses is a piece."""
    straight = cuts != STEPS and not (cuts is None and any(map(_pauses_inside, form.nodes)))
    after: set[int] = _cuts_after(form, cuts) if straight else set()
    weighs = _weighing(form)
    pieces: list[_Piece] = []
    nodes: list[Node] = []

    def close() -> None:
        if nodes or not pieces:
            pieces.append((tuple(nodes), bool(pieces) and any(map(weighs, nodes))))
            nodes.clear()

    for index, node in enumerate(form.nodes):
        if _pauses_inside(node):
            close()
            pieces.append(((node,), True))
            continue
        nodes.append(node)
        if index in after:
            close()
    close()
    last, pauses = pieces[-1]
    if pauses and not straight and not _is_loop(last):
        pieces[-1] = (last, False)  # weighed at the end: nothing that it could be resampled for comes after
    elif len(pieces) == 1 or pauses:
        pieces.append(((), False))
    return pieces


def _weighing(form: Form) -> Callable[[Node], bool]:
    """Tell which nodes give particles different weights: those that weigh, and read or make a choice."""
    varying = random_values(form)

    def weighs(node: Node) -> bool:
        if isinstance(node, Factor) or (isinstance(node, Site) and node.observed is not None):
            return any(v in varying for v in node.ins)
        if not any(has_weight(inner) for inner in subforms(node)):
            return False
        return is_random(node) or any(v in varying for v in node.ins)

    return weighs


def _cuts_after(form: Form, cuts: Cuts) -> set[int]:
    """Find the nodes after which there is a pause."""
    weighs = _weighing(form)
    if cuts == FACTORS:
        return {i for i, node in enumerate(form.nodes) if weighs(node)}
    if cuts is None or cuts == DRAWS:
        found, last = set(), None
        for i, node in enumerate(form.nodes):
            if is_random(node) and last is not None and not _pauses_inside(node):
                found.add(last)
            if is_random(node):
                last = None
            if weighs(node) and not _pauses_inside(node):
                last = i
        return found
    if isinstance(cuts, str):
        raise LawfulError(f"cuts: expected 'loops', 'draws', 'factors' or a sequence of names, got {cuts!r}.")
    return {_find(form, as_address(name)) for name in cuts}


def _find(form: Form, address: Address) -> int:
    places = {a: i for i, node in enumerate(form.nodes) for a in _weighed_by(node)}
    if address not in places:
        known = ", ".join(map(show_address, places)) or "none"
        raise LawfulError(
            f"cuts: '{show_address(address)}' is no factor and no observation of the program; it has: {known}.",
            site=address,
        )
    return places[address]


def _weighed_by(node: Node) -> list[Address]:
    inside = [n for form in subforms(node) for n in walk(form)]
    return [
        n.address for n in (node, *inside) if isinstance(n, Factor) or (isinstance(n, Site) and n.observed is not None)
    ]


def indexed(form: Form, wanted: Callable[[Node], bool]) -> Form:
    """Let the wanted loops of a form read by index what they would scan over."""
    varying = random_values(form)
    block = Block()
    block.constants.extend(form.constants)
    changed = False
    for node in form.nodes:
        moving = [i for i, v in enumerate(node.xs) if v in varying] if isinstance(node, Loop) and wanted(node) else []
        if moving:
            assert isinstance(node, Loop)
            node, changed = _by_index(block, node, moving), True
        block.nodes.append(node)
    return replace(form, nodes=tuple(block.nodes)) if changed else form


def row(values: jax.Array, index: jax.Array) -> jax.Array:
    """Take one step of stacked values."""
    return jax.lax.dynamic_index_in_dim(values, index, keepdims=False)


def _by_index(block: Block, loop: Loop, moving: Sequence[int]) -> Loop:
    length, first = loop.length, len(loop.constants) + len(loop.init)
    steps = block.det(lambda: jnp.arange(length, dtype=jnp.int32), label="steps")
    body = Block()
    given = tuple(v.like() for v in loop.body.inputs)
    whole = {i: Var(loop.xs[i].shape, loop.xs[i].dtype) for i in moving}
    index = Var((), jnp.dtype("int32"))
    operands = list(given)
    for i, value in whole.items():
        operands[first + i] = body.det(row, value, index, label="row")
    outputs = body.splice(loop.body, operands)
    rest = [i for i in range(len(loop.xs)) if i not in whole]
    n_const = len(loop.constants)
    inputs = (*given[:n_const], *whole.values(), *given[n_const:first], *(given[first + i] for i in rest), index)
    constants = (*loop.constants, *(loop.xs[i] for i in whole))
    xs = (*(loop.xs[i] for i in rest), steps)
    return replace(loop, body=body.form(inputs, outputs), constants=constants, xs=xs)


def suspend(cuts: Cuts = None, *, hold: bool = False) -> Transformer:
    """Cut a program into segments: see `sequential`.

    >>> suspend("factors")
    suspend(factors)
    """
    shown = "" if cuts is None else f"({cuts if isinstance(cuts, str) else ', '.join(map(str, cuts))})"
    return Transformer(f"suspend{shown}", lambda form: sequential(form, cuts, hold=hold), PRESERVES)


Suspend = suspend()
