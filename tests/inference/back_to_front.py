"""A method that the library does not have: annealed importance on a path where the last data enter first."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import inference
from lawful.inference import Advance, Finish, PushEvidence, Trace, call, kernels, method, rejuvenate, repeat_to_end
from lawful.inference.algorithms.method import Populations
from lawful.inference.plans.setting_types import Count, Mover
from lawful.inference.representations.annealing_paths import weighing_places


@dataclass(frozen=True)
class BackToFront:
    def entries(self, program: Any) -> Any:
        places = list(weighing_places(program))
        return {p.address: np.full((), len(places) - 1 - i, np.int32) for i, p in enumerate(places)}, len(places)


@method("back_to_front")
@dataclass(frozen=True, kw_only=True)
class AnnealedBackToFront(Populations):
    """Build annealed importance sampling where the last data enter first; `moves` at each of two powers."""

    kernel: Mover = kernels.mh()
    moves: Count = 1
    on_path: ClassVar[bool] = True
    independent: ClassVar[bool] = True

    def compose(self) -> Any:
        stage = Advance >> PushEvidence >> rejuvenate(self.kernel, self.moves)
        start = Trace >> inference.temper(BackToFront(), [0.5, 1.0]) >> inference.spawn(self.particles)
        return start >> repeat_to_end(stage) >> Finish


back_to_front = call(AnnealedBackToFront)


def model(y):
    """A level that two data show, one of them an outlier at times."""
    level = lawful.sample("level", dist.Normal(0.0, 1.0))
    lawful.sample("first", dist.Normal(level, 1.0), obs=y[0])
    outlier = lawful.sample("outlier", dist.Bernoulli(0.25))
    lawful.sample("second", dist.Normal(level, jnp.where(outlier == 1, 3.0, 1.0)), obs=y[1])


def coin(y):
    """The same with a level of two values, which can be listed."""
    level = lawful.sample("level", dist.Bernoulli(0.25))
    lawful.sample("first", dist.Bernoulli(jnp.where(level == 1, 0.75, 0.5)), obs=y[0])
    lawful.sample("second", dist.Bernoulli(jnp.where(level == 1, 0.5, 0.25)), obs=y[1])
