"""Noise: how the number reported of a bag comes from its true count, as log weights of the counts 0..B.

Law: `log_weights(observed, sizes, width)` is log p(observed | s) for s = 0..width, up to a constant of the bag, and
-inf for a count that the report excludes. Without noise it is the indicator of the count itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln

from lawful.errors import ObservationError
from lawful.inference.graphs.counts import potentials

__all__ = ["Geometric", "Noise", "Normal", "Rounded", "Sampled", "Soft", "Thinned", "is_noise"]


@runtime_checkable
class Noise(Protocol):
    """How a report comes from a count; a class of your own with these two methods serves as well."""

    def log_weights(self, observed: np.ndarray, sizes: np.ndarray, width: int) -> Any:
        """Give log p(observed | s) for s = 0..width (G, width + 1), of reports (G,) on bags of these sizes (G,)."""

    def estimate(self, observed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Give a guess of the counts (G,), without the members: for base rates and starting points."""


@dataclass(frozen=True)
class Normal:
    """A report is the count plus normal noise.

    Attributes:
        scale: standard deviation, a number above 0.

    >>> Normal(1.0).log_weights(np.array([1.0]), np.array([2]), 2).round(4).tolist()
    [[-1.4189, -0.9189, -1.4189]]
    """

    scale: Any

    def __post_init__(self) -> None:
        """Check the scale."""
        _positive("Normal", "scale", self.scale)

    def log_weights(self, observed: np.ndarray, sizes: np.ndarray, width: int) -> Any:
        """Give normal log densities."""
        return _of_counts(potentials.normal_count, jnp.asarray(observed, float), self.scale, width)

    def estimate(self, observed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Give the reports, within the bag."""
        return np.clip(observed, 0, sizes)


@dataclass(frozen=True)
class Thinned:
    """Each one is seen with a probability, so a report is Binomial(count, keep).

    Attributes:
        keep: the probability, above 0.

    >>> np.exp(Thinned(0.5).log_weights(np.array([1]), np.array([2]), 2)).round(4).tolist()
    [[0.0, 0.5, 0.5]]
    """

    keep: Any

    def __post_init__(self) -> None:
        """Check the probability."""
        if not (_number(self.keep) and 0 < self.keep <= 1):
            raise ObservationError(f"Thinned: keep={self.keep!r}. Fix: give a probability in (0, 1].")

    def log_weights(self, observed: np.ndarray, sizes: np.ndarray, width: int) -> Any:
        """Give binomial log probabilities."""
        return _of_counts(potentials.thinned_count, jnp.asarray(observed, float), self.keep, width)

    def estimate(self, observed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Give the reports over the probability of being seen."""
        return np.clip(observed / self.keep, 0, sizes)


@dataclass(frozen=True)
class Geometric:
    """Two-sided geometric noise, P(noise = k) proportional to `exp(-decay |k|)`: differential privacy, epsilon = decay.

    Attributes:
        decay: a number above 0.

    Reference: Ghosh, Roughgarden and Sundararajan (2012), Universally utility-maximizing privacy mechanisms.

    >>> Geometric(1.0).log_weights(np.array([1]), np.array([2]), 2).round(4).tolist()
    [[-1.7719, -0.7719, -1.7719]]
    """

    decay: Any

    def __post_init__(self) -> None:
        """Check the decay."""
        _positive("Geometric", "decay", self.decay)

    def log_weights(self, observed: np.ndarray, sizes: np.ndarray, width: int) -> Any:
        """Give log probabilities of the differences."""
        return _of_counts(potentials.geometric_count, jnp.asarray(observed, float), self.decay, width)

    def estimate(self, observed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Give the reports, within the bag."""
        return np.clip(observed, 0, sizes)


@dataclass(frozen=True)
class Soft:
    """A quadratic penalty: log weight -strength (s - observed)^2.

    Attributes:
        strength: a number above 0.

    >>> Soft(0.5).log_weights(np.array([1]), np.array([2]), 2).tolist()
    [[-0.5, -0.0, -0.5]]
    """

    strength: Any

    def __post_init__(self) -> None:
        """Check the strength."""
        _positive("Soft", "strength", self.strength)

    def log_weights(self, observed: np.ndarray, sizes: np.ndarray, width: int) -> Any:
        """Give the penalties."""
        return _of_counts(potentials.soft_count, jnp.asarray(observed, float), self.strength, width)

    def estimate(self, observed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Give the reports, within the bag."""
        return np.clip(observed, 0, sizes)


@dataclass(frozen=True)
class Rounded:
    """Proportions published to some decimals: every count whose proportion rounds to the published one is as good.

    The report is the published proportion times the size of the bag.

    Attributes:
        decimals: of the proportion, a whole number from 0.

    >>> Rounded(1).log_weights(np.array([0.3 * 7]), np.array([7]), 7).tolist()[0][1:4]  # 2/7 = 0.286, alone
    [-inf, 0.0, -inf]
    """

    decimals: Any

    def __post_init__(self) -> None:
        """Check the decimals."""
        if not (_number(self.decimals, "iu") and self.decimals >= 0):
            raise ObservationError(f"Rounded: decimals={self.decimals!r}. Fix: give a whole number from 0.")

    def log_weights(self, observed: np.ndarray, sizes: np.ndarray, width: int) -> Any:
        """Give zero within half a unit of the last decimal, ends included, whichever way they were rounded."""
        half = (0.5 * 10.0**-self.decimals + 1e-9) * sizes
        return _of_counts(potentials.interval, jax.device_put(observed - half), jax.device_put(observed + half), width)

    def estimate(self, observed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Give the reports, within the bag."""
        return np.clip(observed, 0, sizes)


@dataclass(frozen=True, eq=False)
class Sampled:
    """Some members, drawn at random from the bag, were counted: a report is hypergeometric.

    Attributes:
        trials: how many of each bag, one number for all or one for each (n_b,).

    >>> np.exp(Sampled(1).log_weights(np.array([1]), np.array([2]), 2)).round(4).tolist()
    [[0.0, 0.5, 1.0]]
    """

    trials: Any

    def __post_init__(self) -> None:
        """Check the numbers."""
        given = np.asarray(self.trials)
        if given.dtype.kind not in "iuf" or given.ndim > 1 or np.any(given < 0) or np.any(given != np.rint(given)):
            raise ObservationError(
                f"Sampled: trials={self.trials!r}. Fix: give the number of members that were counted, one for all bags "
                "or one for each."
            )

    def of_bags(self, n_bags: int) -> np.ndarray:
        """Give the numbers of so many bags (n_b,).

        Raises: ObservationError where there are numbers for others.

        >>> Sampled(3).of_bags(2).tolist()
        [3.0, 3.0]
        """
        given = np.asarray(self.trials, float)
        if given.ndim and len(given) != n_bags:
            raise ObservationError(
                f"Sampled: trials (n_trials) are of {len(given)} bags, and there are {n_bags}. Fix: give the number of "
                "members that were counted for every bag, or one for all."
            )
        return np.broadcast_to(given, (n_bags,))

    def take(self, chosen: np.ndarray) -> Sampled:
        """Keep the numbers of some bags."""
        return self if np.ndim(self.trials) == 0 else Sampled(np.asarray(self.trials)[chosen])

    def log_weights(self, observed: np.ndarray, sizes: np.ndarray, width: int) -> Any:
        """Give log C(s, S) C(B - s, m - S) / C(B, m), of m members that were drawn from B."""
        s = np.arange(width + 1.0)[None]
        ones, size = np.asarray(observed, float)[:, None], np.asarray(sizes, float)[:, None]
        drawn = np.broadcast_to(np.asarray(self.trials, float), np.shape(observed))[:, None]
        whole = ones == np.rint(ones)
        fits = whole & (ones >= 0) & (ones <= s) & (drawn >= ones) & (drawn - ones <= size - s)
        found = _log_ways(s, ones, fits) + _log_ways(size - s, drawn - ones, fits) - _log_ways(size, drawn, fits)
        return jax.device_put(np.where(fits, found, -np.inf))

    def estimate(self, observed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Give the share of the sample times the size of the bag; half of it where nobody was drawn."""
        drawn = np.broadcast_to(np.asarray(self.trials, float), np.shape(observed))
        return np.clip(np.where(drawn > 0, observed / np.where(drawn > 0, drawn, 1), 0.5) * sizes, 0, sizes)


def _log_ways(of: np.ndarray, some: np.ndarray, fits: np.ndarray) -> np.ndarray:
    """Log of the number of ways to draw some of so many."""
    of, some = np.where(fits, of, 0), np.where(fits, some, 0)
    return gammaln(of + 1) - gammaln(some + 1) - gammaln(of - some + 1)


def _positive(law: str, name: str, value: Any) -> None:
    if not (_number(value) and 0 < value < np.inf):
        raise ObservationError(f"{law}: {name}={value!r}. Fix: give a positive number.")


def _number(value: Any, kinds: str = "iuf") -> bool:
    given = np.asarray(value)
    return given.ndim == 0 and given.dtype.kind in kinds


def is_noise(value: Any) -> bool:
    """Tell whether something is a noise, and not the class of one.

    >>> is_noise(Normal(1.0)), is_noise(Normal), is_noise(1.0)
    (True, False, False)
    """
    return isinstance(value, Noise) and not isinstance(value, type)


@partial(jax.jit, static_argnums=(0, 3))
def _of_counts(potential: Callable[..., jax.Array], first: Any, second: Any, width: int) -> jax.Array:
    """Give the weights of all counts: one program for a shape, where each operation was compiled."""
    return potential(first, second, width)
