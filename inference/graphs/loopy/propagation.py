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

from lawful.errors import LawfulError, NotConvergedError

from ..model.beliefs import Beliefs, Certificate, Kind, number_of
from ..model.graph import FactorGraph
from ..model.potentials import Potentials
from ..model.structure import Structure
from .certificates import attractive, contracts
from .counted_odds import CountedOdds
from .counting import tree_shares
from .exchange import Exchange, Logs
from .first_runs import FirstRuns
from .fixed_points import differentiable_if, settled, stationary
from .forms import exchange_for
from .free_energy import factor_probabilities, inconsistency, log_z, point_at, probabilities, tempered
from .log_odds import LogOdds
from .loopy import CEILING, Run, Settings, run
from .messages import Messages, Net, by_group, net_of, scores_of
from .odds_beliefs import beliefs_at
from .schedules import schedule_of
from .sweeping import steps_of
from .widening import Wide, widened

GRADIENTS = ("refuse", "unrolled", "allow")
SEVERAL = 3  # blocks that are slow to compile


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
    gradient: str = "refuse",
    strict: bool = False,
    factors: bool = True,
) -> Beliefs:
    """Send messages until they stay.

    The answer can be differentiated by potentials and counting numbers. The derivative of log_z is the beliefs, which
    costs no more than they do; that of beliefs solves the linear equation of the fixed point, in memory that does not
    grow with the sweeps. A score of -inf has derivative zero; of largest entries that are equal each has its share.

    Args:
        graph: the graph, with its evidence.
        temperature: 1 for sums of products; None for largest products, whose beliefs are those of the best states, and
            whose log_z is the largest score.
        counting: "bethe" for ones, "trw" for shares of random forests, or for each group of factors a number or an
            array (G,).
        damping: share of the old message in the new one, in [0, 1); None raises it whenever the residual does not fall.
        max_iters: largest number of sweeps.
        tol: the residual at which the run ends; default 1e-4 in float32 and 1e-9 in float64. Zero asks for all sweeps.
        schedule: "flooding" sends all messages at once, "residual" a tenth of them, those that would change most.
            "tree" sends them to and fro on a forest, each from the latest state, which is exact after one sweep.
            "auto" is "tree" on a forest, else "flooding". All have the same fixed points.
        init: an answer of the same structure, whose messages are the first.
        certify: whether to look for a proof that the fixed point is the only one.
        gradient: what derivatives are where the run did not converge: "refuse" makes them NaN, and raises an error
            where that is known when they are taken; "allow" takes the messages for a fixed point that they are not;
            "unrolled" makes all `max_iters` sweeps, and differentiates these, which keeps the messages of each.
        strict: whether to raise an error where the run did not converge, as the verdict says otherwise.
        factors: whether to give beliefs of the factors, and of counts that no factor reads; of millions they take more
            memory, and of large counts more time, than all else.

    Raises: LawfulError for settings out of range, and for an `init` of another structure; NotConvergedError as said.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,), cardinality=2)
    >>> graph.factors("same", [z, z[[1, 2, 0]]], np.eye(2) / 4)
    >>> found = propagated(graph)
    >>> found.verdict, found.certificate
    ('converged', 'unique-fixed-point')
    """
    structure, potentials = graph.structure, graph.potentials
    schedule = schedule_of(structure, schedule)
    if gradient not in GRADIENTS:
        raise LawfulError(f"gradient: expected one of {', '.join(GRADIENTS)}, got {gradient!r}.")
    if damping is not None and not 0 <= damping < 1:
        raise LawfulError(f"damping: expected a share in [0, 1), or None, got {damping}.")
    if max_iters < 1:
        raise LawfulError(f"max_iters: expected at least 1, got {max_iters}.")
    if init is not None and (init.structure != structure or init.messages is None):
        raise LawfulError(
            "init: expected the answer of belief propagation on a graph of this structure "
            f"({structure.digest[:12]}), got {'no messages' if init.messages is None else init.structure.digest[:12]}."
        )
    wide = widened(structure)
    ours, scores = (structure, potentials) if wide is None else (wide.structure, wide.potentials(potentials))
    ones, numbers = counting == "bethe", net_of(ours).by_block(_counting(structure, counting))
    exchange = exchange_for(ours, scores, temperature, ones)
    if schedule == "tree":
        steps_of(structure)  # a cycle is refused here
        exchange = Logs(exchange.hard, temperature)
    watched = tol is None or tol > 0
    settings = Settings(damping is None, max_iters, schedule, watched=watched, gradient=gradient, factors=factors)
    eps = 1e-4 if _precision(potentials) == np.float32 else 1e-9
    limit = min(eps if tol is None else tol, CEILING)
    first = None if init is None else init.messages
    if wide is not None and first is None:
        first = wide.first(_precision(potentials))
    found = _program(ours, exchange, settings, wide)(net_of(ours).places, scores, numbers, limit, damping or 0.0, first)
    kind = _kind(counting, temperature)
    certificate: Certificate = "none"
    if temperature == 1 and _converged(found[3]):
        certificate = _certificate(structure, potentials, kind, certify)
    variables, tables, total, verdict, messages, info = found
    method = f"loopy ({schedule})"
    beliefs = Beliefs(structure, variables, tables, total, verdict, messages, info, kind, certificate, method)
    _refuse_unsettled(beliefs, _traced((potentials, numbers)) and gradient == "refuse", strict)
    return beliefs


def _refuse_unsettled(beliefs: Beliefs, differentiated: bool, strict: bool) -> None:
    """Raise where a run did not converge and that was asked for, or its derivative is taken, as is known then."""
    if isinstance(beliefs.verdict_number, jax.core.Tracer):
        if strict:
            raise LawfulError(
                "strict=True: whether the run converges is not known while it is traced (jit, vmap). Fix: look at "
                "`verdict` of what the traced function returns."
            )
        return
    asked = strict or (differentiated and beliefs.verdict != "infeasible")
    if not asked or beliefs.converged:
        return
    why = "strict=True" if strict else "a derivative is taken, which holds at a fixed point alone"
    raise NotConvergedError(
        f"belief propagation did not converge ({beliefs.warnings[0]}), and {why}. Fix: raise max_iters= or damping=, "
        "use counting='trw' or an exact method, or accept it with "
        + ("strict=False." if strict else "gradient='unrolled' or 'allow'.")
    )


def _traced(arrays: Any) -> bool:
    """Tell whether some numbers are not known yet, or differentiated."""
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arrays))


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
    if not certify or _traced(potentials):
        return "none"
    if contracts(structure, potentials):
        return "unique-fixed-point"
    return "lower-bound" if attractive(structure, potentials) else "none"


def _counting(structure: Structure, counting: str | Sequence[Any]) -> Sequence[Any]:
    """Give counting numbers by group."""
    if isinstance(counting, str):
        if counting not in ("bethe", "trw"):
            raise LawfulError(f"counting: expected 'bethe', 'trw' or numbers for each group, got {counting!r}.")
        if counting == "trw" and structure.counted:
            raise LawfulError(
                "counting='trw': the graph has counts, which are in no random forest of tables. Fix: counting='bethe', "
                "or write small counts as tables: unfolded(graph)."
            )
        ones = [1.0] * len(structure.groups)
        return ones if counting == "bethe" else _tree_shares(structure)
    if len(counting) != len(structure.groups):
        raise LawfulError(f"counting: expected numbers for {len(structure.groups)} groups, got {len(counting)}.")
    return list(counting)


_tree_shares = lru_cache(maxsize=64)(tree_shares)


@lru_cache(maxsize=256)
def _program(structure: Structure, exchange: Exchange, settings: Settings, wide: Wide | None) -> Any:
    """Compile a run for a structure; potentials, counting numbers, tolerance and damping are given to it."""
    own, none = net_of(structure), (None,) * len(structure.groups)
    logs = Logs(exchange.hard, getattr(exchange, "temperature", 1.0), leaves=True)

    def sent(parameters: Any, messages: Messages, places: Any) -> Messages:
        """Send all messages once, undamped, as logs: what leaves a fixed point as it is."""
        net = own.at(places)
        scores = scores_of(net, *parameters)
        return logs.sweep(net, scores, logs.prepared(net, scores), messages)

    def read(parameters: Any, messages: Messages, places: Any) -> Any:
        """Give what messages stand for: the total, and beliefs with their largest inconsistency."""
        net = own.at(places)
        scores = scores_of(net, *parameters)
        point = point_at(net, scores, messages, exchange.hard, logs.temperature)
        total, point = log_z(net, scores, messages, point, logs.temperature), tempered(point, logs.temperature)
        beliefs = {card: probabilities(b, 1) for card, b in point.variables.items()}
        variables = by_family(net, beliefs, settings.factors)
        if not settings.factors:
            return total, (variables, none, None, point.evidence)
        tables = by_factors(net, factor_probabilities(net, point), beliefs)
        return total, (variables, tables, inconsistency(net, point), point.evidence)

    def program(
        places: Any, potentials: Potentials, counting: Any, tol: Any, damping: Any, first: Messages | None
    ) -> Any:
        parameters, net = (potentials, counting), own.at(places)
        unrolled = settings.gradient == "unrolled"
        held = parameters if unrolled else jax.lax.stop_gradient(parameters)
        ended = run(net, scores_of(net, *held), exchange, settings, tol, damping, first)
        messages, alone = ended.messages, set(structure.counts) == {2} and not net.tallies
        if isinstance(exchange, CountedOdds) or (isinstance(exchange, LogOdds) and alone):
            # It is chosen where all numbers are known, so there is nothing to differentiate.
            found = beliefs_at(net, scores_of(net, *held), jax.lax.stop_gradient(messages), settings.factors)
            tables = by_factors(net, found.factors, found.variables) if settings.factors else none
            total, messages = found.log_z, found.messages
            others = by_family(net, found.variables, settings.factors), tables, found.inconsistency, found.evidence
        elif unrolled:
            total, others = read(parameters, messages, places)
        else:
            point = settled(sent, parameters, messages, places)
            total, others = stationary(read, parameters, point, places)
        verdict = _verdict(ended, jax.lax.stop_gradient(total), tol)
        if not unrolled:
            total, others = differentiable_if(_trust(verdict, settings), (total, others))
        variables, factors, off, evidence = others
        if wide is not None:
            variables, factors = wide.narrow(variables, factors)
        info = {
            "iterations": ended.iterations,
            "residual": ended.residual,
            "residuals": ended.trace,
            "damping": ended.damping,
        }
        if off is not None:
            info["inconsistency"] = off
        if net.tallies:
            info["impossible"] = impossible_bags(net, evidence)
        return variables, factors, total, verdict, jax.lax.stop_gradient(messages), info

    if settings.gradient == "unrolled" or own.tallies or len(own.blocks) < SEVERAL:
        return jax.jit(program)
    return FirstRuns(program, lambda found: int(np.max(found[-1]["iterations"])))


