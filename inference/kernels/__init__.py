"""Kernels: invariant Markov kernels, one family a file.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""

from .base.base import Kernel, Proposed, State, scored
from .combine.barker import barker
from .combine.compose import cycle, mixture, repeat
from .combine.delayed import delayed_acceptance
from .combine.mh import Proposal, mh
from .combine.on import on
from .combine.refresh import refresh
from .gibbs.block_gibbs import block_gibbs
from .gibbs.conjugate import conjugate
from .gibbs.gibbs import gibbs
from .gradient.foreign import foreign
from .gradient.hmc import hmc, mala
from .gradient.nuts import nuts
from .jumps.involutive import involutive
from .jumps.jump import jump
from .jumps.program_proposal import independence
from .jumps.split_merge import split_merge
from .local.single_site import single_site
from .particles.particle_gibbs import particle_gibbs
from .particles.pseudo_marginal import pseudo_marginal
from .particles.smcp3 import smcp3
from .walks.elliptical import elliptical_slice
from .walks.random_walk import random_walk
from .walks.slice import slice

__all__ = [
    "Kernel",
    "Proposal",
    "Proposed",
    "State",
    "barker",
    "block_gibbs",
    "conjugate",
    "cycle",
    "delayed_acceptance",
    "elliptical_slice",
    "foreign",
    "gibbs",
    "hmc",
    "independence",
    "mala",
    "involutive",
    "jump",
    "mh",
    "nuts",
    "mixture",
    "on",
    "particle_gibbs",
    "pseudo_marginal",
    "random_walk",
    "refresh",
    "repeat",
    "scored",
    "single_site",
    "slice",
    "smcp3",
    "split_merge",
]


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted(__all__)
