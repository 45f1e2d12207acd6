"""First runs: a compiled function of a structure, computed by NumPy as long as compiling it would take longer.

Law: both give the same numbers, to rounding. What NumPy spends on a function is at most about what compiling it costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lawful.form.operations.device import device_array
from lawful.form.operations.on_numpy import evaluate

NUMBERS = 1 << 17  # of the operands; with more, each sweep costs more than the operations of Python around it
SWEEPS = 500  # that take NumPy about as long as the compiler needs for all of it


class FirstRuns:
    """A function of arrays, with the number of sweeps that a result says it took."""

    def __init__(self, function: Callable[..., Any], sweeps: Callable[[Any], int]) -> None:
        """Keep the function; `sweeps` reads its result."""
        self.function, self.compiled, self.sweeps = function, jax.jit(function), sweeps
        self.left = SWEEPS
        self.flat: dict[Any, tuple[Callable[..., Any], list[Any]]] = {}  # with the tree of its results

    def __call__(self, *args: Any) -> Any:
        """Apply the function."""
        leaves, tree = jax.tree.flatten(args)
        if any(isinstance(x, jax.core.Tracer) for x in leaves) or self.left <= 0 or _size(leaves) > NUMBERS:
            return self.compiled(*args)
        # Numbers of Python stay what they are, as their precision is that of what they meet.
        numbers = tuple(x if isinstance(x, int | float) else None for x in leaves)
        if (tree, numbers) not in self.flat:
            self.flat[tree, numbers] = self._flat(tree, numbers)
        function, trees = self.flat[tree, numbers]
        arrays = [np.asarray(x) for x, number in zip(leaves, numbers, strict=True) if number is None]
        found = [device_array(x) for x in evaluate(function, arrays)]
        result = jax.tree.unflatten(trees[0], found)
        self.left -= self.sweeps(result)
        return result

    def _flat(self, tree: Any, numbers: tuple[Any, ...]) -> tuple[Callable[..., Any], list[Any]]:
        trees: list[Any] = []

        def flat(*arrays: Any) -> list[Any]:
            given = iter(arrays)
            leaves = [next(given) if number is None else number for number in numbers]
            found, out = jax.tree.flatten(self.function(*jax.tree.unflatten(tree, leaves)))
            trees[:] = [out]
            return found

        return flat, trees


def _size(leaves: list[Any]) -> int:
    return sum(int(np.size(x)) for x in leaves)
