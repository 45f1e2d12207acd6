"""Learning from label proportions: labels of single rows from counts of labels in bags of rows.

Law: everything is inference in one measure, P(y | X, counts) proportional to prod_i exp(z_i y_i) prod_b f_b(sum y)
prod_ij psi_ij(y_i, y_j): logits of a learner, exact counts of bags, and neighbours that agree.
"""

from .bags import Bags
from .coupling import Coupling, coupled
from .likelihood import count_log_likelihood, posterior_given_counts
from .neighbours import Neighbours, knn_graph
from .noise import Geometric, Noise, Normal, Rounded, Soft, Thinned

__all__ = [
    "Bags",
    "Coupling",
    "Geometric",
    "Neighbours",
    "Noise",
    "Normal",
    "Rounded",
    "Soft",
    "Thinned",
    "count_log_likelihood",
    "coupled",
    "knn_graph",
    "posterior_given_counts",
]
