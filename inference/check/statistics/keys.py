"""Keys: every statistical check owns one random key and one share of the suite's false-alarm rate, fixed by its id.

Law: key and share of a check never change when other checks are added; two checks never share a key.
"""

from __future__ import annotations

import zlib
from contextvars import ContextVar

import jax

from lawful.errors import LawfulError

SUITE_ALPHA = 1e-6
CAPACITY = 512
ALPHA = SUITE_ALPHA / CAPACITY

FRESH: ContextVar[int | None] = ContextVar("fresh", default=None)  # a number mixed into the key of every check


def id_code(check_id: str) -> int:
    """Return the seed of a check: crc32 of its id, the same in every process.

    >>> id_code("unbiased/hmm3")
    4247081068
    """
    return zlib.crc32(check_id.encode("utf-8"))


def key_of(check_id: str, fresh: int | None = None) -> jax.Array:
    """Return the key of a check.

    Args:
        check_id: the id under which the check is registered.
        fresh: a number mixed into the key, for runs that validate the false-alarm rate; default: that of the run, which
            ordinary runs have not.

    >>> bool((key_of("a") == key_of("a")).all()), bool((key_of("a") == key_of("a", fresh=1)).all())
    (True, False)
    """
    return freshened(jax.random.key(id_code(check_id)), fresh)


def freshened(key: jax.Array, fresh: int | None = None) -> jax.Array:
    """Mix the number of a validating run into a key; in ordinary runs the key stays as it is."""
    fresh = FRESH.get() if fresh is None else fresh
    return key if fresh is None else jax.random.fold_in(key, fresh)


def stage_keys(key: jax.Array, stage: int, n: int) -> jax.Array:
    """Return the n keys of one stage, independent of every other stage.

    >>> stage_keys(key_of("a"), stage=1, n=3).shape
    (3,)
    """
    return jax.random.split(jax.random.fold_in(key, stage), n)


def key_words(key: jax.Array) -> tuple[int, ...]:
    """Return the words of a key, as a Report holds them.

    >>> key_words(jax.random.key(7))
    (0, 7)
    """
    return tuple(int(word) for word in jax.random.key_data(key))


class Registry:
    """The ids that share one false-alarm rate, by Bonferroni over a fixed capacity.

    >>> registry = Registry(capacity=2, alpha=1e-2)
    >>> registry.register("a"), registry.register("b"), registry.register("a")
    (0.005, 0.005, 0.005)
    """

    def __init__(self, capacity: int = CAPACITY, alpha: float = SUITE_ALPHA) -> None:
        """Fix the number of checks and their total false-alarm rate."""
        self.capacity = capacity
        self.alpha = alpha
        self._ids: dict[int, str] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """The registered ids, in the order of registration."""
        return tuple(self._ids.values())

    def register(self, check_id: str) -> float:
        """Register a check, once or again, and return its share of the false-alarm rate.

        Raises: LawfulError when two ids have one key, or the capacity is used up.
        """
        code = id_code(check_id)
        other = self._ids.get(code, check_id)
        if other != check_id:
            raise LawfulError(
                f"checks {other!r} and {check_id!r} have the same key (crc32 {code}). Fix: rename one.",
                first=other,
                second=check_id,
            )
        if code not in self._ids and len(self._ids) >= self.capacity:
            raise LawfulError(
                f"check {check_id!r} is number {self.capacity + 1}, but the capacity is {self.capacity}. "
                "Fix: raise CAPACITY, which changes the threshold of every check, so record it in CHANGELOG.md.",
                check_id=check_id,
                capacity=self.capacity,
            )
        self._ids[code] = check_id
        return self.alpha / self.capacity
