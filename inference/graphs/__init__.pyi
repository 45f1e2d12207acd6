from . import counts as counts
from .best_assignment import MostProbable as MostProbable
from .best_assignment import most_probable as most_probable
from .bounds import Bracket as Bracket
from .bounds import bracket as bracket
from .graph_draws import Draws as Draws
from .graph_draws import draws as draws
from .inference import eliminated as eliminated
from .inference import infer as infer
from .inference import plan as plan
from .loopy.propagation import propagated as propagated
from .model.beliefs import Beliefs as Beliefs
from .model.builder import Variables as Variables
from .model.folding import folded as folded
from .model.graph import FactorGraph as FactorGraph
from .model.potentials import Potentials as Potentials
from .model.unfolding import unfolded as unfolded
from .planning import Plan as Plan
from .reading.count_sites import count as count
from .reading.from_program import to_factor_graph as to_factor_graph
from .reading.to_program import to_program as to_program
from .reading.tree_proposal import tree_proposal as tree_proposal

__all__: list[str]
