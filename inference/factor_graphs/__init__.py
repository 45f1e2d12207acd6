"""Factor graphs: finite variables and tables, by hand or from a program or a file, and inference on them.

Law: a graph denotes the product of its tables, normaliser included; exact methods keep it, and approximate ones say
what they guarantee.
"""

from .beliefs import Beliefs
from .exact import eliminated, most_probable
from .graph import FactorGraph, Potentials, Variables

__all__ = ["Beliefs", "FactorGraph", "Potentials", "Variables", "eliminated", "most_probable"]
