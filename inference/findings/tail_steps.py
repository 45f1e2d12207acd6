"""Tail steps: steps that are right for most draws and too long where an element is largest or smallest.

Law: a check reads draws and numbers of a run and changes none. Where a posterior has one shape everywhere, as a normal
one, moves are accepted as often from its ends as from its middle, and nothing is found.

Steps are tuned for the mean acceptance. A part that is narrower, as the far end of a ridge, is then rarely entered and
hardly left: draws of a short run have few of it or none, without divergences and with effective sizes that are large.
So such a result is not ok.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .diagnostics import Variable
from .findings import Finding

END = 0.025  # share of the draws at an end
FEWEST = 20  # draws there, below which nothing is said
# Rates of moves from one end have a standard deviation of 0.2 or so: the mean of twenty strays by 0.05, an eighth of
# what is allowed where nine tenths are accepted. Eight schools, a funnel that steps of 0.9 bear, keep two thirds.
LEAST = 0.55  # of the mean acceptance


def tail_steps(variables: Sequence[Variable], acceptance: Any) -> Iterator[Finding]:
    """Find the end of an element from which moves are accepted much less often than from elsewhere.

    `acceptance` (chain, draw) is the rate of the move to each draw, of a kernel along gradients.

    >>> x = np.random.default_rng(0).normal(size=(2, 500, 1))
    >>> rate = np.where(np.roll(x, 1, axis=1)[..., 0] > 2.0, 0.3, 0.9)
    >>> from .diagnostics import variables_of
    >>> [finding.code for finding in tail_steps(variables_of({"x": x}), rate)], list(tail_steps([], rate))
    (['NARROW_TAIL'], [])
    """
    rates = np.asarray(acceptance, dtype=float)[:, 1:]
    count = int(END * rates.size)
    if count < FEWEST:
        return
    worst = (np.inf, "", "", "")
    for variable in variables:
        before = variable.draws[:, :-1].reshape(rates.size, -1)
        for side, end in (("smallest", slice(None, count)), ("largest", slice(-count, None))):
            chosen = np.argpartition(before, count if side == "smallest" else -count, axis=0)[end]
            found = rates.ravel()[chosen].mean(0)
            place = int(found.argmin())
            worst = min(worst, (float(found[place]), variable.label(place), variable.name, side))
    value, label, name, side = worst
    limit = LEAST * float(rates.mean())
    if value < limit:
        yield Finding(
            "NARROW_TAIL",
            f"moves from the {side} values of '{label}' are accepted at a rate of {value:.2f}, all at "
            f"{rates.mean():.2f}: steps are too long there, so that this tail is hardly entered or left, whatever the "
            "effective sizes. Fix: longer runs with shorter steps, kernels.nuts(target_acceptance=0.98), a "
            "reparameterisation, or a narrower prior.",
            sites=(name,),
            value=value,
            limit=limit,
        )
