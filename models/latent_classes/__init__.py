"""Posteriors over latent classes, of whatever kind: what survives a change of their names, and what needs it.

Law: everything here is a function of draws of memberships, and none of it depends on the names that a draw gave the
classes or on the order of the draws.
"""

from .class_number import ClassNumbers
from .gates import zero_sum_gate
from .invariants import co_membership, membership_interval, occupied_classes
from .relabelling import Relabelled, relabelled
from .thinning import kept_draws

__all__ = [
    "ClassNumbers",
    "Relabelled",
    "co_membership",
    "kept_draws",
    "membership_interval",
    "occupied_classes",
    "relabelled",
    "zero_sum_gate",
]
