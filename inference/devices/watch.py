"""Watch: while processes wait for each other in a computation, each says which of the others are behind.

Law: what is watched is computed as without; a process that nothing is behind says nothing.

A process that has died, stands still, or has taken another way leaves the others waiting for ever in a sum of all of
them, and JAX does not say for whom. So every process writes the number of its call and a beat under its own name where
`jax.distributed` keeps keys and values, and reads those of the others when it has waited for long.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

PATIENCE = 30.0  # seconds between two looks at the others
BEATS = 4  # signs of life between two looks
ENDED, FAILED = -1, -2  # what a process writes last: it owes nothing any more, or has left the others alone

_calls: Counter[str] = Counter()  # of this process, by the processes that take part


@contextmanager
def watched(mesh: Mesh | None) -> Iterator[None]:
    """Watch the other processes of a mesh meanwhile; where there are none nothing is done.

    >>> with watched(None):
    ...     pass
    """
    store = _store() if mesh is not None and mesh.is_multi_process else None
    if mesh is None or store is None:
        yield
        return
    group = tuple(sorted({device.process_index for device in mesh.devices.flat}))
    name = "lawful/calls/" + "-".join(map(str, group))
    _calls[name] += 1
    ended = threading.Event()
    watch = _Watch(store, name, group, jax.process_index(), _calls[name])
    thread = threading.Thread(target=watch.run, args=(ended,), daemon=True, name="lawful watch")
    thread.start()
    last = FAILED
    try:
        yield
        last = ENDED
    finally:
        ended.set()
        thread.join()
        watch.write(last)


@dataclass(frozen=True)
class _Watch:
    store: Any
    name: str
    group: tuple[int, ...]
    own: int
    call: int

    def run(self, ended: threading.Event) -> None:
        """Beat, and look at the others; without the service that keeps the keys there is nothing to be seen."""
        self.write(0)
        with suppress(Exception):
            before = self._others()
            for beat in range(1, sys.maxsize):
                if ended.wait(PATIENCE / BEATS):
                    return
                self.write(beat)
                if beat % BEATS == 0:
                    now = self._others()
                    for line in told(self.call, self.own, before, now, PATIENCE * beat / BEATS):
                        print(line, file=sys.stderr, flush=True)
                    before = now

    def write(self, beat: int) -> None:
        """Tell the others."""
        with suppress(Exception):
            self.store.key_value_set(f"{self.name}/{self.own}", f"{self.call} {beat}", allow_overwrite=True)

    def _others(self) -> dict[int, tuple[int, int]]:
        """Read call and beat of every other process; (0, 0) of one that has made no call yet."""
        found = {one: (0, 0) for one in self.group if one != self.own}
        for key, value in self.store.key_value_dir_get(self.name):
            one, (call, beat) = int(key.rpartition("/")[2]), map(int, value.split())
            if one in found:
                found[one] = call, beat
        return found


def told(
    call: int, own: int, before: dict[int, tuple[int, int]], now: dict[int, tuple[int, int]], seconds: float
) -> list[str]:
    """Say which processes are behind, from their calls and beats at two looks, to one that has waited some seconds.

    >>> told(2, 0, {1: (1, 9), 2: (2, 3)}, {1: (1, 9), 2: (2, 7)}, 30.0)
    ['lawful: process 0 has waited 30 s in call 2 on its mesh for process 1, which has not begun it.']
    >>> told(2, 0, {1: (2, 3)}, {1: (2, 3)}, 60.0)
    ['lawful: process 0 has waited 60 s in call 2 on its mesh for process 1, which gives no sign of life.']
    >>> told(2, 0, {1: (2, ENDED), 2: (2, FAILED)}, {1: (2, ENDED), 2: (2, FAILED)}, 60.0)
    ['lawful: process 0 has waited 60 s in call 2 on its mesh for process 2, which has left it with an error.']
    """
    lines = []
    for one, (at, beat) in sorted(now.items()):
        behind = None
        if at < call:
            behind = "has not begun it"
        elif at == call and beat == FAILED:
            behind = "has left it with an error"
        elif at == call and beat != ENDED and before[one] == (at, beat):
            behind = "gives no sign of life"
        if behind is not None:
            lines.append(
                f"lawful: process {own} has waited {seconds:.0f} s in call {call} on its mesh for process {one}, which "
                f"{behind}."
            )
    return lines


def _store() -> Any:
    """Give what keeps keys and values for all processes; JAX shows it in no public module."""
    distributed = getattr(multihost_utils, "distributed", None)
    return getattr(getattr(distributed, "global_state", None), "client", None)
