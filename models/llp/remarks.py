"""Remarks on a fit, in words: settings that it did not read, and counts that its labels miss.

Law: a setting that is the default is never named; one that differs from it is named where nothing of the fit depends on
it, so that nobody takes an answer for that of a setting. Labels that have their counts get no remark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bags.bags import Bags
from .inputs import determined
from .labelling import Labelling
from .learners import Process
from .rounds import Rounds

__all__ = ["missed", "unread"]

NEAR = 1e-4  # of the largest bag, by which sums of labels may miss a count


def unread(given: Mapping[str, Any], bags: Bags, learner: Any) -> tuple[str, ...]:
    """Say which settings are not read.

    Args:
        given: settings of the classifier, by name.
        bags: that are fitted to.
        learner: that is fitted.

    >>> from lawful.models.llp.learners import Ridge
    >>> unread({"cross_fit": 40, "coupling": "auto"}, Bags.from_ids([0, 0, 1, 1], [1, 1]), Ridge())
    ('cross_fit=40 was not read: 2 bags are too few for so many folds.',)
    """
    folds, coupling = given.get("cross_fit", "auto"), given.get("coupling", "auto")
    why = {
        "cross_fit": "" if isinstance(folds, str) else _folds(int(folds), bags, learner),
        "coupling": "" if isinstance(coupling, str) or coupling == 0 or determined(bags) is None
        else "every count tells the labels of its members.",
    }  # fmt: skip
    return tuple(f"{name}={given[name]!r} was not read: {each}" for name, each in why.items() if each)


def missed(labelling: Labelling | None, bags: Bags) -> tuple[str, ...]:
    """Say by how much labels miss exact counts, where they do.

    >>> from lawful.models.llp.labelling import labelled
    >>> bags = Bags.from_ids([0, 0], [1])
    >>> missed(labelled([0.0, 0.0], bags), bags)
    ()
    """
    if labelling is None or not labelling.count_error > NEAR * bags.sizes.max(initial=1):  # NaN where counts are noisy
        return ()
    why = ", or their counts contradict each other" if bags.overlapping else ""
    return (
        f"labels miss a count by {labelling.count_error:.2g} (messages were {labelling.verdict}): bags were not "
        f"brought together{why}.",
    )


def _folds(number: int, bags: Bags, learner: Any) -> str:
    if not number:
        return ""
    if isinstance(learner, Process):
        return "log odds of the process come out of bag, without folds."
    return "" if Rounds(folds=number).folds_for(bags) else f"{bags.n_bags} bags are too few for so many folds."
