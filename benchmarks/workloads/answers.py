"""Answers: what the harness compares with, by the name of the model.

Law: every number is exact, or its error is told where it is worked out.
"""

from __future__ import annotations

from functools import cache

from benchmarks.workloads.w1 import MODELS, kalman_filter, observations, point_mass_filter
from benchmarks.workloads.w2 import REGRESSION_LOG_EVIDENCE, REGRESSION_MEAN, REGRESSION_SCALE
from benchmarks.workloads.w3b import MIXTURE_MEAN, MIXTURE_SCALE
from benchmarks.workloads.w4 import SCHOOLS_MEAN, SCHOOLS_SCALE
from benchmarks.workloads.w5b import HIDDEN_LOG_LIKELIHOOD
from benchmarks.workloads.w5c import ALARM_LOG_EVIDENCE
from benchmarks.workloads.w6 import EXPERTS_LOG_LIKELIHOOD

MOMENTS = {
    "logistic": (REGRESSION_MEAN, REGRESSION_SCALE),
    "mixture": (MIXTURE_MEAN, MIXTURE_SCALE),
    "schools": (SCHOOLS_MEAN, SCHOOLS_SCALE),
}


def posterior_means(model: str) -> dict[str, float]:
    """Exact posterior means by the name of the output."""
    return {f"mean_{i}": mean for i, mean in enumerate(MOMENTS[model][0])}


@cache
def exact_answers(model: str) -> dict[str, float]:
    """Exact answers by the name of the output: the log evidence, and means of the posterior."""
    if model == "logistic":
        return {"log_evidence": REGRESSION_LOG_EVIDENCE, **posterior_means(model)}
    if model == "experts":
        return {"log_likelihood": EXPERTS_LOG_LIKELIHOOD}
    fixed = {"hidden": HIDDEN_LOG_LIKELIHOOD, "alarm": ALARM_LOG_EVIDENCE}
    if model in fixed:
        return {"log_likelihood": fixed[model], "marginal_error": 0.0}
    if model == "bags":
        return {"message_error": 0.0}
    constants = MODELS[model]
    exact = kalman_filter if constants.observation == "gaussian" else point_mass_filter
    log_evidence, filtered_mean = exact(constants, observations(model))
    return {"log_evidence": log_evidence, "filtered_mean": filtered_mean}


def posterior_scales(model: str) -> dict[str, float]:
    """Posterior standard deviations of the outputs whose errors are told in them."""
    return {f"mean_{i}": scale for i, scale in enumerate(MOMENTS[model][1])} if model in MOMENTS else {}
