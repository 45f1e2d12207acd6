"""`python -m benchmarks.studies.posteriordb.guides [POSTERIOR ...] [--family NAME] [--out DIR]`: guides, also spoiled.

For each posterior and family a guide is fitted, and spoiled in eight ways: moved to a wrong place, half and double
scale, one coordinate left unfitted, correlations dropped, a cut tail, a wrong sign, and the start itself. Draws from
each are weighed for the program, and means and quantiles compared with the reference. A line says whether the result is
ok, the largest |z|, and how far means of the raw and of the corrected draws are off, in standard deviations of the
posterior. A silent failure is a result that is ok and off by more than its bound, that of the number of comparisons in
the whole table.

With `--out` the lines go into `guides.csv`, and the raw errors beside the corrected ones into `guides.svg`. The exit
status is the number of silent failures.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.laws.flow import Flow
from lawful.inference.laws.tailed import Tailed

from . import POSTERIORS, Posterior, Reference, data_folder, read
from .reference import bound, comparisons, scalar_draws

FAMILIES = ("lowrank", "normal", "flow", "laplace", "mode", "pathfinder")
RUNS, PARTICLES = 32, 2000
FITTED = "as it was fitted"


class Parts(NamedTuple):
    """The normal laws that a guide is a mixture of: log weights (k,), means (k, d), roots of covariances (k, d, d).

    A flow is one of them, whose noise is bent by `weights`; `half` is that of the degrees of freedom of heavier tails.
    """

    log_weight: np.ndarray
    loc: np.ndarray
    root: np.ndarray
    weights: Any = None
    half: Any = None


class Line(NamedTuple):
    """What became of one guide."""

    posterior: str
    family: str
    spoiled: str
    ok: bool
    largest: float
    compared: int
    raw: float
    corrected: float


def parts_of(law: dist.Distribution) -> Parts:
    """Read the normal laws of a guide.

    >>> parts_of(dist.Normal(jnp.zeros(2), 1.0).to_event(1)).root.shape
    (1, 2, 2)
    """
    if isinstance(law, Tailed):
        parts = parts_of(law.normal)
        return parts._replace(root=parts.root * float(law.factor), half=law.half)
    if isinstance(law, dist.MixtureSameFamily):
        component = law.component_distribution
        log_weight = np.log(np.asarray(law.mixing_distribution.probs))
        return Parts(log_weight, np.asarray(component.loc), np.asarray(component.scale_tril))
    if isinstance(law, Flow):
        return Parts(np.zeros(1), np.asarray(law.loc)[None], np.asarray(law.root)[None], law.weights)
    covariance = np.asarray(law.covariance_matrix) if hasattr(law, "covariance_matrix") else np.diag(law.variance)
    return Parts(np.zeros(1), np.asarray(law.mean)[None], np.linalg.cholesky(covariance)[None])


def _uncorrelated(parts: Parts) -> Parts:
    scale = np.sqrt(np.sum(parts.root**2, axis=2))
    return parts._replace(root=scale[:, :, None] * np.eye(scale.shape[1]))


def _unfitted_site(parts: Parts) -> Parts:
    """Leave the last coordinate as searches begin: standard normal, and independent of the others."""
    loc, root = parts.loc.copy(), parts.root.copy()
    loc[:, -1], root[:, -1] = 0.0, np.eye(loc.shape[1])[-1]
    return parts._replace(loc=loc, root=root)


SPOILED: dict[str, Callable[[Parts], Parts]] = {
    FITTED: lambda parts: parts,
    "wrong place": lambda parts: parts._replace(loc=parts.loc + 3.0 * parts.root[:, :, 0]),
    "half scale": lambda parts: parts._replace(root=0.5 * parts.root),
    "double scale": lambda parts: parts._replace(root=2.0 * parts.root),
    "a site unfitted": _unfitted_site,
    "correlations dropped": _uncorrelated,
    "cut tail": lambda parts: parts,
    "wrong sign": lambda parts: parts._replace(loc=-parts.loc),
    "the start": lambda parts: parts._replace(
        loc=np.zeros_like(parts.loc), root=np.broadcast_to(np.eye(parts.loc.shape[1]), parts.root.shape), weights=None
    ),
}


def law_of(parts: Parts, cut: bool) -> dist.Distribution:
    """Make a law of the parts; `cut` is of the first part, whitened and not bent, within two standard deviations."""
    if cut:
        inside = dist.TruncatedNormal(jnp.zeros(parts.loc.shape[1]), 1.0, low=-2.0, high=2.0).to_event(1)
        place = dist.transforms.LowerCholeskyAffine(jnp.asarray(parts.loc[0]), jnp.asarray(parts.root[0]))
        return dist.TransformedDistribution(inside, place)
    if parts.weights is not None:
        return Flow(parts.weights, jnp.asarray(parts.loc[0]), jnp.asarray(parts.root[0]))
    if parts.half is not None:
        normal = dist.MultivariateNormal(jnp.asarray(parts.loc[0]), scale_tril=jnp.asarray(parts.root[0]))
        return Tailed(normal, parts.half)
    normal = dist.MultivariateNormal(jnp.asarray(parts.loc), scale_tril=jnp.asarray(parts.root))
    return dist.MixtureSameFamily(dist.Categorical(logits=jnp.asarray(parts.log_weight)), normal)


def lines(posterior: Posterior, family: str, folder: Path, key: jax.Array) -> Iterator[Line]:
    """Fit, spoil, weigh and compare."""
    reference = read(folder, posterior.name)
    args = posterior.arguments(reference.data)
    fitted = inference.guide(posterior.program, family=family, particles=2, runs=1)(key, *args).guide
    parts = parts_of(fitted.law)
    static = [not hasattr(arg, "shape") for arg in args]  # sizes stay numbers

    def started(guide: Any, *arrays: Any) -> Any:
        rest = iter(arrays)
        own = [arg if still else next(rest) for arg, still in zip(args, static, strict=True)]
        return inference.start_from(guide)(posterior.program)(*own)

    arrays = [arg for arg, still in zip(args, static, strict=True) if not still]
    plan = inference.importance(started, particles=PARTICLES, runs=RUNS, on_fault="flag")
    for number, (name, spoil) in enumerate(SPOILED.items()):
        guide = inference.Guide(law_of(spoil(parts), name == "cut tail"), fitted.sites, {}, family)
        try:
            result = plan(jax.random.fold_in(key, number), guide, *arrays)
        except LawfulError as error:
            yield Line(posterior.name, family, f"{name}: {type(error).__name__}", False, np.nan, 0, np.nan, np.nan)
            continue
        yield _line(posterior.name, family, name, result, reference)


def _line(posterior: str, family: str, name: str, result: Any, reference: Reference) -> Line:
    """Compare the corrected draws of a result with the reference; raw ones have equal weights."""
    if not result.ok:
        result = result.surviving() if np.any(np.isfinite(result.log_evidence)) else result
    alive = np.any(np.isfinite(result.log_evidence))
    found = comparisons(result.posterior, reference.scalars, independent=True) if alive else []
    off = [_off(reference, values) for values in ((result.weighted.values, result.posterior) if alive else ())]
    largest = max((abs(c.z) for c in found), default=np.nan)
    raw, corrected = off or (np.nan, np.nan)
    return Line(posterior, family, name, bool(result.ok), float(largest), len(found), raw, corrected)


def _off(reference: Reference, draws: Any) -> float:
    """Give the largest error of a mean, in standard deviations of the posterior."""
    each = ((scalar_draws(draws, name).mean() - told["mean"]) / told["sd"] for name, told in reference.scalars.items())
    return float(max(map(abs, each)))


def drawn(found: Sequence[Line], path: Path) -> None:
    """Draw corrected errors over raw ones, a panel a family: what is not ok is hollow, large ones are at the edge."""
    from matplotlib.figure import Figure

    figure, ends = Figure(figsize=(8.0, 5.4), layout="constrained"), (3e-3, 1e3)
    for axes, family in zip(figure.subplots(2, 3, sharex=True, sharey=True).flat, FAMILIES, strict=True):
        own = [one for one in found if one.family == family]
        for ok, colour in ((False, "0.6"), (True, "C0")):
            shown = [one for one in own if one.ok == ok and np.isfinite(one.raw)]
            axes.scatter(
                *np.clip([[one.raw for one in shown], [one.corrected for one in shown]], *ends), s=20, zorder=2 + ok,
                edgecolors=colour, facecolors=colour if ok else "none", label="ok" if ok else "not ok", clip_on=False,
            )  # fmt: skip
        axes.plot(ends, ends, color="0.8", lw=1, zorder=0)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        axes.set_title(f"{family}: {sum(one.ok for one in own)} of {len(own)} ok", fontsize=10)
    figure.axes[0].legend(fontsize=8, loc="upper left")
    figure.supxlabel("error of the raw draws (posterior standard deviations)", fontsize=10)
    figure.supylabel("error of the corrected draws", fontsize=10)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    name = "python -m benchmarks.studies.posteriordb.guides"
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    parser.add_argument("posteriors", nargs="*", help="parts of names; default: all")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="default: all")
    parser.add_argument("--data", type=Path, help="folder of reference data; default: LAWFUL_DATA, or ../shared/data")
    parser.add_argument("--out", type=Path, help="folder for guides.csv and guides.svg")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    folder, found = chosen.data or data_folder(), list[Line]()
    print(f"{'posterior':40}{'family':12}{'guide':36}{'ok':6}{'|z|':>8}{'raw':>10}{'corrected':>11}")
    for number, posterior in enumerate(POSTERIORS.values()):
        if chosen.posteriors and not any(part in posterior.name for part in chosen.posteriors):
            continue
        for family in chosen.family or FAMILIES:
            key = jax.random.fold_in(jax.random.key(chosen.seed), number)
            for one in lines(posterior, family, folder, key):
                found.append(one)
                print(
                    f"{one.posterior:40}{one.family:12}{one.spoiled:36}{one.ok!s:6}{one.largest:8.2f}{one.raw:10.3g}"
                    f"{one.corrected:11.3g}",
                    flush=True,
                )
    limit = bound(max(1, sum(one.compared for one in found)))
    silent = [one for one in found if one.ok and one.largest > limit]
    good = [one for one in found if one.ok]
    print(f"{len(found)} guides, {len(good)} ok, {len(silent)} silent failures (bound {limit:.2f})")
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
        with (chosen.out / "guides.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Line._fields)
            writer.writerows(found)
        drawn(found, chosen.out / "guides.svg")
    return len(silent)


if __name__ == "__main__":
    sys.exit(main())
