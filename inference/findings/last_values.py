"""Last values: which values of a particle filter's result its verdict is about.

Law: a state of a path that no later stage reads rests on the ancestors that resampling left, and neither evidence nor
filter is worse for it: it is told, not judged. Judged are parameters and what was drawn last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lawful.form import Det, Factor, Form, Loop, Node, Site, Var
from lawful.form.choices import choices_of
from lawful.form.liveness import has_weight, is_random

ALL, LAST, FIRST, NONE = slice(None), slice(-1, None), slice(0, 1), slice(0, 0)


def last_values(form: Form) -> Mapping[str, slice]:
    """Tell which steps of each choice and named value are judged: all, one end of the first axis, or none.

    In loops that weigh their steps, it is the last step; before them, what a loop reads in each step and not only as
    the state that it starts from. Where no loop weighs, everything is judged.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def walk(y):
    ...     sd = lawful.sample("sd", dist.HalfNormal(1.0))
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, sd))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, None
    ...     lawful.scan(step, lawful.sample("start", dist.Normal(0.0, 1.0)), y)
    >>> {name: (part.start, part.stop) for name, part in last_values(lawful.trace(walk, jnp.ones(3))).items()}
    {'sd': (None, None), 'start': (0, 0), 'x': (-1, None)}
    """
    nodes = form.nodes
    loops = [node for node in nodes if isinstance(node, Loop) and has_weight(node.body)]
    last = nodes.index(loops[-1]) if loops else 0
    begun = _sources(nodes, (v for loop in loops for v in loop.init))
    read = _sources(nodes, (v for node in nodes[last:] for v in (_steady(node) if node in loops else node.ins)))
    past: set[Var] = set()
    found: dict[str, slice] = {}
    for place, node in enumerate(nodes):
        later = not read.isdisjoint(node.outs)
        if isinstance(node, Loop) and node in loops:
            ends = FIRST if node.reverse else LAST
            part = ends if place == last or later else NONE
            past.update(node.outs if part is NONE else node.ys)
        elif is_random(node):
            part = NONE if not later and not begun.isdisjoint(node.outs) else ALL
        else:
            part = ALL if past.isdisjoint(node.ins) else NONE
        if part is NONE:
            past.update(node.outs)
        found |= {c.name: part for c in choices_of(Form((), (node,), ()), ("sample", "deterministic"))}
    return found


def _steady(loop: Loop) -> tuple[Var, ...]:
    """List what every step of a loop reads: not the state that it starts from, unless no step changes that."""
    carried, (state, _) = loop.split(loop.body.inputs)[1], loop.split_out(loop.body.outputs)
    kept = [v for v, before, after in zip(loop.init, carried, state, strict=True) if before is after]
    return (*loop.constants, *loop.xs, *kept)


def _sources(nodes: Sequence[Node], values: Iterable[Var]) -> set[Var]:
    """Find everything that given values are computed from, back to the choices."""
    found = set(values)
    for node in reversed(nodes):
        computed = isinstance(node, Det) or not (isinstance(node, Site | Factor) or is_random(node))
        if computed and not found.isdisjoint(node.outs):
            found.update(node.ins)
    return found
