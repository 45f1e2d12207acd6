"""Loopy belief propagation: messages sent again and again until they stay, with a verdict on whether they did.

Law: a fixed point is one of the undamped update, whatever the damping, the schedule and the start; on a forest with
counting numbers one it is the exact answer. The residual is the largest change that an undamped update would make.

Reference: Pearl (1988), Probabilistic reasoning in intelligent systems; Yedidia, Freeman and Weiss (2005), Constructing
free-energy approximations and generalized belief propagation algorithms; Elidan, McGraw and Koller (2006), Residual
belief propagation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .messages import Messages, Net, Scores, incoming, normalised, outgoing, start, totals_of

CHECK = 10
TAIL = 20
DAMPINGS = (0.0, 0.5, 0.8, 0.9)
CEILING = 1e-3  # no residual above it is ever called converged


@dataclass(frozen=True)
class Settings:
    """How messages are sent.

    Attributes:
        hard: whether scores may hold -inf.
        temperature: 1 for sums of products, None for largest products, other values between.
        adaptive: whether the share of the old message grows whenever the residual does not fall.
        max_iters: largest number of sweeps.
        schedule: "flooding" sends all messages at once, "residual" the share of them that would change most.
        share: that share.
    """

    hard: bool = True
    temperature: float | None = 1.0
    adaptive: bool = False
    max_iters: int = 500
    schedule: str = "flooding"
    share: float = 0.1


class Run(NamedTuple):
    """Messages at the end.

    Attributes:
        messages: for each group, for each axis (K, *shape).
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


def sweep(net: Net, scores: Scores, messages: Messages, settings: Settings) -> Messages:
    """Send all messages once, undamped."""
    totals = totals_of(net, scores, messages, settings.hard)
    return tuple(
        outgoing(table, incoming(net, totals, messages, k), settings.temperature)
        for k, table in enumerate(scores.tables)
    )


def damped(new: Any, old: Any, damping: Any) -> Any:
    """Mix a message with the old one; a state that either of them excludes is as the new one has it."""
    either = jnp.isneginf(new) | jnp.isneginf(old)
    mixed = (1 - damping) * jnp.where(either, 0.0, new) + damping * jnp.where(either, 0.0, old)
    return normalised(jnp.where(either, new, mixed))


def changes(new: Any, old: Any) -> Any:
    """Give the range over states of new - old, one for each message; inf where the states possible differ."""
    out, gone = jnp.isneginf(new), jnp.isneginf(old)
    both = out & gone
    step = jnp.where(both, 0.0, jnp.where(out | gone, jnp.inf, new - old))
    top = jnp.max(jnp.where(both, -jnp.inf, step), axis=0)
    low = jnp.min(jnp.where(both, jnp.inf, step), axis=0)
    some = jnp.any(out != gone, axis=0)
    return jnp.where(some, jnp.inf, jnp.where(top >= low, top - low, 0.0))


def run(net: Net, scores: Scores, settings: Settings, tol: Any, damping: Any, first: Messages | None = None) -> Run:
    """Send messages until their residual is at most `tol`, looked at every ten sweeps.

    Args:
        net: the groups and their variables.
        scores: the potentials.
        settings: how messages are sent.
        tol: the residual that ends the run.
        damping: share of the old message in the new one; the first one where it is adaptive.
        first: the first messages; None says nothing.
    """
    dtype = next(iter(scores.unary.values())).dtype if scores.unary else jnp.result_type(float)
    messages = start(net, dtype) if first is None else first
    damping = jnp.asarray(damping, dtype)
    blocks = max(settings.max_iters - TAIL, 0) // CHECK
    inf = jnp.asarray(jnp.inf, dtype)

    def one(messages: Messages, damping: Any) -> tuple[Messages, Any]:
        new = sweep(net, scores, messages, settings)
        moved = [[changes(a, b) for a, b in zip(*pair, strict=True)] for pair in zip(new, messages, strict=True)]
        mixed = _mixed(new, messages, damping)
        if settings.schedule == "residual":
            mixed = _most_changed(mixed, messages, moved, settings.share)
        return mixed, _largest(moved, dtype)

    def block(carry: Any) -> Any:
        messages, k, residual, trace, damping = carry
        if settings.schedule == "flooding":
            messages = jax.lax.fori_loop(
                0, CHECK - 1, lambda _, m: _mixed(sweep(net, scores, m, settings), m, damping), messages
            )
        else:
            messages = jax.lax.fori_loop(0, CHECK - 1, lambda _, m: one(m, damping)[0], messages)
        messages, now = one(messages, damping)
        if settings.adaptive:
            damping = jnp.where(now > 0.9 * residual, _next_damping(damping), damping)
        return messages, k + 1, now, trace.at[k].set(now), damping

    def going(carry: Any) -> Any:
        _, k, residual, _, _ = carry
        return (k < blocks) & (residual > tol) & ~jnp.isnan(residual)

    trace = jnp.full(max(blocks, 1), jnp.nan, dtype)
    messages, k, residual, trace, damping = jax.lax.while_loop(
        going, block, (messages, jnp.zeros((), jnp.int32), inf, trace, damping)
    )
    rest = settings.max_iters - blocks * CHECK

    def last(_: None) -> Any:
        def step(carry: Messages, _: None) -> tuple[Messages, Any]:
            return one(carry, damping)

        after, found = jax.lax.scan(step, messages, None, length=rest)
        return after, k * CHECK + rest, jnp.concatenate([jnp.full(max(TAIL - rest, 0), jnp.nan, dtype), found[-TAIL:]])

    def done(_: None) -> Any:
        return messages, k * CHECK, jnp.full(TAIL, jnp.nan, dtype).at[-1].set(residual)

    messages, iterations, tail = jax.lax.cond((residual > tol) & (rest > 0), last, done, None)
    return Run(messages, iterations, tail[-1], tail, trace, damping)


def _mixed(new: Messages, old: Messages, damping: Any) -> Messages:
    return tuple(
        tuple(damped(a, b, damping) for a, b in zip(*pair, strict=True)) for pair in zip(new, old, strict=True)
    )


def _next_damping(damping: Any) -> Any:
    """Go one step up; the last one stays."""
    steps = jnp.asarray(DAMPINGS, damping.dtype)
    return steps[jnp.minimum(jnp.searchsorted(steps, damping, side="right"), len(DAMPINGS) - 1)]


def _largest(moved: Sequence[Sequence[Any]], dtype: Any) -> Any:
    found = [jnp.max(m) for group in moved for m in group]
    return jnp.max(jnp.stack(found)) if found else jnp.zeros((), dtype)


def _most_changed(new: Messages, old: Messages, moved: Sequence[Sequence[Any]], share: float) -> Messages:
    """Take the new message where the change is among the largest."""
    every = jnp.concatenate([m.reshape(-1) for group in moved for m in group])
    least = jax.lax.top_k(every, max(1, int(share * every.size)))[0][-1]
    return tuple(
        tuple(jnp.where((m >= least)[None], a, b) for a, b, m in zip(*triple, strict=True))
        for triple in zip(new, old, moved, strict=True)
    )
