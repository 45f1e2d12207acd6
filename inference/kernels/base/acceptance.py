"""Acceptance: the coin of Metropolis-Hastings, and what every such kernel reports.

Law: min(1, r) keeps the target when r is the ratio of the two flows, and so does any g with g(r) = r g(1 / r), as
Barker's r / (1 + r); a ratio that is NaN or +inf rejects: from a state that has a density it is that of a place whose
log density is no number, and a place of infinite density would keep a chain for ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import jax
import jax.numpy as jnp

from lawful.errors import UnsupportedProgramError
from lawful.form import Var
from lawful.form.builder import Block
from lawful.form.choices import Choice

from ...laws.meaningless import meaningless
from ...laws.picks import CoinLaw
from .redraw import PREFIX

_revealing: ContextVar[bool] = ContextVar("lawful_revealing", default=False)
_barkers: ContextVar[bool] = ContextVar("lawful_barker", default=False)
INFO = ("acceptance_rate", "accepted", "n_nonfinite")


def acceptance(log_ratio: jax.Array) -> jax.Array:
    """Metropolis acceptance min(1, ratio); a ratio that is NaN or +inf rejects.

    >>> acceptance(jnp.log(jnp.array([0.5, 2.0]))).tolist(), float(acceptance(jnp.array(jnp.nan)))
    ([0.5, 1.0], 0.0)
    """
    return jnp.where(meaningless(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))


def barkers_acceptance(log_ratio: jax.Array) -> jax.Array:
    """Barker's acceptance, ratio / (1 + ratio); a ratio that is NaN or +inf rejects.

    >>> barkers_acceptance(jnp.log(jnp.array([1.0, 3.0]))).tolist(), float(barkers_acceptance(jnp.array(jnp.nan)))
    ([0.5, 0.75], 0.0)
    """
    return jnp.where(meaningless(log_ratio), 0.0, jax.nn.sigmoid(log_ratio))


def refuse_nothing_to_move(choices: Sequence[Choice]) -> None:
    """Refuse a program without choices."""
    if not choices:
        raise UnsupportedProgramError("mcmc: the program has no latent site to move.")


def accept(block: Block, log_ratio: Var) -> tuple[Var, Var, Var]:
    """Append the coin of a move.

    Returns: the probability of acceptance, whether the move is accepted, and whether its ratio is NaN or +inf.
    """
    rule = barkers_acceptance if _barkers.get() else acceptance
    probability = block.det(rule, log_ratio, label="acceptance")
    coin = block.site((PREFIX, "accept"), CoinLaw(str(probability.dtype)), (probability,))
    broken = block.det(meaningless, log_ratio, label="no number?")
    if _revealing.get():
        coin = block.det(jnp.logical_or, coin, broken, label="reveal")
    return probability, coin, broken


@contextlib.contextmanager
def by_barkers_rule() -> Iterator[None]:
    """Build kernels that accept with Barker's probability."""
    token = _barkers.set(True)
    try:
        yield
    finally:
        _barkers.reset(token)


@contextlib.contextmanager
def revealing() -> Iterator[None]:
    """Build kernels that accept what is no number, so that it can be looked at: they keep no law."""
    token = _revealing.set(True)
    try:
        yield
    finally:
        _revealing.reset(token)
