"""Forms: which form of messages serves a graph, as simple as its numbers allow.

Law: every form sends the same messages; what a form needs to know of the numbers is looked at while they are concrete.
Factors of one variable join its scores and send nothing, so their tables count as scores.
"""

from __future__ import annotations

import jax
import numpy as np

from ..model.potentials import Potentials
from ..model.structure import Structure
from .counted_odds import CountedOdds
from .exchange import Logs
from .layouts import pieces_of
from .log_odds import RANGE, LogOdds, kind_of
from .messages import Net, net_of


def exchange_for(
    structure: Structure, potentials: Potentials, temperature: float | None, ones: bool = True
) -> Logs | LogOdds | CountedOdds:
    """Choose how messages are kept: as simple as the numbers allow; of traced ones nothing is known.

    Args:
        structure: of the graph.
        potentials: its numbers.
        temperature: that of the messages.
        ones: whether all counting numbers are one.
    """
    arrays = (*potentials.unary, *potentials.tables)
    if any(isinstance(x, jax.core.Tracer) for x in arrays):
        return Logs(True, temperature)
    hard = any(np.min(np.asarray(x), initial=0) == -np.inf for x in arrays)
    hard = hard or any(np.ptp(count.sizes) > 0 for count in structure.counted if count.size)
    narrow = all(
        np.min(np.asarray(t), initial=0) > -np.inf and _range(np.asarray(t)) <= RANGE
        for g, t in zip(structure.groups, potentials.tables, strict=True)
        if g.arity != 1
    )
    net = net_of(structure)
    binary = narrow and temperature == 1 and ones and _binary(net)
    if binary and (not hard or _counts_exclude(structure, potentials)):
        odds = LogOdds(tuple(kind_of([np.asarray(potentials.tables[k]) for k in p.groups]) for p in pieces_of(net)))
        return CountedOdds(odds) if hard else odds
    if hard or not narrow or temperature != 1 or not ones:
        return Logs(hard, temperature)
    potts = all(
        _is_potts(np.asarray(t)) for g, t in zip(structure.groups, potentials.tables, strict=True) if g.arity > 1
    )
    return Logs(hard, temperature, weights=True, potts=potts)


def _binary(net: Net) -> bool:
    """Tell whether messages go to binary variables alone, from pairs and from counts that nothing else reads."""
    pairs = 2 in net.structure.counts and all(block.cardinalities == (2, 2) for block in net.blocks)
    return pairs and all(tally.leaf and tally.cardinalities[0] == 2 for tally in net.tallies)


def _counts_exclude(structure: Structure, potentials: Potentials) -> bool:
    """Tell whether counts alone exclude states, and each member has one: all other scores are finite."""
    names = {count.name for count in structure.counted}
    members = np.concatenate([np.zeros(0, np.int64), *(count.members for count in structure.counted)])
    own = [scores for f, scores in zip(structure.families, potentials.unary, strict=True) if f.name not in names]
    held = np.concatenate([np.zeros(0, np.int64), *(count.totals for count in structure.counted)])
    tables = zip(structure.groups, potentials.tables, strict=True)
    own += [t for g, t in tables if g.arity == 1 and not np.isin(g.scopes, held).any()]
    finite = all(np.min(np.asarray(x), initial=0) > -np.inf for x in own)
    apart = all((f.cardinality == 2) == (f.name not in names) for f in structure.families)
    return finite and apart and int(np.bincount(members, minlength=1).max()) <= 1


def _is_potts(tables: np.ndarray) -> bool:
    """Tell whether all tables are of pairs that draw equal states together, all states that differ with one score.

    Where they push equal states apart the sum that makes the form fast would be a difference, and lose digits.
    """
    if tables.ndim != 3 or tables.shape[1] != tables.shape[2] or tables.shape[1] < 2:
        return False
    equal = np.eye(tables.shape[1], dtype=bool)
    apart = tables[:, ~equal]
    return bool((apart == apart[:, :1]).all() and (tables[:, equal] >= apart[:, :1]).all())


def _range(tables: np.ndarray) -> float:
    """Give the largest difference of two scores in one table."""
    flat = tables.reshape((len(tables), -1)) if tables.size else np.zeros((1, 1))
    return float((flat.max(axis=1) - flat.min(axis=1)).max())
