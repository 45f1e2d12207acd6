"""Mixtures of trajectories: people measured several times, in classes that differ by the curve they follow.

Law: the density is a pure function of a tree of parameters and a panel of arrays; everything else, fits, errors and
posteriors, is built on it.
"""

from .agreement import accuracy, entropy_index, kappa
from .curves import CURVES, Curve, curve_of
from .density import (
    class_log_densities,
    factor_scores,
    log_likelihood_by_person,
    log_memberships,
    log_prior_classes,
)
from .estimator import TrajectoryMixture
from .panels import Panel, panel
from .parameters import Bounds, Model, Parameters, Varying, pack, unpack
from .program import trajectory_mixture
from .reading import Measured, read_long, read_wide
from .results import TrajectoryFit
from .simulate import Design, Simulated, simulate_trajectories

__all__ = [
    "CURVES",
    "Bounds",
    "Curve",
    "Design",
    "Measured",
    "Model",
    "Panel",
    "Parameters",
    "Simulated",
    "TrajectoryFit",
    "TrajectoryMixture",
    "Varying",
    "accuracy",
    "class_log_densities",
    "curve_of",
    "entropy_index",
    "factor_scores",
    "kappa",
    "log_likelihood_by_person",
    "log_memberships",
    "log_prior_classes",
    "pack",
    "panel",
    "read_long",
    "read_wide",
    "simulate_trajectories",
    "trajectory_mixture",
    "unpack",
]
