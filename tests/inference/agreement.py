"""Agreement: every method that is exact on finite programs, on random programs that nest, held against one enumeration.

Law: each gives the measure that the reference enumerator lists, evidence and marginals, or refuses by a `LawfulError`.
What estimates is enumerated itself: the mean of its estimates is the evidence, and its particles have the posterior.
Where the measure depends on a row that makes no law, each refuses.

`python -m tests.inference.agreement 0 500` runs the programs of these seeds and says how many agree.
"""

import math
import re
import sys
import time
from collections import Counter
from dataclasses import replace

import jax
import numpy as np

import lawful
from lawful import inference
from lawful.addresses import indices_of, names_of
from lawful.backends.compile_options import compile_quickly
from lawful.errors import LawfulError
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import choices_of, finite_sites
from lawful.inference import kernels
from lawful.inference.algorithms.smc import particle_filter
from lawful.inference.check import compare, enumerate_measure, invariant, random_program
from lawful.inference.check.exact.exact_checks import transformed_form
from lawful.inference.check.exact.outcomes import reference_measure
from lawful.inference.check.programs.partial_sums import GraphHalf
from lawful.inference.laws.resampling_schemes import scheme

TOLERANCE = 1e-10
OUTERMOST = ("loop", "branch", "switch", "repeat", "weigh", "guard", "call", "plate")
PATHS = (24, 48, 80)
PARTICLE_PATHS = 4000  # of an algorithm with two particles
IMPORTANCE = inference.spawn(2) >> inference.PushEvidence >> inference.Collapse
FILTER = inference.Suspend >> particle_filter(2, scheme("systematic"), None)
FAULT = "please report this program"  # what a method says where it contradicts itself
PARTICULAR = re.compile(r"((\d+ )?'[^']*' \(<[^)]*\)(, )?)+|[a-z]+\d[\w.]*(, [a-z]+\d[\w.]*)*|'[^']*'|\d+")


def nested_program(seed):
    """Generate the program of a seed, in which a construct holds others.

    Every fifth is for particles, and small; in every tenth a row of probabilities may make no law.
    """
    limits = {"nested": True, "shared": True, "max_cardinality": 2 + seed % 3 % 2, "max_length": 2, "statements": 2}
    if seed % 5 == 4:
        return random_program(seed, loops="exactly one", max_paths=12, **limits)
    return random_program(
        seed, include=[OUTERMOST[seed % 8]], invalid=seed % 10 == 5, max_paths=PATHS[seed % 3], **limits
    )


class Case:
    """A program with its argument, and its true measure."""

    def __init__(self, seed):
        self.seed, self.finite = seed, nested_program(seed)
        self.program, self.tables = self.finite.program, self.finite.default_tables()
        self.form = lawful.trace(self.program, self.tables)
        self.truth = enumerate_measure(self.program, self.mended(True))
        flawed = any(table.flaw for table in self.finite.tables)
        other = enumerate_measure(self.program, self.mended(False)) if flawed else self.truth
        self.invalid = compare(other, self.truth).error > TOLERANCE
        self.total, self.masses = float(self.truth.total()), masses_of(self.truth)
        self.small = seed % 5 == 4
        self.checking = 0.0  # CPU seconds of enumerations that are no part of a method

    def mended(self, alike):
        """The tables with a law for each row that makes none: all values alike, or not."""
        tables = dict(self.tables)
        for table in [table for table in self.finite.tables if table.flaw]:
            rows = tables[table.name]
            bad = ~(np.all(rows >= 0, axis=-1, keepdims=True) & (np.abs(rows.sum(axis=-1, keepdims=True) - 1) < 1e-9))
            law = np.arange(1.0, table.shape[-1] + 1) ** (not alike)
            tables[table.name] = np.where(bad, law / law.sum(), rows)
        return tables

    def error(self, log_evidence, masses, truth=None):
        """The largest error of the log evidence and of the masses, as shares of the evidence."""
        truth = self.masses if truth is None else truth
        log_truth = math.log(self.total) if self.total else -math.inf
        apart = [abs(masses[key] - truth[key]) / (self.total or 1.0) for key in masses.keys() | truth.keys()]
        return max([0.0 if log_evidence == log_truth else abs(log_evidence - log_truth), *apart])

    def measure(self, transformer, form=None):
        """Enumerate what a transformer makes of the program, or of another form of its argument."""
        made, layout = transformed_form(transformer, form or self.form)
        layout = layout if form is None else replace(layout, out_tree=jax.tree.structure(()))
        inputs, begun = [np.asarray(x) for x in split_arguments((self.tables,))[0]], time.process_time()
        measure = reference_measure(made, layout, inputs, 100_000)
        self.checking += time.process_time() - begun
        return measure

    def error_of(self, transformer):
        """The error of the whole measure, on all choices together."""
        return compare(self.measure(transformer), self.truth).error


