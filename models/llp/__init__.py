"""Learning from label proportions (llp): labels of single rows from counts of labels in bags of rows.

Law: everything is inference in one measure, P(y | X, counts) proportional to prod_i exp(z_i y_i) prod_b f_b(sum y)
prod_ij psi_ij(y_i, y_j): logits of a learner, exact counts of bags, and neighbours that agree.
"""

from typing import TYPE_CHECKING, Any

from .bags.bags import Bags
from .bags.feature_bags import FeatureBagsWarning
from .bags.noise import Geometric, Noise, Normal, Rounded, Sampled, Soft, Thinned
from .labelling import Labelling, labelled
from .labels.calibration import Calibration, calibrated
from .labels.likelihood import count_log_likelihood, posterior_given_counts
from .neighbours.coupling import Coupling, coupled
from .neighbours.edge_correlation import EdgeCorrelation, edge_correlation
from .neighbours.neighbours import Neighbours, knn_graph
from .program import llp_program

if TYPE_CHECKING:
    from .classifier import LabelProportionClassifier, LabelProportionSelfTraining
    from .scoring import bag_scorer

__all__ = [
    "Bags",
    "Calibration",
    "Coupling",
    "EdgeCorrelation",
    "FeatureBagsWarning",
    "Geometric",
    "LabelProportionClassifier",
    "LabelProportionSelfTraining",
    "Labelling",
    "Neighbours",
    "Noise",
    "Normal",
    "Rounded",
    "Sampled",
    "Soft",
    "Thinned",
    "bag_scorer",
    "calibrated",
    "count_log_likelihood",
    "coupled",
    "edge_correlation",
    "knn_graph",
    "labelled",
    "llp_program",
    "posterior_given_counts",
]

# These need scikit-learn, which the extra `llp` brings, so they are imported where they are asked for.
_LAZY = {
    "LabelProportionClassifier": "classifier",
    "LabelProportionSelfTraining": "classifier",
    "bag_scorer": "scoring",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
