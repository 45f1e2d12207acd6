"""Baselines: known ways to learn from label proportions, all with `fit(X, bags, seed=) -> Fitted`.

Law: a method sees covariates and what is known of the counts, never a label; equal seeds give equal fits. One labelled
row is a bag of one, so methods on all labels or on few have the same interface: see `singletons`.

May import: bags, neighbours, training.
"""

from .bag_ridge import BagRidge
from .dllp import DLLP
from .easy_llp import EasyLLP
from .em import CountEM
from .interface import Fitted, Method, singletons
from .proportion import Proportion
from .soft_labels import SoftLabels

__all__ = ["DLLP", "BagRidge", "CountEM", "EasyLLP", "Fitted", "Method", "Proportion", "SoftLabels", "singletons"]
