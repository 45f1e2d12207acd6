"""Kernels: invariant Markov kernels, one family a file."""

from .base import Kernel
from .mh import mh, single_site
from .random_walk import random_walk

__all__ = [
    "Kernel",
    "mh",
    "random_walk",
    "single_site",
]
