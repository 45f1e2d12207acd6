"""Statistical: an estimator is properly weighted when E[sum_i w_i f(x_i)] is the integral of f; f = 1: E[Z-hat] = Z.

Law: the statistic is the ratio of the estimate to the exact integral. The mean of log Z-hat is never tested: by
Jensen's inequality it lies below log Z for a lawful estimator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, SupportsFloat

import jax
import numpy as np

from lawful.errors import LawfulError

from . import keys
from .claims import Claim, claim
from .estimates import (
    Estimator,
    Function,
    Integral,
    dtype_of,
    integrals_of,
    log_weights_of,
    one,
    ratios_of,
    relative_sd,
)
from .power import detectable_shift, smallest, z_p_value
from .report import Report, environment
from .repro import named
from .sequential import SequentialRule

PILOT = 1_000
MAX_RELATIVE_SD = 3.0
POWER = 0.99
LAW = "E[sum_i w_i f(x_i)] is the integral of f"


def unbiased(
    estimator: Estimator,
    truth: SupportsFloat | Mapping[Function, float],
    *,
    functions: Sequence[Function] | None = None,
    n: int | None = None,
    stages: int = 5,
    key: jax.Array | None = None,
    alpha: float | None = None,
    upper: float | None = None,
) -> Report:
    """Test that an estimator is properly weighted, against exact integrals.

    Args:
        estimator: takes an array of n keys and makes n independent runs. It returns log Z-hat, shape (n,), or `(draws,
            log_weights)` with log weights of shape (n,) or (n, particles) such that sum_i w_i f(x_i) estimates the
            integral of f.
        truth: log Z, or a mapping from functions to their exact integrals; `one` stands for the evidence. A function
            takes `draws` and returns values of the shape of the log weights.
        functions: the functions to test; default: every one that `truth` gives.
        n: runs of the first stage, 10,000 by default; each further stage doubles.
        stages: stages of the sequential rule.
        key: a random key; default: from the name of the estimator.
        alpha: false-alarm rate; default: the share of one registered check.
        upper: a proved bound on every ratio estimate / integral, all of them at least 0; then the p-value has a proof
            (empirical Bernstein) and needs no normal approximation.

    Returns: a Report whose effects are relative biases. It is refused when the relative sd of Z-hat in a pilot is above
        3, where the normal approximation is void; its remarks say how many particles would do.

    >>> import jax, jax.numpy as jnp
    >>> def estimator(keys):                       # importance sampling of a fair coin with weights 1 and 3: Z = 2
    ...     heads = jax.vmap(lambda key: jax.random.bernoulli(key))(keys)
    ...     return jnp.where(heads, jnp.log(3.0), 0.0)
    >>> report = unbiased(estimator, jnp.log(2.0))
    >>> bool(report), report.detects(0.05)
    (True, True)
    """
    integrals = integrals_of(truth, functions)
    name = getattr(estimator, "__qualname__", type(estimator).__qualname__)
    made = claim(f"unbiased/{getattr(estimator, '__module__', '')}.{name}", key, alpha)
    key, rule = made.key, SequentialRule(made.alpha, stages, 10_000 if n is None else n)
    pilot = estimator(keys.stage_keys(key, 0, min(PILOT, rule.n)))
    spread = relative_sd(log_weights_of(pilot))
    report = Report(
        status="refused",
        law=LAW,
        level="statistical",
        bound="normal" if upper is None else "finite-sample",
        n_used=min(PILOT, rule.n),
        min_detectable_effect=math.inf,
        power=0.0,
        instances=1,
        worst=("relative sd of Z-hat", spread),
        key=made.words,
        repro=_repro(made, named(estimator, "estimator"), integrals, rule, upper),
        environment=environment(str(dtype_of(pilot))),
    )
    if not spread <= MAX_RELATIVE_SD:
        return replace(report, remarks=_refusal(spread, report.n_used, _particles(pilot)))

    # What float arithmetic may move a ratio by, since log Z-hat and log Z are rounded.
    rounding = float(np.finfo(dtype_of(pilot)).eps) * max(1.0, *(abs(integral.log) for integral in integrals))
    stage_data: dict[str, Any] = {}

    def p_value(stage: int, size: int) -> float:
        ratios = ratios_of(estimator, keys.stage_keys(key, stage, size), rule.n, integrals)
        means = ratios.mean(axis=1)
        sds = np.maximum(ratios.std(axis=1, ddof=1), rounding * math.sqrt(size))
        if upper is None:
            p_values = [z_p_value((mean - 1) * math.sqrt(size) / sd) for mean, sd in zip(means, sds, strict=True)]
        else:
            _respect_bound(ratios, upper)
            p_values = [_bernstein(abs(mean - 1), sd, upper, size) for mean, sd in zip(means, sds, strict=True)]
        worst = int(np.argmin(p_values))
        stage_data["worst"] = (integrals[worst].name, float(means[worst]))
        stage_data.update(first=float(means[0]), sd=float(sds.max()))
        return min(1.0, len(integrals) * p_values[worst])

    verdict = rule.run(p_value)
    return replace(
        report,
        status="failed" if verdict.failed else "passed",
        p_value=verdict.p_value,
        stage=verdict.stage,
        n_used=report.n_used + verdict.n_used,
        alpha_spent=rule.alpha,
        min_detectable_effect=_min_effect(rule, stage_data["sd"], len(integrals), upper),
        power=POWER,
        evidence_ratio=stage_data["first"] if integrals[0].function is one else None,
        worst=stage_data["worst"],
        remarks=f"relative sd of Z-hat {spread:.3g}",
    )


def _min_effect(rule: SequentialRule, sd: float, m: int, upper: float | None) -> float:
    """Return the smallest relative bias that is found with probability POWER."""
    if upper is None:
        return sd * detectable_shift(rule, POWER, m)
    # The first stage alone, a bound: later stages can only add failures.
    logarithm = math.log(4 * m / rule.fail_at[0])
    threshold = sd * math.sqrt(2 * logarithm / rule.n) + 7 * upper * logarithm / (3 * (rule.n - 1))
    return threshold + sd / math.sqrt(rule.n) * smallest(lambda z: 1 - z_p_value(z) / 2 >= POWER)


def _bernstein(deviation: float, sd: float, upper: float, n: int) -> float:
    """Invert the two-sided empirical Bernstein bound for values in [0, upper].

    Reference: Maurer and Pontil (2009), Empirical Bernstein bounds and sample variance penalization, Theorem 4.
    """
    a, b = sd * math.sqrt(2 / n), 7 * upper / (3 * (n - 1))
    root = (math.sqrt(a * a + 4 * b * deviation) - a) / (2 * b)
    return min(1.0, 4 * math.exp(-(root**2)))


def _respect_bound(ratios: np.ndarray, upper: float) -> None:
    if ratios.min() < 0 or ratios.max() > upper:
        raise LawfulError(
            f"unbiased: ratios from {ratios.min():.6g} to {ratios.max():.6g}, outside [0, upper={upper:.6g}]. "
            "Fix: correct the bound, or leave upper=None.",
            upper=upper,
        )


def _particles(output: Any) -> int | None:
    """Return the particles of a run where the estimator tells their weights."""
    shape = np.shape(output[1] if isinstance(output, tuple) else output)
    return shape[1] if len(shape) == 2 else None


def _refusal(spread: float, runs: int, particles: int | None) -> str:
    """Say how many particles would do: the relative variance of Z-hat falls as their number grows."""
    times = math.ceil((spread / MAX_RELATIVE_SD) ** 2) if math.isfinite(spread) else None
    if times is None:
        more = "many more particles: no run of the pilot met the mass at all"
    elif particles is None:
        more = f"at least {times} times as many particles"
    else:
        more = f"at least {times * particles} particles, {times} times the {particles} of these runs"
    return (
        f"the relative sd of Z-hat is {spread:.3g} in {runs} pilot runs, above {MAX_RELATIVE_SD:g}, so a normal "
        f"approximation would be void. Fix: use {more}"
    )


def _repro(made: Claim, name: str, integrals: list[Integral], rule: SequentialRule, upper: float | None) -> str:
    pairs = ", ".join(f"{named(i.function, 'function')}: {i.sign * math.exp(i.log)!r}" for i in integrals)
    truth = repr(integrals[0].log) if [i.function for i in integrals] == [one] else f"{{{pairs}}}"
    bound = {} if upper is None else {"upper": upper}
    return made.repeat(f"unbiased({name}, {truth}", n=rule.n, stages=rule.stages, **bound)
