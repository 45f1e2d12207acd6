"""Parallel tempering: chains on copies of a program at several powers of its likelihood, which change places.

Law: the kernel keeps the product measure of all copies, whose marginal at power 1 is the posterior.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lawful.errors import LawfulError

from ..kernels.combine.mh import mh
from ..kernels.particles.replica_exchange import Tempering
from ..plans.setting_types import Kernel
from .method import MarkovChains, call, method


@method("parallel_tempering")
@dataclass(frozen=True, kw_only=True)
class ParallelTempering(MarkovChains):
    """Build Markov chains on copies of a program at several powers of its likelihood, which change places.

    Copies at small powers cross where the posterior has no way; what they find wanders to power 1. A step moves every
    copy, swaps even pairs of neighbours, moves again, and swaps odd pairs. `stats["swap_0_1"]` holds the probability of
    a swap between the first two powers at each step, and so on: a pair below 0.2 or so asks for a power in between.

    Args:
        kernel: moves a copy, a kernel or a bare proposal; what a warm-up tunes it tunes for the copy at power 1.
            Default: single-site moves.
        powers: increasing, from 0 or more to 1: the prior has power 0, the posterior 1.
        chains: number of chains, each of them with a copy for each power.
        init: a start by site name, as for `mcmc`; all copies of a chain begin where the chain does.
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

    def compose(self) -> Any:
        """Move and swap the copies."""
        return Tempering(self.kernel, tuple(self.powers))


parallel_tempering = call(ParallelTempering)
