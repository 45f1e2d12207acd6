"""Compile cache: compiled programs that stay on disk, so that the next process need not compile them.

Law: a program from the cache is the one that was compiled; only time changes.
"""

from __future__ import annotations

import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from ..errors import LawfulError


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
