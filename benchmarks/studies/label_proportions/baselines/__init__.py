"""Baselines: known ways to learn from label proportions, all with `fit(X, bags, seed=) -> Fitted`.

Law: a method sees covariates and what is known of the counts, never a label; equal seeds give equal fits. One labelled
row is a bag of one, so methods on all labels or on few have the same interface: see `singletons`. The bag ridge is one
of the learners of `lawful.models.llp`.
"""

from lawful.models.llp.training.bag_ridge import BagRidge

from .dllp import DLLP
from .easy_llp import EasyLLP
from .em import CountEM
from .interface import Method, singletons
from .proportion import Proportion
from .soft_labels import SoftLabels

__all__ = ["DLLP", "BagRidge", "CountEM", "EasyLLP", "Method", "Proportion", "SoftLabels", "singletons"]
