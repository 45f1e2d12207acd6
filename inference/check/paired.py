"""Exact start (tier 1): a kernel is run from draws that have its target, and has to leave their law alone.

Law: where (choices, data) come from the joint law, f(K^L choices) - f(choices) has mean zero for every f, and of a
reversible kernel the rank of f(choices) among states reached from it, some forth and some back, is uniform.

Half of the false-alarm rate goes to tests with a proof: of the differences of an indicator that are not zero as many
are +1 as -1, and a rank falls into each place equally often. The other half goes to normal tests of bounded functions.

Reference: Gandy and Scott (2020), Unit testing for MCMC and other Monte Carlo methods, arXiv 2001.06465.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binom

from lawful.analysis import without_dead_code
from lawful.emitter import emit
from lawful.form import Form
from lawful.interpose import score

from . import keys
from .joint import joint
from .power import detectable_shift, z_p_value
from .quantities import Columns, Quantities
from .report import Report, environment
from .sequential import SequentialRule

PILOT = 2_000
POWER = 0.99


def keeps_exact_draws(
    kernel: Any, form: Form, inputs: Sequence[Any], *, steps: Sequence[int], reversible: bool, rule: SequentialRule,
    key: jax.Array, repro: str,
) -> Report:  # fmt: skip
    """Run a kernel from exact posterior draws, stage by stage, and compare what it makes of them with the draws.

    Args:
        kernel: a kernel.
        form: the program; its observations give shapes alone, the data are drawn.
        inputs: its arguments.
        steps: numbers of steps after which the states are compared.
        reversible: whether ranks are tested too.
        rule: false-alarm rate, stages, and draws of the first one.
        key: a random key.
        repro: the line that repeats the check.
    """
    runs = _runs(kernel, form, tuple(steps), reversible, bool(jax.config.read("jax_enable_x64")))
    pilot = runs(keys.stage_keys(key, 0, min(PILOT, rule.n)), inputs)
    quantities = Quantities(runs.columns.names, pilot.start)
    places = max(steps) + 1 if reversible else 0
    found: dict[str, Any] = {}

    def p_value(stage: int, size: int) -> float:
        tally = _Tally(runs.columns.names, quantities, steps, places)
        fresh = keys.stage_keys(key, stage, size)
        for begin in range(0, size, rule.n):
            tally.add(runs(fresh[begin : begin + rule.n], inputs))
        p, found["worst"] = tally.p_value()
        return p

    verdict = rule.run(p_value)
    normal = len(steps) * len(quantities.bounded_names)
    proved = len(steps) * len(quantities.indicator_names) + len(runs.columns.names) * places
    half = replace(rule, alpha=rule.alpha / 2) if normal else rule
    return Report(
        status="failed" if verdict.failed else "passed",
        law=f"{kernel!r} keeps pi",
        level="statistical",
        bound="normal" if normal else "finite-sample",
        p_value=verdict.p_value,
        stage=verdict.stage,
        n_used=verdict.n_used,
        alpha_spent=rule.alpha,
        min_detectable_effect=detectable_shift(half, POWER, normal or proved),
        power=POWER,
        instances=1,
        worst=found["worst"],
        key=keys.key_words(key),
        repro=repro,
        remarks=f"{proved} statistics with a proof, {normal} normal ones; after {', '.join(map(str, steps))} steps",
        environment=environment(str(jnp.result_type(float))),
    )


class _Batch:
    """Columns (n, k) of the exact draws and of the states compared with them, and the rank of each draw (n, k)."""

    def __init__(self, start: Any, ends: Any, ranks: Any) -> None:
        self.start, self.ends, self.ranks = np.asarray(start), [np.asarray(x) for x in ends], ranks


class _Runs:
    """Draws data and choices, and runs the kernel on them; one compiled program for each number of keys."""

    def __init__(self, kernel: Any, form: Form, steps: tuple[int, ...], reversible: bool) -> None:
        both = joint(form)
        built = kernel.build(both.posterior)
        self.columns = Columns(both.choices)
        draw, step, longest, data = emit(both.draw), emit(built.form), max(steps), len(both.data)
        scoring = score(both.posterior)
        wanted = scoring.form.outputs[scoring.own : scoring.own + 2]
        densities = emit(without_dead_code(replace(scoring.form, outputs=wanted)))

        def one(key: jax.Array, inputs: Sequence[Any]) -> Any:
            start_key, forth, back, place, ties = jax.random.split(key, 5)
            drawn, _ = draw(start_key, *inputs)
            observed, state = drawn[:data], drawn[data:]

            def read(state: Sequence[jax.Array]) -> jax.Array:
                terms, _ = densities(jax.random.key(0), *inputs, *observed, *state[: len(both.choices)])
                return self.columns.read(state, *terms)

            def run(key: jax.Array) -> jax.Array:
                def advance(state: Any, key: jax.Array) -> Any:
                    state = step(key, *inputs, *observed, *state)[0][: built.size]
                    return state, read(state)

                return jax.lax.scan(advance, state, jax.random.split(key, longest))[1]

            first, path = read(state), run(forth)
            ends = [path[length - 1] for length in steps]
            if not reversible:
                return first, ends, None
            middle = jax.random.randint(place, (), 0, longest + 1)
            used = jnp.concatenate([jnp.arange(longest) < middle, jnp.arange(longest) < longest - middle])
            others = jnp.concatenate([path, run(back)])
            return first, ends, _rank(first, others, used, jax.random.uniform(ties, first.shape))

        self._many = jax.jit(jax.vmap(one, (0, None)))

    def __call__(self, keys: jax.Array, inputs: Sequence[Any]) -> _Batch:
        with jax.debug_key_reuse(False):  # it takes keys that vmap has moved for used ones, as of a loop in a batch
            start, ends, ranks = self._many(keys, list(inputs))
        return _Batch(start, ends, None if ranks is None else np.asarray(ranks))


@functools.lru_cache(maxsize=32)
def _compiled(kernel: Any, form: Form, steps: tuple[int, ...], reversible: bool, x64: bool) -> _Runs:
    return _Runs(kernel, form, steps, reversible)


def _runs(kernel: Any, form: Form, steps: tuple[int, ...], reversible: bool, x64: bool) -> _Runs:
    """Write the runs of a kernel, once; a kernel that is no key of a table, as one with arrays, each time."""
    try:
        hash(kernel)
    except TypeError:
        return _Runs(kernel, form, steps, reversible)
    return _compiled(kernel, form, steps, reversible, x64)


def _rank(first: jax.Array, others: jax.Array, used: jax.Array, u: jax.Array) -> jax.Array:
    """Rank each column of a state among others (states, k), ties broken at random; a NaN counts as smallest."""
    first, others = (jnp.where(jnp.isnan(x), -jnp.inf, x) for x in (first, others))
    below = jnp.sum((others < first) & used[:, None], axis=0)
    equal = jnp.sum((others == first) & used[:, None], axis=0)
    return below + jnp.floor(u * (equal + 1)).astype(below.dtype)


class _Tally:
    """Sums over the batches of one stage."""

    def __init__(self, names: Sequence[str], quantities: Quantities, steps: Sequence[int], places: int) -> None:
        self.quantities, self.steps, self.n = quantities, steps, 0
        self.ranked = [f"rank of {name} in place {k}" for name in names for k in range(places)]
        self.rank_counts = np.zeros((len(names), places), int)
        self.ups, self.downs = np.zeros((2, len(steps), len(quantities.indicator_names)), int)
        self.total, self.squares = np.zeros((2, len(steps), len(quantities.bounded_names)))

    def add(self, batch: _Batch) -> None:
        q = self.quantities
        before, smooth = q.indicators(batch.start), q.bounded(batch.start)
        after, moved = [q.indicators(end) for end in batch.ends], [q.bounded(end) - smooth for end in batch.ends]
        self.n += len(batch.start)
        self.ups += [np.sum(a & ~before, axis=0) for a in after]
        self.downs += [np.sum(~a & before, axis=0) for a in after]
        self.total += [d.sum(axis=0) for d in moved]
        self.squares += [np.square(d).sum(axis=0) for d in moved]
        if batch.ranks is not None:
            places = self.rank_counts.shape[1]
            self.rank_counts += [np.bincount(column, minlength=places) for column in batch.ranks.T]

    def proved(self) -> tuple[list[str], np.ndarray]:
        """Names and p-values of the statistics with a proof."""
        fewer, changed = np.minimum(self.ups, self.downs), self.ups + self.downs
        signs = np.minimum(1.0, 2 * binom.cdf(fewer, changed, 0.5))
        counts, share = self.rank_counts, 1 / max(self.rank_counts.shape[1], 1)
        tails = np.minimum(binom.cdf(counts, self.n, share), binom.sf(counts - 1, self.n, share))
        return [*self._after(self.quantities.indicator_names), *self.ranked], np.concatenate(
            [signs.ravel(), np.minimum(1.0, 2 * tails).ravel()]
        )

    def normal(self) -> tuple[list[str], np.ndarray]:
        """Names and p-values of the normal tests."""
        mean = self.total / self.n
        sd = np.sqrt(np.maximum(self.squares / self.n - mean**2, 0.0))
        z = np.divide(mean * np.sqrt(self.n), sd, out=np.where(mean == 0, 0.0, np.inf), where=sd > 0)
        return self._after(self.quantities.bounded_names), np.array([z_p_value(value) for value in z.ravel()])

    def p_value(self) -> tuple[float, tuple[str, float]]:
        """Combine all statistics by Bonferroni, half for each kind; returns the p-value, and the worst with its own."""
        kinds = [kind for kind in (self.proved(), self.normal()) if kind[0]]
        least = [min(zip(p_values.tolist(), names, strict=True)) for names, p_values in kinds]
        shares = [len(kinds) * len(names) * p for (names, _), (p, _) in zip(kinds, least, strict=True)]
        p, worst = least[int(np.argmin(shares))]
        return min(1.0, *shares), (worst, p)

    def _after(self, names: Sequence[str]) -> list[str]:
        return [f"{name} after {length} steps" for length in self.steps for name in names]
