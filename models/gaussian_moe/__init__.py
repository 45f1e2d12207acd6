"""Gaussian mixtures of experts: p(y | x) = sum_i w_i(x) N(y; a_i' x + b_i, nu_i), with gates of several kinds.

Law: the density in closed form is that of an ordinary program with its labels summed out. Fits never lower the
likelihood, and are compared with a truth by losses that neither shifts nor permutations change.
"""

from .alignment import Alignment
from .annealing import annealed_fit
from .bayes import Posterior, compare_experts, posterior_of
from .density import Mixture
from .estimator import GaussianMoE
from .fitting import Fit, Settings, fit_from
from .gates import Gate
from .hellinger import hellinger
from .information import fisher
from .merging import MergeTree, merge_tree
from .parameters import Parameters
from .program import Priors, free_mixture, gaussian_moe, mixture_with_priors
from .top_one import fit_top_one
from .voronoi import align, voronoi_loss

__all__ = [
    "Alignment",
    "Fit",
    "Gate",
    "GaussianMoE",
    "MergeTree",
    "Mixture",
    "Parameters",
    "Posterior",
    "Priors",
    "Settings",
    "align",
    "annealed_fit",
    "compare_experts",
    "fisher",
    "fit_from",
    "fit_top_one",
    "free_mixture",
    "gaussian_moe",
    "hellinger",
    "merge_tree",
    "mixture_with_priors",
    "posterior_of",
    "voronoi_loss",
]
