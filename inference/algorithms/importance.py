"""Importance sampling, from the prior or from a proposal program: spawn alone.

Law: it is properly weighted: E[Z-hat] = Z and E[ sum_i w_i f(x_i) ] is the integral of f, for every f.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..contract import Transformer
from ..plans.setting_types import Proposal
from ..transformers.pauses import spawn
from ..transformers.resample import push_evidence_with
from .method import Populations, call, method


@method("importance")
@dataclass(frozen=True, kw_only=True)
class Importance(Populations):
    """Build importance sampling, from the prior or from a proposal program: spawn alone.

    Args:
        proposal: what to draw from in place of the prior, as for `smc`.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def coin():
    ...     p = lawful.sample("p", dist.Beta(1.0, 1.0))
    ...     lawful.sample("heads", dist.Bernoulli(p), obs=1)
    >>> result = importance(coin, particles=1000, runs=2)(jax.random.key(0))
    >>> bool(abs(result.log_evidence_pooled - jnp.log(0.5)) < 0.1)
    True
    """

    proposal: Proposal | None = None

    independent: ClassVar[bool] = True
    runs_eagerly: ClassVar[bool] = True

    def program(self, model: Any) -> Any:
        """Draw from the proposal."""
        return model if self.proposal is None else self.proposal(model)

    def compose(self) -> Transformer:
        """Draw, and weigh."""
        return spawn(self.particles) >> push_evidence_with(self.nonfinite)


importance = call(Importance)
