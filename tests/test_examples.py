"""Every example in a docstring runs and prints what it says; every block of Python on a page of docs/ runs.

Law: a result that a page makes is ok, or the section that makes it names what is wrong.
"""

import doctest
import importlib
import pkgutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import lawful
import lawful.inference
import lawful.models
from tests.pages import Page

ROOTS = (lawful, lawful.inference, lawful.models)
NAMES = {root.__name__ for root in ROOTS} | {
    module.name for root in ROOTS for module in pkgutil.walk_packages(root.__path__, root.__name__ + ".")
}
REPOSITORY = Path(__file__).resolve().parents[1]
BENCHMARKS = {  # those with examples, since others may import peers that are not here
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for file in (REPOSITORY / "benchmarks").glob("[!.]*/**/*.py")
    if ">>> " in file.read_text()
}
DOCS = REPOSITORY / "docs"
PAGES = sorted({*DOCS.glob("*.md"), *DOCS.glob("*.ipynb")} - {DOCS / "coming_from.md"})  # it has a test of its own
READ_DATA = {"ecls_k.ipynb"}
OFTEN = {"language.md"}  # `make docs` and the slow tier run every page; tests/test_readme.py runs a first model
# Examples that fit a model, or compile a large program or many small ones: half a second and more each, and slow tier.
LONG = {
    "lawful.distributions.densities",
    "lawful.distributions.interval_probability",
    "lawful.distributions.sampling.categorical",
    "lawful.distributions.sampling.normal",
    "lawful.inference.algorithms.annealed_importance",
    "lawful.inference.algorithms.ibis",
    "lawful.inference.algorithms.maximise",
    "lawful.inference.algorithms.parallel_tempering",
    "lawful.inference.algorithms.pmmh",
    "lawful.inference.algorithms.smc2",
    "lawful.inference.algorithms.tempered_smc",
    "lawful.inference.check.exact.exact_checks",
    "lawful.inference.check.exact.invariance",
    "lawful.inference.check.exact.resamplers",
    "lawful.inference.check.exact.shrinking",
    "lawful.inference.check.identities.identities",
    "lawful.inference.check.identities.integrator",
    "lawful.inference.check.identities.involutions",
    "lawful.inference.check.identities.maximum",
    "lawful.inference.check.statistics.geweke",
    "lawful.inference.check.statistics.sandwich",
    "lawful.inference.check.statistics.sbc",
    "lawful.inference.graphs.best_assignment",
    "lawful.inference.graphs.chains.ending",
    "lawful.inference.graphs.chains.filtering",
    "lawful.inference.graphs.chains.posterior",
    "lawful.inference.graphs.counts.factor",
    "lawful.inference.graphs.counts.maximum",
    "lawful.inference.graphs.counts.sampling",
    "lawful.inference.graphs.graph_draws",
    "lawful.inference.graphs.loopy.fixed_points",
    "lawful.inference.graphs.moves.walk",
    "lawful.inference.graphs.reading.tree_proposal",
    "lawful.inference.kernels.particles.scales",
    "lawful.inference.laws.multinomial_resampling",
    "lawful.inference.laws.symmetric_mixture",
    "lawful.inference.laws.systematic_resampling",
    "lawful.inference.plans.chains.warm_up",
    "lawful.inference.plans.resuming",
    "lawful.inference.results.scores",
    "lawful.inference.transformers.gaussian.moments",
    "lawful.inference.transformers.gaussian.quadratic_forms",
    "lawful.inference.transformers.log_predictives",
    "lawful.inference.transformers.nested",
    "lawful.inference.transformers.propose.fitted_proposals",
    "lawful.inference.transformers.propose.laplace_mixture",
    "lawful.inference.transformers.propose.start_from",
    "lawful.inference.transformers.temperatures",
    "lawful.inspection.lint.prior_draws",
    "lawful.interop.density",
    "lawful.models.gaussian_moe.annealing",
    "lawful.models.gaussian_moe.ascent",
    "lawful.models.gaussian_moe.bayes",
    "lawful.models.gaussian_moe.density",
    "lawful.models.gaussian_moe.em",
    "lawful.models.gaussian_moe.fitting",
    "lawful.models.gaussian_moe.merging",
    "lawful.models.gaussian_moe.starts",
    "lawful.models.gaussian_moe.top_one",
    "lawful.models.llp.bags.noise",
    "lawful.models.llp.convergence",
    "lawful.models.llp.count_process",
    "lawful.models.llp.labels.calibration",
    "lawful.models.llp.labels.likelihood",
    "lawful.models.llp.transduction",
    "lawful.models.mixtures",
    "lawful.models.gaussian_process",
    "lawful.models.monad_bayes",
    "lawful.models.papers.any_order",
    "lawful.models.papers.cluster_population",
    "lawful.models.papers.data_mixtures",
    "lawful.models.papers.known_noise",
    "lawful.models.papers.number_of_clusters",
    "lawful.models.papers.poisson_equation",
    "lawful.models.populations",
    "lawful.models.regression",
    "lawful.models.state_space",
    "lawful.models.trajectories.likelihood.density",
    "lawful.models.trajectories.likelihood.penalties",
    "lawful.models.trajectories.posterior.priors",
    "lawful.models.trajectories.posterior.selection",
    "lawful.models.trajectories.posterior.sensitivity",
    "lawful.models.trajectories.program",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG | BENCHMARKS else ())
        for name in sorted(NAMES | BENCHMARKS)
        if not name.endswith("__main__")
    ],
)
def test_docstring_examples_run(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.name, marks=() if path.name in OFTEN else pytest.mark.slow)
        for path in PAGES
        if Page(path).blocks
    ],
)
def test_blocks_of_a_page_run_and_its_results_are_ok_or_the_page_says_why_not(path, request, tmp_path, monkeypatch):
    """As `make docs` runs them, without building the page."""
    if path.name in READ_DATA:
        monkeypatch.setenv("LAWFUL_DATA", str(request.getfixturevalue("data")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAWFUL_EVIDENCE", str(DOCS / "evidence"))
    page = Page(path)
    page.run()
    plt.close("all")
    assert page.untold() == []
