"""Factor graphs: finite variables, tables and counts, by hand or from a program or a file, and inference on them.

Law: a graph denotes the product of its tables and counts, normaliser included; exact methods keep it, and approximate
ones say what they guarantee.
"""

from .beliefs import Beliefs
from .bounds import Bracket, bracket
from .builder import Variables
from .count_sites import count
from .exact import eliminated, most_probable
from .folding import folded
from .from_program import to_factor_graph
from .graph import FactorGraph
from .infer import Plan, infer, plan
from .potentials import Potentials
from .propagation import propagated
from .to_program import to_program
from .tree_proposal import tree_proposal
from .unfolding import unfolded

__all__ = [
    "Beliefs",
    "Bracket",
    "FactorGraph",
    "Plan",
    "Potentials",
    "Variables",
    "bracket",
    "count",
    "eliminated",
    "folded",
    "infer",
    "most_probable",
    "plan",
    "propagated",
    "to_factor_graph",
    "to_program",
    "tree_proposal",
    "unfolded",
]


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted(__all__)
