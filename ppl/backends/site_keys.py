"""Site keys: the random keys of many sites, derived together from one key.

Law: a site's key is that of its address, `key_at(root, address)`, at a step of a loop with the step fold_in in; which
sites are derived with it changes no bit. Why together: on CPUs each derivation that stands alone is a loop of its own
in the compiled program, and compiling those took longer than compiling the sites.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import Address, address_code, indices_of
from ..distributions.sampling.threefry import fold_in

type Keys = dict[Address, jax.Array]


def keys_of(root: jax.Array, addresses: Iterable[Address]) -> Keys:
    """Derive the key of every address.

    >>> from lawful.addresses import key_at
    >>> key = jax.random.key(0)
    >>> keys = keys_of(key, [("x",), ("y",), ("x", 3)])
    >>> all(bool(k == key_at(key, a)) for a, k in keys.items())
    True
    """
    groups: dict[int, list[Address]] = defaultdict(list)
    for address in dict.fromkeys(addresses):
        groups[len(indices_of(address))].append(address)
    keys: Keys = {}
    for group in groups.values():
        rows = root
        for column in zip(*((address_code(a), *indices_of(a)) for a in group), strict=True):
            rows = fold_in(rows, np.array(column, np.uint32))
        keys |= dict(zip(group, rows, strict=True))
    return keys


def row_keys(root: jax.Array, rows: dict[Address, Sequence[Address]]) -> Keys:
    """Derive for each site a row of keys, one for each of the addresses that its steps had; rows are equally long."""
    if not rows:
        return {}
    codes = np.array([[address_code(step) for step in steps] for steps in rows.values()], np.uint32)
    return dict(zip(rows, fold_in(root, codes), strict=True))


def step_keys(keys: Keys, steps: Any) -> tuple[list[jax.Array], Callable[[Sequence[jax.Array]], Keys]]:
    """Derive the keys of every step of a loop.

    Returns: arrays with a leading axis of steps, and the function that gives the keys of one step from their rows.
    """
    groups: dict[tuple[int, ...], list[Address]] = defaultdict(list)
    for address, key in keys.items():
        groups[key.shape].append(address)
    stacks = [jnp.stack([keys[a] for a in group]) for group in groups.values()]

    def unstack(rows: Sequence[jax.Array]) -> Keys:
        return {a: row[i] for group, row in zip(groups.values(), rows, strict=True) for i, a in enumerate(group)}

    steps = jnp.asarray(steps)
    return [fold_in(stack, steps.reshape(-1, *(1,) * stack.ndim)) for stack in stacks], unstack
