"""Which class of a fit is told first, and which one odds are told against.

Law: both are words about one point: no likelihood, membership or error of a class depends on them.

Source: specification section 8.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lawful.errors import LawfulError

if TYPE_CHECKING:
    from .results import TrajectoryFit

__all__ = ["order_of"]


def order_of(fit: TrajectoryFit, by: Any, reference: int) -> tuple[int, ...]:
    """Give the order of the classes of the search, as `TrajectoryFit.reordered` asks for it.

    Args:
        fit: a fit.
        by: "size", the name of a parameter that each class has, or the labels of the fit.
        reference: a class, from 1.

    Raises:
        LawfulError: there is no such parameter or class.
    """
    count = fit.model.n_classes
    own = len(fit.rows) - (count - 1) * (1 + fit.model.p_gate)  # odds come last, and belong to no class alone
    if by == "size":
        places = np.argsort(-fit.class_sizes, kind="stable")
    elif isinstance(by, str):
        told = [value for row, value in zip(fit.rows[:own], fit.values[:own], strict=True) if row.parameter == by]
        places = np.argsort(told, kind="stable")
    else:
        places = np.asarray(by).reshape(-1) - 1
    if sorted(places.tolist()) != list(range(count)) or reference not in range(1, count + 1):
        names = ", ".join(dict.fromkeys(row.parameter for row in fit.rows[:own]))
        raise LawfulError(
            f"reordered: by={by!r}, reference={reference!r} and {count} classes. Fix: order by 'size', by one of "
            f"{names}, or by the labels 1 to {count}, each once; take one of these as the reference."
        )
    return tuple(fit.order[place] for place in places)
