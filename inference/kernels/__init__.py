"""Kernels: invariant Markov kernels, one family a file."""

from .base import Kernel as Kernel
from .mh import mh as mh
from .mh import single_site as single_site
from .random_walk import random_walk as random_walk
