"""SBC, simulation-based calibration (tier 3): a whole inference against draws of choices and data together.

Law: where choices and data come from the joint law, the rank of each quantity among independent posterior draws is
uniform. Parameters alone cannot see a posterior that ignores its data; the log likelihood does.

References: Talts, Betancourt, Simpson, Vehtari and Gelman (2018), Validating Bayesian inference algorithms with
simulation-based calibration; Modrak and others (2023), Simulation-based calibration checking for Bayesian computation:
the choice of test quantities shapes sensitivity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binom, chi2

from lawful.backends.xla import emit
from lawful.errors import LawfulError, NonFiniteError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.passes.thread_sites import score
from lawful.tracing.trace import trace

from ...results.result import Result
from ...running.jobs import map_parts, parts_for_cores
from ..programs.joint import Joint, joint
from . import ecdf, keys
from .claims import claim
from .power import min_detectable, z_p_value
from .quantities import Columns, Statistic
from .report import Report, environment
from .repro import named

POWER = 0.99

type Algorithm = Callable[[Form], Any]


def sbc(
    model: Any,
    algorithm: Algorithm,
    *args: Any,
    n_sims: int = 1_000,
    draws: int = 99,
    bins: int = 20,
    quantities: Mapping[str, Statistic] | None = None,
    batched: bool | None = None,
    map: Any = None,
    key: jax.Array | None = None,
    alpha: float | None = None,
) -> Report:
    """Check that posterior draws of an algorithm are calibrated: ranks of the truth among them are uniform.

    Args:
        model: a program with proper priors and no factors.
        algorithm: takes the program that observes drawn data, and gives a plan of `inference`, or a function of a key
            and its arguments that returns posterior draws: a `Result`, or a mapping from names to arrays (draws, ...).
            The draws have to be independent, so chains have to be thinned; of more than are asked for, evenly spaced
            ones are taken.
        args: arguments of the model; the data among them give shapes alone.
        n_sims: number of simulated data sets.
        draws: posterior draws a data set.
        bins: bins of the ranks; must divide draws + 1.
        quantities: further quantities by name, each a function from the choices by name to a number. Every choice (of
            many coordinates, some), the log densities and a product of two coordinates are always there.
        batched: whether all data sets run side by side, by `jax.vmap`; default: where the algorithm gives a plan that
            has a `sampler`.
        map: an executor that infers from parts of the data sets, one set after the other: anything with the `map` of
            `concurrent.futures`, or "processes" for a pool of processes, which import model and algorithm by their
            names. The report is that of `batched=False` without one.
        key: a random key; default: from the name of the model.
        alpha: false-alarm rate; default: the share of one registered check.

    Returns: a Report whose effects are shifts of a posterior in its standard deviations. Half of alpha goes to exact
        tests of the bins and of the whole distribution function (`ecdf`), half to z tests of mean and spread of the
        ranks and a chi-square test of the bins.

    >>> import numpyro.distributions as dist, lawful
    >>> def normal(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> def exact(program):                              # the posterior is N(y / 2, 1 / 2)
    ...     return lambda key, shape, y: {"mu": y / 2 + jax.random.normal(key, (19,)) / jnp.sqrt(2.0)}
    >>> report = sbc(normal, exact, 0.0, n_sims=500, draws=19, batched=True)
    >>> report.passed, report.level
    (True, 'end_to_end')
    """
    if n_sims < 1 or draws < 1 or bins < 2 or (draws + 1) % bins:
        raise LawfulError(
            f"sbc: expected bins of at least 2 that divide draws + 1, got draws={draws}, bins={bins}, n_sims={n_sims}. "
            "Fix: unequal bins would make the test of uniform ranks wrong; take draws=99 and bins=20.",
            draws=draws,
            bins=bins,
        )
    form = trace(model, *args)
    inputs, _, _ = split_arguments(args)
    name = getattr(model, "__name__", type(model).__name__)
    made = claim(f"sbc/{name}", key, alpha)
    columns = tuple((quantities or {}).items())
    fresh = keys.stage_keys(made.key, 1, n_sims)
    elsewhere = None
    if map is not None:
        if batched:
            raise LawfulError(
                "sbc: data sets that run side by side stay in one process. Fix: batched=None, or no map=."
            )
        elsewhere, batched = partial(_elsewhere, map, model, algorithm, args, draws), False
    names, ranks = _ranks(joint(form), columns, algorithm, inputs, fresh, draws, batched, elsewhere)
    proved, normal = _bins(names, ranks, draws + 1, bins), _shapes(names, ranks, draws + 1, bins)
    least = [min(zip(p_values, what, strict=True)) for what, p_values in (proved, normal)]
    shares = [2 * len(kind[0]) * p for kind, (p, _) in zip((proved, normal), least, strict=True)]
    p, worst = least[int(np.argmin(shares))]
    p_value = min(1.0, *shares)
    call = f"sbc({named(model, 'model')}, algorithm, *args" + (", quantities=quantities" if quantities else "")
    return Report(
        status="failed" if p_value <= made.alpha else "passed",
        law=f"{name}: ranks of the truth are uniform",
        level="end_to_end",
        bound="normal",
        p_value=p_value,
        stage=1,
        n_used=n_sims,
        alpha_spent=made.alpha,
        min_detectable_effect=min_detectable("mean_rank", n_sims, made.alpha / 2, POWER, m=len(normal[0])),
        power=POWER,
        instances=1,
        worst=(worst, p),
        key=made.words,
        repro=made.repeat(call, n_sims=n_sims, draws=draws, bins=bins, batched=batched),
        remarks=f"{len(names)} quantities, {draws} draws taken as independent",
        environment=environment(str(jnp.result_type(float))),
    )


def _ranks(
    both: Joint, quantities: tuple[tuple[str, Statistic], ...], algorithm: Algorithm, inputs: Sequence[Any],
    fresh: jax.Array, draws: int, batched: bool | None, elsewhere: Callable[..., list[Any]] | None = None,
) -> tuple[list[str], np.ndarray]:  # fmt: skip
    """Simulate, infer and rank: names of the quantities, and ranks (simulations, quantities)."""
    columns, draw, infer = Columns(both.choices, quantities), emit(both.draw), algorithm(both.posterior)
    scoring, n_data, n = score(both.posterior), len(both.data), len(both.choices)
    outputs = scoring.form.outputs[scoring.own :]
    scored = emit(replace(scoring.form, outputs=outputs))

    def read(data: Sequence[jax.Array], values: Sequence[jax.Array]) -> jax.Array:
        (prior, likelihood, *flags), _ = scored(jax.random.key(0), *inputs, *data, *values)
        found = columns.read([*values, *flags, prior], prior, likelihood)
        product = [found[0] * found[1]] if len(columns.places) > 1 else []
        return jnp.concatenate([found, jnp.stack(product)]) if product else found

    def rank(key: jax.Array, data: Sequence[jax.Array], truth: Sequence[jax.Array], drawn: Sequence[jax.Array]) -> Any:
        clean = [jnp.nan_to_num(x) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in drawn]
        there = jax.vmap(lambda values: read(data, values))(clean)
        here, there = (jnp.where(jnp.isnan(x), -jnp.inf, x) for x in (read(data, truth), there))
        below, equal = jnp.sum(there < here, axis=0), jnp.sum(there == here, axis=0)
        ties = jnp.floor(jax.random.uniform(key, here.shape) * (equal + 1))
        return below + ties.astype(below.dtype)

    def simulate(key: jax.Array) -> Any:
        outs = draw(key, *inputs)[0]
        return outs[:n_data], outs[n_data : n_data + n]

    names = [*columns.names, *([" times ".join(columns.names[:2])] if len(columns.places) > 1 else [])]
    with jax.debug_key_reuse(False):  # it takes keys that vmap has moved for used ones
        first, second, third = jnp.moveaxis(jax.vmap(lambda k: jax.random.split(k, 3))(fresh), 1, 0)
        data, truth = jax.jit(jax.vmap(simulate))(first)
        if elsewhere is not None:
            taken = elsewhere(second, data)
        elif batched or (batched is None and hasattr(infer, "sampler")):
            infer = infer.sampler(*inputs, *(x[0] for x in data)) if hasattr(infer, "sampler") else infer
            taken = jax.jit(jax.vmap(lambda k, d: _taken(infer(k, *inputs, *d), both, draws)))(second, data)
        else:
            each = [_taken(infer(k, *inputs, *(x[i] for x in data)), both, draws) for i, k in enumerate(second)]
            taken = [jnp.stack(column) for column in zip(*each, strict=True)]
        _refuse_nan(both, taken)
        return names, np.asarray(jax.jit(jax.vmap(rank))(third, data, truth, taken))


def _elsewhere(
    executor: Any, model: Any, algorithm: Algorithm, args: tuple[Any, ...], draws: int, fresh: jax.Array, data: Any
) -> list[Any]:
    """Infer part by part, in other threads or processes."""
    words, columns = np.asarray(jax.random.key_data(fresh)), [np.asarray(x) for x in data]
    shared = model, algorithm, args, draws, str(jax.random.key_impl(fresh))
    parts = [(*shared, words[rows], [x[rows] for x in columns]) for rows in parts_for_cores(len(words))]
    found = map_parts(executor, _part, parts, model, algorithm)
    return [jnp.asarray(np.concatenate(column)) for column in zip(*found, strict=True)]


def _part(
    model: Any, algorithm: Algorithm, args: tuple[Any, ...], draws: int, generator: str, words: Any, data: Any
) -> list[Any]:
    """Infer from some data sets, one after the other."""
    both = joint(trace(model, *args))
    infer, (inputs, _, _) = algorithm(both.posterior), split_arguments(args)
    with jax.debug_key_reuse(False):
        fresh = jax.random.wrap_key_data(jnp.asarray(words), impl=generator)
        each = [_taken(infer(k, *inputs, *(x[i] for x in data)), both, draws) for i, k in enumerate(fresh)]
    return [np.stack([np.asarray(x) for x in column]) for column in zip(*each, strict=True)]


def _refuse_nan(both: Joint, taken: Sequence[Any]) -> None:
    """Refuse draws that are no numbers; of a choice in a branch NaN says that its arm did not run."""
    for choice, drawn in zip(both.choices, taken, strict=True):
        if not choice.conditional and jnp.issubdtype(drawn.dtype, jnp.floating):
            bad = np.isnan(np.asarray(drawn)).reshape(len(drawn), -1).any(axis=1)
            if bad.any():
                raise NonFiniteError(
                    f"sbc: the draws of '{choice.name}' are NaN in {bad.sum()} of {len(bad)} simulations, first in "
                    f"number {int(np.argmax(bad))}. Fix: look at that run of the algorithm.",
                    site=choice.address,
                )


def _taken(found: Any, both: Joint, draws: int) -> list[Any]:
    """Take so many draws of each choice, evenly spaced."""
    held: Mapping[str, Any] = found.posterior if isinstance(found, Result) else found
    taken = []
    for choice in both.choices:
        if choice.name not in held:
            raise LawfulError(f"sbc: the algorithm gave no draws of '{choice.name}', but of: {', '.join(held)}.")
        array = jnp.asarray(held[choice.name])
        if isinstance(found, Result):
            array = array.reshape((-1, *array.shape[2:]))
        if array.ndim != 1 + len(choice.full_shape) or len(array) < draws:
            raise LawfulError(
                f"sbc: '{choice.name}' has draws of shape {array.shape}, expected at least {draws} draws of shape "
                f"{choice.full_shape}. Fix: let the algorithm draw more."
            )
        taken.append(array[np.linspace(0, len(array) - 1, draws).round().astype(int)])
    return taken


def _bins(names: Sequence[str], ranks: np.ndarray, places: int, bins: int) -> tuple[list[str], list[float]]:
    """Test each bin of each quantity, and its path of counts, by their exact laws."""
    n, width = len(ranks), places // bins
    counts = np.stack([np.bincount(column // width, minlength=bins) for column in ranks.T])
    tails = np.minimum(binom.cdf(counts, n, 1 / bins), binom.sf(counts - 1, n, 1 / bins))
    what = [f"{name}, bin {b + 1} of {bins}" for name in names for b in range(bins)]
    what += [f"distribution function of ranks of {name}" for name in names]
    return what, [*np.minimum(1.0, 2 * tails).ravel().tolist(), *map(ecdf.p_value, counts)]


def _shapes(names: Sequence[str], ranks: np.ndarray, places: int, bins: int) -> tuple[list[str], list[float]]:
    """Test mean, spread and bins of the ranks of each quantity by normal approximations."""
    n, middle = len(ranks), (places - 1) / 2
    centred = ranks - middle
    shift = centred.mean(axis=0) / np.sqrt((places**2 - 1) / 12 / n)
    spread = (centred**2).mean(axis=0) - (places**2 - 1) / 12
    spread = spread / np.sqrt(max(places**2 - 1, 1) * max(places**2 - 4, 1) / 180 / n)
    counts = np.stack([np.bincount(column // (places // bins), minlength=bins) for column in ranks.T])
    square = chi2.sf(((counts - n / bins) ** 2 / (n / bins)).sum(axis=1), bins - 1)
    p_values = [*map(z_p_value, shift), *map(z_p_value, spread), *square.tolist()]
    return [f"{what} of {name}" for what in ("mean rank", "spread of ranks", "bins") for name in names], p_values
