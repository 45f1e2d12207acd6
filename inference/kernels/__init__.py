"""Kernels: invariant Markov kernels, one family a file."""

from .barker import barker
from .base import Kernel, Proposed, State, scored
from .block_gibbs import block_gibbs
from .compose import cycle, mixture, repeat
from .conjugate import conjugate
from .delayed import delayed_acceptance
from .elliptical import elliptical_slice
from .foreign import foreign
from .gibbs import gibbs
from .hmc import hmc, mala
from .involutive import involutive
from .jump import jump
from .mh import Proposal, mh
from .nuts import nuts
from .on import on
from .particle_gibbs import particle_gibbs
from .program_proposal import independence
from .pseudo_marginal import pseudo_marginal
from .random_walk import random_walk
from .refresh import refresh
from .single_site import single_site
from .slice import slice
from .smcp3 import smcp3
from .split_merge import split_merge

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
