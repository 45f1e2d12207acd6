"""Summary text: a fit on a page.

Law: what is told are numbers of the fit; an edge, a kink or a best value that was found once is never left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..fitting.fitted import FittedMixture
from ..model.parameters import Model

__all__ = ["headline", "held_of", "told"]

NEARLY = 0.1  # of -2LL


def headline(fit: FittedMixture) -> str:
    """Tell which model it is, its criteria and how often it was found, without what costs time."""
    return (
        f"{_model(fit)}, -2LL {fit.minus2ll:.3f}, BIC {fit.bic:.3f}, "
        f"reached by {fit.reached()} of {_starts(fit)} starts"
    )


def told(fit: FittedMixture, optima: Any, estimates: Any, refused: Sequence[str]) -> str:
    """Tell criteria, classes, how often the best was found, edges and kinks, and the estimates.

    Args:
        fit: the fitted point.
        optima: a frame with one row a distinct optimum, the best first.
        estimates: a frame with one row a reported parameter.
        refused: why some errors are missing, in words.
    """
    best = optima.iloc[0]
    lines = [
        _model(fit),
        f"-2LL {fit.minus2ll:.3f}   AIC {fit.aic:.3f}   BIC {fit.bic:.3f}   adjusted BIC {fit.sabic:.3f}   "
        f"ICL {fit.icl:.3f}" + (f"   entropy {fit.entropy:.3f}" if fit.model.n_classes > 1 else ""),
        "class sizes " + ", ".join(f"{size:.3f}" for size in fit.class_sizes),
        f"best value reached by {fit.reached()} of {_starts(fit)} starts ({fit.reached(NEARLY)} to {NEARLY}) and by "
        f"{best.polish} climbs of polish",
    ]
    if fit.search.left:
        lines.append(f"starts were made on a part of the persons; {fit.search.left} were not followed to all")
    if fit.program is not None:
        lines.append(f"with the priors of its program: {fit.minus2ll_penalised:.3f}")
    elif fit.penalised:
        kind = "weak" if fit.pooling is None else "pooled"
        borrowed = f", {fit.pooling:g} persons borrowed by each class" if fit.pooling else ""
        lines.append(f"with the {kind} penalty{borrowed}: {fit.minus2ll_penalised:.3f}")
    if not fit.replicated:
        few = "one start alone" if fit.reached() else "polish alone"
        lines.append(f"NOT REPLICATED: {few} reached the best value; take more starts")
    if best.degenerate:
        lines.append("DEGENERATE: every end has a class of hardly anyone; take fewer classes")
    if len(optima) > 1:
        lines.append(f"next optimum {optima.minus2ll[1]:.3f}, classes {optima.sizes[1]}")
    lines += refused
    table = estimates.drop(columns="parameter").to_string(index=False, float_format=lambda x: f"{x:.5g}")
    return "\n".join([*lines, "", table])


def _starts(fit: FittedMixture) -> int:
    return int((fit.search.start >= 0).sum()) + fit.search.left


def _model(fit: FittedMixture) -> str:
    classes = "1 class" if fit.model.n_classes == 1 else f"{fit.model.n_classes} classes"
    return ", ".join([
        fit.model.form.long_name, classes, f"{fit.n} persons", f"{fit.n_parameters} parameters", *held_of(fit.model)
    ])  # fmt: skip


def held_of(model: Model) -> list[str]:
    """Say what is equal in all classes, or fixed.

    >>> held_of(Model("BLS", 2, equal=("psi", "residual"), random=("eta0",), fixed=True))
    ['equal psi and residual', 'eta0 alone random', 'knot fixed']
    """
    found = [f"equal {' and '.join(model.equal)}"] if model.equal else []
    if model.random is not None:
        found.append(f"{' and '.join(model.random)} alone random" if model.random else "no growth factor random")
    return [*found, *([f"{model.form.shape} fixed"] if model.fixed else [])]
