"""`python -m benchmarks.studies.papers.cluster_population [SETS]`: relations of clusters from a selected catalogue.

Catalogues of 300 clusters, of which the second survey sees about a fifth. Lines: the evidence of a skewed scatter of
richness against a log-normal one, ten catalogues of each kind; calibration, by ranks of parameters drawn from the prior
in SETS posteriors (default 100); what ignoring the selection does to the relation; and how much contamination of rich
clusters is compatible with catalogues that have none. Every fit is a guide, corrected by its weights; fits that say
that they are not ok are counted.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from scipy import stats

import lawful
from lawful import handlers, inference
from lawful.models.papers.cluster_population import FIDUCIAL, Catalogue, Variant, draw_catalogue, population

from .bars import judge

SEEDS = range(100, 110)
SIZE = 300
SKEWED = {**FIDUCIAL, "fraction": 0.3, "tail": 0.6}
RICH = np.log(100.0 / 40.0)


def catalogue(seed: int, relation: Mapping[str, Any]) -> Catalogue:
    """Draw a catalogue, redshifts uniform from 0.25 to 0.65."""
    redshift = np.random.default_rng(seed).uniform(0.25, 0.65, SIZE)
    return draw_catalogue(jax.random.key(seed), relation, redshift)


class Fit:
    """Fits of a variant to catalogues of one size, compiled once."""

    def __init__(self, variant: Variant = "lognormal", by: str = "divide") -> None:
        self.options = variant, by
        summed = inference.marginalise("all")(lawful.trace(population, catalogue(0, FIDUCIAL), *self.options))
        self.plan = inference.guide(summed, family="laplace", paths=2, particles=500, runs=2)

    def __call__(self, data: Catalogue, seed: int) -> inference.Result:
        """Fit one catalogue."""
        return self.plan(jax.random.key(seed), data, *self.options)


def evidences(plain: Fit, skewed: Fit) -> int:
    """Compare variants on catalogues of both kinds."""
    missed = 0
    for kind, relation, sign in (("log-normal", FIDUCIAL, -1), ("skewed", SKEWED, 1)):
        factors, not_ok = [], 0
        for seed in SEEDS:
            data = catalogue(seed, relation)
            fits = [fit(data, seed) for fit in (plain, skewed)]
            not_ok += sum(not fit.ok for fit in fits)
            factors.append(float(fits[1].log_evidence_pooled - fits[0].log_evidence_pooled))
        right = sum(sign * factor > 0 for factor in factors)
        shown = ", ".join(f"{factor:.1f}" for factor in factors)
        found = f"{right} of 10 (log Bayes factors of the skewed variant {shown}; {not_ok} of 20 fits not ok)"
        missed += judge(f"variant of {kind} catalogues", "9 of 10", found, right >= 9)
    return missed


def calibration(plain: Fit, sets: int) -> int:
    """Rank parameters from the prior among draws of their posteriors."""
    shares: dict[str, list[float]] = {name: [] for name in FIDUCIAL}
    not_ok = 0
    for number in range(sets):
        prior = handlers.trace(handlers.seed(population, jax.random.key(1000 + number)))
        record = prior(catalogue(0, FIDUCIAL))
        relation = {name: float(record.choices[(name,)]) for name in FIDUCIAL}
        fit = plain(catalogue(1000 + number, relation), number)
        not_ok += not fit.ok
        for name, value in relation.items():
            shares[name].append(float(np.mean(np.asarray(fit.posterior[name]) < value)))
    p = {name: float(stats.kstest(share, "uniform").pvalue) for name, share in shares.items()}
    inside = np.mean([[0.05 < x < 0.95 for x in share] for share in shares.values()])
    least = min(p, key=lambda name: p[name])
    found = f"{p[least]:.3f} ({least}); 90 % intervals cover {inside:.3f}; {not_ok} not ok"
    return judge(f"ranks in {sets} posteriors, least p of 8 parameters", "0.001", found, p[least] > 0.001)


def ignoring(plain: Fit) -> int:
    """Show what taking the catalogue for a sample of all clusters does."""
    ignore, shifts = Fit(by="ignore"), []
    for seed in SEEDS[:5]:
        data = catalogue(seed, FIDUCIAL)
        right, wrong = (np.asarray(fit(data, seed).posterior["slope"]) for fit in (plain, ignore))
        shifts.append((wrong.mean() - right.mean()) / right.std())
    found = ", ".join(f"{shift:.1f}" for shift in shifts)
    return judge("slope without the selection, in posterior sds", "beyond 2", found, min(np.abs(shifts)) > 2)


def contamination() -> int:
    """Bound the share of entries without a cluster at a richness of 100, where there are none."""
    contaminated, bounds = Fit("contaminated"), []
    for seed in SEEDS[:3]:
        posterior = contaminated(catalogue(seed, FIDUCIAL), seed).posterior
        share = 1 / (1 + np.exp(-np.asarray(posterior["odds"]) - np.asarray(posterior["odds_slope"]) * RICH))
        bounds.append(float(np.quantile(share, 0.95)))
    found = ", ".join(f"{bound:.3f}" for bound in bounds)
    return judge("contaminated share at richness 100, upper 95 % bound", "0.25", found, max(bounds) < 0.25)


def main() -> int:
    """Print all lines; return the number of bars that are missed."""
    jax.config.update("jax_enable_x64", True)
    plain = Fit()
    missed = evidences(plain, Fit("projection")) + ignoring(plain) + contamination()
    return missed + calibration(plain, int(sys.argv[1]) if sys.argv[1:] else 100)


if __name__ == "__main__":
    sys.exit(main())
