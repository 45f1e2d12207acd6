"""Summary: ArviZ's table of the variables of a result.

Law: what a table says of chains is said of chains only; the error of a population comes from its runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.late import arviz_base, arviz_stats, pandas

from ..grouped import listed
from ..record import Record
from .tree import renamed, tree_of


def summary(result: Record, **options: Any) -> pandas.DataFrame:
    """Tabulate the variables; see `Result.summary`."""
    result._refuse_without_draws()
    tree = tree_of(result, log_likelihood=False, log_prior=False)
    table = arviz_stats.summary(tree, **options)
    if result.weighted is None:
        return table
    # Duplicates break the effective sizes of chains: the error comes from independent runs.
    table = table.drop(columns=[name for name in table.columns if name.startswith(("ess_", "mcse_"))])
    kept = {name: value for name, value in options.items() if name in ("var_names", "filter_vars", "coords")}
    means = {name: np.asarray(array, dtype=float).mean(axis=1) for name, array in result.posterior.items()}
    runs = len(result.runs)
    by_run = arviz_base.dict_to_dataset(
        means,
        sample_dims=["chain"],
        dims=listed(result.dims),
        coords=dict(renamed(result, None, None).coords),
    )
    spread = arviz_stats.summary(by_run, sample_dims=["chain"], kind="stats", round_to="none", **kept)
    if runs > 1:
        table["mcse_runs"] = spread["sd"] / np.sqrt(runs)
    return table
