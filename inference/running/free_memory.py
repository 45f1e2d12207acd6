"""Free memory: how many bytes this process can still have, as the system and the device say.

Law: of several limits each is told with its name, so that an error can say which one it was; where a system says
nothing there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class Free(NamedTuple):
    """Bytes that are free, and of what."""

    size: int
    of: str
    on_device: bool = False


def free_memory() -> list[Free]:
    """Return what is free under each limit: address space, control group, machine, device.

    >>> all(free.size >= 0 for free in free_memory())
    True
    """
    found = [_of_address_space(), _of_control_group(), _of_machine(), _of_device()]
    return [free for free in found if free is not None]


def _of_address_space() -> Free | None:
    """Return what `ulimit -v` leaves."""
    try:
        import resource  # not on every system

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int((PROC / "self" / "statm").read_text().split()[0])
    except (ImportError, OSError, ValueError):
        return None
    if limit == resource.RLIM_INFINITY:
        return None
    return Free(max(0, limit - pages * resource.getpagesize()), "the address space that the process may have")


def _of_control_group() -> Free | None:
    """Return what the tightest control group around the process leaves; caches of files can be given back."""
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    folder = GROUPS / own.lstrip("/")
    left = [x for group in (folder, *folder.parents) if GROUPS in (group, *group.parents) and (x := _left(group)) >= 0]
    return Free(min(left), "the control group of the process") if left else None


def _left(group: Path) -> int:
    """Return the bytes that a group leaves, -1 where it has no limit."""
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return -1 if limit == "max" else max(0, int(limit) - int(used) + int(cached["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return -1


def _of_machine() -> Free | None:
    try:
        lines = (line.split() for line in (PROC / "meminfo").read_text().splitlines())
        kilobytes = {words[0]: int(words[1]) for words in lines}
        return Free(1024 * (kilobytes["MemAvailable:"] + kilobytes["SwapFree:"]), "the memory of the machine")
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _of_device() -> Free | None:
    """Return what the default device has left; a processor says nothing, since its memory is the machine's."""
    device = jax.local_devices()[0]
    told = device.memory_stats() or {}
    if "bytes_limit" not in told:
        return None
    return Free(max(0, told["bytes_limit"] - told.get("bytes_in_use", 0)), f"the memory of {device}", True)
