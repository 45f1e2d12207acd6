"""`python -m benchmarks.studies.posteriordb [POSTERIOR ...] [--sampler NAME]`: compare samplers with the references.

One row a sampler and posterior: the scalar whose mean is farthest from its reference, the one whose quantile is, the
largest Monte Carlo error of a mean in posterior standard deviations, and seconds. The last line holds the largest |z|
and its bound, for the number of comparisons in the whole table. Exit codes: 0 all within the bound and every mean known
to 3 % of its sd, 1 not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from lawful.errors import LawfulError

from . import POSTERIORS, Posterior, data_folder, read
from .reference import Comparison, bound, comparisons
from .samplers import SAMPLERS, Size

ENOUGH = 0.03  # of a standard deviation: a mean known less well says nothing
IMPROPER = "its prior is flat, so there are no draws to start from"
HEADING = f"{'sampler':10}{'posterior':40}{'mean':>8}  {'of':10}{'quantile':>8}  {'of':16}{'MCSE':>7}{'seconds':>9}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.posteriordb", description=__doc__)
    parser.add_argument("posteriors", nargs="*", help="parts of names; default: all")
    parser.add_argument("--sampler", action="append", choices=SAMPLERS, help="default: nuts, and then tempered")
    parser.add_argument("--data", type=Path, help="folder of reference data; default: LAWFUL_DATA, or ../shared/data")
    parser.add_argument("--seed", type=int, default=0)
    for name, value in vars(Size()).items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    chosen = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    size = Size(**{name: getattr(chosen, name) for name in vars(Size())})
    posteriors = [
        p for p in POSTERIORS.values() if not chosen.posteriors or any(x in p.name for x in chosen.posteriors)
    ]
    if not posteriors:
        parser.error(f"no posterior fits; there are: {', '.join(POSTERIORS)}.")
    folder = chosen.data or data_folder()
    print(HEADING)
    found: list[Comparison] = []
    for sampler in chosen.sampler or ("nuts", "tempered"):
        for number, posterior in enumerate(posteriors):
            key = jax.random.fold_in(jax.random.key(chosen.seed), number)
            found += _row(sampler, posterior, folder, key, size)
    if not found:
        parser.error(f"no sampler can run these: {'; '.join(f'{p.name}: {IMPROPER}' for p in posteriors)}.")
    largest, limit = max(abs(c.z) for c in found), bound(len(found))
    share = max(c.mcse_share for c in found if c.quantity == "mean")
    print(
        f"largest |z| {largest:.2f} of {len(found)} comparisons, bound {limit:.2f}; largest MCSE of a mean {share:.1%} "
        f"of its sd, bound {ENOUGH:.0%}"
    )
    return 0 if largest <= limit and share <= ENOUGH else 1


def _row(name: str, posterior: Posterior, folder: Path, key: jax.Array, size: Size) -> list[Comparison]:
    """Run one sampler on one posterior and print its row, or why it has none."""
    sampler = SAMPLERS[name]
    if sampler.from_prior and not posterior.proper:
        print(f"{name:10}{posterior.name:40}  not run: {IMPROPER}", flush=True)
        return []
    reference = read(folder, posterior.name)
    begun = time.perf_counter()
    draws = jax.tree.map(np.asarray, dict(sampler.run(posterior, posterior.arguments(reference.data), key, size)))
    seconds = time.perf_counter() - begun
    found = comparisons(draws, reference.scalars, independent=sampler.independent)
    means = [c for c in found if c.quantity == "mean"]
    mean = max(means, key=lambda c: abs(c.z))
    quantile = max((c for c in found if c.quantity != "mean"), key=lambda c: abs(c.z))
    share = max(c.mcse_share for c in means)
    at = f"{quantile.scalar} at {quantile.quantity}"
    print(
        f"{name:10}{posterior.name:40}{mean.z:8.2f}  {mean.scalar:10}{quantile.z:8.2f}  {at:16}{share:7.2%}"
        f"{seconds:9.1f}",
        flush=True,
    )
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LawfulError as error:
        sys.exit(f"{type(error).__name__}: {error}")
