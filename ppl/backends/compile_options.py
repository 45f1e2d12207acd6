"""Compile options: how a program is compiled, in the shortest time or to be fast, and compiled programs kept on disk.

Law: how a program is compiled changes the time that it takes, and its results by rounding at most; a program from the
cache is the one that was compiled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from ..errors import LawfulError

# Options of one compilation.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

# The last optimisations of a program that runs once or twice cost more than they save: without them compiling takes 10
# to 30 % less, and a run as long as before.
SPARING = {"xla_backend_optimization_level": 1}

# And operations are not joined: a gradient through many sites in a row becomes kernels that do the same work again, and
# compiles for minutes (51 sites, each of which reads all before it: 113 s against 8).
UNFUSED = {**QUICK, "xla_disable_hlo_passes": "fusion"}

# XLA takes this one from the environment alone. Kernels for the CPU are then made by LLVM directly, not through MLIR,
# which is 70 % of the time of an unoptimised compilation; programs that run for long become three times slower.
PLAIN_EMITTER = "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
# Small kernels are compiled faster together than in 32 parts side by side.
ONE_PART = "--xla_cpu_parallel_codegen_split_count=1"


def quickly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function in the shortest time; inside another program that is compiled, as all of that is.

    >>> import jax.numpy as jnp
    >>> add = quickly(lambda x: x + 1)
    >>> int(add(1)), int(jax.jit(add)(1)), jax.vmap(add)(jnp.arange(2)).tolist()
    (2, 2, [1, 2])
    """
    return _alone(function, QUICK)


def sparingly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that runs a few times, without the last optimisations where it is no part of another program.

    >>> int(sparingly(lambda x: x + 1)(1))
    2
    """
    return _alone(function, sparing())


def sparing() -> dict[str, Any] | None:
    """Give the options of such a function; None where the process has chosen its own, and for other devices.

    >>> sparing() == (None if jax.config.read("jax_disable_most_optimizations") else SPARING)
    True
    """
    own = any(flag in os.environ.get("XLA_FLAGS", "") for flag in SPARING)
    if own or jax.config.read("jax_disable_most_optimizations") or jax.default_backend() != "cpu":
        return None
    return SPARING


def _alone(function: Callable[..., Any], options: dict[str, Any] | None) -> Callable[..., Any]:
    alone, inside = jax.jit(function, compiler_options=options), jax.jit(function)

    def run(*args: Any) -> Any:
        return (inside if in_a_program() else alone)(*args)

    return run


def in_a_program() -> bool:
    """Tell whether what runs is being compiled into a program, by `jax.jit` around it."""
    return isinstance(jax.device_put(0.0), jax.core.Tracer)


def compile_quickly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Compile quickly on CPU in this process, if nothing was compiled in it yet, and in the processes that it starts.

    >>> environment = {"XLA_FLAGS": "--xla_dump_to=out"}
    >>> compile_quickly(environment)
    >>> environment["XLA_FLAGS"].split() == ["--xla_dump_to=out", PLAIN_EMITTER, ONE_PART]
    True
    """
    flags = environment.get("XLA_FLAGS", "").split()
    environment["XLA_FLAGS"] = " ".join([*flags, *(flag for flag in (PLAIN_EMITTER, ONE_PART) if flag not in flags)])


def compile_cache(path: str | os.PathLike[str] | None = None) -> Path:
    """Keep compiled programs in a folder, and take them from there, from now on in this process.

    Small programs are kept as well, which JAX leaves out unless it is told. Anyone who can write into the folder can
    make this process run their code: use a folder of your own.

    Args:
        path: the folder, made where it is missing; by default `lawful` in the user's folder of caches, that is
            `$XDG_CACHE_HOME` or `~/.cache`.

    Returns: the folder.

    Raises: LawfulError where the folder cannot be made or written.

    >>> import tempfile
    >>> before = jax.config.jax_compilation_cache_dir
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     compile_cache(folder) == Path(folder)
    True
    >>> jax.config.update("jax_compilation_cache_dir", before)
    >>> compilation_cache.reset_cache()
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(path) if path is not None else Path(base) / "lawful"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LawfulError(f"compile_cache: the folder {folder} cannot be made: {error}.", path=str(folder)) from error
    if not os.access(folder, os.W_OK):
        raise LawfulError(f"compile_cache: the folder {folder} cannot be written. Fix: give another.", path=str(folder))
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # what was compiled before has settled that there is no cache
    return folder
