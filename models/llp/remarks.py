"""Remarks on a fit, in words: settings that it did not read, and counts that its labels miss.

Law: a setting that is the default is never named; one that differs from it is named where nothing of the fit depends on
it, so that nobody takes an answer for that of a setting. Labels that have their counts get no remark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .bags.bags import Bags
from .inputs import determined
from .labels.labelling import Labelling
from .learners import FromClassifier, Net, Process, Ridge
from .rounds import Rounds

__all__ = ["missed", "unread"]

READ = ("checkpoint", "count_noise", "method", "random_state", "verbose")  # by the published method, or refused there
NEAR = 1e-4  # of the largest bag, by which sums of labels may miss a count


def unread(given: Mapping[str, Any], usual: Mapping[str, Any], bags: Bags, learner: Any) -> tuple[str, ...]:
    """Say which settings are not read.

    Args:
        given: settings of the classifier, by name.
        usual: their defaults.
        bags: that are fitted to.
        learner: that is fitted.

    >>> bags = Bags.from_ids([0, 0, 1, 1], [1, 1])
    >>> unread({"cross_fit": 40, "method": "recommended"}, {"cross_fit": "auto"}, bags, Ridge())
    ('cross_fit=40 was not read: 2 bags are too few for so many folds.',)
    """
    changed = {name: value for name, value in given.items() if name in usual and not _is(value, usual[name])}
    if not _is(given["method"], "recommended"):
        names = sorted(name for name in changed if name not in READ)
        told = f"{', '.join(names)}: not read, because the published method has settings of its own, Published(...)."
        return (told,) if names else ()
    known = isinstance(learner, (FromClassifier, Net, Process, Ridge))  # one of a user's own may read everything
    net = isinstance(learner, Net) or not known
    base = given.get("base")
    off = _is(given.get("coupling"), "off") or _is(given.get("coupling"), 0)
    why = {
        "max_iter": "" if _is(base, "mlp") or _is(base, "logistic") else "it is for base='mlp' and 'logistic'.",
        "count_weight": "" if net else "labels have the counts already, and the learner is fitted to them alone.",
        "graph": "" if net else "the learner has no hidden layer.",
        "cross_fit": _folds(changed.get("cross_fit", 0), bags, learner),
        "coupling": "" if off or determined(bags) is None else "every count tells the labels of its members.",
    }
    return tuple(
        f"{name}={changed[name]!r} was not read: {each}" for name, each in why.items() if each and name in changed
    )


def missed(labelling: Labelling | None, bags: Bags) -> tuple[str, ...]:
    """Say by how much labels miss exact counts, where they do.

    >>> from lawful.models.llp.labels.labelling import labelled
    >>> bags = Bags.from_ids([0, 0], [1])
    >>> missed(labelled(np.zeros(2), bags), bags)
    ()
    """
    if labelling is None or not labelling.count_error > NEAR * bags.sizes.max(initial=1):  # NaN where counts are noisy
        return ()
    why = ", or their counts contradict each other" if bags.overlapping else ""
    return (
        f"labels miss a count by {labelling.count_error:.2g} (messages were {labelling.verdict}): bags were not "
        f"brought together{why}.",
    )


def _folds(number: Any, bags: Bags, learner: Any) -> str:
    if not number:
        return ""
    if isinstance(learner, Process):
        return "log odds of the process come out of bag, without folds."
    return "" if Rounds(folds=int(number)).folds_for(bags) else f"{bags.n_bags} bags are too few for so many folds."


def _is(value: Any, other: Any) -> bool:
    """Compare settings, of which some are objects that cannot be compared."""
    return value is other or (isinstance(value, (str, int, float, np.generic)) and bool(value == other))
