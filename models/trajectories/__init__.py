"""Mixtures of trajectories: people measured several times, in classes that differ by the curve they follow.

Law: the density is a pure function of a tree of parameters and a panel of arrays; everything else, fits, errors and
posteriors, is built on it.
"""

from .agreement import accuracy, entropy_index, kappa
from .bootstrapping import Bootstrap
from .checking import checked, replicated
from .comparing import ClassTest, RatioTest, bootstrap_ratio, criteria_table, likelihood_ratio
from .curves import CURVES, Curve, curve_of
from .density import (
    class_log_densities,
    factor_scores,
    log_likelihood_by_person,
    log_memberships,
    log_prior_classes,
)
from .estimator import TrajectoryMixture
from .marginal import log_likelihood
from .panels import Panel, panel
from .parameters import Bounds, Model, Parameters, Varying, pack, unpack
from .posterior import TrajectoryPosterior
from .priors import Priors, draw_parameters, parameters_of, sites_of
from .program import trajectory_mixture
from .reading import Measured, read_long, read_wide
from .results import TrajectoryFit
from .sensitivity import prior_sensitivity
from .simulate import Design, Simulated, simulate_trajectories

__all__ = [
    "CURVES",
    "Bootstrap",
    "Bounds",
    "ClassTest",
    "Curve",
    "Design",
    "Measured",
    "Model",
    "Panel",
    "Parameters",
    "Priors",
    "RatioTest",
    "Simulated",
    "TrajectoryFit",
    "TrajectoryMixture",
    "TrajectoryPosterior",
    "Varying",
    "accuracy",
    "checked",
    "bootstrap_ratio",
    "class_log_densities",
    "criteria_table",
    "curve_of",
    "draw_parameters",
    "entropy_index",
    "factor_scores",
    "kappa",
    "log_likelihood",
    "likelihood_ratio",
    "log_likelihood_by_person",
    "log_memberships",
    "log_prior_classes",
    "pack",
    "panel",
    "parameters_of",
    "prior_sensitivity",
    "read_long",
    "read_wide",
    "replicated",
    "simulate_trajectories",
    "sites_of",
    "trajectory_mixture",
    "unpack",
]
