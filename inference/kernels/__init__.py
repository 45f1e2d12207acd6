"""Kernels: invariant Markov kernels, one family a file."""

from .base import Kernel, Proposed, State, scored
from .compose import cycle, mixture, repeat
from .foreign import foreign
from .gibbs import gibbs
from .hmc import hmc, mala
from .mh import Proposal, mh
from .nuts import nuts
from .on import on
from .particle_gibbs import particle_gibbs
from .program_proposal import independence
from .pseudo_marginal import pseudo_marginal
from .random_walk import random_walk
from .refresh import refresh
from .single_site import single_site

__all__ = [
    "Kernel",
    "Proposal",
    "Proposed",
    "State",
    "cycle",
    "foreign",
    "gibbs",
    "hmc",
    "independence",
    "mala",
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
]
