"""Compare: several models of the same data in one table, by evidence and by leave-one-out prediction.

Law: only results on equal data are compared. The probability of model k is w_k Z_k / sum_j w_j Z_j, its error how far
it moves when each log Z_j does by its own error. A model without a number keeps its row, with a remark why.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lawful.errors import LawfulError
from lawful.form.digest import digest
from lawful.late import arviz_stats, pandas

from ..representations.element_terms import LogMarginals
from .datatree.groups import known_data
from .result import Result

type By = Literal["evidence", "loo"]


def compare(
    results: Mapping[str, Result],
    *,
    by: By | Sequence[By] = "evidence",
    prior: Mapping[str, float] | None = None,
    var_name: str | None = None,
    log_likelihood: Mapping[str, LogMarginals] | None = None,
    same_data: bool = False,
) -> pandas.DataFrame:
    """Compare models of the same data.

    Args:
        results: a result of each model, by name.
        by: "evidence", "loo" (expected log density of one datum given the others, by ArviZ), or both; the first one
            orders the rows, the best model first.
        prior: a positive weight of each model before the data, divided by their sum; default: equal.
        var_name: for "loo", the observed site or factor, where there are several.
        log_likelihood: for "loo", the `log_marginals` of a plate, by name of the model: an element is left out with
            what is latent in it. Of models that are not named one datum is left out, given its latent sites.
        same_data: True says that the data are equal, although the results cannot show it or show it in another form;
            nothing is checked then.

    Returns: a table with a row a model. `ok` and `remarks` tell whether the result may be trusted. By evidence:
        `log_evidence`, its error `log_evidence_se` (see `Result.log_evidence_error`), `difference` to the best and
        `difference_se`, the weight `prior`, the posterior `probability` and `probability_se`, which is near 1 where
        runs disagree so much that another model may be the better one. By loo: `elpd`, `elpd_se`, `p_loo`,
        `elpd_difference`, `elpd_difference_se`, the stacking `weight`, and `n_high_k`, the data whose Pareto k is too
        high for the estimate.

    Raises:
        LawfulError: the data of two results differ; weights do not fit the models; or loo has several sites to choose
            from.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y, sd):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, sd))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> run = inference.importance(model, particles=500, runs=4)
    >>> table = compare({"narrow": run(jax.random.key(0), 0.5, 1.0), "wide": run(jax.random.key(1), 0.5, 9.0)})
    >>> table.index.tolist(), round(float(table.probability.sum()), 12)
    (['narrow', 'wide'], 1.0)
    """
    ways = (by,) if isinstance(by, str) else tuple(by)
    if not ways or not set(ways) <= {"evidence", "loo"}:
        raise LawfulError(f"compare, by: expected 'evidence', 'loo' or both, got {by!r}.", by=by)
    if not results or not all(isinstance(result, Result) for result in results.values()):
        kinds = {name: type(result).__name__ for name, result in results.items()}
        raise LawfulError(f"compare: expected results by the names of their models, got {kinds}.")
    weights = _prior(results, prior)
    remarks: dict[str, list[str]] = {name: _verdict(result) for name, result in results.items()}
    if not same_data:
        _refuse_other_data(results, remarks)
    columns: dict[str, Any] = {"ok": [result.ok for result in results.values()]}
    for way in ways:
        if way == "evidence":
            columns |= _evidence(results, weights, remarks)
        else:
            columns |= _loo(results, var_name, log_likelihood or {}, remarks)
    columns["remarks"] = ["; ".join(remarks[name]) for name in results]
    table = pandas.DataFrame(columns, index=pandas.Index(list(results), name="model"))
    return table.sort_values("log_evidence" if ways[0] == "evidence" else "elpd", ascending=False, kind="stable")


def _verdict(result: Result) -> list[str]:
    return [] if result.ok else ["not ok: " + ", ".join(dict.fromkeys(f.code for f in result.reasons if f.status))]


def _prior(results: Mapping[str, Result], prior: Mapping[str, float] | None) -> np.ndarray:
    weights = dict.fromkeys(results, 1.0) if prior is None else dict(prior)
    if set(weights) != set(results) or not all(0 < w < math.inf for w in weights.values()):
        raise LawfulError(
            f"compare, prior: expected one positive weight for each of {', '.join(results)}, got {dict(weights)}.",
            prior=prior,
        )
    array = np.array([float(weights[name]) for name in results])
    return array / array.sum()


# Data


def data_digest(result: Result) -> str | None:
    """Digest the observations of a result, whatever their sites are called and their types; None where it has none.

    >>> from lawful.inference.results.collect import from_chains
    >>> ones, twos = (from_chains({"x": np.zeros((1, 2))}, observed={"y": np.full(3, v)}) for v in (1, 2.0))
    >>> data_digest(ones) == data_digest(twos), data_digest(from_chains({"x": np.zeros((1, 2))}))
    (False, None)
    """
    observed = known_data(result).get("observed_data", {})
    digests = []
    for name in observed:
        array = np.asarray(observed[name])
        array = array.astype(complex if array.dtype.kind == "c" else np.float64)
        digests.append(digest(array + 0.0))
    return digest(*sorted(digests)) if digests else None


def _refuse_other_data(results: Mapping[str, Result], remarks: Mapping[str, list[str]]) -> None:
    digests = {name: data_digest(result) for name, result in results.items()}
    first, *others = digests
    for other in others:
        if digests[other] != digests[first]:
            shapes = {name: _shapes(results[name]) for name in (first, other)}
            raise LawfulError(
                f"compare: '{first}' and '{other}' have other observed data ({shapes[first]} and {shapes[other]}), so "
                "neither their evidence nor their predictions can be compared. Fix: run both on the same data; where "
                "they are the same in another form, say same_data=True.",
                models=(first, other),
            )
    if others and digests[first] is None:
        for found in remarks.values():
            found.append("no observed site, so equal data could not be checked")


def _shapes(result: Result) -> str:
    observed = result.groups.get("observed_data", {})
    return ", ".join(f"{name} {np.shape(np.asarray(observed[name]))}" for name in observed) or "none"


# Evidence


def _evidence(
    results: Mapping[str, Result], prior: np.ndarray, remarks: Mapping[str, list[str]]
) -> dict[str, np.ndarray]:
    known, errors = np.full(len(results), math.nan), np.full(len(results), math.nan)
    for place, (name, result) in enumerate(results.items()):
        pooled, error = result.log_evidence_pooled, result.log_evidence_error
        if pooled is None or error is None:
            remarks[name].append(f"no evidence: {result.sampler} does not estimate it; take smc or tempered_smc")
        elif math.isnan(pooled):
            remarks[name].append("no evidence: the estimate of a run is no number")
        else:
            known[place], errors[place] = pooled, error
            if math.isnan(error) and pooled > -math.inf:
                remarks[name].append("no error of the evidence: one run")
            elif any(finding.code == "EVIDENCE_SPREAD" for finding in result.reasons):
                remarks[name].append(f"runs disagree, so its probability is not known: log evidence +- {error:.2g}")
    if np.isnan(known).any() and not np.isnan(known).all():
        for name, value in zip(results, known, strict=True):
            if not math.isnan(value):
                remarks[name].append("probability among the models with evidence")
    probability, its_error = model_probabilities(known, errors, prior)
    difference, difference_error = _differences(known, errors)
    return {
        "log_evidence": known,
        "log_evidence_se": errors,
        "difference": difference,
        "difference_se": difference_error,
        "prior": prior,
        "probability": probability,
        "probability_se": its_error,
    }


def model_probabilities(
    log_evidence: np.ndarray, errors: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return posterior probabilities of models and their errors.

    Args:
        log_evidence: (K,) natural log; NaN for a model that has none, -inf for one that is impossible.
        errors: (K,) errors of these, of independent estimates; NaN where unknown.
        prior: (K,) weights.

    Returns: probabilities (K,), NaN where there is no evidence, and errors (K,): the root of the mean square of what
        p_k changes by when the log evidences change by normal numbers of these sizes. Small ones give that of the delta
        method, `p_k sqrt((1 - p_k)^2 s_k^2 + sum_{j != k} p_j^2 s_j^2)`; large ones turn the order of models over.

    >>> p, error = model_probabilities(np.log([3.0, 1.0]), np.array([1e-3, 0.0]), np.array([0.5, 0.5]))
    >>> p.round(12).tolist(), error.round(9).tolist()
    ([0.75, 0.25], [0.0001875, 0.0001875])
    >>> [each.round(1).tolist() for each in model_probabilities(np.array([60.0, 0.0]), np.full(2, 90.0), np.ones(2))]
    [[1.0, 0.0], [0.6, 0.6]]
    """
    score = np.asarray(log_evidence, dtype=float) + np.log(prior)
    known = ~np.isnan(score)
    out, error = np.full(len(score), math.nan), np.full(len(score), math.nan)
    if not known.any() or not np.isfinite(score[known].max()):  # no model has any mass: no probabilities
        return out, error
    p = _shares(score[known])
    size = np.where(np.isneginf(score[known]), 0.0, np.asarray(errors, dtype=float)[known])
    moved = _shares(score[known] + size * _normal_numbers(len(p)))
    out[known] = p
    error[known] = np.where(np.isneginf(score[known]), 0.0, np.sqrt(np.mean((moved - p) ** 2, axis=0)))
    return out, error


