"""Paired (tier 1): a chain from exact draws of its stationary law must leave them as they are.

Law: under the chain's law the difference of a function before and after has mean zero, and the rank of the start among
states that were reached from it, some forth and some back, is uniform.

Half of the false-alarm rate goes to tests with a proof: of the differences of an indicator that are not zero as many
are +1 as -1 (a sign test); the start of a reversible chain takes each rank equally often; starts of one half of the
runs and ends of the other are two samples of one law (Kolmogorov-Smirnov for each column, maximum mean discrepancy for
all together). The other half goes to normal tests of bounded functions.

Reference: Gandy and Scott (2020), Unit testing for MCMC and other Monte Carlo methods, arXiv 2001.06465.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binom

from lawful.form import Form

from . import keys
from .claims import Claim
from .mmd import mmd_p_value
from .power import detectable_shift, z_p_value
from .quantities import Quantities, Statistic
from .report import Report, environment
from .sequential import SequentialRule
from .two_sample import ks_p_value
from .walks import Walk

PILOT = 2_000
POWER = 0.99
SCREENED = 1_000  # starts, and as many ends, whose joint laws are compared


class Runs:
    """Runs a walk from exact draws; one compiled program for each number of keys."""

    def __init__(self, walk: Walk, steps: tuple[int, ...]) -> None:
        self.names, self.steps, longest = walk.names, steps, max(steps)
        self.places = longest + 1 if walk.back is not None else 0

        def one(key: jax.Array, inputs: Sequence[Any]) -> Any:
            start_key, forth, back, place, ties = jax.random.split(key, 5)
            state = list(walk.draw(start_key, inputs))

            def run(move: Any, key: jax.Array) -> jax.Array:
                def advance(state: Any, key: jax.Array) -> Any:
                    state = move(key, inputs, state)
                    return state, walk.read(inputs, state)

                return jax.lax.scan(advance, state, jax.random.split(key, longest))[1]

            first, path = walk.read(inputs, state), run(walk.forth, forth)
            ends = [path[length - 1] for length in steps]
            if walk.back is None:
                return first, ends, None
            middle = jax.random.randint(place, (), 0, longest + 1)
            used = jnp.concatenate([jnp.arange(longest) < middle, jnp.arange(longest) < longest - middle])
            others = jnp.concatenate([path, run(walk.back, back)])
            return first, ends, _rank(first, others, used, jax.random.uniform(ties, first.shape))

        self._many = jax.jit(jax.vmap(one, (0, None)))

    def __call__(self, keys: jax.Array, inputs: Sequence[Any]) -> Batch:
        """Run once for each key."""
        with jax.debug_key_reuse(False):  # it takes keys that vmap has moved for used ones, as of a loop in a batch
            start, ends, ranks = self._many(keys, list(inputs))
        return Batch(start, ends, None if ranks is None else np.asarray(ranks))


type Maker = Callable[[Any, Form, bool, Mapping[str, Statistic]], Walk]


def runs_of(
    walk: Maker, kernel: Any, form: Form, reversible: bool, statistics: Mapping[str, Statistic] | None,
    steps: Sequence[int],
) -> Runs:  # fmt: skip
    """Write the runs of a kernel, once; a kernel that is no key of a table, as one with arrays, each time."""
    named = tuple((statistics or {}).items())
    try:
        hash(kernel)
    except TypeError:
        return Runs(walk(kernel, form, reversible, dict(named)), tuple(steps))
    return _kept(walk, kernel, form, reversible, named, tuple(steps), bool(jax.config.read("jax_enable_x64")))


@functools.lru_cache(maxsize=32)
def _kept(
    walk: Maker, kernel: Any, form: Form, reversible: bool, statistics: tuple[tuple[str, Statistic], ...],
    steps: tuple[int, ...], x64: bool,
) -> Runs:  # fmt: skip
    return Runs(walk(kernel, form, reversible, dict(statistics)), steps)


class Batch:
    """Columns (n, k) of the exact draws and of the states compared with them, and the rank of each draw (n, k)."""

    def __init__(self, start: Any, ends: Any, ranks: Any) -> None:
        self.start, self.ends, self.ranks = np.asarray(start), [np.asarray(x) for x in ends], ranks


def keeps_exact_draws(
    runs: Runs, inputs: Sequence[Any], *, rule: SequentialRule, made: Claim, law: str, repro: str, level: str
) -> Report:
    """Run a walk stage by stage, and compare what it makes of exact draws with the draws.

    `law` is what is claimed, in words; `repro` is the line that repeats the check, `level` its tier.
    """
    pilot = runs(keys.stage_keys(made.key, 0, min(PILOT, rule.n)), inputs)
    quantities = Quantities(runs.names, pilot.start)
    found: dict[str, Any] = {}

    def p_value(stage: int, size: int) -> float:
        tally = Tally(quantities, runs.steps, runs.places)
        fresh = keys.stage_keys(made.key, stage, size)
        for begin in range(0, size, rule.n):
            tally.add(runs(fresh[begin : begin + rule.n], inputs))
        p, found["worst"] = tally.p_value()
        found["statistics"] = len(tally.proved()[0]), len(tally.normal()[0])
        return p

    verdict = rule.run(p_value)
    proved, normal = found["statistics"]
    half = SequentialRule(rule.alpha / 2, rule.stages, rule.n) if normal else rule
    return Report(
        status="failed" if verdict.failed else "passed",
        law=law,
        level=level,
        bound="normal" if normal else "finite-sample",
        p_value=verdict.p_value,
        stage=verdict.stage,
        n_used=verdict.n_used,
        alpha_spent=rule.alpha,
        min_detectable_effect=detectable_shift(half, POWER, normal or proved),
        power=POWER,
        instances=1,
        worst=found["worst"],
        key=made.words,
        repro=repro,
        remarks=f"{proved} statistics with a proof, {normal} normal ones; after {_listed(runs.steps)} steps",
        environment=environment(str(jnp.result_type(float))),
    )


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps))


def _rank(first: jax.Array, others: jax.Array, used: jax.Array, u: jax.Array) -> jax.Array:
    """Rank each column of a state among others (states, k), ties broken at random; a NaN counts as smallest."""
    first, others = (jnp.where(jnp.isnan(x), -jnp.inf, x) for x in (first, others))
    below = jnp.sum((others < first) & used[:, None], axis=0)
    equal = jnp.sum((others == first) & used[:, None], axis=0)
    return below + jnp.floor(u * (equal + 1)).astype(below.dtype)


class Tally:
    """Sums over the batches of one stage, and what two-sample tests need of them."""

    def __init__(self, quantities: Quantities, steps: Sequence[int], places: int) -> None:
        """Begin with nothing; `places` is the number of ranks, 0 where the chain is not reversed."""
        self.quantities, self.steps, self.n, names = quantities, steps, 0, quantities.names
        self.ranked = [f"rank of {name} in place {k}" for name in names for k in range(places)]
        self.rank_counts = np.zeros((len(names), places), int)
        self.ups, self.downs = np.zeros((2, len(steps), len(quantities.indicator_names)), int)
        self.total, self.squares = np.zeros((2, len(steps), len(quantities.bounded_names)))
        self.starts: list[np.ndarray] = []
        self.ends: list[list[np.ndarray]] = [[] for _ in steps]

    def add(self, batch: Batch) -> None:
        """Add the runs of a batch."""
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
        self.starts.append(q.ranks(batch.start[0::2]))
        for kept, end in zip(self.ends, batch.ends, strict=True):
            kept.append(q.ranks(end[1::2]))

    def proved(self) -> tuple[list[str], np.ndarray]:
        """Names and p-values of the statistics with a proof."""
        fewer, changed = np.minimum(self.ups, self.downs), self.ups + self.downs
        signs = np.minimum(1.0, 2 * binom.cdf(fewer, changed, 0.5))
        counts, share = self.rank_counts, 1 / max(self.rank_counts.shape[1], 1)
        tails = np.minimum(binom.cdf(counts, self.n, share), binom.sf(counts - 1, self.n, share))
        names, laws = self._two_samples()
        return [*self._after(self.quantities.indicator_names), *self.ranked, *names], np.concatenate(
            [signs.ravel(), np.minimum(1.0, 2 * tails).ravel(), laws]
        )

    def _two_samples(self) -> tuple[list[str], np.ndarray]:
        """Compare starts and ends of different runs: each column where there are no ranks, and all columns together."""
        starts, ends = np.concatenate(self.starts), [np.concatenate(end) for end in self.ends]
        columns = self.quantities.names if not self.ranked else []
        alone = [ks_p_value(starts[:, j], end[:, j]) for end in ends for j in range(len(columns))]
        whole = [mmd_p_value(starts[:SCREENED], end[:SCREENED]) for end in ends]
        names = [*self._after([f"distribution of {name}" for name in columns]), *self._after(["joint distribution"])]
        return names, np.array([*alone, *whole])

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
