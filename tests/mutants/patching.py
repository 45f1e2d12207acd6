"""Patching: replace a part of the library for a while, and count how often the replacement ran.

Law: inside the context the patched code is what runs, compiled or remembered results of the old code included; outside
nothing of it is left.
"""

import contextlib
import inspect
import sys
import textwrap
from unittest import mock

import jax

from lawful.distributions import protocol
from lawful.form import pipeline
from lawful.form.operations import on_numpy as array_math
from lawful.inference.check.statistics import paired
from lawful.inference.graphs import planning
from lawful.inference.graphs.loopy import propagation
from lawful.tracing import trace as tracing


class Reached:
    """Counts the calls of patched code; a mutant whose code never ran has proved nothing."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def forget():
    """Drop what was compiled or remembered under the name of a function whose meaning changes."""
    tracing._forms.clear()
    protocol._listed.cache_clear()
    protocol._listing.cache_clear()
    array_math._trace.cache_clear()
    pipeline._of_parts.clear()
    paired._kept.cache_clear()
    planning.runner_of.cache_clear()
    propagation._program.cache_clear()
    jax.clear_caches()


@contextlib.contextmanager
def patched(owner, name, make):
    """Replace `owner.name` by `make(original)`, whose calls are counted; gives the counter."""
    reached = Reached()
    replacement = make(getattr(owner, name))

    def counted(*args, **kwargs):
        reached()
        return replacement(*args, **kwargs)

    forget()
    try:
        with mock.patch.object(owner, name, counted):
            yield reached
    finally:
        forget()


def rewritten(owner, name, old, new):
    """Replace a function, or a method of a class, by its own source with other words in one place."""

    def make(original):
        plain = inspect.unwrap(original)
        source = textwrap.dedent(inspect.getsource(plain))
        assert source.count(old) == 1, f"{name}: {old!r} is there {source.count(old)} times"
        scope = dict(vars(sys.modules[plain.__module__]))
        exec("from __future__ import annotations\n" + source.replace(old, new), scope)
        return scope[name]

    return patched(owner, name, make)
