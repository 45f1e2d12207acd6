"""Trees as arrays: a nest of arrays, typed keys and Python numbers, by the path of each.

Law: `restore(*flatten(tree)[:1], tree)` is the tree, bit for bit, with each leaf of the kind that it was. The structure
comes from the program that reads, never from the file: what is stored is compared with what is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import CheckpointError, CheckpointMismatch

__all__ = ["flatten", "restore"]

Description = dict[str, dict[str, Any]]


def flatten(tree: Any) -> tuple[dict[str, np.ndarray], Description]:
    """Give the leaves of a tree as arrays by path, and what they are, for a header.

    Args:
        tree: of arrays, typed keys, and Python's int, float and bool.

    Returns: arrays, keys as their data; of each path dtype, shape, and the implementation of keys.

    Raises: CheckpointError for another leaf, with its path.

    >>> arrays, description = flatten({"x": np.zeros(2), "key": jax.random.key(0), "n": 3})
    >>> description["['key']"]
    {'dtype': 'uint32', 'shape': [2], 'key': 'threefry2x32'}
    >>> restore(arrays, {"x": np.ones(2), "key": jax.random.key(1), "n": 0})["n"]
    3
    """
    arrays, description = {}, {}
    for path, leaf in _leaves(tree):
        if _is_key(leaf):
            arrays[path] = np.asarray(jax.random.key_data(leaf))
        elif isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | float | int):
            arrays[path] = np.asarray(leaf)
        else:
            raise CheckpointError(
                f"{path or 'the tree'} is of type {type(leaf).__name__}, and a checkpoint holds arrays, keys and "
                "numbers.",
                leaf=path,
            )
        description[path] = _described(leaf, arrays[path])
    return arrays, description


def restore(arrays: Mapping[str, np.ndarray], expected: Any, description: Mapping[str, Any] | None = None) -> Any:
    """Make a tree of stored arrays.

    Args:
        arrays: by path, as from `flatten`; further ones are left.
        expected: a tree of the same structure, whose leaves have the types and shapes that the stored ones must have:
            the state at the start of a run, or what `jax.eval_shape` says of it.
        description: what `flatten` said when the arrays were stored; with it the implementation of keys is compared.

    Returns: the tree; leaves of `jax.Array` and of `jax.ShapeDtypeStruct` are arrays of JAX, others as expected.

    Raises: CheckpointMismatch with each leaf that is missing or of another type or shape.
    """
    wanted = {path: _described(leaf) for path, leaf in _leaves(expected)}
    differing = []
    for path, told in wanted.items():
        found = _described(arrays[path]) if path in arrays else None
        if found is not None and "key" in told:
            stored = told["key"] if description is None else description.get(path, {}).get("key")
            found |= {"key": stored}
        if found != told:
            differing.append(f"{path or 'the tree'}: stored {_shown(found)}, expected {_shown(told)}")
    if differing:
        raise CheckpointMismatch(
            "the checkpoint holds another state than this run has. " + "; ".join(differing) + ".",
            differing=tuple(differing),
        )
    leaves = [_restored(arrays[path], leaf, wanted[path].get("key")) for path, leaf in _leaves(expected)]
    return jax.tree.unflatten(jax.tree.structure(expected), leaves)


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    named = [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]
    if len(dict(named)) < len(named):
        raise CheckpointError("two leaves of the tree have one path. Fix: give the parts of its nodes other names.")
    return named


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _described(leaf: Any, array: Any = None) -> dict[str, Any]:
    if _is_key(leaf):
        kinds = []

        def looked(key: Any) -> Any:
            kinds.append(str(jax.random.key_impl(key)))
            return jax.random.key_data(key)

        data = jax.eval_shape(looked, leaf)  # a shape alone does not tell its kind
        return {"dtype": data.dtype.name, "shape": list(data.shape), "key": kinds[0]}
    array = array if array is not None else leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return {"dtype": array.dtype.name, "shape": list(array.shape)}


def _shown(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "nothing"
    return f"{told['dtype']}{told['shape']}" + (f" (key {told['key']})" if "key" in told else "")


def _restored(array: np.ndarray, leaf: Any, key: str | None) -> Any:
    if key is not None:
        return jax.random.wrap_key_data(jnp.asarray(array), impl=key)
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return jnp.asarray(array)
    if isinstance(leaf, np.ndarray):
        return array
    return array[()] if isinstance(leaf, np.generic) else type(leaf)(array.item())
