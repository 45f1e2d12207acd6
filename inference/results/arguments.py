"""Arguments of a program as data: their names, and a digest that tells whether two calls had equal ones.

Law: two calls with equal digests had equal arrays, numbers and texts, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from lawful.form import Form
from lawful.form.arguments.arrays import is_array
from lawful.form.arguments.calls import named_arguments
from lawful.form.digest import digest
from lawful.inspection.lint.unread_inputs import part_name
from lawful.tracing.number_arguments import as_written


def constant_arguments(
    model: Callable[..., Any] | Form | None, args: tuple[Any, ...], observed: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Name the numbers and arrays among the arguments of a program, without those that are observed as they stand.

    >>> constant_arguments(lambda x, n: None, (np.ones(2), 3), {})
    {'x': array([1., 1.]), 'n': array(3)}
    """
    found: dict[str, np.ndarray] = {}
    for top, arg in named_arguments(model, args).items():
        for path, leaf in jax.tree_util.tree_flatten_with_path(arg)[0]:
            if isinstance(leaf, int) or is_array(leaf):
                if not any(np.array_equal(leaf, value) for value in observed.values()):
                    found[".".join([top, *map(part_name, path)])] = np.asarray(leaf)
    return found


def digest_of(args: tuple[Any, ...] | None) -> str | None:
    """Digest the arguments of a call; functions and other objects count by their type alone.

    >>> digest_of((np.ones(2), 3)) == digest_of((np.ones(2), 3)) != digest_of((np.ones(2), 4))
    True
    """
    if args is None:
        return None
    leaves, tree = jax.tree.flatten(jax.tree.map(as_written, args))
    parts: list[Any] = [str(tree)]
    for leaf in leaves:
        if is_array(leaf):
            array = np.ascontiguousarray(leaf)
            parts += [f"|{array.dtype} {array.shape}|", array.tobytes()]
        else:
            told = f" {leaf!r}" if isinstance(leaf, str | int | bytes | None) else ""
            parts.append(f"|{type(leaf).__qualname__}{told}|")
    return digest(*parts)
