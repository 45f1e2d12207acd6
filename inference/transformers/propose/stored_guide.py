"""Stored guide: a guide as arrays by name and a text that JSON holds, and back.

Law: `restored(*stored(guide))` draws and scores as the guide does, bit for bit. A law is made by its constructor from
its own parts, and the constructors stand in a table, so that no file names what is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ...laws.flow import Flow, flow_weights
from ...laws.grid import Grid
from ...laws.tailed import Tailed
from .guide import Guide

# By the name that files have, which is never changed: the class, and the parts that its constructor takes by name.
LAWS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "normal": (dist.Normal, ("loc", "scale")),
    "student_t": (dist.StudentT, ("df", "loc", "scale")),
    "multivariate_normal": (dist.MultivariateNormal, ("loc", "scale_tril")),
    "multivariate_student_t": (dist.MultivariateStudentT, ("df", "loc", "scale_tril")),
    "low_rank": (dist.LowRankMultivariateNormal, ("loc", "cov_factor", "cov_diag")),
    "independent": (dist.Independent, ("base_dist", "reinterpreted_batch_ndims")),
    "mixture": (dist.MixtureSameFamily, ("mixing_distribution", "component_distribution")),
    "probabilities": (dist.CategoricalProbs, ("probs",)),
    "logits": (dist.CategoricalLogits, ("logits",)),
    "tailed": (Tailed, ("normal", "half", "factor")),
    "grid": (Grid, ("loc", "root", "log_mass")),
    "flow": (Flow, ("weights", "loc", "root")),
}


class _Unknown(Exception):
    """A part of a law that no file holds."""


def stored(guide: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Give the arrays of a guide by name, and the rest; None where its law is not in the table, or for no guide.

    >>> guide = Guide(dist.Normal(jnp.zeros(2), 1.0).to_event(1), (("x", 2),))
    >>> arrays, told = stored(guide)
    >>> sorted(arrays), restored(arrays, told)
    (['law.base_dist.loc', 'law.base_dist.scale'], Guide('own', x))
    """
    if not isinstance(guide, Guide):
        return None
    arrays = {f"table.{name}": np.asarray(table) for name, table in guide.tables.items()}
    try:
        law = None if guide.law is None else _told("law", guide.law, arrays)
    except _Unknown:
        return None
    sites = [[name, size] for name, size in guide.sites]
    return arrays, {"law": law, "sites": sites, "tables": list(guide.tables), "family": guide.family}


def restored(arrays: Mapping[str, Any], told: Mapping[str, Any]) -> Guide:
    """Make a guide again."""
    law = None if told["law"] is None else _made(told["law"], arrays)
    tables = {name: jnp.asarray(arrays[f"table.{name}"]) for name in told["tables"]}
    return Guide(law, tuple((name, size) for name, size in told["sites"]), tables, told["family"])


def _told(place: str, part: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Tell a part of a law, and put its arrays beside."""
    if isinstance(part, dist.Distribution):
        name = next((name for name, (kind, _) in LAWS.items() if type(part) is kind), None)
        if name is None:
            raise _Unknown
        parts = {field: _told(f"{place}.{field}", getattr(part, field), arrays) for field in LAWS[name][1]}
        return {"kind": name, "parts": parts}
    if isinstance(part, int):
        return part
    leaves = jax.tree.leaves(part)
    if len(leaves) == 1 and leaves[0] is part:
        arrays[place] = np.asarray(part)
        return {"array": place}
    arrays.update({f"{place}.{number}": np.asarray(leaf) for number, leaf in enumerate(leaves)})
    return {"weights": [f"{place}.{number}" for number in range(len(leaves))]}


def _made(told: Any, arrays: Mapping[str, Any], size: int = 0) -> Any:
    """Make a part of a law again; `size` of the vectors of a flow."""
    if isinstance(told, int):
        return told
    if "array" in told:
        return jnp.asarray(arrays[told["array"]])
    if "weights" in told:
        return jax.tree.unflatten(
            jax.tree.structure(flow_weights(size)), [jnp.asarray(arrays[name]) for name in told["weights"]]
        )
    kind, names = LAWS[told["kind"]]
    size = len(arrays[told["parts"]["loc"]["array"]]) if told["kind"] == "flow" else 0
    return kind(**{name: _made(told["parts"][name], arrays, size) for name in names})
