"""Kernels: invariant Markov kernels, one family a file."""

from .base import Kernel, State, scored
from .mh import Proposal, Proposed, mh, single_site
from .random_walk import random_walk

__all__ = [
    "Kernel",
    "Proposal",
    "Proposed",
    "State",
    "mh",
    "random_walk",
    "scored",
    "single_site",
]
