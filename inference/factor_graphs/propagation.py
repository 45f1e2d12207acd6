"""Propagation: loopy belief propagation on a graph, from potentials to beliefs, verdict and certificate.

Law: the answer says how the run ended. With counting numbers one on a forest a converged answer is exact; elsewhere its
log_z is that of the Bethe free energy, or of the bound that its counting numbers belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from .beliefs import Beliefs
from .certificates import attractive, contracts
from .counting import tree_shares
from .exchange import Exchange, Logs
from .free_energy import inconsistency, log_z, point_at, probabilities
from .graph import FactorGraph, Potentials
from .log_odds import RANGE, LogOdds
from .loopy import CEILING, Run, Settings, run
from .messages import Messages, Net, by_group, net_of, scores_of
from .structure import Structure
from .verdicts import Certificate, Kind, number_of

SCHEDULES = ("flooding", "residual")


def propagated(
    graph: FactorGraph,
    *,
    temperature: float | None = 1.0,
    counting: str | Sequence[Any] = "bethe",
    damping: float | None = None,
    max_iters: int = 500,
    tol: float | None = None,
    schedule: str = "flooding",
    init: Beliefs | None = None,
    certify: bool = True,
) -> Beliefs:
    """Send messages until they stay.

    Args:
        graph: the graph, with its evidence.
        temperature: 1 for sums of products; None for largest products, whose beliefs are those of the best states.
        counting: "bethe" for ones, "trw" for shares of random forests, or for each group of factors a number or an
            array (G,).
        damping: share of the old message in the new one, in [0, 1); None raises it whenever the residual does not fall.
        max_iters: largest number of sweeps.
        tol: the residual at which the run ends; default 1e-4 in float32 and 1e-9 in float64. Zero asks for all sweeps.
        schedule: "flooding" or "residual".
        init: an answer of the same structure, whose messages are the first.
        certify: whether to look for a proof that the fixed point is the only one.

    Raises: LawfulError for settings out of range, and for an `init` of another structure.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,), cardinality=2)
    >>> graph.factors("same", [z, z[[1, 2, 0]]], np.eye(2) / 4)
    >>> found = propagated(graph)
    >>> found.verdict, found.certificate
    ('converged', 'unique-fixed-point')
    """
    structure, potentials = graph.structure, graph.potentials
    if schedule not in SCHEDULES:
        raise LawfulError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}.")
    if damping is not None and not 0 <= damping < 1:
        raise LawfulError(f"damping: expected a share in [0, 1), or None, got {damping}.")
    if max_iters < 1:
        raise LawfulError(f"max_iters: expected at least 1, got {max_iters}.")
    if init is not None and (init.structure != structure or init.messages is None):
        raise LawfulError(
            "init: expected the answer of belief propagation on a graph of this structure "
            f"({structure.digest[:12]}), got {'no messages' if init.messages is None else init.structure.digest[:12]}."
        )
    ones, numbers = counting == "bethe", _counting(structure, counting)
    exchange = exchange_for(structure, potentials, temperature, ones)
    settings = Settings(damping is None, max_iters, schedule, watched=tol is None or tol > 0)
    eps = 1e-4 if _precision(potentials) == np.float32 else 1e-9
    limit = min(eps if tol is None else tol, CEILING)
    found = _program(structure, exchange, settings)(
        potentials, numbers, limit, damping or 0.0, None if init is None else init.messages
    )
    kind = _kind(counting, temperature)
    certificate: Certificate = "none"
    if temperature == 1 and _converged(found[3]):
        certificate = _certificate(structure, potentials, kind, certify)
    variables, factors, total, verdict, messages, info = found
    method = f"loopy ({schedule})"
    return Beliefs(structure, variables, factors, total, verdict, messages, info, kind, certificate, method)


def _kind(counting: str | Sequence[Any], temperature: float | None) -> Kind:
    """Say what stands for log Z."""
    if temperature is None:
        return "max"
    if not isinstance(counting, str):
        return "fractional"
    return "trw" if counting == "trw" else "bethe"


def _certificate(structure: Structure, potentials: Potentials, counting: str, certify: bool) -> Certificate:
    """Say what a converged answer is worth."""
    if counting == "trw":
        return "upper-bound"
    if counting != "bethe":
        return "none"
    if structure.is_forest:
        return "exact"
    if not certify:
        return "none"
    if contracts(structure, potentials):
        return "unique-fixed-point"
    return "lower-bound" if attractive(structure, potentials) else "none"


def _counting(structure: Structure, counting: str | Sequence[Any]) -> tuple[Any, ...]:
    """Give counting numbers by block."""
    if isinstance(counting, str):
        if counting not in ("bethe", "trw"):
            raise LawfulError(f"counting: expected 'bethe', 'trw' or numbers for each group, got {counting!r}.")
        ones = [1.0] * len(structure.groups)
        return net_of(structure).by_block(ones if counting == "bethe" else _tree_shares(structure))
    if len(counting) != len(structure.groups):
        raise LawfulError(f"counting: expected numbers for {len(structure.groups)} groups, got {len(counting)}.")
    return net_of(structure).by_block(list(counting))


_tree_shares = lru_cache(maxsize=64)(tree_shares)


@lru_cache(maxsize=256)
def _program(structure: Structure, exchange: Exchange, settings: Settings) -> Any:
    """Compile a run for a structure; potentials, counting numbers, tolerance and damping are given to it."""
    net = net_of(structure)

    @jax.jit
    def program(potentials: Potentials, counting: Any, tol: Any, damping: Any, first: Messages | None) -> Any:
        scores = scores_of(net, potentials, counting)
        ended = run(net, scores, exchange, settings, tol, damping, first)
        point = point_at(net, scores, ended.messages, exchange.hard)
        total = log_z(net, scores, ended.messages, point)
        beliefs = {card: probabilities(b, 1) for card, b in point.variables.items()}
        variables, factors = _by_family(net, beliefs), _by_group(net, point.factors, beliefs)
        info = {
            "iterations": ended.iterations,
            "residual": ended.residual,
            "residuals": ended.trace,
            "damping": ended.damping,
            "inconsistency": inconsistency(net, point),
        }
        return variables, factors, total, _verdict(ended, total, tol), ended.messages, info

    return program


def _verdict(ended: Run, total: Any, tol: Any) -> Any:
    """Number of the verdict."""
    before, after = jnp.median(ended.tail[:10]), jnp.median(ended.tail[10:])
    moving = jnp.where(after > 0.9 * before, number_of("oscillating"), number_of("slow"))
    settled = jnp.where(ended.residual <= tol, number_of("converged"), moving)
    feasible = jnp.where(total == -jnp.inf, number_of("infeasible"), settled)
    broken = jnp.isnan(ended.residual) | jnp.isnan(total) | (total == jnp.inf)
    return jnp.where(broken, number_of("nonfinite"), feasible)


def _converged(verdict: Any) -> bool:
    """Tell whether all runs converged; of traced runs that is not known."""
    return not isinstance(verdict, jax.core.Tracer) and bool((np.asarray(verdict) == number_of("converged")).all())


def _by_family(net: Net, beliefs: dict[int, Any]) -> tuple[Any, ...]:
    begun = dict.fromkeys(beliefs, 0)
    found = []
    for family in net.structure.families:
        card, size = family.cardinality, family.size
        if not size:
            found.append(jnp.zeros((*family.shape, card)))
            continue
        start = begun[card]
        begun[card] = start + size
        found.append(beliefs[card][:, start : start + size].T.reshape((*family.shape, card)))
    return tuple(found)


def _by_group(net: Net, log_beliefs: Sequence[Any], variables: dict[int, Any]) -> tuple[Any, ...]:
    """Give beliefs of the factors (G, K_1, ..., K_r); those of factors with one variable are the variable's."""
    own = [probabilities(b, len(block.cardinalities)) for b, block in zip(log_beliefs, net.blocks, strict=True)]
    found = by_group(net, own) | {number: column.read(variables[card]).T for number, column, card in net.singles}
    groups = enumerate(net.structure.groups)
    return tuple(found[k] if k in found else jnp.ones((g.size, *g.cardinalities)) for k, g in groups)


def exchange_for(
    structure: Structure, potentials: Potentials, temperature: float | None, ones: bool = True
) -> Logs | LogOdds:
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
    hard = any(bool(np.isneginf(np.asarray(x)).any()) for x in arrays)
    narrow = not hard and all(_range(np.asarray(t)) <= RANGE for t in potentials.tables)
    if not narrow or temperature != 1 or not ones:
        return Logs(hard, temperature)
    pairs = all(group.arity <= 2 for group in structure.groups) and set(structure.cardinalities.tolist()) == {2}
    if pairs:
        return LogOdds()
    potts = all(
        _is_potts(np.asarray(t)) for g, t in zip(structure.groups, potentials.tables, strict=True) if g.arity > 1
    )
    return Logs(hard, temperature, weights=True, potts=potts)


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


def _precision(potentials: Potentials) -> Any:
    arrays = (*potentials.unary, *potentials.tables)
    return np.dtype(jnp.result_type(*arrays)) if arrays else np.dtype(float)
