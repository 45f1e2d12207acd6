"""Jobs: parts of a work that do not talk to each other, done by an executor, in other processes for instance.

Law: the results are those of doing the parts one after the other here, in their order and bit for bit: a part is given
its keys, and the precision of the numbers. What a pool could not do is refused before it starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

__all__ = ["map_parts", "parts_for_cores"]

PROCESSES = "processes"


def map_parts(executor: Any, function: Callable[..., Any], parts: Iterable[tuple[Any, ...]], *sent: Any) -> list[Any]:
    """Call a function with every part.

    Args:
        executor: anything with the `map` of `concurrent.futures`; or "processes" for a pool of as many processes as
            there are cores. None does the parts here.
        function: a function of a module; what it needs is in its arguments.
        parts: the arguments of each call.
        sent: functions of the user's among the arguments, which other processes must find by their names.

    Raises: LawfulError: the executor has no `map`; a pool of processes could not find a function by its name; its
        processes are forked, or one of them ended.

    >>> import operator
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> map_parts(ThreadPoolExecutor(2), operator.add, [(1, 2), (3, 4)])
    [3, 7]
    """
    rows = list(parts)
    if executor is None:
        return [function(*row) for row in rows]
    call = partial(_as_here, jnp.result_type(float) == np.float64, function)
    if isinstance(executor, str) and executor == PROCESSES:
        _refuse_nameless(sent)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            return _mapped(pool, call, rows)
    if not callable(getattr(executor, "map", None)):
        raise LawfulError(
            f"map: expected an executor with the map of concurrent.futures, or 'processes', got {executor!r}.",
            given=repr(executor),
        )
    if isinstance(executor, ProcessPoolExecutor):
        _refuse_nameless(sent)
        _refuse_forks(executor)
    return _mapped(executor, call, rows)


def parts_for_cores(size: int, least: int = 1) -> list[np.ndarray]:
    """Cut the numbers below a size into as many parts as there are cores, each of so many numbers at least.

    >>> [part.tolist() for part in parts_for_cores(3, least=2)]
    [[0, 1, 2]]
    """
    return np.array_split(np.arange(size), max(min(os.cpu_count() or 1, size // least), 1))


def _mapped(executor: Any, call: Callable[..., Any], rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    try:
        return list(executor.map(call, *zip(*rows, strict=True)))
    except BrokenExecutor as error:
        raise LawfulError(
            f"map: a process of the executor ended before its work was done ({error}). Fix: see what it wrote to the "
            "error stream; a script starts inferences below `if __name__ == '__main__':`, since its processes import "
            "it, and each process needs the memory of one part."
        ) from error


def _as_here(double: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    with jax.enable_x64(double):
        return function(*arguments)


def _refuse_nameless(functions: Sequence[Any]) -> None:
    """Refuse functions within functions, and those that were typed in: another process cannot import them."""
    for function in functions:
        inner = getattr(function, "func", function)  # a partial function is sent with its arguments
        name, module = getattr(inner, "__qualname__", ""), getattr(inner, "__module__", None)
        typed = module == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
        if "<" in name or typed:
            raise LawfulError(
                f"map: '{name}' of {module} has no name by which another process could import it. Fix: write it at "
                "the top of a file, or give an executor of threads.",
                name=name,
            )


def _refuse_forks(executor: ProcessPoolExecutor) -> None:
    """A forked process has the locks of JAX's threads, without the threads that would open them: it hangs."""
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise LawfulError(
            "map: the processes of this pool are forked, and JAX hangs in a fork. Fix: "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn')), or map='processes'."
        )
