"""ESS, the effective sample size, (sum w)^2 / sum w^2: N for equal weights, 1 for a single survivor, 0 for none.

Law: invariant to the scale of the weights. NaN weights give NaN, so that the fault stays visible.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..registered import stored_as


def ess(weights: Float[Array, " N"]) -> Float[Array, ""]:
    """Effective sample size of linear weights; 0 when every weight is 0.

    >>> ess(jnp.array([2.0, 2.0, 0.0, 0.0])).item()
    2.0
    """
    total = jnp.sum(weights)
    shares = weights / jnp.where(total == 0, 1, total)
    return jnp.where(total == 0, 0, 1 / jnp.sum(jnp.where(total == 0, 1, shares * shares)))


def log_ess(log_weights: Float[Array, " N"]) -> Float[Array, ""]:
    """Log effective sample size, log (sum w)^2 / sum w^2; -inf when every weight is 0.

    >>> round(log_ess(jnp.log(jnp.array([1.0, 1.0, 1.0, 0.0]))).item(), 6) == round(jnp.log(3.0).item(), 6)
    True
    """
    top = jnp.max(log_weights)
    shifted = log_weights - jnp.where(top == -jnp.inf, 0, top)  # the shift keeps log weights of 1e4 exact
    return jnp.where(top == -jnp.inf, -jnp.inf, jnp.log(ess(jnp.exp(shifted))))


@stored_as("ess_below")
@dataclass(frozen=True)
class EssBelow:
    """The rule "resample when the effective sample size is below a fraction of N"; NaN never resamples."""

    fraction: float

    def __call__(self, effective_size: Float[Array, ""], size: int) -> Bool[Array, ""]:
        """Decide for a population of `size` particles."""
        return effective_size < self.fraction * size

    def __repr__(self) -> str:
        """Show the rule."""
        return f"ess < {self.fraction:g} N"


def ess_below(fraction: float) -> EssBelow:
    """Resample when the effective sample size is below this fraction of the number of particles.

    >>> rule = ess_below(0.5)
    >>> rule(ess(jnp.array([1.0, 0.0, 0.0, 0.0])), 4).item(), rule(ess(jnp.ones(4)), 4).item()
    (True, False)
    """
    return EssBelow(fraction)
