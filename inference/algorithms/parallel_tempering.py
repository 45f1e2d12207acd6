"""Parallel tempering: copies of a program at several powers of its likelihood; the draws are those at power 1.

Law: the chain on all copies keeps their product measure, whose marginal at power 1 is the posterior.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import jax
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import choices_of
from lawful.inspection.lint.improper_priors import refuse_improper

from ..contract import Contract
from ..kernels.combine.mh import mh
from ..kernels.particles.replica_exchange import Tempering, replicated
from ..plans.plan import Engine, Plan, Prepared
from ..plans.rewritten_program import Detour
from ..plans.setting_types import Kernel
from ..results.log_densities import scored_draws
from ..results.record import Warmup
from ..results.result import Result
from ..running.driver import Chunk
from .mcmc import Mcmc
from .method import MarkovChains, call, method


@method("parallel_tempering")
@dataclass(frozen=True, kw_only=True)
class ParallelTempering(MarkovChains):
    """Build Markov chains on copies of a program at several powers of its likelihood, which change places.

    Copies at small powers cross where the posterior has no way; what they find wanders to power 1. A step moves every
    copy, swaps even pairs of neighbours, moves again, and swaps odd pairs. `stats["swap_0_1"]` holds the probability of
    a swap between the first two powers at each step, and so on: a pair below 0.2 or so asks for a power in between.

    Args:
        kernel: moves a copy, a kernel or a bare proposal; default: single-site moves.
        powers: increasing, from 0 or more to 1: the prior has power 0, the posterior 1.
        chains: number of chains, each of them with a copy for each power.
        init: a start by site name, the same for all copies and chains. Default: prior draws of finite density.
        run: how the run is divided, watched and kept, as for `mcmc`, without a store; None: one compiled call.
        mesh: the devices that share the chains, all copies of a chain on one, as for `mcmc`; None: one device.

    Returns: a plan; `plan(key, *args)` gives a `Result` of the draws at power 1.

    Reference: Swendsen and Wang (1986); Syed, Bouchard-Cote, Deligiannidis and Doucet (2022).

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def two_modes():
    ...     x = lawful.sample("x", dist.Normal(0.0, 5.0))
    ...     lawful.sample("y", dist.Normal(jnp.abs(x), 0.1), obs=4.0)
    >>> plan = parallel_tempering(two_modes, kernels.random_walk(0.5), chains=2, warmup=10, draws=20)
    >>> plan(0).posterior["x"].shape
    (2, 20)
    """

    kernel: Kernel | None = field(default=None, kw_only=False)
    powers: Sequence[float] = (0.0, 0.1, 0.3, 0.6, 1.0)

    copies: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse powers that are none, or do not go up to 1."""
        self.fill(kernel=mh())
        super().__post_init__()
        given = [float(p) for p in self.powers]
        rise = all(a < b for a, b in itertools.pairwise(given))
        if len(given) < 2 or given[-1] != 1.0 or given[0] < 0 or not rise:
            raise LawfulError(
                f"parallel_tempering: expected two powers or more, increasing from 0 or more to 1, got {given}."
            )
        self.set("powers", given)

    @property
    def composition(self) -> str:
        """Kernel and powers."""
        return f"{self.kernel!r}, {[round(p, 4) for p in self.powers]}"

    def tempering(self, program: Any) -> Tempering:
        """Move and swap the copies of a program."""
        return Tempering(program, self.kernel, tuple(self.powers))

    @property
    def contract(self) -> Contract:
        """What the kernel of a copy claims; the step as a whole is not reversible."""
        return self.tempering(lambda: None).contract

    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write the copies as a program, and chains of it."""
        if self.powers[0] == 0:  # the copy at power 0 has the prior for its target
            refuse_improper(form, "parallel_tempering with the power 0")
        size = (self.chains, len(self.powers))
        init = None if self.init is None else {
            name: np.broadcast_to(np.asarray(v), (*size, *np.shape(v))) for name, v in self.init.items()
        }  # fmt: skip
        chains = Mcmc(
            self.tempering(form), chains=self.chains, warmup=self.warmup, draws=self.draws, thin=self.thin, init=init,
            on_fault=self.on_fault, mesh=self.mesh, chain_method=self.chain_method, progress=False,
        )  # fmt: skip
        return Copies(plan, plan.within(replicated(form, self.powers), chains))


class Copies(Detour):
    """A way by the copies of a program, of which the one at power 1 is kept."""

    def told(self, prepared: Prepared, result: Result, key: Any) -> Result:
        """Keep the copy at power 1, with the log density of the program."""
        posterior, warmup = _at_one(result._posterior), result.warmup
        if warmup is not None:
            early = _at_one(warmup.posterior)
            warmup = Warmup(early, _numbers(prepared, early, warmup.stats))
        stats = _numbers(prepared, posterior, result.stats)
        run = {**result.run, "powers": list(self.plan.method.powers)}
        return replace(result, _posterior=posterior, stats=stats, warmup=warmup, run=run)

    def chunk(self, prepared: Prepared, chunk: Chunk, key: Any) -> Chunk:
        """Keep the copy at power 1."""
        draws = _at_one(chunk.draws)
        return replace(chunk, draws=draws, info=_numbers(prepared, draws, chunk.info))

    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Give draws at power 1 by name as a function of a key and the inputs."""
        inner = self.inner.sampler(*prepared.inputs)
        return lambda key, *inputs: {name: draws[:, -1] for name, draws in inner(key, *inputs).items()}

    def lines(self, prepared: Prepared) -> list[str]:
        """Say which site is moved how."""
        return [self.inner.plan(*prepared.inputs)]


def _at_one(draws: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Keep the copy at power 1, the last one."""
    return {name: np.asarray(x)[:, :, -1] for name, x in draws.items()}


def _numbers(prepared: Prepared, draws: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Put the log density of the program for that of all copies."""
    columns = [np.nan_to_num(draws[c.name]).astype(c.dtype) for c in choices_of(prepared.form)]
    return {**numbers, "lp": scored_draws(prepared.form, prepared.inputs, columns)}


parallel_tempering = call(ParallelTempering)
