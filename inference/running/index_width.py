"""Index width: whether every array of an algorithm can be indexed by the integers that it runs with.

Law: an algorithm whose arrays are too large is refused before anything is allocated; an index never wraps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax

from lawful.addresses import show_address
from lawful.errors import IndexRangeError
from lawful.form import Det, Form, Loop, Node, Site, Var, subforms

LARGEST = 2**31 - 1


def countable(name: str, size: int) -> None:
    """Refuse more particles or chains than 32-bit numbers count, which is how they are numbered.

    >>> countable("particles", 2**31)
    Traceback (most recent call last):
    lawful.errors.IndexRangeError: particles: 2147483648 are more than 32-bit numbers count (2147483647).
    """
    if size > LARGEST:
        message = f"{name}: {size} are more than 32-bit numbers count ({LARGEST})."
        raise IndexRangeError(message, size=size, limit=LARGEST)


def in_index_range(form: Form, runs: int = 1) -> Form:
    """Return a form whose arrays have no more elements than an index can count.

    This is 2**31 - 1 without 64 bits, for histories, too.

    Args:
        form: the algorithm.
        runs: number of runs, which stack the outputs.

    Raises: IndexRangeError naming the array and its size.

    >>> import numpyro.distributions as dist, lawful
    >>> form = in_index_range(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0))))
    """
    if jax.config.read("jax_enable_x64"):
        return form
    for node, value in _values(form):
        size = math.prod(value.full_shape)
        if size > LARGEST:
            raise _too_large(node, value, size, f"shape {value.full_shape}, {size} elements")
    for value in form.outputs:
        size = runs * math.prod(value.full_shape)
        if size > LARGEST:
            raise _too_large(None, value, size, f"{runs} runs of shape {value.full_shape}, {size} elements")
    return form


def _values(form: Form) -> Iterator[tuple[Node, Var]]:
    for node in form.nodes:
        for out in node.outs:
            yield node, out
        for inner in subforms(node):
            yield from _values(inner)


def _too_large(node: Any, value: Var, size: int, words: str) -> IndexRangeError:
    if isinstance(node, Site):
        what = f"site '{show_address(node.address)}'"
    elif isinstance(node, Loop):
        what = f"the history of a loop of {node.length} steps"
    else:
        what = f"the value '{node.label}'" if isinstance(node, Det) else "a value"
    return IndexRangeError(
        f"{what} has {words}, more than 32-bit indices count ({LARGEST}). Fix: take fewer particles, runs or chains, "
        "keep no history (keep='last' of inference.smc), or enable 64 bits, jax_enable_x64.",
        size=size, limit=LARGEST,
    )  # fmt: skip
