"""Factor graphs: finite variables, tables and counts, by hand or from a program or a file, and inference on them.

Law: a graph denotes the product of its tables and counts, normaliser included; exact methods keep it, and approximate
ones say what they guarantee.
May import: laws, findings, eager, representations, summing.
"""

from .bounds import Bracket, bracket
from .exact_inference import eliminated, most_probable
from .infer import Plan, infer, plan
from .loopy.propagation import propagated
from .methods import bind_methods as _bind_methods
from .model.beliefs import Beliefs
from .model.builder import Variables
from .model.folding import folded
from .model.graph import FactorGraph
from .model.potentials import Potentials
from .model.unfolding import unfolded
from .reading.count_sites import count
from .reading.from_program import to_factor_graph
from .reading.to_program import to_program
from .reading.tree_proposal import tree_proposal

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

_bind_methods()


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted(__all__)
