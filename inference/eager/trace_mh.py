"""Trace MH: draw one choice again from its prior, and run the program again.

Law: the kernel keeps the posterior of programs of any structure, and is reversible. One of the n choices of the run is
drawn again; the others are repeated where they are made again, choices that are new are drawn from their prior, and
those that are not made any more are dropped. The ratio is

    w' / w  x  product over repeated choices of p'(x) / p(x)  x  n / n'

with w the weight of the data and n' the number of choices after the move.

Reference: Wingate, Stuhlmueller and Goodman (2011), Lightweight implementations of probabilistic programming languages
via transformational compilation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import numpyro.distributions as dist

from lawful.addresses import Address
from lawful.distributions.protocol import BoundLaw
from lawful.errors import UnsupportedProgramError
from lawful.messages import SampleMessage

from ..contract import Contract
from ..laws.picks import CoinLaw
from .decisions import decision
from .run import Run
from .running import placed_in, run
from .scoring import bound
from .sites import own_site

SCOPE = "~chain"
CONTRACT = Contract("invariant_kernel", target="the posterior on traces", reversible=True, parametric=True)


class Move(NamedTuple):
    """The outcome of one step: where the chain is, the acceptance probability, whether it moved, NaN densities met."""

    run: Run
    acceptance: float
    accepted: bool
    n_nonfinite: int


def move(model: Callable[..., Any], args: tuple[Any, ...], here: Run, step: int, nonfinite: str = "dead") -> Move:
    """Make one step from a run whose choices were scored; a program itself, whose picks and coins are sites.

    Args:
        model: the program.
        args: its arguments.
        here: a run of positive density.
        step: the number of the step, which places its choices.
        nonfinite: what a NaN weight of the proposed run means: "dead", it is rejected and counted; or "error".

    Raises: UnsupportedProgramError: the run made no choice.
    """
    free = here.free
    if not free:
        raise UnsupportedProgramError("mcmc: a run of the program made no free choice, so there is nothing to move.")
    chosen = free[int(own_site(SCOPE, "choice", _index_below(len(free), jax.config.read("jax_enable_x64")), step))]
    keep = functools.partial(_keeps, here, chosen)
    there = run(model, args, placed_in(last=step), after=here, keep=keep, scored=True, nonfinite=nonfinite)
    ratio = log_ratio(here, there)
    lost = math.isnan(ratio) or ratio == math.inf
    acceptance = 0.0 if lost else math.exp(min(0.0, ratio))
    coin = own_site(SCOPE, "accept", BoundLaw(CoinLaw(), (np.float64(acceptance),)), step)
    accepted = bool(decision("accept?", bool(coin)))
    return Move(there if accepted else here, acceptance, accepted, there.n_nonfinite + lost)


def _keeps(here: Run, chosen: Address, message: SampleMessage) -> bool:
    address = message.address
    return address != chosen and address in here.laws and _alike(here.laws[address], message.distribution)


def log_ratio(here: Run, there: Run) -> float:
    """Log Hastings ratio of a move to a run that repeats choices; -inf where its density is zero.

    >>> here = Run({("x",): 1, ("y",): 0}, -1.0, log_probs={("x",): -0.5, ("y",): -0.7})
    >>> there = Run({("x",): 1}, -0.4, log_probs={("x",): -0.2}, repeated=frozenset({("x",)}))
    >>> round(log_ratio(here, there), 4) == round(-0.2 + 0.5 - 0.4 + 1.0 + math.log(2 / 1), 4)
    True
    """
    if there.dead:
        return -math.inf
    changes = [(there.log_probs[address], here.log_probs[address]) for address in there.repeated - there.fixed]
    if any(new == -math.inf for new, _ in changes):
        return -math.inf
    kept = sum(new - old for new, old in changes)
    return kept + there.log_weight - here.log_weight + math.log(len(here.free) / len(there.free))


def _alike(law: Any, distribution: Any) -> bool:
    """Tell whether a value of one law may be tried under another.

    It must be so both ways, or going back would not repeat what going there repeated: laws are alike when they are of
    one family, shape and type. A point mass is drawn again, since its value follows from the other choices.
    """
    other = bound(distribution).law
    if getattr(other, "is_point_mass", False):
        return False
    return other is law or (other.label, tuple(other.shape), other.dtype) == (law.label, tuple(law.shape), law.dtype)


@functools.lru_cache(maxsize=4096)
def _index_below(count: int, x64: bool) -> dist.Distribution:
    """Make the law of an index; kept, since to make it takes longer than to draw from it."""
    return dist.DiscreteUniform(0, count - 1)
