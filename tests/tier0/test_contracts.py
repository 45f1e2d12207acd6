"""Every public transformer, kernel and plan says what it claims, and every exact claim has a row of the law."""

import functools
import inspect
import re
from pathlib import Path

import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.inference.check import Contract
from lawful.inference.check.programs.tilted import tilted
from lawful.inference.check.rows.kernel_rows import START
from lawful.inference.check.rows.rows import IDENTITIES, ROWS, SCHEMES
from lawful.inference.contract import Transformer
from lawful.inference.laws.resampling_schemes import SCHEMES as KNOWN_SCHEMES
from lawful.inference.laws.resampling_schemes import scheme

pytestmark = pytest.mark.tier0
ROOT = Path(__file__).resolve().parents[2]


def coin():
    lawful.factor("f", 0.5 * lawful.sample("x", dist.Bernoulli(0.3)))


def fair():
    lawful.sample("x", dist.Bernoulli(0.5))


# How to make one of each public maker that takes arguments; a new one gets a line here and a row in ROWS.
MADE = {
    "spawn": lambda: inference.spawn(2),
    "marginalise": lambda: inference.marginalise(["x"]),
    "integrate_normals": lambda: inference.integrate_normals(["x"]),
    "noncentred": lambda: inference.noncentred(["x"]),
    "resample": lambda: inference.resample(scheme("systematic"), inference.ess_below(0.5)),
    "repeat_to_end": lambda: inference.repeat_to_end(inference.Advance),
    "particle_filter": lambda: inference.particle_filter(2, scheme("systematic"), None),
    "propose": lambda: inference.propose(fair),
    "propose_each": lambda: inference.propose_each(tilted),
    "start_from": lambda: START,
    "local_proposals": inference.local_proposals,
    "suspend": lambda: inference.suspend("factors"),
    "move": lambda: inference.move(kernels.mh()),
    "smc": lambda: inference.smc(coin, particles=2),
    "importance": lambda: inference.importance(coin, particles=2),
    "guide": lambda: inference.guide(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), paths=1),
    "mcmc": lambda: inference.mcmc(coin, kernels.mh(), draws=2, warmup=0, chains=1),
    "maximise": lambda: inference.maximise(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), starts=1),
    "mh": kernels.mh,
    "pmmh": lambda: inference.pmmh(coin, particles=2),
    "smc2": lambda: inference.smc2(coin, kernels.random_walk(1.0), ["x"], particles=2, inner=2),
    "ibis": lambda: inference.ibis(coin, kernels.mh(), particles=2, ladder=[1.0], steps=1),
    "particle_gibbs": lambda: inference.particle_gibbs(coin, "x", particles=2),
    "temper": lambda: inference.temper(ladder=[0.5, 1.0]),
    "rejuvenate": lambda: inference.rejuvenate(kernels.mh(), 1),
    "waste_free": lambda: inference.waste_free(kernels.mh(), 1),
    "population_walk": inference.population_walk,
    "population_hmc": inference.population_hmc,
    "parallel_tempering": lambda: inference.parallel_tempering(coin, powers=[0.5, 1.0], chains=1, warmup=0, draws=2),
    "annealed_importance": lambda: inference.annealed_importance(coin, particles=2, kernel=kernels.mh(), ladder=2),
    "tempered_smc": lambda: inference.tempered_smc(coin, particles=2, kernel=kernels.mh(), ladder=[0.5, 1.0], steps=1),
}
KERNELS = {"mh": kernels.mh, "single_site": lambda: kernels.mh(kernels.single_site()),
           "random_walk": lambda: kernels.mh(kernels.random_walk(0.5)),
           "independence": lambda: kernels.mh(kernels.independence()), "on": lambda: kernels.on("x"),
           "cycle": lambda: kernels.cycle(kernels.mh()), "mixture": lambda: kernels.mixture([1.0], kernels.mh()),
           "repeat": lambda: kernels.repeat(kernels.mh(), 2), "gibbs": kernels.gibbs,
           "block_gibbs": kernels.block_gibbs, "mala": kernels.mala,
           "hmc": kernels.hmc, "nuts": kernels.nuts,
           "particle_gibbs": lambda: kernels.particle_gibbs(2),
           "refresh": lambda: kernels.refresh(kernels.random_walk(1.0), ["x"]),
           "involutive": lambda: kernels.involutive(lambda choices, auxiliary: ({"x": 1 - choices["x"]}, {})),
           "redraw": lambda: kernels.mh(kernels.redraw("x")), "bag_gibbs": kernels.bag_gibbs,
           "split_merge": lambda: kernels.mh(kernels.split_merge("x")), "barker": kernels.barker,
           "delayed_acceptance": lambda: kernels.delayed_acceptance(coin), "slice": kernels.slice,
           "elliptical_slice": kernels.elliptical_slice, "conjugate": kernels.conjugate,
           "smcp3": lambda: kernels.smcp3(lambda current: lawful.sample("x", dist.Bernoulli(0.5))),
           "jump": lambda: kernels.jump("x", (0, 1), auxiliary=lambda current: None),
           "foreign": lambda: kernels.foreign(lambda log_density: lambda key, position: position)}  # fmt: skip