def _shares(score: np.ndarray) -> np.ndarray:
    weight = np.exp(score - score.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)


def _normal_numbers(columns: int) -> np.ndarray:
    """Give the same normal numbers each time, (n, columns), whose means and covariances are exactly 0 and 1."""
    half = np.random.default_rng(0).standard_normal((2048, columns))
    return np.concatenate([half, -half]) @ np.linalg.inv(np.linalg.cholesky(half.T @ half / len(half))).T


def _differences(log_evidence: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log evidences less the best one, and the errors of that."""
    if np.isnan(log_evidence).all() or not np.isfinite(np.nanmax(log_evidence)):
        return np.full(len(log_evidence), math.nan), np.full(len(log_evidence), math.nan)
    best = int(np.nanargmax(log_evidence))
    error = np.sqrt(errors**2 + errors[best] ** 2)
    error[best] = 0.0
    return log_evidence - log_evidence[best], error


# Leave-one-out


def _loo(
    results: Mapping[str, Result],
    var_name: str | None,
    marginals: Mapping[str, LogMarginals],
    remarks: Mapping[str, list[str]],
) -> dict[str, np.ndarray]:
    found = {}
    for name, result in results.items():
        made = _one_loo(result, var_name, marginals.get(name, True))
        if isinstance(made, str):
            remarks[name].append(f"no loo: {made}")
        else:
            found[name] = made
            high = int(np.sum(np.asarray(made.pareto_k) > made.good_k))
            if high:
                remarks[name].append(f"loo is unreliable: Pareto k above {made.good_k:.2f} for {high} data")
    columns = ("elpd", "elpd_se", "p_loo", "elpd_difference", "elpd_difference_se", "weight", "n_high_k")
    table = {column: np.full(len(results), math.nan) for column in columns}
    for place, name in enumerate(results):
        if name in found:
            one = found[name]
            row = (one.elpd, one.se, one.p, 0.0, 0.0, 1.0, np.sum(np.asarray(one.pareto_k) > one.good_k))
            for column, value in zip(columns, row, strict=True):
                table[column][place] = float(value)
    if len(found) > 1:
        counts = {name: one.n_data_points for name, one in found.items()}
        if len(set(counts.values())) > 1:
            raise LawfulError(
                f"compare: loo leaves out one of {counts} data, which differ, so the models cannot be compared by it. "
                "Fix: give the data the same plates in each model.",
                counts=counts,
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pareto k, which the remarks tell
            ranked = arviz_stats.compare(found, round_to="none")
        for place, name in enumerate(results):
            if name in found:
                for column, theirs in (
                    ("elpd_difference", "elpd_diff"),
                    ("elpd_difference_se", "dse"),
                    ("weight", "weight"),
                ):
                    table[column][place] = float(ranked.loc[name, theirs])
    return table


def _one_loo(result: Result, var_name: str | None, log_likelihood: bool | LogMarginals) -> Any:
    """Compute loo of a result, or say why it cannot be."""
    try:
        if isinstance(log_likelihood, LogMarginals):
            log_likelihood.refuse_if_linked("loo")
        tree = result.to_datatree(log_likelihood=log_likelihood, log_prior=False)
    except LawfulError as error:
        return str(error).split(". Fix")[0].rstrip(".")
    if "log_likelihood" not in tree.children:
        return "the program has no observed site or factor"

    names = list(tree["log_likelihood"].data_vars)
    if var_name is None and len(names) > 1:
        raise LawfulError(
            f"compare, loo: the log likelihood has several parts ({', '.join(map(str, names))}). Fix: name one by "
            "var_name.",
            names=tuple(names),
        )
    if var_name is not None and var_name not in names:
        return f"no part '{var_name}' of the log likelihood among {', '.join(map(str, names))}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pareto k, which the remarks tell
        return arviz_stats.loo(tree, var_name=var_name, pointwise=True)
