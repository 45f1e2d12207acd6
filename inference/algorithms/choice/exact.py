"""Exact answers: marginals, log evidence and independent draws of a program whose sites are all summed or integrated.

Law: no number here is an estimate: the log evidence is that of the whole sum, the marginals are its derivatives or the
shares of its paths, and draws are from the exact posterior, each apart from all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import choices_of, dims_of

from ...findings.findings import Finding
from ...plans.plan import Prepared, seed_of, told_of
from ...results.conditional_means import conditional_means
from ...results.record import masked
from ...results.recover import recover
from ...results.result import Result
from ...transformers.enumeration import Enumeration
from ..enumerated import Enumerated

CHAINS = 4
IMPOSSIBLE = Finding(
    "DEAD",
    "no value of the choices has a positive density, so the evidence is 0 and there is no posterior. Fix: compare the "
    "observations and factors with what the model can give; lawful.check_program(model, *args) tells of supports.",
)


@dataclass(frozen=True, eq=False)
class Marginals:
    """Exact probabilities of the values of finite sites.

    Attributes:
        marginals: by name, (..., values).
        values: by name, the values.
    """

    marginals: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]

    def values_of(self, name: str) -> np.ndarray:
        """List the values of a site, in the order of its probabilities."""
        return self.values[name]


def summed_answer(found: Enumeration, key: Any, args: tuple[Any, ...], draws: int) -> dict[str, Any]:
    """Give the fields of a result, of a program none of whose sites is left."""
    own = one_key(key)
    log_evidence = float(found.marginal.log_density({}, *args))
    posterior = recover(found, {}, own, *args, count=(CHAINS, -(-draws // CHAINS)))
    means = conditional_means(found, {}, *args) if np.isfinite(log_evidence) else {}
    listed = {c.name: np.asarray(c.law.element_values) for c in found.summed if c.law.element_values is not None}
    whole = {n: v for n, v in listed.items() if np.array_equal(v, v[0] + np.arange(len(v)))}
    beliefs = Marginals({n: means[n] for n in whole if n in means}, whole)
    return _fields(posterior, log_evidence, beliefs, "sums and integrals in the program")


def listed_answer(found: Enumerated, key: Any, draws: int) -> dict[str, Any]:
    """Give the fields of a result, of a program whose paths are listed; "return" is what the program returns."""
    number = -(-draws // CHAINS)
    if not len(found.log_weights):
        return _fields({}, -np.inf, Marginals({}, {}), "a list of all paths")
    logits = jnp.asarray(found.log_weights - found.log_weights.max())
    rows = np.asarray(dist.Categorical(logits=logits).sample(one_key(key), (CHAINS, number)))
    posterior = masked(
        {name: own[rows] for name, own in found.support.items()},
        {name: on[rows] for name, on in found.active.items()},
    )
    scalar = {name: own for name, own in found.support.items() if own.ndim == 1}
    values = {name: np.unique(own) for name, own in scalar.items()}
    shares = {}
    for name, own in scalar.items():
        weight = found.probabilities * found.active.get(name, np.ones(len(own), bool))
        shares[name] = np.array([weight[own == value].sum() for value in values[name]])
    told = _fields(posterior, found.log_evidence, Marginals(shares, values), "a list of all paths")
    if not np.isneginf(found.log_unexplored):
        missing = found.posterior_error()
        evidence = f"too low by {missing:.0e} at most, where later weights are at most 1"
        lower = {"certificate": "lower-bound", "evidence": evidence, "unexplored": missing}
        told["run"] |= lower
    return told


def exact_result(fields: dict[str, Any], key: Any, prepared: Prepared | None, settings: Mapping[str, Any]) -> Result:
    """Make the result of an exact answer; no program is known where it ran eagerly."""
    about: dict[str, Any] = {}
    if prepared is not None:
        model, form, observed = prepared.subject
        found = (*fields.pop("found", ()), *prepared.unread)
        about = {"model": model, "form": form, "args": prepared.args, "found": found}
        about["groups"] = {"observed_data": observed} if observed else {}
        about["dims"] = dims_of(choices_of(form, ("sample", "deterministic")))
    told = {**told_of(settings, seed_of(key)), **fields.pop("run")}
    return Result("infer", fields.pop("posterior"), run=told, **fields, **about)


def _fields(posterior: Mapping[str, Any], log_evidence: float, beliefs: Marginals, solver: str) -> dict[str, Any]:
    run = {"certificate": "exact", "solver": solver, "verdict": "exact", "evidence": "exact"}
    told = {"log_evidence": np.array([log_evidence]), "run": run}
    if np.isfinite(log_evidence):
        return {"posterior": posterior, "beliefs": beliefs, **told}
    run["verdict"] = "infeasible"
    return {"posterior": {}, "beliefs": Marginals({}, {}), "found": (IMPOSSIBLE,), **told}
