"""Bar: what shows how far a run is, to one who asks for it, or watches.

Law: it changes no draw. In a terminal or a notebook a run goes in chunks, which costs a few milliseconds a call, and
the bar appears once the run has taken 3 s, without compiling. Nowhere else is anything shown, or any run divided. A run
that cannot go in chunks, of chains one after the other or on the devices of several processes, has no bar.
"""

from __future__ import annotations

import functools
import math
import sys
import time
import warnings
from dataclasses import replace
from typing import Any

from .environment import in_notebook
from .options import RunOptions
from .progress import Callback, Progress

WAIT = 3.0  # seconds of a run before the bar is worth showing


def with_bar(run: RunOptions | None, mesh: Any = None, *, at_once: bool, one_by_one: bool = False) -> RunOptions | None:
    """Add a bar to the options of a run.

    Args:
        run: the options, or None for a run as a whole.
        mesh: the devices, or None for one.
        at_once: whether it appears at once, or after 3 s.
        one_by_one: whether chains follow each other.

    >>> with_bar(None, at_once=True), with_bar(None, at_once=True, one_by_one=True)
    (RunOptions(chunk='auto', checkpoint=None, callbacks=(progress_bar(),), store=None), None)
    """
    if one_by_one or (mesh is not None and mesh.is_multi_process):
        return run
    if run is not None and any(isinstance(callback, Bar) for callback in run.callbacks):
        return run
    bar = Bar(wait=0.0 if at_once else WAIT)
    return RunOptions(callbacks=(bar,)) if run is None else replace(run, callbacks=(*run.callbacks, bar))


def told(progress: Progress) -> str:
    """Write a few words on a run.

    >>> told(Progress("sampling", 50, 100, 1.5, acceptance_rate=0.25, divergences=2))
    'sampling 50/100, acceptance 0.25, 2 divergences'
    >>> told(Progress("sampling", 50, 100, 1.5, compile_seconds=2.0))
    'sampling 50/100, compiling 2.0 s'
    """
    parts = [f"{progress.phase} {progress.step}/{progress.total}", *_details(progress)]
    return ", ".join(parts)


def _details(progress: Progress) -> list[str]:
    parts = []
    if not math.isnan(progress.acceptance_rate):
        parts.append(f"acceptance {progress.acceptance_rate:.2f}")
    if progress.beta is not None:
        parts.append(f"beta {progress.beta:.3g}")
    if progress.log_evidence is not None:
        parts.append(f"log evidence {progress.log_evidence:.2f}")
    if progress.divergences:
        parts.append(f"{progress.divergences} divergences")
    if progress.n_nonfinite:
        parts.append(f"{progress.n_nonfinite} not finite")
    if progress.compile_seconds >= 0.1:
        parts.append(f"compiling {progress.compile_seconds:.1f} s")
    return parts


class Bar:
    """A bar of tqdm for each phase; without tqdm a line every 10 s, where a person can read it."""

    every = 10.0

    def __init__(self, file: Any = None, wait: float = 0.0) -> None:
        """Show nothing yet; with `wait` nothing before a run has taken so many seconds."""
        self.file, self.wait = file, wait
        self.phase: str | None = None
        self.bar: Any = None
        self.last = -math.inf

    def __call__(self, progress: Progress) -> None:
        """Show a chunk."""
        if self.phase is None and progress.seconds < self.wait:
            return
        make = _tqdm()
        if make is None:
            self._line(progress)
            return
        if self.phase != progress.phase:
            self.close()
            self.phase = progress.phase
            hidden = False if in_notebook() else None  # None: where the file is no terminal
            self.bar = make(total=progress.total, desc=progress.phase, file=self.file, disable=hidden, leave=True)
        self.bar.set_postfix_str(", ".join(_details(progress)), refresh=False)
        self.bar.update(progress.step - self.bar.n)

    def close(self) -> None:
        """End the bar that is shown."""
        if self.bar is not None:
            self.bar.close()
        self.phase, self.bar = None, None

    def _line(self, progress: Progress) -> None:
        file = sys.stderr if self.file is None else self.file
        now = time.monotonic()
        if file.isatty() and (now - self.last >= self.every or progress.step == progress.total):
            self.last = now
            print(f"{told(progress)}, {progress.seconds:.0f} s", file=file, flush=True)

    def __repr__(self) -> str:
        return "progress_bar()"


def progress_bar() -> Callback:
    """Show how far a run is, on the standard error: a bar of tqdm where it is installed, else a line every 10 s.

    Where the standard error is not a terminal nothing is shown.

    >>> progress_bar()
    progress_bar()
    """
    return Bar()


@functools.cache
def _tqdm() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a notebook without widgets gets a bar of text
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm
