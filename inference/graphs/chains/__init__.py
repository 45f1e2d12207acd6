"""Chains: exact inference where T variables with K states stand in a line, as in hidden Markov models.

Law: log Z, marginals, samples and best paths are those of the measure gamma of `chain`, up to rounding, whatever the
method, the number type and the size of the scores; no score that is finite is ever taken for a hard zero.

A chain inside a factor graph has its single-variable scores as `node` and its pair tables as `transition`; what comes
back are the beliefs of the variables (`marginals(...).node`) and of the factors (`marginals(...,
pairs="each").pairs`).
May import: laws, findings, eager, representations, summing.
"""

from .chain import Chain, chain, path_score
from .ending import Ending, best_ending, ending
from .filtering import Filtered, filtered, predict
from .posterior import log_z, marginals
from .sampling import push_path
from .smoothing import Marginals
from .viterbi import BestPath, best_path

__all__ = [
    "BestPath",
    "Chain",
    "Ending",
    "Filtered",
    "Marginals",
    "best_ending",
    "best_path",
    "chain",
    "ending",
    "filtered",
    "log_z",
    "marginals",
    "path_score",
    "predict",
    "push_path",
]
