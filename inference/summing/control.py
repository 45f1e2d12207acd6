"""Control flow under sums: branches that a summed site decides, and loops whose steps hold summed sites.

Law: an arm counts where its guard holds; a site of an arm that does not run has one value. A loop is summed inside its
steps where these do not reach each other, else along its states (`loops`), else step by step as if written out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import show_address
from lawful.errors import UnsupportedProgramError
from lawful.form import Branch, Loop, Node, Site, Var
from lawful.form.builder import Tupled

from .loops import chain
from .records import Frame, Terms, Value, Walker, inside, parts, reached

MOST_STEPS, MOST_NODES = 64, 4096  # of a loop that is written out


def branch(walk: Walker, node: Branch, frame: Frame) -> None:
    """A branch: as it is, summed inside its arms, or written out with guards."""
    values = [frame.env[v] for v in node.ins]
    sums = walk.job.any_inside(node, walk.job.sums)
    decided = bool(walk.plates(values))
    if not decided and not sums and frame.steps is None:
        walk.copy(node, frame)
    elif not walk.job.any_inside(node, walk.job.keeps):
        _write_out(walk, node, frame)
    elif decided or frame.steps is not None:
        kept = [n for n in inside(node) if walk.job.keeps(n)]
        names = ", ".join(f"'{show_address(n.address)}'" for n in kept if isinstance(n, Site))
        raise _cannot(walk, node, f"a summed site decides whether {names} runs, which is not summed")
    else:
        walk.copy(replace(node, forms=tuple(walk.scope(arm, walk.job) for arm in node.forms)), frame)


def _write_out(walk: Walker, node: Branch, frame: Frame) -> None:
    """Walk all arms, each under its guard, and select among their results."""
    index = frame.env[node.index]
    last = len(node.forms) - 1
    results = []
    for number, arm in enumerate(node.forms):
        guard = _guard(walk, index, number, last, frame)
        wanted = {inner for inner, out in zip(arm.outputs, node.outs, strict=True) if out in frame.need}
        arm_frame = walk.run(arm, [frame.env[v] for v in node.operands], wanted, guard, frame.steps or ())
        results.append([arm_frame.env.get(v) for v in arm.outputs])
    for position, out in enumerate(node.outs):
        if out in frame.need:
            frame.env[out] = _select(walk, index, [arm[position] for arm in results], last)


def _guard(walk: Walker, index: Value, number: int, last: int, frame: Frame) -> Var:
    outer = frame.guard

    def runs(index: jax.Array, *before: jax.Array) -> jax.Array:
        own = jnp.clip(index.astype(jnp.int32), 0, last) == number
        return own & before[0] if before else own

    guard = walk.derive(runs, index, *([] if outer is None else [outer]), label=f"arm {number}?")
    assert isinstance(guard, Var)
    return guard


def _select(walk: Walker, index: Value, arms: list[Any], last: int) -> Value:
    if any(isinstance(arm, Terms) for arm in arms):
        assert isinstance(index, Var)
        cases = [walk.map(_if_arm(k, last), v, index) for k, arm in enumerate(arms) for v in parts(arm)]
        return Terms(tuple(cases))

    def select(index: jax.Array, *options: jax.Array) -> jax.Array:
        which = jnp.broadcast_to(jnp.clip(index.astype(jnp.int32), 0, last), options[0].shape)
        return jax.lax.select_n(which, *options)

    return walk.derive(select, index, *arms, label="of the arm that runs")


def _if_arm(number: int, last: int) -> Callable[..., Any]:
    def case(term: jax.Array, index: jax.Array) -> jax.Array:
        return jnp.where(jnp.clip(index.astype(jnp.int32), 0, last) == number, term, 0)

    return case


def loop(walk: Walker, node: Loop, frame: Frame) -> None:
    """A loop: as it is, summed inside its steps, along its states, or written out."""
    job = walk.job
    decided = bool(walk.plates([frame.env[v] for v in node.ins]))
    sums, alone = job.any_inside(node, job.sums), frame.steps is None
    if alone and not decided and not sums:
        walk.copy(node, frame)
        return
    touched = reached(node.body, (), job)
    carried = any(v in touched for v in node.body.outputs[: len(node.init)])
    ys = zip(node.ys, node.body.outputs[len(node.init) :], strict=True)
    escapes = any(out in frame.need and inner in touched for out, inner in ys)
    if alone and not decided and not carried and not escapes:
        walk.copy(replace(node, body=walk.scope(node.body, job)), frame)
    elif alone and node not in job.unrolled and not escapes:
        chain(walk, node, frame)
    else:
        _unroll(walk, node, frame)


def _unroll(walk: Walker, node: Loop, frame: Frame) -> None:
    """Walk every step."""
    why = walk.job.unrolled.get(node, "a later statement reads its steps together")
    if walk.job.by_step:
        raise _cannot(walk, node, f"{why}, so that its steps have no factors of their own")
    if walk.job.any_inside(node, walk.job.keeps):
        raise _cannot(walk, node, f"{why}, and other sites are drawn between its steps")
    if node.length > MOST_STEPS or node.length * len(node.body.nodes) > MOST_NODES:
        raise _cannot(walk, node, f"{why}, and {node.length} steps are too many to write out (at most {MOST_STEPS})")
    n_const, n_carry = len(node.constants), len(node.init)
    constants, xs = [frame.env[v] for v in node.constants], [frame.env[v] for v in node.xs]
    carry = [frame.env[v] for v in node.init]
    wanted = [place for place, out in enumerate(node.ys) if out in frame.need]
    outputs = {node.body.outputs[i] for i in (*range(n_carry), *(n_carry + place for place in wanted))}
    stacked: dict[int, list[Value]] = {}
    for step in range(node.length - 1, -1, -1) if node.reverse else range(node.length):
        now = [walk.compute(Tupled(_at(step)), [x], "step")[0] for x in xs]
        steps = (*(frame.steps or ()), step)
        body = walk.run(node.body, [*constants, *carry, *now], outputs, frame.guard, steps)
        carry = [body.env[v] for v in node.body.outputs[:n_carry]]
        stacked[step] = [body.env[node.body.outputs[n_carry + place]] for place in wanted]
    frame.env |= zip(node.carry_out, carry, strict=True)
    assert len(constants) == n_const
    for row, place in enumerate(wanted):
        rows = [stacked[step][row] for step in range(node.length)]
        out = node.ys[place]
        empty = walk.block.constant(np.zeros(out.shape, out.dtype)) if not rows else None
        frame.env[out] = empty if empty is not None else walk.derive(_stack, *rows, label="stack")


def _at(step: int) -> Callable[..., Any]:
    return lambda x: x[step]


def _stack(*rows: jax.Array) -> jax.Array:
    return jnp.stack(rows)


def _cannot(walk: Walker, node: Node, why: str) -> UnsupportedProgramError:
    """Make the error of a branch or a loop that cannot be summed."""
    sites = [n for n in inside(node) if isinstance(n, Site) and n.observed is None]
    summed = [n for n in sites if walk.job.sums(n)]
    names = ", ".join(f"'{show_address(n.address)}' ({n.source})" for n in summed or sites) or "none"
    kind, fix = "branch", "leave the sites that decide it out of enumerate=[...], or sum all sites of the branch too"
    if isinstance(node, Loop):
        kind = "loop"
        fix = "leave the site out of enumerate=[...], or let each step read only its last value"
    return UnsupportedProgramError(
        f"the {kind} with site {names} cannot be summed: {why}. Fix: {fix}.", sites=tuple(n.address for n in sites)
    )
