"""Default bar: whether a person watches a run that asks for nothing, and what is shown then.

Law: it changes no draw. In a terminal or a notebook a run goes in chunks, which costs a few milliseconds a call, and
the bar appears once the run has taken 3 s, without compiling. Nowhere else is anything shown, or any run divided. A run
that cannot go in chunks, of chains one after the other or on the devices of several processes, has no bar.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

from .options import RunOptions
from .progress import Bar, in_notebook

WAIT = 3.0  # seconds of a run before the bar is worth showing
SWITCH = "LAWFUL_PROGRESS"  # "0" in the environment: nobody watches


def with_bar(
    run: RunOptions | None, progress: bool | None, mesh: Any = None, *, one_by_one: bool = False
) -> RunOptions | None:
    """Add a bar to the options of a run where a person watches.

    Args:
        run: the options, or None for a run as a whole.
        progress: None for a bar after 3 s where a person watches, True for one at once, False for none.
        mesh: the devices, or None for one.
        one_by_one: whether chains follow each other.

    >>> with_bar(None, False), with_bar(None, True)
    (None, RunOptions(chunk='auto', checkpoint=None, callbacks=(progress_bar(),), store=None))
    """
    whole = one_by_one or (mesh is not None and mesh.is_multi_process)
    if progress is False or whole or not (progress or person_watches()):
        return run
    if run is not None and any(isinstance(callback, Bar) for callback in run.callbacks):
        return run
    bar = Bar(wait=0.0 if progress else WAIT)
    return RunOptions(callbacks=(bar,)) if run is None else replace(run, callbacks=(*run.callbacks, bar))


def person_watches() -> bool:
    """Tell whether the standard error is a terminal, or this is a notebook, and nobody has said otherwise."""
    if os.environ.get(SWITCH) == "0":
        return False
    return in_notebook() or bool(sys.stderr is not None and sys.stderr.isatty())
