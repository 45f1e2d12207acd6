"""Loopy belief propagation: messages sent again and again until they stay, with a verdict on whether they did.

Law: a fixed point is one of the undamped update, whatever the damping, the schedule and the start; on a forest with
counting numbers one it is the exact answer. The residual is the largest change that an undamped update would make.

Reference: Pearl (1988), Probabilistic reasoning in intelligent systems; Yedidia, Freeman and Weiss (2005), Constructing
free-energy approximations and generalized belief propagation algorithms; Elidan, McGraw and Koller (2006), Residual
belief propagation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .exchange import Exchange, Logs
from .messages import Messages, Net, Scores
from .schedules import most_changed
from .sweeping import steps_of, swept

CHECK = 10
TAIL = 20
DAMPINGS = (0.0, 0.5, 0.8, 0.9)
CEILING = 1e-3  # no residual above it is ever called converged


@dataclass(frozen=True)
class Settings:
    """How a run goes on.

    Attributes:
        adaptive: whether the share of the old message grows whenever the residual does not fall.
        max_iters: largest number of sweeps.
        schedule: "flooding" sends all messages at once, "residual" the share of them that would change most,
            "tree" sends them in turns (see `schedules`).
        share: that share.
        watched: whether the last sweeps are all looked at, to tell a run that oscillates from a slow one.
        gradient: "refuse" and "allow" differentiate the fixed point, whatever led to it; "unrolled" the run itself,
            which then makes all sweeps.
        factors: whether beliefs of the factors are made of it.
    """

    adaptive: bool = False
    max_iters: int = 500
    schedule: str = "flooding"
    share: float = 0.1
    watched: bool = True
    gradient: str = "refuse"
    factors: bool = True


class Run(NamedTuple):
    """Messages at the end.

    Attributes:
        messages: for each block, for each axis, as logs (K, *shape).
        iterations: sweeps done.
        residual: the largest change that an undamped update would make.
        tail: residuals of the last sweeps where they did not stay, the last at the end.
        trace: residuals at every tenth sweep, NaN where there was none.
        damping: at the end.
    """

    messages: Messages
    iterations: Any
    residual: Any
    tail: Any
    trace: Any
    damping: Any


class _State(NamedTuple):
    """What a run carries: `checked` is the residual at the last tenth sweep, which decides on the damping."""

    messages: Messages
    sweeps: Any
    residual: Any
    checked: Any
    tail: Any
    trace: Any
    damping: Any


def run(
    net: Net,
    scores: Scores,
    exchange: Exchange,
    settings: Settings,
    tol: Any,
    damping: Any,
    first: Messages | None = None,
) -> Run:
    """Send messages until their residual is at most `tol`, looked at every ten sweeps, or every one in turns.

    Args:
        net: the factors and their variables.
        scores: the potentials.
        exchange: how messages are kept and sent.
        settings: how the run goes on.
        tol: the residual that ends it.
        damping: share of the old message in the new one; the first one where it is adaptive.
        first: the first messages, as logs; None says nothing.
    """
    dtype = next(iter(scores.unary.values())).dtype if scores.unary else jnp.result_type(float)
    messages = exchange.start(net, dtype) if first is None else exchange.of_logs(net, first)
    prepared = exchange.prepared(net, scores)
    inf, nan = jnp.asarray(jnp.inf, dtype), jnp.asarray(jnp.nan, dtype)
    turns = steps_of(net.structure) if settings.schedule == "tree" else None

    def step(state: _State) -> _State:
        old = state.messages
        if isinstance(exchange, Logs) and turns is not None:
            old = swept(net, scores, exchange, turns, old, state.damping)
        new = exchange.sweep(net, scores, prepared, old)
        last = state.sweeps + 1
        checked = last % CHECK == 0
        asked = checked | (last > settings.max_iters - (TAIL if settings.watched else 1)) | (turns is not None)
        mixed = _pairwise(lambda a, b: exchange.damped(a, b, state.damping), new, old)

        def moved() -> Messages:
            # What an undamped update changes, read off the damped one: its result is then never kept by itself.
            return _pairwise(lambda a, b: exchange.changes(a, b) / (1 - state.damping), mixed, old)

        if turns is not None:
            # Counts have no turns: they hear at the end of a sweep what the factors before them have left.
            now = _largest(moved(), dtype)
            mixed = (*net.parted(old)[0], *net.parted(mixed)[1])
        elif settings.schedule == "residual":
            every = moved()
            mixed, now = most_changed(mixed, old, every, settings.share), _largest(every, dtype)
        else:
            now = jax.lax.cond(asked, lambda: _largest(moved(), dtype), lambda: nan)
        now = jax.lax.stop_gradient(now)
        grown = jnp.where(now > 0.9 * state.checked, _next_damping(state.damping), state.damping)
        return _State(
            mixed,
            last,
            jnp.where(asked, now, state.residual),
            jnp.where(checked, now, state.checked),
            jnp.where(asked, jnp.concatenate([state.tail[1:], now[None]]), state.tail),
            jnp.where(checked, state.trace.at[last // CHECK - 1].set(now), state.trace),
            jnp.where(checked, grown, state.damping) if settings.adaptive else state.damping,
        )

    def going(state: _State) -> Any:
        return (state.sweeps < settings.max_iters) & (state.residual > tol) & ~jnp.isnan(state.residual)

    tail, trace = jnp.full(TAIL, nan), jnp.full(settings.max_iters // CHECK + 1, nan)
    begun = _State(messages, jnp.zeros((), jnp.int32), inf, inf, tail, trace, jnp.asarray(damping, dtype))
    if settings.gradient == "unrolled":
        ended, _ = jax.lax.scan(jax.checkpoint(lambda state, _: (step(state), None)), begun, length=settings.max_iters)
    else:
        ended = jax.lax.while_loop(going, step, begun)
    logs = exchange.completed(net, scores, exchange.as_logs(net, ended.messages))
    return Run(logs, ended.sweeps, ended.residual, ended.tail, ended.trace, ended.damping)


def _pairwise(function: Callable[[Any, Any], Any], new: Messages, old: Messages) -> Messages:
    """Apply a function to each new message and the old one."""
    return tuple(tuple(function(a, b) for a, b in zip(*pair, strict=True)) for pair in zip(new, old, strict=True))


def _next_damping(damping: Any) -> Any:
    """Go one step up; the last one stays."""
    steps = jnp.asarray(DAMPINGS, damping.dtype)
    return steps[jnp.minimum(jnp.searchsorted(steps, damping, side="right"), len(DAMPINGS) - 1)]


def _largest(moved: Sequence[Sequence[Any]], dtype: Any) -> Any:
    found = [jnp.max(m) for group in moved for m in group if m.size]
    return jnp.max(jnp.stack(found)) if found else jnp.zeros((), dtype)
