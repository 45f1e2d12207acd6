"""Resamplers: the law of a resampling scheme by its own enumeration and by breakpoints computed here, in fractions.

Law: E[count_i] = M w_i / sum(w) for M offspring of N weights; the counts sum to M, an item of weight zero has none,
each scheme keeps its bounds on a count, and a population without weight is left untouched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.compile_options import QUICK
from lawful.errors import LawfulError

from ...laws.resampling_schemes import SCHEMES, Scheme
from ...laws.resampling_schemes import scheme as scheme_named
from ..statistics.report import Report
from ..statistics.repro import line
from .breakpoints import BREAKPOINTS, expected_counts, points

TOLERANCE = 1e-12
SHORTEST = Fraction(1, 10**14)  # shorter cells are left out: rounding decides there
SCALES = (2.0**-300, 2.0**300)
LAW = "E[count_i] = M w_i / sum(w)"

_rng = np.random.default_rng(20_261)
BATTERY: dict[str, list[float]] = {
    "one item": [0.3],
    "two halves": [0.5, 0.5],
    "rare": [1 - 1e-3, 1e-3],
    "very rare": [1 - 1e-12, 1e-12],
    "equal": [0.1, 0.1, 0.1],
    "equal, four": [1.0, 1.0, 1.0, 1.0],
    "one-hot first": [1.0, 0.0, 0.0],
    "one-hot middle": [0.0, 1.0, 0.0],
    "one-hot last": [0.0, 0.0, 1.0],
    "zero first": [0.0, 0.3, 0.7],
    "zero between": [0.3, 0.0, 0.7],
    "zero last": [0.3, 0.7, 0.0],
    "ties": [0.2, 0.4, 0.4],
    "whole counts": [0.25, 0.25, 1.0],
    "just below whole counts": [1 - 1e-9, 1.0, 1.0],
    "just above whole counts": [1 + 1e-9, 1.0, 1.0],
    "rounded whole counts": [0.1, 0.2, 0.7],
    "one tiny": [1.0, 1e-300, 2.0],
    "tiny scale": [1e-300, 2e-300, 4e-300],
    "huge scale": [1e300, 2e300, 4e300],
    "Dirichlet 0.1, three": _rng.dirichlet([0.1] * 3).tolist(),
    "Dirichlet 0.1, four": _rng.dirichlet([0.1] * 4).tolist(),
    "Dirichlet 0.1, four again": _rng.dirichlet([0.1] * 4).tolist(),
    "exponential": _rng.exponential(size=4).tolist(),
}


def resampler(
    resample: Scheme | str,
    *,
    weights: Mapping[str, Sequence[float]] = BATTERY,
    sizes: Sequence[int] = (1, 2, 3, 4),
    offspring: Sequence[int] | None = None,
    scheme: str | None = None,
    tolerance: float = TOLERANCE,
) -> Report:
    """Check a resampling scheme exactly, on every weight vector of the given sizes.

    The law of the counts comes from two sides: the scheme's own enumeration, and its `push` at one point of each cell
    between the breakpoints that its name implies.

    Args:
        resample: a `Scheme`, or the name of one of the library.
        weights: name -> linear weights; other sizes than those in `sizes` are left out.
        sizes: numbers of items N.
        offspring: numbers of offspring M; default: N - 1, N and N + 1.
        scheme: which named scheme it claims to be; default: its own name.
        tolerance: largest error of a probability or of an expected count.

    Returns: a Report; it is refused for a scheme whose breakpoints are not known, or that draws other uniforms.

    >>> report = resampler("systematic", sizes=(2,))
    >>> report.passed, report.measure_error < 1e-12
    (True, True)
    """
    subject = scheme_named(resample)
    claimed = subject.name if scheme is None else scheme
    repro = line(
        resampler, repr(subject.name) if SCHEMES.get(subject.name) == subject else "resample",
        weights=weights, sizes=sizes, offspring=offspring, scheme=scheme, tolerance=tolerance,
    )  # fmt: skip
    if claimed not in BREAKPOINTS:
        known = ", ".join(sorted(BREAKPOINTS))
        remarks = f"the breakpoints of {claimed!r} are not known: name the scheme that it claims to be, one of {known}."
        return Report(status="refused", law=LAW, level="exact", remarks=remarks, repro=repro)
    shapes = subject.uniforms_shape(3, 5), SCHEMES[claimed].uniforms_shape(3, 5)
    if shapes[0] != shapes[1]:
        remarks = f"it takes uniforms of shape {shapes[0]} for 5 offspring of 3 items, and {claimed!r} {shapes[1]}."
        return Report(status="refused", law=LAW, level="exact", remarks=remarks, repro=repro)
    chosen = {name: list(w) for name, w in weights.items() if len(w) in sizes}
    if not chosen:
        raise LawfulError(f"resampler: no weights of sizes {tuple(sizes)} among {', '.join(weights)}.")
    tally = _Tally(tolerance)
    for n in sorted({len(w) for w in chosen.values()}):
        group = {name: w for name, w in chosen.items() if len(w) == n}
        for m in sorted({max(1, n - 1), n, n + 1} if offspring is None else set(offspring)):
            _check_group(subject, claimed, group, m, tally)
    return tally.report(subject, repro)


def _check_group(subject: Scheme, claimed: str, group: dict[str, list[float]], m: int, tally: _Tally) -> None:
    """Check all weight vectors of one size, with one compilation for each side."""
    n = len(next(iter(group.values())))
    rows = jnp.asarray(np.array([*group.values()]))
    listed = jax.jit(jax.vmap(lambda w: subject.enumerate(w, m)), compiler_options=QUICK)
    push = jax.jit(jax.vmap(lambda u, w: subject.push(u, w, m), in_axes=(0, None)), compiler_options=QUICK)
    cells = {
        name: list(points(BREAKPOINTS[claimed](row.tolist(), m), SHORTEST))
        for name, row in zip(group, np.asarray(rows, np.float64), strict=True)
    }
    longest = max(len(chosen) for chosen in cells.values())

    def pushed(middles: list[tuple[Fraction, ...]], weights: np.ndarray) -> np.ndarray:
        padded = [*middles, *middles[:1] * (longest - len(middles))]  # one shape, so one compilation
        return np.asarray(push(_words(subject, padded, n, m), jnp.asarray(weights, rows.dtype)))[: len(middles)]

    for scale in (1.0, *SCALES):
        ancestors, log_masses = jax.device_get(listed(rows * scale))
        for index, name in enumerate(group):
            own = np.asarray(rows[index] * scale, np.float64)
            if not 0 < own.sum() < math.inf or (own == 0).sum() > (np.asarray(rows[index]) == 0).sum():
                continue  # the scaled weights leave the range of floats
            where = f"{name}, M = {m}{'' if scale == 1 else f', weights times {scale:g}'}"
            expected = expected_counts(own.tolist(), m)
            law = _counts(ancestors[index], np.exp(log_masses[index].astype(np.float64)), n)
            tally.check(law, expected, claimed, f"{where}, enumerated")
            if scale == 1:
                middles, lengths = zip(*cells[name], strict=True)
                other = _counts(pushed([*middles], own), np.array([float(x) for x in lengths]), n)
                tally.check(other, expected, claimed, f"{where}, at breakpoints")
                tally.compare(law, other, where)
    dead, stay = np.zeros(n), np.arange(m) % n
    ancestors, log_masses = jax.device_get(listed(jnp.zeros_like(rows)))
    alive = ancestors[0][log_masses[0] > -np.inf]
    centres = [middle for middle, _ in cells[next(iter(group))]]
    if (alive != stay).any() or (pushed(centres, dead) != stay).any():
        tally.problems.append(f"N = {n}, M = {m}: a population without weight is not left untouched")


def _words(subject: Scheme, middles: Sequence[Sequence[Fraction]], n: int, m: int) -> jax.Array:
    """Write fractions as the random words that a draw would use."""
    shape = subject.uniforms_shape(n, m)
    bits = 64 if subject.paired or jax.config.read("jax_enable_x64") else 32
    words = [[int(u * (1 << bits)) for u in row] for row in middles]
    if subject.paired:
        pairs = [[(word >> 32, word & 0xFFFFFFFF) for word in row] for row in words]
        return jnp.asarray(np.array(pairs, np.uint32).reshape((len(middles), *shape)))
    return jnp.asarray(np.array(words, np.uint64 if bits == 64 else np.uint32).reshape((len(middles), *shape)))


def _counts(ancestors: np.ndarray, masses: np.ndarray, n: int) -> dict[tuple[int, ...], float]:
    """Add up the cells with equal counts; an ancestor out of range makes its row sum to less than M."""
    law: dict[tuple[int, ...], float] = {}
    for row, mass in zip(ancestors.tolist(), masses.tolist(), strict=True):
        counts = tuple(row.count(i) for i in range(n))
        law[counts] = law.get(counts, 0.0) + mass
    return law


class _Tally:
    """The largest error, and every bound that was broken."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.error, self.worst = 0.0, "expected count"
        self.problems: list[str] = []
        self.cells, self.instances = 0, 0

    def note(self, error: float, where: str) -> None:
        """Remember an error; NaN counts as infinite."""
        error = math.inf if math.isnan(error) else error
        if error > self.error:
            self.error, self.worst = error, where

    def check(self, law: dict[tuple[int, ...], float], expected: list[Fraction], claimed: str, where: str) -> None:
        """Compare expected counts, and test every possible count against the bounds."""
        self.instances += 1
        self.cells += len(law)
        self.note(abs(math.fsum(law.values()) - 1), f"sum of probabilities, {where}")
        for i, share in enumerate(expected):
            mean = math.fsum(mass * counts[i] for counts, mass in law.items())
            self.note(abs(mean - float(share)), f"expected count of item {i}, {where}")
        m = sum(expected)
        for counts, mass in law.items():
            if mass <= self.tolerance:
                continue
            if sum(counts) != m:
                self.problems.append(f"{where}: counts {counts} do not sum to {m}")
            self.problems += [f"{where}: {text}" for text in _broken(counts, expected, claimed)]

    def compare(self, law: dict[tuple[int, ...], float], other: dict[tuple[int, ...], float], where: str) -> None:
        """Compare the law of the counts from both sides."""
        for counts in law.keys() | other.keys():
            self.note(abs(law.get(counts, 0.0) - other.get(counts, 0.0)), f"probability of counts {counts}, {where}")

    def report(self, subject: Scheme, repro: str) -> Report:
        """Give the verdict."""
        held = self.error <= self.tolerance and not self.problems
        shown = "; ".join(self.problems[:5])
        return Report(
            status="passed" if held else "failed",
            law=f"{subject}: {LAW}",
            level="exact",
            measure_error=self.error,
            paths=self.cells,
            instances=self.instances,
            worst=(self.worst, self.error),
            repro=repro,
            remarks=shown,
        )


def _broken(counts: Sequence[int], expected: Sequence[Fraction], claimed: str) -> Iterator[str]:
    """Name the bounds that a vector of counts breaks."""
    for i, (count, share) in enumerate(zip(counts, expected, strict=True)):
        if share == 0 and count:
            yield f"item {i} of weight zero has {count} offspring"
        if claimed == "systematic" and not abs(count - share) < 1:
            yield f"item {i} has {count} offspring, not within 1 of {float(share):.6g}"
        if claimed == "stratified" and not abs(count - share) < 2:
            yield f"item {i} has {count} offspring, not within 2 of {float(share):.6g}"
        if claimed == "residual" and count < math.floor(share):
            yield f"item {i} has {count} offspring, fewer than the whole part of {float(share):.6g}"