def added(runs):
    """Add up the weights of runs by what they choose: (names, indices, value) for each element of each choice."""
    found = Counter()
    for choices, weight in runs:
        for address, value in choices:
            for cell, one in np.ndenumerate(np.asarray(value)):
                found[names_of(address), (*indices_of(address), *cell), int(one)] += weight
    return found


def masses_of(measure):
    return added((trace.choices, weight) for trace, weight in measure.traces())


# ---- methods: each takes a case and gives its largest error


def listed(mode):
    """Make the enumeration that users call, in a mode."""

    def error(case):
        exact = inference.enumerate(case.program, mode=mode)(case.tables)
        weights = np.exp(exact.log_weights)
        if exact.traces:
            masses = added((run.choices.items(), w) for run, w in zip(exact.traces, weights, strict=True))
        else:
            masses = in_columns(exact, weights)
        return case.error(exact.log_evidence, masses)

    return error


def in_columns(exact, weights):
    """Add up the weights of an enumeration that gives columns."""
    found = Counter()
    for name in exact.support.keys() - {"return"}:
        values = exact.support[name]
        on = exact.active.get(name, np.ones(len(weights), bool))
        for cell in np.ndindex(values.shape[1:]):
            here, made = values[:, *cell], on[:, *cell[: on.ndim - 1]]
            for value in np.unique(here[made]):
                found[tuple(name.split(".")), cell, int(value)] += weights[made & (here == value)].sum()
    return found


def beliefs(case):
    """Exact messages on the factor graph, where a choice that is not made has its first state."""
    found = inference.bp(case.program).beliefs(case.tables)
    masses, truth = Counter(), Counter(case.masses)
    for family in found.structure.families if case.total else ():
        if family.name in found.marginals:
            names, p = tuple(family.name.split(".")), np.asarray(found.marginals[family.name])
            for cell in np.ndindex(p.shape[:-1]):
                keys = [(names, cell, int(state)) for state in family.states or range(family.cardinality)]
                masses.update(dict(zip(keys, case.total * p[cell], strict=True)))
                truth[keys[0]] += case.total - sum(truth[key] for key in keys)
    return case.error(float(found.log_evidence), masses, truth)


def some(case):
    """All finite sites but every other one that always runs; every other one where none does."""
    sites = finite_sites(case.form)
    kept = {site.address for site in [s for s in sites if not s.conditional][case.seed % 2 :: 2]}
    return [site.address for site in (sites if kept else sites[::2]) if site.address not in kept]


def all_but_one(case):
    """All finite sites but one, which always runs where there is such a site."""
    sites = finite_sites(case.form)
    always = [site for site in sites if not site.conditional] or sites
    kept = always[case.seed % len(always)].address if sites else None
    return [site.address for site in sites if site.address != kept]


def importance(case):
    """Importance sampling of the site that stays, by two particles, where all others are summed."""
    if case.invalid:  # the enumeration would refuse it, and not the method
        return None
    marginal = inference.enumeration(case.form, all_but_one(case)).marginal
    measure = case.measure(IMPORTANCE, marginal)
    kept, total = {choice.address for choice in choices_of(marginal)}, float(measure.total())
    truth = Counter({key: mass for key, mass in case.masses.items() if key[0] in kept})
    return case.error(math.log(total) if total else -math.inf, masses_of(measure), truth)


