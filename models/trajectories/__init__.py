"""Mixtures of trajectories: people measured several times, in classes that differ by the curve they follow.

Law: the density is a pure function of a tree of parameters and a panel of arrays; everything else, fits, errors and
posteriors, is built on it.
"""

from .estimator import TrajectoryMixture
from .fitting.agreement import accuracy, entropy_index, kappa
from .likelihood.density import (
    class_log_densities,
    factor_scores,
    log_likelihood_by_person,
    log_memberships,
    log_prior_classes,
)
from .likelihood.marginal import log_likelihood
from .mixture_result import MixtureResult
from .model.curves import CURVES, Curve, curve_of
from .model.panels import Panel, panel
from .model.parameters import Bounds, Model, Parameters, Varying, pack, unpack
from .model.simulate import Design, Simulated, simulate_trajectories
from .model_comparison import ClassTest, RatioTest, bootstrap_ratio, criteria_table, likelihood_ratio
from .posterior.predictive_checks import checked, replicated
from .posterior.priors import Priors, draw_parameters, parameters_of, sites_of
from .posterior.sensitivity import prior_sensitivity
from .program import mixture_with_priors, trajectory_mixture
from .reading.read_frames import Measured, read_long, read_wide
from .results import TrajectoryFit, TrajectoryPosterior
from .tables.predicted_outcomes import PredictedOutcomes
from .uncertainty.bootstrap import Bootstrap

__all__ = [
    "CURVES",
    "Bootstrap",
    "Bounds",
    "ClassTest",
    "Curve",
    "Design",
    "Measured",
    "MixtureResult",
    "Model",
    "Panel",
    "Parameters",
    "PredictedOutcomes",
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
    "mixture_with_priors",
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
