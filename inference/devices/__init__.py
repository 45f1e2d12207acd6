"""Devices: one population on many devices, each of which holds an equal part of the particles.

Law: the measure of a population does not depend on how many devices hold it; with exact resampling no bit of it does.
May import: laws, findings, eager, representations, summing, graphs, transformers, kernels.
"""

from .axis import Axis
from .exchange import exchanged

__all__ = ["Axis", "exchanged"]