# What is neither a transformer, nor a kernel, nor a plan, and so claims nothing by itself.
CLAIM_NOTHING = {
    "infer",  # what it tries claims for itself
    "predictive",
    "filtered",
    "smoothed",
    "NormalMoments",
    "conditional_means",
    "laplace_mixture",
    "pooled_evidence",
    "map_parts",
    "parts_for_cores",
    "log_marginals",
    "log_predictives",
    "selected",  # programs, whose rows of the law are called by their names
    "tilt",
    "unmask",
    "ShareRegression",
    "share_regression",
    "share_regression_of_sums",
    "model_probabilities",
    "wide",
    "Wide",
    "scores",
    "information",
    "parameter_names",
    "robust_errors",
    "leave_one_out",
    "bp",
    "by_ess",
    "enumeration",
    "recover",
    "data_by_data",
    "prior_to_posterior",
    "ess_below",
    "enumerate",
    "sequential",
    "scored",
    "nested",
    "compare",
    "resume",
    "progress_bar",
    "stop_when",
    "log_to",
    "call",
    "method",
}
# What cannot be enumerated, since its draws are not sites or not finite, and the tests that check it by statistics.
BY_STATISTICS = {
    "kernels.foreign": "tests/inference/kernels/test_foreign.py",
    "kernels.slice": "tests/inference/kernels/test_slice.py",
    "kernels.elliptical_slice": "tests/inference/kernels/test_slice.py",
    "kernels.conjugate": "tests/inference/kernels/test_conjugate.py",
}
# What draws from continuous laws, and keeps the density of a program at every value: its tests compare the two.
BY_DENSITY = {
    "local_proposals": "tests/inference/test_local_proposals.py",
    "integrate_normals": "tests/inference/test_integrate_normals.py",
    "noncentred": "tests/inference/test_integrate_normals.py",
}
# The plans, and the rows that are their algorithm without the collection of results; `propose_each` is `propose` with
# a proposal for every site that it meets.
PLANS = {
    "smc": "smc systematic",
    "importance": "importance: collapse",
    "guide": "start from a guide",
    "mcmc": "mh single site",
    "tempered_smc": "tempered smc",
    "annealed_importance": "annealed importance",
    "pmmh": "pseudo-marginal",
    "smc2": "refresh",
    "ibis": "temper data by data",
    "particle_gibbs": "particle gibbs",
    "parallel_tempering": "parallel tempering",
    "propose": "propose",
}


def public(module):
    return {
        name: value
        for name in module.__all__
        if callable(value := getattr(module, name)) and not inspect.isclass(value)
    }


def bearers():
    """Every public object that must claim something, by name."""
    found = {}
    for name, value in public(inference).items():
        if isinstance(value, Transformer):
            found[name] = value
        elif name not in CLAIM_NOTHING:
            assert name in MADE, f"inference.{name} is public: add it to MADE (and a row to ROWS), or to CLAIM_NOTHING"
            found[name] = MADE[name]()
    for name in public(kernels).keys() - CLAIM_NOTHING:
        assert name in KERNELS, f"kernels.{name} is public: add it to KERNELS (and a row to ROWS or IDENTITIES)"
        found[f"kernels.{name}"] = KERNELS[name]()
    return found


@functools.cache
def words_of_rows():
    """Every word in the names of the steps of all rows."""
    shown = (repr(row.subject) if row.is_kernel else row.subject.name for row in (*ROWS, *IDENTITIES))
    return set(re.findall(r"\w+", " ".join(shown)))


@pytest.mark.parametrize("name", sorted(bearers()))
def test_every_public_algorithm_states_its_contract(name):
    contract = getattr(bearers()[name], "contract", None)
    assert isinstance(contract, Contract), f"{name} has no contract: say what it claims (inference.check.Contract)"
    assert contract.law


@pytest.mark.parametrize("name", sorted(bearers()))
def test_every_exact_claim_has_a_row_of_the_law(name):
    bearer = bearers()[name]
    if not bearer.contract.exact:
        return
    if name in BY_STATISTICS:
        assert "invariant(" in (ROOT / BY_STATISTICS[name]).read_text()
        return
    if name in BY_DENSITY:
        assert "log_density(" in (ROOT / BY_DENSITY[name]).read_text()
        return
    if name in PLANS:
        assert any(row.name.startswith(PLANS[name]) for row in ROWS)
        return
    word = repr(bearer) if hasattr(bearer, "build") else bearer.name
    for part in word.split(" >> "):
        step = re.match(r"\(*(\w+)", part)[1]
        assert step in words_of_rows(), f"{name}: no row of inference.check.rows.rows.ROWS holds {step!r}"


def test_every_scheme_has_its_rows():
    assert set(SCHEMES) == set(KNOWN_SCHEMES)
    names = {row.name for row in ROWS}
    assert {f"{kind} {name}" for kind in ("resample", "smc") for name in SCHEMES} <= names


def test_rows_have_different_names_and_exact_claims_but_for_a_bound():
    names = [row.name for row in (*ROWS, *IDENTITIES)]
    assert len(set(names)) == len(names)
    assert all(row.subject.contract.exact for row in ROWS)
    bounds = [row.name for row in IDENTITIES if not row.subject.contract.exact]  # of the evidence, and of the maximum
    gradients = [f"gradient of a guide, {how}" for how in ("by scores", "by sums", "of several weights")]
    assert bounds == [*gradients, "maximise", "maximise by expectation maximisation"]


def test_a_composition_claims_no_more_than_its_weakest_part():
    rough = Transformer("rough", lambda x: x, Contract("bound", target="log Z"))
    for composition in (rough >> inference.PushEvidence, inference.PushEvidence >> rough):
        assert not composition.contract.exact
