"""Counts: the factor f(y) = exp(g(sum_i y_i)) over binary members, its messages, evidence, best assignment and draws.

Law: the answers are those of the table of all 2^B assignments, at the price of the table of B + 1 counts. `messages`
and `log_evidence` take many bags at once, as rows, and run inside jitted loops; `potentials` says what can be known of
a count, `alike` and `padded` put bags into rows. Padding a bag with members of log odds -inf changes no other number.
May import: laws, findings, eager, representations, summing.
"""

from . import potentials
from .factor import Solved, log_evidence, messages, solve
from .maximum import Best, best_assignment, max_messages
from .multiclass import MulticlassSolved, multiclass_solve
from .multiclass_tilted import multiclass_approximate
from .padding import alike, padded
from .posterior import count_law, count_posterior
from .sampling import push_members, uniforms_needed
from .solving import METHODS

__all__ = [
    "METHODS",
    "Best",
    "MulticlassSolved",
    "Solved",
    "alike",
    "best_assignment",
    "count_law",
    "count_posterior",
    "log_evidence",
    "max_messages",
    "messages",
    "multiclass_approximate",
    "multiclass_solve",
    "padded",
    "potentials",
    "push_members",
    "solve",
    "uniforms_needed",
]
