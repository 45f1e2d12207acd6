"""Kernels: invariant Markov kernels, one family a file."""

from .barker import barker
from .base import Kernel, Proposed, State, scored
from .compose import cycle, mixture, repeat
from .conjugate import conjugate
from .delayed import delayed_acceptance
from .elliptical import elliptical_slice
from .foreign import foreign
from .gibbs import gibbs
from .involutive import involutive
from .jump import jump
from .mh import Proposal, mh
from .on import on
from .program_proposal import independence
from .random_walk import random_walk
from .single_site import single_site
from .slice import slice
from .split_merge import split_merge

__all__ = [
    "Kernel",
    "Proposal",
    "Proposed",
    "State",
    "barker",
    "conjugate",
    "cycle",
    "delayed_acceptance",
    "elliptical_slice",
    "foreign",
    "gibbs",
    "independence",
    "involutive",
    "jump",
    "mh",
    "mixture",
    "on",
    "random_walk",
    "repeat",
    "scored",
    "single_site",
    "slice",
    "split_merge",
]
