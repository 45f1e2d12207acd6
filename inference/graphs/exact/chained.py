"""Chained: exact inference on a graph that is a core and chains, the core by elimination, the chains by loops.

Law: marginals, mass, best assignment and draws are those of elimination. Forward, a chain is a message to its last
variable, which is of the core; back, it is the chain alone with what the core says of that variable beside the message.
Beliefs of pairs in a chain are made where they have few entries enough, and are None elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.operations.device import device_array

from ...laws.log_sum import safe_log
from .. import chains
from ..model.beliefs import layout_of
from ..model.potentials import Potentials, scores_of
from .elimination import Places, drawn, largest, marginals, total
from .orders import Order
from .pendants import Batch, BatchPlaces, Pendants

PAIR_ENTRIES = 1 << 26  # of all pairs of a graph


class Where(NamedTuple):
    """Where numbers stand, as arrays for the compiled program.

    Attributes:
        core: for the elimination of the core.
        batches: for each batch of chains.
        core_rows: for each family of the core, rows among the variables with as many states.
        core_factors: for each group of the core, factors of the group in the whole.
        kept: numbers of the variables of the core.
        rows: for each number of states, places of the variables among those of the core, then of the chains.
        singles: for each group of factors with one variable, rows among the variables with as many states.
    """

    core: Places
    batches: tuple[BatchPlaces, ...]
    core_rows: tuple[np.ndarray, ...]
    core_factors: tuple[np.ndarray, ...]
    kept: np.ndarray
    rows: dict[int, np.ndarray]
    singles: dict[int, np.ndarray]


class Chained:
    """A split graph; its methods are pure functions of the numbers.

    Attributes:
        pendants: the split.
        order: of the elimination of the core.
    """

    def __init__(self, pendants: Pendants, order: Order) -> None:
        """Keep what they are made of."""
        self.pendants, self.order = pendants, order

    @cached_property
    def where(self) -> Where:
        """Where numbers stand."""
        pendants = self.pendants
        structure, rows = pendants.structure, pendants.structure.rows
        core_rows = tuple(rows[pendants.kept[f.offset : f.offset + f.size]] for f in pendants.core.families)
        found = {card: np.zeros(count, np.int64) for card, count in structure.counts.items()}
        begun = dict.fromkeys(found, 0)
        for family, own in zip(pendants.core.families, core_rows, strict=True):
            found[family.cardinality][own] = np.arange(family.size)
            begun[family.cardinality] = family.size
        for batch, places in zip(pendants.batches, pendants.places, strict=True):
            at = begun[batch.states] + np.arange(places.rows.size).reshape(places.rows.shape)
            there = np.arange(batch.steps) < places.lengths[:, None] - batch.attached
            found[batch.states][places.rows[there]] = at[there]
            begun[batch.states] += places.rows.size
        singles = {k: rows[g.scopes[:, 0]] for k, g in enumerate(structure.groups) if g.arity == 1}
        where = Where(
            self.order.places, pendants.places, core_rows, pendants.core_factors, pendants.kept, found, singles
        )
        with jax.ensure_compile_time_eval():
            return jax.tree.map(lambda x: device_array(np.asarray(x, np.int32)), where)

    def marginals(self, where: Where, potentials: Potentials) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
        """Give the log of the mass, and marginals by family and by group."""
        ready, ends = self._forward(where, potentials, False)
        mass, beliefs = marginals(where.core, scores_of(self.pendants.core, ready.core))
        own, of_core = layout_of(self.pendants.core).parted(beliefs)
        core = {f.cardinality: b for f, b in zip(self.pendants.core.families, own, strict=True)}
        found, log_z = [], mass.astype(_dtype(potentials)) + sum(end.log_z for end in ends if end is not None)
        entries = sum(b.paths * (b.steps - 1) * b.states**2 for b in self.pendants.batches)
        for k, (batch, places) in enumerate(zip(self.pendants.batches, where.batches, strict=True)):
            given = ready.chains[k]
            if ends[k] is not None:
                belief = core[batch.states][places.ends]
                cavity = safe_log(belief) - jnp.where(belief > 0, ends[k].log_law, 0)
                given = _with_last(given, places, cavity)
            pairs = "each" if entries <= PAIR_ENTRIES else "none"
            found.append(_each(lambda c, p=pairs: chains.marginals(c, p), batch, given))
            if ends[k] is None:
                log_z = log_z + jnp.sum(found[k].log_z)
        possible = jnp.isfinite(log_z)
        nodes = [jnp.where(possible, m.node, 0) for m in found]
        pairs_of = [None if m.pairs is None else jnp.where(possible, m.pairs, 0) for m in found]
        variables = self._variables(where, {card: jnp.where(possible, b, 0) for card, b in core.items()}, nodes)
        factors = self._factors(where, possible, of_core, variables, pairs_of)
        return log_z, self._by_family(variables, log_z.dtype), factors

    def total(self, where: Where, potentials: Potentials) -> Any:
        """Give the log of the mass alone."""
        ready, ends = self._forward(where, potentials, False)
        found = total(where.core, scores_of(self.pendants.core, ready.core)).astype(_dtype(potentials))
        for batch, given, end in zip(self.pendants.batches, ready.chains, ends, strict=True):
            found = found + (jnp.sum(_each(chains.log_z, batch, given)) if end is None else end.log_z)
        return found

    def largest(self, where: Where, potentials: Potentials) -> tuple[Any, Any]:
        """Give states of all variables (n,) of the highest score, and the score."""
        ready, ends = self._forward(where, potentials, True)
        kept, best = largest(where.core, scores_of(self.pendants.core, ready.core))
        found = [_each(chains.best_path, b, given) for b, given in self._clamped(where, ready, kept)]
        value = best.astype(_dtype(potentials))
        for path, end in zip(found, ends, strict=True):
            value = value + jnp.sum(path.value if end is None else end.log_z)
        return self._states(where, kept, [p.path for p in found]), value

    def draw(self, where: Where, potentials: Potentials, uniforms: Any) -> Any:
        """Turn uniforms, one for each variable (n,), into a draw (n,)."""
        ready, _ = self._forward(where, potentials, False)
        kept = drawn(where.core, scores_of(self.pendants.core, ready.core), uniforms[where.kept])
        paths = []
        for (batch, given), places in zip(self._clamped(where, ready, kept), where.batches, strict=True):
            # A last state that the core forces may be unlikely in the chain alone, whose laws must be right there too.
            method = "logs" if batch.attached else "auto"
            paths.append(
                _each(lambda c, u, m=method: chains.push_path(u, c, m), batch, given, uniforms[places.variables])
            )
        return self._states(where, kept, paths)

    def _forward(self, where: Where, potentials: Potentials, largest: bool) -> tuple[_Ready, list[Any]]:
        """Give the core with the messages of the chains, and what each attached batch says."""
        scores = self._scores(where, potentials)
        core = [scores[f.cardinality][own] for f, own in zip(self.pendants.core.families, where.core_rows, strict=True)]
        place = {f.cardinality: k for k, f in enumerate(self.pendants.core.families)}
        ready: list[chains.Chain] = []
        ends: list[Any] = []
        for batch, places in zip(self.pendants.batches, where.batches, strict=True):
            given = _chains(batch, places, scores[batch.states], potentials)
            ready.append(given)
            ends.append(None)
            if batch.attached:
                end = _each(chains.best_ending if largest else chains.ending, batch, _with_last(given, places, 0.0))
                k = place[batch.states]
                core[k] = core[k].at[places.ends].add(end.log_law.astype(core[k].dtype))
                ends[-1] = end._replace(log_z=jnp.sum(end.log_z))
        tables = []
        for number, rows in zip(self.pendants.core_groups, where.core_factors, strict=True):
            own = potentials.tables[number]
            tables.append(own if self.pendants.structure.groups[number].shared else own[rows])
        return _Ready(Potentials(tuple(core), tuple(tables)), ready), ends

    def _scores(self, where: Where, potentials: Potentials) -> dict[int, Any]:
        """Give scores of the variables by number of states, those of factors with one variable among them."""
        structure = self.pendants.structure
        found: dict[int, list[Any]] = {card: [] for card in structure.counts}
        for family, own in zip(structure.families, potentials.unary, strict=True):
            if family.size:
                found[family.cardinality].append(own)
        scores = {
            card: jnp.concatenate(parts) if len(parts) > 1 else jnp.asarray(parts[0]) for card, parts in found.items()
        }
        for k, rows in where.singles.items():
            card = structure.groups[k].cardinalities[0]
            own = jnp.broadcast_to(potentials.tables[k], (len(rows), card))
            scores[card] = scores[card].at[rows].add(own)
        return scores

    def _clamped(self, where: Where, ready: _Ready, kept: Any) -> list[tuple[Batch, chains.Chain]]:
        """Give the chains, the last states of those that are attached as the core has them."""
        found = []
        offset = {f.cardinality: f.offset for f in self.pendants.core.families}
        for batch, places, given in zip(self.pendants.batches, where.batches, ready.chains, strict=True):
            if batch.attached:
                state = kept[offset[batch.states] + places.ends]
                given = _with_last(given, places, jnp.where(state[:, None] == jnp.arange(batch.states), 0.0, -jnp.inf))
            found.append((batch, given))
        return found

    def _states(self, where: Where, kept: Any, paths: list[Any]) -> Any:
        states = jnp.zeros(self.pendants.structure.size, jnp.int32)
        for places, path in zip(where.batches, paths, strict=True):
            states = states.at[places.variables].set(jnp.maximum(path, 0))  # after its end a path repeats its state
        return states.at[where.kept].set(kept.astype(jnp.int32))

    def _variables(self, where: Where, core: dict[int, Any], nodes: list[Any]) -> dict[int, Any]:
        parts: dict[int, list[Any]] = {card: [] for card in where.rows}
        for card, own in core.items():
            parts[card].append(own)
        for batch, node in zip(self.pendants.batches, nodes, strict=True):
            parts[batch.states].append(node.reshape((-1, batch.states)))
        return {card: jnp.concatenate(parts[card])[rows] for card, rows in where.rows.items()}

    def _by_family(self, variables: dict[int, Any], dtype: Any) -> tuple[Any, ...]:
        """Give marginals of each family `(*shape, K)`, from those of all variables with as many states (n, K)."""
        begun = dict.fromkeys(variables, 0)
        found = []
        for family in self.pendants.structure.families:
            card, size = family.cardinality, family.size
            start = begun.get(card, 0)
            own = variables[card][start : start + size] if size else jnp.zeros((0, card), dtype)
            begun[card] = start + size
            found.append(own.reshape((*family.shape, card)))
        return tuple(found)

    def _factors(
        self, where: Where, possible: Any, of_core: Sequence[Any], variables: dict[int, Any], pairs: list[Any]
    ) -> tuple[Any, ...]:
        """Put marginals of factors where they belong; None for groups whose pairs were not asked for."""
        groups, batches = self.pendants.structure.groups, self.pendants.batches
        unknown = {p.group for b, own in zip(batches, pairs, strict=True) if own is None for p in b.pieces}
        dtype = jnp.result_type(*variables.values())
        found: list[Any] = [jnp.zeros((g.size, *g.cardinalities), dtype) for g in groups]
        for k, rows in where.singles.items():
            found[k] = variables[groups[k].cardinalities[0]][rows]
        for k, rows, own in zip(self.pendants.core_groups, where.core_factors, of_core, strict=True):
            found[k] = found[k].at[rows].set(jnp.where(possible, own, 0))
        for batch, places, own in zip(batches, where.batches, pairs, strict=True):
            if own is None:
                continue
            flat = own.reshape((-1, batch.states, batch.states))
            for piece, rows, edges in zip(batch.pieces, places.factors, places.edges, strict=True):
                each = jnp.swapaxes(flat, 1, 2) if piece.flipped else flat
                found[piece.group] = found[piece.group].at[rows].set(each[edges])
        return tuple(None if k in unknown else own for k, own in enumerate(found))


class _Ready(NamedTuple):
    """Numbers of the core, and the chains of each batch."""

    core: Potentials
    chains: list[chains.Chain]


def _chains(batch: Batch, places: BatchPlaces, scores: Any, potentials: Potentials) -> chains.Chain:
    """Put the scores of a batch together, with an axis of chains in front of all but one matrix for all."""
    tables = [potentials.tables[p.group] for p in batch.pieces]
    live = jnp.arange(batch.steps) < places.lengths[:, None] if batch.ragged else None
    node = scores[places.rows]
    dtype = jnp.result_type(node, *tables)
    turned = [jnp.swapaxes(t, 1, 2) if p.flipped else t for p, t in zip(batch.pieces, tables, strict=True)]
    square = (batch.states, batch.states)
    if all(p.whole and len(t) == 1 for p, t in zip(batch.pieces, tables, strict=True)):
        return chains.Chain(
            node.astype(dtype), sum((t[0] for t in turned), jnp.zeros(square, dtype)).astype(dtype), live
        )
    count = batch.paths * (batch.steps - 1)
    total = jnp.zeros((count, *square), dtype)
    for piece, table, rows, edges in zip(batch.pieces, turned, places.factors, places.edges, strict=True):
        own = table[0] if len(table) == 1 else table[rows]
        total = total + own if piece.whole and not batch.ragged else total.at[edges].add(own)
    return chains.Chain(node.astype(dtype), total.reshape((batch.paths, batch.steps - 1, *square)), live)


def _with_last(given: chains.Chain, places: BatchPlaces, scores: Any) -> chains.Chain:
    """Set the scores of the last states (C, K)."""
    at = np.arange(given.node.shape[0]), places.lengths - 1
    return given._replace(node=given.node.at[at].set(jnp.asarray(scores, given.node.dtype)))


def _each(function: Any, batch: Batch, given: chains.Chain, *more: Any) -> Any:
    """Apply a function to each chain; to one alone without a batch, whose products of vectors are faster."""
    shared = given.transition.ndim == 2
    axes: Any = (0, None if shared else 0, None if given.live is None else 0)
    if batch.paths > 1:
        return jax.vmap(function, in_axes=(chains.Chain(*axes), *[0] * len(more)))(given, *more)
    one = chains.Chain(
        given.node[0],
        given.transition if shared else given.transition[0],
        None if given.live is None else given.live[0],
    )
    return jax.tree.map(lambda x: x[None], function(one, *(x[0] for x in more)))


def _dtype(potentials: Potentials) -> Any:
    return jnp.result_type(*potentials.unary, *potentials.tables)
