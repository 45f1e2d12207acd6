"""Attempts: the methods that may give the answer of a program, in the order in which they are tried, each with why.

Law: each is a method of this library with its own law, on the program or on what sums and integrals leave of it; the
order reads the form alone. A cheap attempt comes first where its verdict can tell that it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from lawful.addresses import Address
from lawful.form import Form
from lawful.form.choices import choices_of
from lawful.form.liveness import random_values
from lawful.inspection.lint.improper_priors import improper_sites

from ...contract import Transformer
from ...kernels import nuts
from ...kernels.default_kernel import default_kernel
from ...laws.grid import COUNTS
from ...results.result import Result
from ...transformers.noncentred import is_normal, noncentred
from ..advice import suited
from ..guide import FittedGuide
from ..mcmc import Mcmc
from ..smc import Smc
from ..tempered_smc import TemperedSmc
from .centring import learnt_coordinates
from .reduction import Reduction

CHAINS = 4
RUNS = 16  # of particles that move, whose spread alone tells their error
MANY = 100  # numbers up to which a normal law of all of them is tried as a guide


@dataclass(frozen=True)
class Attempt:
    """A method that may give the answer.

    Attributes:
        name: what it is, in one or two words.
        method: with its settings.
        why: it is tried at this place.
        before: what is done to the program first, beside sums and integrals.
        learnt: makes `before` anew from the results so far, as `learnt(inputs, results)`.
        travels: whether it goes between modes that lie apart.
    """

    name: str
    method: Any
    why: str
    before: Transformer | None = None
    learnt: Callable[[Sequence[Any], Sequence[Result]], Transformer] | None = None
    travels: bool = False

    def after(self, inputs: Sequence[Any], results: Sequence[Result]) -> Attempt:
        """Give the attempt with what the results so far teach."""
        return self if self.learnt is None or not results else replace(self, before=self.learnt(inputs, results))

    def on(self, model: Any) -> Any:
        """Give the plan on a model."""
        if self.before is None:
            return self.method.on(model)
        before: Callable[[Any], Any] = self.before
        return self.method.on(before(model))


def attempts_at(reduction: Reduction, draws: int, progress: bool | None) -> tuple[Attempt, ...]:
    """List the attempts at what is left of a program."""
    common: Any = {"enumerate": reduction.by, "progress": progress}
    each = max(1, -(-draws // CHAINS))
    if suited(reduction.form) == "smc" and not reduction.smooth:
        why = "its loop observes as it goes and reads no unknown parameter, so a filter sees all of it"
        return tuple(
            Attempt("smc", Smc(particles=times * max(each, 1000), runs=CHAINS, **common), said)
            for times, said in ((4, why), (32, "eight times the particles"))
        )
    if reduction.smooth:
        return _smooth(reduction, each, common)
    kernel = default_kernel(reduction.left, sums=False)
    first = Mcmc(kernel.kernel, draws=each, **common)
    longer = replace(first, warmup=4 * first.warmup, draws=10 * each, thin=10)
    return (
        Attempt("mcmc", first, "; ".join(kernel.reasons)),
        Attempt("mcmc, longer", longer, "10 times as many steps"),
    )


def _smooth(reduction: Reduction, each: int, common: Mapping[str, Any]) -> tuple[Attempt, ...]:
    """List what is tried where all sites that are left have a gradient."""
    found, size = [], reduction.size
    numbers = f"{size} number{'s' * (size != 1)}"
    if size <= MANY and not any(choice.conditional for choice in choices_of(reduction.left)):
        guided = FittedGuide(particles=max(2 * each, 1000), runs=CHAINS, **common)
        if size <= len(COUNTS):
            scan = replace(guided, family="grid")
            found.append(Attempt("guide, grid", scan, f"{numbers}: the density is scanned, and weights tell how well"))
        why = f"{numbers} with a gradient: a law is fitted, and its weights tell how well"
        found.append(Attempt("guide", guided, "a law is fitted" if found else why))
    kernel = default_kernel(reduction.left, sums=False).kernel
    chains = Mcmc(kernel, draws=each, **common)
    found.append(Attempt("nuts", chains, "from draws of the guide" if found else f"{numbers} with a gradient"))
    if sites := _hierarchical(reduction.left):
        learnt = partial(learnt_coordinates, reduction.form, sites)
        why = "normal sites as far from centred as draws so far teach, or by standard normals: no funnel"
        found.append(Attempt("nuts, noncentred", Mcmc(draws=each, **common), why, noncentred(), learnt))
    mass = getattr(kernel, "inverse_mass", None)
    patient = replace(chains, kernel=nuts(inverse_mass=mass, target_acceptance=0.99), warmup=4 * chains.warmup)
    longer = replace(patient, draws=2 * each, thin=2)
    found.append(Attempt("nuts, longer", longer, "shorter steps, 4 times the warm-up"))
    if not improper_sites(reduction.form):
        path = TemperedSmc(particles=max(each, 2000), runs=RUNS, **common)
        larger = replace(path, particles=4 * path.particles)
        found.append(Attempt("tempered_smc", path, "modes that lie apart", travels=True))
        found.append(Attempt("tempered_smc, larger", larger, "4 times the particles", travels=True))
    return tuple(found)


def _hierarchical(form: Form) -> frozenset[Address]:
    """Find the normal sites whose laws read other choices."""
    random, normal = random_values(form), {c.address for c in choices_of(form) if is_normal(c)}
    sites = (site for site in form.sites() if site.address in normal)
    return frozenset(site.address for site in sites if not random.isdisjoint(site.parameters))


def begun_at(results: Sequence[Result], names: tuple[str, ...]) -> dict[str, Any] | None:
    """Take starts of chains from draws of the first guide that has them, one from each of its runs; None without."""
    for result in results:
        if result.guide is None:
            continue
        draws = {name: np.asarray(result._posterior[name]) for name in names if name in result._posterior}
        starts = {name: x[:, x.shape[1] // 2] for name, x in draws.items()}
        if len(starts) == len(names) and all(np.isfinite(x).all() for x in starts.values()):
            return starts
    return None


def misses_a_mode(result: Result) -> bool:
    """Tell whether searches saw a mode that the draws of a guide do not reach."""
    return any(finding.code == "MISSED_MODE" for finding in result.reasons)
