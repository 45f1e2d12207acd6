"""Tables and pictures of the churn example: what examples/churn.py shows, without the learning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from output import place, saved

from lawful.models.llp.plots import plot_bag_fit, plot_calibration, plot_yardstick


def print_fit(model: Any) -> None:
    """Print the verdicts on neighbours, how counted customers were labelled, and notes."""
    for question, told in (
        ("do similar customers leave alike?", model.identifiability_),
        ("more than the learner knows?", model.residual_correlation_),
    ):
        if told is not None:
            print(f"  {question:<34} {told.verdict}: correlation {told.correlation:.2f} +- {told.error:.2f}")
    labels = model.labelling_
    print(f"  labels given all counts:           {labels.verdict}, neighbours with strength {labels.strength:.2f}")
    for note in model.notes_:
        print(f"  note: {note}")


def print_scores(found: Mapping[tuple[str, str], Any]) -> None:
    """Print a line for each method."""
    print(f"  {'learned from':<14}{'method':<32}{'area under the curve':>20}{'seconds':>10}")
    for (seen, name), each in found.items():
        print(f"  {seen:<14}{name:<32}{each.auc:>20.3f}{each.seconds:>10.1f}")
    print()


def print_calls(chance: np.ndarray, left: np.ndarray, calls: int = 100) -> None:
    """Say how many of those who leave are among the customers that would be called first."""
    calls = min(calls, len(left))
    hits = int(left[np.argsort(-chance, kind="stable")[:calls]].sum())
    print(f"  Of the {calls} new customers with the highest scores {hits} left; of {calls} at random", end=" ")
    print(f"{calls * left.mean():.0f} would have.")


def print_batch(posterior: np.ndarray, bags: Any, left: np.ndarray, shown: int = 8) -> None:
    """Print the likeliest customers of the first batch, with what was not known: whether they left."""
    members = bags.members_of(0)
    print(f"  reported {bags.counts[0]} of {len(members)}, sum of probabilities {posterior[members].sum():.2f}")
    for row in members[np.argsort(-posterior[members], kind="stable")][:shown]:
        print(f"  customer {row:>3}: {posterior[row]:.2f}  {'left' if left[row] else 'stayed'}")
    right = np.mean((posterior > 0.5) == left)
    print(f"  Of all counted customers {right:.0%} are on the right side of one half.")


def write(chance: np.ndarray, new: Any, bags: Any, curve: Mapping[str, Any], best: float) -> list[Path]:
    """Draw the pictures, and write the scores of new customers.

    Args:
        chance: probabilities of new customers (m,).
        new: these customers, with who left.
        bags: batches of them, for the pictures of counts.
        curve: scores by the size of batches.
        best: the score of a learner from all labels.
    """
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    plot_bag_fit(chance, bags, axes[0, 0])
    axes[0, 0].set_title("Batches of new customers, by how many leave")
    plot_calibration(chance, bags, axes[0, 1], groups=8)
    draw_calls(chance, new.left, axes[1, 0])
    lines = {name: curve[name] for name in ("bag process", "bag ridge")}
    plot_yardstick(curve["size"], lines, curve["one label a batch"], axes[1, 1])
    axes[1, 1].axhline(best, color="0.6", linewidth=1, label="supervised, all labels")
    axes[1, 1].legend()
    table = place("churn.csv")
    scores = pd.DataFrame({"customer": new.table.index, "leaves": chance.round(4)})
    scores.sort_values("leaves", ascending=False).to_csv(table, index=False)
    return [saved(figure, "churn.png"), table]


def draw_calls(chance: np.ndarray, left: np.ndarray, ax: Any) -> None:
    """Draw the share of leavers that is reached by calling customers in the order of their scores."""
    called = np.arange(len(left) + 1) / len(left)
    for score, style, name in ((chance, "-", "by score"), (left, "k:", "by the labels")):
        reached = np.cumsum(left[np.argsort(-score, kind="stable")]) / left.sum()
        ax.plot(called, np.concatenate([[0], reached]), style, label=name)
    ax.plot([0, 1], [0, 1], "--", color="0.6", label="at random")
    ax.set(xlabel="share of new customers called", ylabel="share of leavers reached", title="Whom to call")
    ax.legend()
