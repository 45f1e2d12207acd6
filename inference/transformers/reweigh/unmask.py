"""Unmask: a program that draws the sites of a finite state group by group, in any order, weighed for its law.

Law: [[unmask(f, q, schedule)]](x) = f(x) for every schedule, and all q that are positive where f is: the probability of
what a step draws is divided out, and a guess at the mass of a partial state is taken back at the next step. With exact
conditionals and masses, one site a step, every weight is the total mass of f, so the draws are exact.

Reference: Ou et al. (2024), Your absorbing discrete diffusion secretly models the conditional distributions of clean
data, arXiv:2406.03736; Zheng et al. (2024), Masked diffusion models are secretly time-agnostic masked models and
exploit inaccurate categorical sampling, arXiv:2409.02908.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import factor, plate, sample, scan
from lawful.errors import LawfulError

MASKED = -1  # the value of a site that is not drawn yet


def unmask(
    log_density: Callable[[Any], Any],
    conditionals: Callable[[Any], Any],
    schedule: Any,
    *,
    log_marginal: Callable[[Any], Any] | None = None,
    start: Any = None,
) -> Callable[[], jax.Array]:
    """Make the program that unmasks a state by a schedule.

    `smc` resamples after each group; `importance` weighs whole states; `enumerate` sums over all of them.

    Args:
        log_density: of a state (L,) of integers, up to a constant: the law that is meant.
        conditionals: of a state in which some sites are `MASKED`, -1: (L, K), the probabilities of each site's values
            given those that are known, up to a constant for each. Exact ones, those of belief propagation or of a
            network; the weights correct them, as long as no value that can occur has probability 0. Rows of known sites
            are not read.
        schedule: (T, L), whether step t unmasks site l; each site that `start` leaves masked once. The program that
            calls this one may draw it; then that it names each site once is not checked.
        log_marginal: log of the mass of a state in which some sites are masked, exact or a guess; the steps before the
            last are weighed by it, so that `smc` resamples by what is known so far. Default: only the last one is
            weighed.
        start: (L,), a state of which some sites are known; default: all are masked.

    Returns: a program without arguments, which returns the state (L,). Its sites are "value", for all steps; those of a
        step that are not in its group are 0 with probability 1.

    Raises: LawfulError: the schedule does not unmask each site once.

    >>> from lawful import inference
    >>> schedule = [[True, False], [False, True]]
    >>> alike = unmask(lambda x: jnp.where(x[0] == x[1], 0.0, -1.0), lambda x: jnp.full((2, 2), 0.5), schedule)
    >>> marginal = inference.enumerate(alike)().marginal("return")
    >>> {state: round(p, 3) for state, p in marginal.items()}
    {(0, 0): 0.366, (0, 1): 0.134, (1, 0): 0.134, (1, 1): 0.366}
    """
    groups = schedule if isinstance(schedule, jax.core.Tracer) else _checked(schedule, start)
    steps, size = groups.shape
    known = jnp.full(size, MASKED) if start is None else jnp.asarray(start)

    def unmasked() -> jax.Array:
        def step(carry: tuple[Any, Any], at: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
            (state, before), (group, last) = carry, at
            masses = jnp.asarray(conditionals(state))
            shares = masses / jnp.sum(masses, 1, keepdims=True)
            still = jnp.arange(shares.shape[-1]) == 0
            with plate("site", size):
                value = sample("value", dist.Categorical(probs=jnp.where(group[:, None], shares, still)))
            after = jnp.where(group, value, state)
            proposed = jnp.log(jnp.take_along_axis(shares, value[:, None], 1)[:, 0])
            guess = jnp.zeros(()) if log_marginal is None else jnp.asarray(log_marginal(after), float)
            now = jnp.where(last, log_density(jnp.where(last, after, 0)), guess)
            factor("unmasked", _log_weight(before, now, proposed, group))
            return (after, now), None

        (state, _), _ = scan(step, (known, jnp.zeros(())), (jnp.asarray(groups), jnp.arange(steps) == steps - 1))
        return state

    return unmasked


def _log_weight(before: Any, now: Any, proposed: jax.Array, group: jax.Array) -> jax.Array:
    """Log weight of a step: what the mass grows by, over the probability of what was drawn; all multiply to f / q."""
    return now - before - jnp.sum(jnp.where(group, proposed, 0.0))


def _checked(schedule: Any, start: Any) -> np.ndarray:
    """Read a schedule: each site that is masked at the start is unmasked once."""
    groups = np.asarray(schedule, bool)
    if groups.ndim != 2 or not len(groups):
        raise LawfulError(
            f"unmask: schedule has shape {groups.shape}; expected (steps, sites), one step at least. Fix: give a row "
            "of booleans for each step."
        )
    wanted = np.ones(groups.shape[1]) if start is None else np.asarray(start) == MASKED
    if wanted.shape != groups.shape[1:]:
        raise LawfulError(
            f"unmask: start has shape {wanted.shape}, and the schedule is of {groups.shape[1]} sites. Fix: give a "
            "value or -1 for each."
        )
    if not np.array_equal(wrong := groups.sum(0), wanted):
        site = int(np.flatnonzero(wrong != wanted)[0])
        raise LawfulError(
            f"unmask: site {site} is unmasked {wrong[site]} times; expected {int(wanted[site])}. Fix: let the rows of "
            "the schedule name each masked site once, and no known one.",
            site=site,
        )
    return groups
