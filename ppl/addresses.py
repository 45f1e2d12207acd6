"""Addresses: tuples of names followed by loop indices, the identity of every random choice.

Law: the random key of a choice depends on its address alone, never on the order of execution.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable

import jax

from .errors import KeyReuseError

type Index = int | jax.Array  # an array while the loop is traced
type Address = tuple[str | Index, ...]


def as_address(name: str | Address) -> Address:
    """Read a user's name: a string is the address of one name.

    >>> as_address("x"), as_address(("group", "x", 3))
    (('x',), ('group', 'x', 3))
    """
    return (name,) if isinstance(name, str) else tuple(name)


def names_of(address: Address) -> tuple[str, ...]:
    """Drop the loop indices of an address.

    >>> names_of(("group", "x", 3))
    ('group', 'x')
    """
    return tuple([part for part in address if isinstance(part, str)])


def indices_of(address: Address) -> tuple[Index, ...]:
    """Keep the loop indices of an address, outermost first.

    >>> indices_of(("group", "x", 3))
    (3,)
    """
    return tuple(part for part in address if not isinstance(part, str))


def show_address(address: Address) -> str:
    """Write an address for people; this is also its name in results.

    >>> show_address(("group", "x")), show_address(("x", 3))
    ('group.x', 'x[3]')
    """
    indices = "".join("[step]" if isinstance(i, jax.core.Tracer) else f"[{i}]" for i in indices_of(address))
    return ".".join(names_of(address)) + indices


def address_code(address: Address) -> int:
    """Return the 31-bit code of the names, which is folded into the root key."""
    return _code_of(names_of(address))


@functools.lru_cache(maxsize=1 << 14)
def _code_of(names: tuple[str, ...]) -> int:
    return zlib.crc32("\x1f".join(names).encode()) & 0x7FFFFFFF


def colliding(addresses: Iterable[Address]) -> tuple[Address, Address] | None:
    """Find two different addresses with one code; a Form that has such a pair would share randomness between them."""
    seen: dict[int, Address] = {}
    for address in addresses:
        other = seen.setdefault(address_code(address), address)
        if other is not address and names_of(other) != names_of(address):
            return other, address
    return None


def shared_key(first: Address, second: Address) -> KeyReuseError:
    """Make the error of two addresses whose names have one code."""
    names = f"'{show_address(names_of(first))}' and '{show_address(names_of(second))}'"
    return KeyReuseError(
        f"sites {names} would draw with one random key: their names have the same code. Fix: rename one of them.",
        first=first,
        second=second,
    )


def key_at(root: jax.Array, address: Address) -> jax.Array:
    """Derive the key of one choice: fold in the code of the names, then each loop index.

    >>> key = jax.random.key(0)
    >>> bool((key_at(key, ("x", 1)) == jax.random.fold_in(key_at(key, ("x",)), 1)).all())
    True
    """
    key = jax.random.fold_in(root, address_code(address))
    for index in indices_of(address):
        key = jax.random.fold_in(key, index)
    return key
