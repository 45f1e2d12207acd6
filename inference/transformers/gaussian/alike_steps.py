"""Alike steps: chains whose steps all have the same derivatives, which are computed at one of them.

Law: they are those of every step. It is proved from the operations: what differs between the steps (rows of the loop
but for the noises, values of its state that the noises do not move) reaches no derivative of a step, and the density
has one slope by what each of them stacks. So matrices of all steps need not be kept, and a loop reads none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.compile_options import quickly
from lawful.form.liveness import dependents
from lawful.form.operations.from_jaxpr import unfold

from .backward import Steps
from .chains import Chain, along, cut, emitted


def weights_alike(chain: Chain) -> list[np.ndarray] | None:
    """Give the slope of the density by what a step stacks, where the steps are alike; None where they are not seen so.

    What the density does not read of it has no slope, an array without entries.
    """
    loop = chain.loop
    if loop.length < 2 or chain.shared:
        return None
    weights = _weights(chain)
    if weights is None:
        return None
    inputs = loop.body.inputs
    types = [jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in inputs]
    form = unfold(lambda *values: _derivatives(chain, weights, values), *types)
    constants = len(loop.constants)  # which all steps read
    return weights if dependents(form, form.inputs[constants:]).isdisjoint(form.outputs) else None


def steps_alike(chain: Chain, weights: Sequence[np.ndarray], constants: Sequence[Any]) -> Steps:
    """Give the derivatives of all steps from one (1, ...), with the axis of the lanes after it.

    Args:
        chain: whose steps are alike.
        weights: as `weights_alike` gives them.
        constants: what all steps of the loop read.
    """
    rest = [jnp.zeros(v.full_shape, v.dtype) for v in chain.loop.body.inputs[len(constants) :]]
    moves, curvature = _derivatives(chain, weights, [*constants, *rest])
    return Steps(moves[None], -curvature[None])


def _weights(chain: Chain) -> list[np.ndarray] | None:
    places = range(len(chain.stacked))
    slope = chain.slope(places)
    if not dependents(slope, slope.inputs).isdisjoint(slope.outputs):
        return None
    with jax.ensure_compile_time_eval():
        given = [jnp.zeros(v.full_shape, v.dtype) for v in slope.inputs]
        found = iter(np.asarray(x) for x in quickly(emitted(slope))(*given))
    weights = [next(found) if v in chain.stacked else np.zeros((1, 0)) for v in chain.loop.ys]
    return [x[0] for x in weights] if all((x == x[:1]).all() for x in weights) else None


def _derivatives(chain: Chain, weights: Sequence[np.ndarray], values: Sequence[Any]) -> tuple[jax.Array, jax.Array]:
    """Differentiate a step at the inputs of the body: the state after it, and twice what it weighs; zero moves."""
    loop, lanes, (n, m, _) = chain.loop, chain.lanes, chain.sizes
    constants, first, others = loop.split(list(values))
    still = [x for i, x in enumerate(first) if i not in chain.moving]
    shapes = [shape[1:] for shape, row in zip(chain.shapes, chain.rows, strict=True) if row is not None]
    body, places = emitted(loop.body), [row for row in chain.rows if row is not None]

    def step(state: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = dict(zip(places, cut(noise, shapes, len(lanes)), strict=True))
        rows = [own.get(i, x) for i, x in enumerate(others)]
        after, given = loop.split_out(body(*constants, *chain.parts(state, still, 0), *rows))
        weighed = zip(weights, given, strict=True)
        return sum((jnp.sum(w * x) for w, x in weighed if w.size), jnp.zeros(())), chain.split(after, 0)[0]

    zero, slopes = (jnp.zeros((*lanes, n)), jnp.zeros((*lanes, m))), jax.grad(step, (0, 1), has_aux=True)
    (by_state, moved), (by_noise, pushed) = along(slopes, zero, 0), along(slopes, zero, 1)
    both = [jnp.concatenate(pair, -1) for pair in zip(by_state, by_noise, strict=True)]
    return jnp.concatenate([moved, pushed], -1), jnp.concatenate(both, -2)
