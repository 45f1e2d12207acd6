"""Traced: a program with its choices in view: what it returns, the choices, and the log density of both.

Meaning: the marginal of what it returns, over weighted traces. Law: replaying the recorded choices gives the same
output and density, so both views describe one measure.
"""

from __future__ import annotations

from dataclasses import dataclass

from lawful.form import Form
from lawful.passes.record import record
from lawful.passes.thread_sites import Threaded, score

from ..contract import PRESERVES, Transformer


@dataclass(frozen=True)
class Traced:
    """A program with its record (choices as outputs) and its density (choices as inputs)."""

    program: Form
    recorded: Threaded
    scored: Threaded


def traced(form: Form) -> Traced:
    """Bring the choices of a program into view.

    >>> import numpyro.distributions as dist, lawful
    >>> view = traced(lawful.trace(lambda: lawful.sample("x", dist.Bernoulli(0.5))))
    >>> [choice.name for choice in view.recorded.choices]
    ['x']
    """
    return Traced(form, record(form, ("sample",)), score(form))


Trace = Transformer("traced", traced, PRESERVES)
