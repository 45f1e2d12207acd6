"""Gaussian mixtures of experts: p(y | x) = sum_i w_i(x) N(y; a_i' x + b_i, nu_i), with gates of several kinds.

Law: the density in closed form is that of an ordinary program with its labels summed out.
"""

from .density import Mixture
from .gates import Gate
from .parameters import Parameters
from .program import gaussian_moe

__all__ = ["Gate", "Mixture", "Parameters", "gaussian_moe"]
