"""Particle Gibbs: chains that move a sequence by conditional SMC, then everything else given the sequence.

Law: it keeps the posterior for any number of particles.

Reference: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods.
"""

from dataclasses import dataclass, field
from typing import Any

from lawful.errors import LawfulError

from ..kernels.combine.compose import cycle
from ..kernels.combine.on import on
from ..kernels.particles.conditional_smc_kernel import particle_gibbs as conditional_smc
from ..plans.setting_types import Count, Kernel
from .method import MarkovChains, call, method


@method("particle_gibbs")
@dataclass(frozen=True, kw_only=True)
class ParticleGibbs(MarkovChains):
    """Build particle Gibbs: a sequence by conditional SMC, then everything else by another kernel.

    Args:
        model: a program with a sequence.
        states: the name of the sequence's site, or several.
        kernel: moves the other sites given the sequence, as `kernels.on("sigma", kernels.random_walk(0.1))`; None where
            there are none.
        particles: number of particles, the retained path among them.
        ancestors: how the retained path gets new ancestors, see `kernels.particle_gibbs`.

    Raises:
        LawfulError: no site is named.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> from lawful.inference import kernels
    >>> particle_gibbs(lambda y: None, "x", kernels.on("sigma", kernels.random_walk(0.1)), particles=20)
    particle_gibbs(cycle(on(['x'], particle_gibbs(20, multinomial, ancestors='sampled')), on(['sigma'], ...)))
    """

    states: Any = field(kw_only=False)
    kernel: Kernel | None = field(default=None, kw_only=False)
    particles: Count
    ancestors: Any = "sampled"

    def compose(self) -> Any:
        """Move the sequence, then the rest."""
        if not self.states:
            raise LawfulError("particle_gibbs: expected the name of a site or more, got none.")
        path = on(self.states, conditional_smc(self.particles, ancestors=self.ancestors))
        return path if self.kernel is None else cycle(path, self.kernel)


particle_gibbs = call(ParticleGibbs)
