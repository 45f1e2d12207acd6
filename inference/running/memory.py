"""Memory: how many bytes a run takes at its peak, whether they are there, and whether its arrays can be indexed.

Law: a run that does not fit is refused before anything of it is computed, and an index never wraps. Where what is
stored outweighs the rest, the estimate is within a factor of two of the true peak. Of several limits each is told with
its name; where a system says nothing there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import show_address
from lawful.errors import IndexRangeError, MemoryLimitError
from lawful.form import Det, Form, Loop, Node, Site, Var, subforms
from lawful.form.pipeline import per_form

LARGEST = 2**31 - 1  # elements that 32-bit indices count
LITTLE = 1 << 24  # bytes for which nothing is looked up, so that small runs cost nothing more


@dataclass(frozen=True)
class Need:
    """Bytes that a run takes.

    Attributes:
        what: the run in words, as "mcmc: 4 chains of 1500 steps".
        peak: bytes at the peak.
        step: bytes that one step leaves, by which the length of a chunk is found.
        remedy: what takes less, after `Fix:`.
    """

    what: str
    peak: int
    step: int
    remedy: Callable[[int, int], str]

    def chunk(self, free: int) -> int:
        """Return the most steps, a power of two, whose rows take a quarter of some bytes, at the device and the host.

        >>> Need("a run", 10**6, 1000, lambda free, chunk: "").chunk(100_000)
        16
        """
        return 1 << max(0, (free // (4 * max(self.step, 1))).bit_length() - 1)


@contextmanager
def memory_for(need: Need, devices: int = 1) -> Iterator[None]:
    """Run something that takes much memory, on some devices that share it evenly.

    Raises: MemoryLimitError with needed, available and chunk: before it begins where the bytes are not there, and where
        the device or the machine refuses them on the way.
    """
    for free in free_memory() if need.peak > LITTLE else ():
        if need.peak > free.size * (devices if free.on_device else 1):
            raise _refused(need, free.size, f"and {shown(free.size)} are free ({free.of})")
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        least = min((free.size for free in free_memory()), default=need.peak)
        raise _refused(need, least, f"and they were refused on the way ({error})") from error


def _refused(need: Need, free: int, reason: str) -> MemoryLimitError:
    chunk = need.chunk(free)
    return MemoryLimitError(
        f"{need.what} take about {shown(need.peak)} at the peak, {reason}. Fix: {need.remedy(free, chunk)}.",
        needed=need.peak, available=free, chunk=chunk,
    )  # fmt: skip


@per_form
def peak_bytes(form: Form) -> int:
    """Estimate the most bytes that the values of a form take at one time, inputs and constants included.

    A value lives from the node that makes it to the last one that reads it, an output to the end; what a loop or a
    branch does inside comes on top. A compiler that fuses operations takes less for what passes by, not for what is
    kept.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def model():
    ...     return lawful.sample("x", dist.Normal(jnp.zeros(1000), 1.0)).sum()
    >>> 8000 <= peak_bytes(lawful.trace(model)) * 8 // jnp.zeros(()).dtype.itemsize <= 24_100
    True
    """
    last: dict[Var, int] = {v: i for i, node in enumerate(form.nodes) for v in node.ins}
    held = {*form.outputs, *form.inputs, *(v for v, _ in form.constants)}
    live = {*form.inputs, *(v for v, _ in form.constants)}
    now = peak = sum(map(bytes_of, live))
    for i, node in enumerate(form.nodes):
        made = [v for v in dict.fromkeys(node.outs) if v not in live]
        live.update(made)
        now += sum(map(bytes_of, made))
        inside = max((peak_bytes(f) - sum(map(bytes_of, f.inputs)) for f in subforms(node)), default=0)
        peak = max(peak, now + inside)
        gone = {v for v in (*node.ins, *made) if last.get(v, -1) <= i and v in live and v not in held}
        live -= gone
        now -= sum(map(bytes_of, gone))
    return peak


def _refuse_too_large(form: Form, runs: int) -> None:
    """Refuse arrays of more elements than an index can count, 2**31 - 1 without 64 bits; histories are arrays, too."""
    if jax.config.read("jax_enable_x64"):
        return
    for node, value in _values(form):
        size = math.prod(value.full_shape)
        if size > LARGEST:
            raise _too_large(node, value, size, f"shape {value.full_shape}, {size} elements")
    for value in form.outputs:
        size = runs * math.prod(value.full_shape)
        if size > LARGEST:
            raise _too_large(None, value, size, f"{runs} runs of shape {value.full_shape}, {size} elements")


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


class Held(NamedTuple):
    """Bytes that a form holds: at its peak, in all outputs and in each, and what a step of one of its loops leaves."""

    peak: int
    outputs: int
    each: tuple[int, ...]
    row: int


@per_form
def held_by(form: Form, runs: int = 1) -> Held:
    """Tell what the form of an algorithm holds; without a loop its outputs, which runs stack, are one row.

    Raises: IndexRangeError naming an array that is too large for an index, and its size.
    """
    _refuse_too_large(form, runs)
    each = tuple(map(bytes_of, form.outputs))
    loops = (node for node in form.nodes if isinstance(node, Loop))
    rows = [sum(map(bytes_of, loop.body.outputs[len(loop.init) :])) for loop in loops]
    return Held(peak_bytes(form), sum(each), each, max(rows, default=sum(each)))


def bytes_of(value: Var) -> int:
    """Return the bytes of a value, with all its plates."""
    return int(np.prod(value.full_shape, dtype=np.float64)) * _item(value.dtype)


def _item(dtype: Any) -> int:
    return int(dtype.itemsize if jnp.issubdtype(dtype, jax.dtypes.extended) else np.dtype(dtype).itemsize)


def shown(size: int) -> str:
    """Write a number of bytes.

    >>> shown(1_500), shown(12_300_000_000)
    ('1.5 kB', '12.3 GB')
    """
    power = 0
    number = float(size)
    while number >= 1000 and power < 4:
        number, power = number / 1000, power + 1
    return f"{size} bytes" if not power else f"{number:.1f} {'kMGT'[power - 1]}B"


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
