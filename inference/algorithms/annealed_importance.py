"""Annealed importance sampling: (move . advance)^T . spawn on a path from the prior to the posterior.

Law: properly weighted, E[Z-hat] = Z, for every ladder and every kernel that keeps the points of the path. Nothing is
resampled, so particles are independent of each other.

Reference: Neal (2001), Annealed importance sampling.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lawful.errors import LawfulError

from ..contract import Transformer
from ..kernels.particles.walk import population_walk
from ..plans.setting_types import Count, Mover, PathOf
from ..representations.annealing_paths import prior_to_posterior
from ..representations.population import Advance
from ..representations.traced import Trace
from ..transformers.pauses import Finish, repeat_to_end, spawn
from ..transformers.rejuvenation import rejuvenate
from ..transformers.resample import push_evidence_with
from ..transformers.temper import temper
from ..transformers.temperatures import ladder_of
from .method import Populations, call, method


@method("annealed_importance")
@dataclass(frozen=True, kw_only=True)
class AnnealedImportance(Populations):
    """Build annealed importance sampling.

    Args:
        kernel: a kernel that keeps the posterior, as `kernels.mh()`; default: `population_walk()`, whose scales are
            those of the particles.
        ladder: the powers of the likelihood, ascending, the last of them 1; or their number n, for (k / n)^4.
        steps: moves of every particle at each power.
        path: how the observations enter, as for `tempered_smc`.

    Raises: LawfulError for a ladder that does not end at 1, and for numbers below 1.

    Returns: a plan; `plan(key, *args)` gives a `Result`: draws by the last weights, and the evidence of every run.

    >>> import jax, numpy as np, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 10.0))
    ...     with lawful.plate("i", 20):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> result = annealed_importance(model, particles=500)(jax.random.key(0), np.linspace(2.0, 4.0, 20))
    >>> abs(float(result.posterior["mu"].mean()) - 3.0) < 0.1
    True
    """

    kernel: Mover | None = None
    ladder: Any = 50
    steps: Count = 1
    path: PathOf | None = None

    independent: ClassVar[bool] = True
    on_path: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Take the usual kernel and path, and read the ladder."""
        self.fill(kernel=population_walk(), path=prior_to_posterior())
        if isinstance(self.ladder, int | np.integer):
            if self.ladder < 1:
                raise LawfulError(f"ladder: expected powers, or a number of 1 or more, got {self.ladder!r}.")
            self.set("ladder", [(k / int(self.ladder)) ** 4 for k in range(1, int(self.ladder) + 1)])
        self.set("ladder", ladder_of(self.ladder))
        super().__post_init__()

    def compose(self) -> Transformer:
        """Spawn from the prior, then at every point of the path weigh and move."""
        stage = Advance >> push_evidence_with(self.nonfinite) >> rejuvenate(self.kernel, self.steps)
        return Trace >> temper(self.path, self.ladder) >> spawn(self.particles) >> repeat_to_end(stage) >> Finish


annealed_importance = call(AnnealedImportance)
