"""Mixtures of trajectories: people measured several times, in classes that differ by the curve they follow.

Law: the density is a pure function of a tree of parameters and a panel of arrays; everything else, fits, errors and
posteriors, is built on it.
"""

from .curves import CURVES, Curve, curve_of
from .density import (
    class_log_densities,
    factor_scores,
    log_likelihood_by_person,
    log_memberships,
    log_prior_classes,
)
from .panels import Panel, panel
from .parameters import Bounds, Model, Parameters, pack, unpack

__all__ = [
    "CURVES",
    "Bounds",
    "Curve",
    "Model",
    "Panel",
    "Parameters",
    "class_log_densities",
    "curve_of",
    "factor_scores",
    "log_likelihood_by_person",
    "log_memberships",
    "log_prior_classes",
    "pack",
    "panel",
    "unpack",
]
