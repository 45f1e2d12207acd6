"""IBIS: parameters as data come in, one block after the other, moved by a kernel that keeps the posterior.

Law: that of tempered sequential Monte Carlo, of which it is the path `data_by_data(block)`.

Reference: Chopin (2002), A sequential particle filter method for static models.
"""

from dataclasses import dataclass, field

from ..plans.setting_types import Count, Mover
from ..representations.annealing_paths import Path, data_by_data
from .method import call, method
from .tempered_smc import Tempered


@method("ibis")
@dataclass(frozen=True, kw_only=True)
class Ibis(Tempered):
    """Build IBIS: parameters as data come in, one block after the other, moved by a kernel that keeps the posterior.

    It is `tempered_smc` on the path `data_by_data(block)`.

    Args:
        model: a program without a hidden sequence.
        kernel: moves the parameters; default: that of `tempered_smc`.
        block: number of observations that enter at once.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def level(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     with lawful.plate("i", 4):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> result = ibis(level, particles=200)(jax.random.key(0), jnp.array([0.5, 1.0, 0.2, 0.4]))
    >>> abs(float(result.posterior["mu"].mean()) - 0.42) < 0.2
    True
    """

    kernel: Mover | None = field(default=None, kw_only=False)
    block: Count = 1

    @property
    def way(self) -> Path:
        """One block after the other."""
        return data_by_data(block=self.block)


ibis = call(Ibis)
