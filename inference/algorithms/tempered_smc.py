"""Tempered SMC: (move . resample . advance)^T . spawn on a path from the prior to the posterior.

Law: with a given ladder and a given kernel it is properly weighted, E[Z-hat] = Z. A ladder chosen by the effective
sample size, or scales taken from the particles, leave it consistent in their number.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from lawful.errors import LawfulError

from ..contract import Transformer
from ..devices.island_resampling import Islands
from ..kernels.particles.default_move import PopulationMoves
from ..plans.setting_types import Count, Ladder, Mover, PathOf
from ..representations.annealing_paths import Path, prior_to_posterior
from ..representations.population import Advance
from ..representations.traced import Trace
from ..transformers.pauses import Finish, repeat_to_end, spawn
from ..transformers.rejuvenation import chains_of, rejuvenate, waste_free
from ..transformers.resample import push_evidence_with, resample
from ..transformers.temper import temper
from ..transformers.temperatures import ladder_of
from .method import Resampled, call, method


@dataclass(frozen=True, kw_only=True)
class Tempered(Resampled):
    """Methods of particles on a path from the prior to the posterior.

    Args:
        kernel: a kernel that keeps the posterior, as `kernels.mh()`; default: `population_hmc()`, trajectories along
            gradients in units of the particles, or with fewer than 10 coordinates `population_walk()`, a random walk
            with covariance 2.38^2/d x weighted covariance of the particles.
        ladder: where to stop: `by_ess(0.5)`, the default, chooses the powers at which half of the effective sample
            size is left; or a sequence of powers, the last of them 1.
        chains: number of chains of a waste-free run, a divisor of `particles`; default: chains of about
            100 states.
        steps: instead of waste-free moves, move every particle so many times and keep its last state.
        resampling: "multinomial", "systematic", "stratified", "residual", or a scheme object; with `steps` also
            "islands" (see `smc`).
    """

    kernel: Mover | None = None
    ladder: Ladder | None = None
    chains: Count | None = None
    steps: Count | None = None

    on_path: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse both kinds of moves at once, and waste-free chains on islands."""
        self.fill(kernel=PopulationMoves(), ladder=ladder_of())
        super().__post_init__()
        if self.chains is not None and self.steps is not None:
            raise LawfulError(
                f"{self.name}: chains keep all their states, steps keep the last one only. Fix: give chains "
                "(waste-free) or steps (the standard moves), not both."
            )
        if self.steps is None and isinstance(self.scheme, Islands):
            raise LawfulError(
                f"{self.name}: the chains of a waste-free run start at particles of the whole population, not of an "
                "island. Fix: give steps=10, for moves of every particle where it is, or resampling='exact'."
            )

    @property
    @abstractmethod
    def way(self) -> Path:
        """The path."""

    def compose(self) -> Transformer:
        """Spawn from the prior, then at every point of the path weigh, resample and move."""
        if self.steps is not None:
            renew = resample(self.scheme) >> rejuvenate(self.kernel, self.steps)
        else:
            renew = waste_free(self.kernel, self.chains or chains_of(self.particles), self.scheme)
        stage = Advance >> push_evidence_with(self.nonfinite) >> renew
        return Trace >> temper(self.way, self.ladder) >> spawn(self.particles) >> repeat_to_end(stage) >> Finish


@method("tempered_smc")
@dataclass(frozen=True, kw_only=True)
class TemperedSmc(Tempered):
    """Build sequential Monte Carlo on a path from the prior to the posterior (Del Moral, Doucet and Jasra 2006).

    It needs no sequence in the model. At each point of the path the particles are weighed, resampled, and moved by a
    kernel that keeps the measure of that point. By default the moves are waste-free (Dau and Chopin 2022): few
    particles are resampled, each starts a chain, and all states of the chains are the next particles.

    Args:
        particles: number of particles. In a waste-free run all states of the chains count: 10 000 particles cost what
            1000 particles with steps=10 cost, and tell much more.
        path: how the observations enter: `prior_to_posterior()`, the default, raises all of them to a power;
            `data_by_data(...)` lets them enter in blocks.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the particles evenly, and the chains of a
            waste-free run where their number allows it; None: one device. With `run` they are of one process.

    Returns: a plan; `plan(key, *args)` gives a `Result`, whose `stats` hold for each stage, (run, stage): `beta`, the
        temperature: the point of the path that was reached; `ess`, the effective sample size there; `acceptance_rate`
        of the moves; `ess_residual`, what was left of the equation that chose the temperature; and for each run
        `n_stages`. Stages after the end of a run are NaN.

    >>> import jax, numpy as np, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 10.0))
    ...     with lawful.plate("row", 20):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> result = tempered_smc(model, particles=1000, runs=2)(jax.random.key(0), np.linspace(2.0, 4.0, 20))
    >>> abs(float(result.posterior["mu"].mean()) - 3.0) < 0.1, float(np.nanmax(result.stats["beta"]))
    (True, 1.0)
    """

    path: PathOf | None = None

    def __post_init__(self) -> None:
        """Take the usual path where none is given."""
        self.fill(path=prior_to_posterior())
        super().__post_init__()

    @property
    def way(self) -> Path:
        """The path."""
        found: Any = self.path
        return found


tempered_smc = call(TemperedSmc)
