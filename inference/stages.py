"""Stages: the moments at which a population is weighed: before the loop, at each of its steps, and after it.

Law: the log evidence of a run is the sum of its increments over the stages, and of the factors that no particle can move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lawful.addresses import show_address
from lawful.analysis import has_weight
from lawful.form import Factor, Form, Site, walk

from .representations.sequential import sequential


@dataclass(frozen=True)
class Place:
    """Where a stage stands in a program: in words, its step of the loop or None, and the sites that weigh it."""

    words: str
    step: int | None
    sites: tuple[str, ...]


def place_of(form: Form, stage: int) -> Place:
    """Find the place of a stage of a particle filter.

    >>> import jax.numpy as jnp, lawful
    >>> form = lawful.trace(lambda y: lawful.scan(lambda c, y: (c, lawful.factor("f", y)), 0.0, y), jnp.zeros(3))
    >>> place_of(form, 2)
    Place(words='at step 1 of the loop', step=1, sites=('f',))
    """
    cut = sequential(form)
    if cut.loop is None:
        return Place("", None, _weighing(form))
    if stage == 0:
        return Place("before the loop", None, _weighing(cut.prefix))
    if stage > cut.loop.length:
        return Place("after the loop", None, _weighing(cut.suffix))
    step = cut.loop.length - stage if cut.loop.reverse else stage - 1
    return Place(f"at step {step} of the loop", step, _weighing(cut.loop.body))


def weighings(form: Form) -> int:
    """Count the stages of a program that have a factor or an observation.

    >>> import lawful
    >>> weighings(lawful.trace(lambda: lawful.factor("once", -1.0)))
    1
    """
    cut = sequential(form)
    if cut.loop is None:
        return int(has_weight(form))
    return has_weight(cut.prefix) + cut.loop.length * has_weight(cut.loop.body) + has_weight(cut.suffix)


def _weighing(form: Form) -> tuple[str, ...]:
    nodes = (n for n in walk(form) if isinstance(n, Factor) or (isinstance(n, Site) and n.observed is not None))
    return tuple(dict.fromkeys(show_address(node.address) for node in nodes))


def joined(stats: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Join what was noted before the loop, at each of its steps, and after it: arrays (run, stage).

    Numbers that are not noted at the first stages, as whether a step resampled, are NaN there.
    """
    out: dict[str, np.ndarray] = {}
    for name, array in stats.items():
        if name.startswith(("initial_", "final_")):
            continue
        parts = [stats.get(f"initial_{name}"), array, stats.get(f"final_{name}")]
        out[name] = np.concatenate([p if p.ndim == 2 else p[:, None] for p in parts if p is not None], axis=1)
    length = max(a.shape[1] for a in out.values())
    for name, array in out.items():
        if array.shape[1] < length:
            missing = length - array.shape[1]
            out[name] = np.concatenate([np.full((len(array), missing), np.nan), array], axis=1)
    return out