def particles(case):
    """A particle filter that resamples at every step, with two particles."""
    small = case.small and case.finite.population_path_count(2) <= PARTICLE_PATHS
    return case.error_of(FILTER) if small else None


def block_gibbs(case):
    """Exact draws of blocks of sites, as a kernel of the posterior."""
    if not case.small or not case.total:
        return None
    return invariant(kernels.block_gibbs(), case.program, case.tables, irreducible=False).tv


METHODS = {
    "enumerate, auto": listed("auto"),
    "enumerate, eager": listed("eager"),
    "bp": beliefs,
    "in the program": lambda case: case.error_of(inference.marginalise(method="program")),
    "in the program, some": lambda case: case.error_of(inference.marginalise(some(case), method="program")),
    "by a graph": lambda case: case.error_of(inference.marginalise(method="graph")),
    "by a graph, some": lambda case: case.error_of(GraphHalf),
    "marginalise": lambda case: case.error_of(inference.marginalise()),
    "importance, all but one summed": importance,
    "smc": particles,
    "block_gibbs": block_gibbs,
}


# ---- what is said of them


def outcomes(seed, methods=tuple(METHODS)):
    """Give, method by method, its error or the text of its refusal, and the CPU seconds that it took."""
    case, found = Case(seed), {}
    for name in methods:
        begun = time.process_time() - case.checking
        try:
            answer = METHODS[name](case)
        except LawfulError as error:
            if FAULT in str(error):
                raise
            answer = f"{type(error).__name__}: {error}"
        else:
            answer = math.inf if case.invalid and answer is not None else answer
        if answer is not None:
            found[name] = answer, time.process_time() - case.checking - begun
    return found


def disagreements(seed, methods=tuple(METHODS)):
    """Say which methods neither agree nor refuse, and by how much they are off."""
    found = {name: answer for name, (answer, _) in outcomes(seed, methods).items() if not isinstance(answer, str)}
    return {name: error for name, error in found.items() if not error <= TOLERANCE}


def main(first, last, *methods):
    """Run the programs of some seeds and count what agrees, what is refused and why, and the slowest answer."""
    jax.config.update("jax_enable_x64", True)
    compile_quickly()
    counts, refusals, spent, slowest, wrong = Counter(), Counter(), Counter(), (0.0, ""), []
    for seed in range(int(first), int(last)):
        if seed % 20 == 0:
            print(f"seed {seed}, {time.process_time():.0f} CPU s", flush=True)
        try:
            found = outcomes(seed, methods or tuple(METHODS))
        except Exception as error:  # neither an answer nor a refusal: the others go on
            wrong.append(f"seed {seed}: {type(error).__name__}: {str(error)[:200]}")
            print(wrong[-1], flush=True)
            continue
        for name, (answer, seconds) in found.items():
            slowest = max(slowest, (seconds, f"{name}, seed {seed}"))
            spent[name] += seconds
            if isinstance(answer, str):
                counts[name, "refused"] += 1
                refusals[name, PARTICULAR.sub("#", answer)[:200]] += 1
            else:
                counts[name, "agreed" if answer <= TOLERANCE else "off"] += 1
                if not answer <= TOLERANCE:
                    wrong.append(f"seed {seed}: {name} is off by {answer:.3g}")
                    print(wrong[-1], flush=True)
            if seconds > 5:
                print(f"seed {seed}: {name} took {seconds:.1f} CPU s: {answer}", flush=True)
    for key, count in sorted(counts.items()):
        print(*key, count)
    for (name, why), count in refusals.most_common():
        print(f"refused {count} times by {name}: {why}")
    print("CPU s:", ", ".join(f"{name} {seconds:.0f}" for name, seconds in spent.items()))
    print(f"slowest: {slowest[0]:.1f} CPU s, {slowest[1]}; {len(wrong)} disagreements or errors")


if __name__ == "__main__":
    main(*sys.argv[1:])