def _trust(verdict: Any, settings: Settings) -> Any:
    """Weigh derivatives: nothing moves a mass of zero, and what did not converge has none unless that is allowed."""
    good = (verdict == number_of("converged")) | (settings.gradient == "allow")
    return jnp.where(verdict == number_of("infeasible"), 0.0, jnp.where(good, 1.0, jnp.nan))


def _verdict(ended: Run, total: Any, tol: Any) -> Any:
    """Number of the verdict."""
    before, after = jnp.median(ended.tail[:10]), jnp.median(ended.tail[10:])
    moving = jnp.where(after > 0.9 * before, number_of("oscillating"), number_of("slow"))
    settled = jnp.where(ended.residual <= tol, number_of("converged"), moving)
    feasible = jnp.where(total == -jnp.inf, number_of("infeasible"), settled)
    broken = jnp.isnan(ended.residual) | jnp.isnan(total) | (total == jnp.inf)
    return jnp.where(broken, number_of("nonfinite"), feasible)


def impossible_bags(net: Net, evidence: Sequence[Any]) -> dict[str, Any]:
    """Mark, by the name of each count, the bags that have none (G,)."""
    found = {count.name: jnp.zeros(count.size, bool) for count in net.structure.counted}
    for tally, own in zip(net.tallies, evidence, strict=True):
        name = net.structure.counted[tally.number].name
        found[name] = found[name].at[tally.bags].set(jnp.isneginf(own))
    return found


def _converged(verdict: Any) -> bool:
    """Tell whether all runs converged; of traced runs that is not known."""
    return not isinstance(verdict, jax.core.Tracer) and bool((np.asarray(verdict) == number_of("converged")).all())


def by_family(net: Net, beliefs: dict[int, Any], leaves: bool = True) -> tuple[Any, ...]:
    """Give beliefs of the variables by family `(*shape, K)`, from those by number of states (K, n).

    Without `leaves` those of counts that nothing else reads are None.
    """
    read = {net.structure.counted[tally.number].name for tally in net.tallies if not tally.leaf}
    left_out = set() if leaves else {count.name for count in net.structure.counted} - read
    begun = dict.fromkeys(beliefs, 0)
    found: list[Any] = []
    for family in net.structure.families:
        card, size = family.cardinality, family.size
        if not size:
            found.append(jnp.zeros((*family.shape, card)))
            continue
        start = begun[card]
        begun[card] = start + size
        own = beliefs[card][:, start : start + size]
        found.append(None if family.name in left_out else own.T.reshape((*family.shape, card)))
    return tuple(found)


def by_factors(net: Net, beliefs: Sequence[Any], variables: dict[int, Any]) -> tuple[Any, ...]:
    """Give beliefs of factors by group (G, K_1, ..., K_r), from those by block; of one variable they are its own."""
    found = by_group(net, beliefs) | {number: column.read(variables[card]).T for number, column, card in net.singles}
    groups = enumerate(net.structure.groups)
    return tuple(found[k] if k in found else jnp.ones((g.size, *g.cardinalities)) for k, g in groups)


def _precision(potentials: Potentials) -> Any:
    arrays = (*potentials.unary, *potentials.tables)
    return np.dtype(jnp.result_type(*arrays)) if arrays else np.dtype(float)
