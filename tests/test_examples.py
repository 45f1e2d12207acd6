"""Every example in a docstring runs and prints what it says; every block of Python on a page of docs/ runs."""

import doctest
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import lawful
import lawful.inference
import lawful.models

ROOTS = (lawful, lawful.inference, lawful.models)
NAMES = {root.__name__ for root in ROOTS} | {
    module.name for root in ROOTS for module in pkgutil.walk_packages(root.__path__, root.__name__ + ".")
}
DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(set(DOCS.glob("*.md")) - {DOCS / "coming_from.md"})  # which test_coming_from.py runs model by model
OFTEN = {"tour.md", "language.md"}  # `make docs` and the slow tier run every page
# Examples that fit a model or compile a large program: seconds each, and in the slow tier.
LONG = {
    "lawful.inference.smc2",
    "lawful.models.gaussian_moe.em",
    "lawful.models.llp.convergence",
    "lawful.models.llp.transduction",
    "lawful.models.mixtures",
    "lawful.models.populations",
    "lawful.models.posteriordb.starts",
    "lawful.models.regression",
    "lawful.models.trajectories.priors",
    "lawful.models.trajectories.program",
    "lawful.models.gaussian_moe.annealing",
    "lawful.models.gaussian_moe.bayes",
    "lawful.models.gaussian_moe.fitting",
    "lawful.models.gaussian_moe.rates",
    "lawful.models.trajectories.sensitivity",
}
BLOCK = re.compile(r"^```(?:\{code-cell\}|python)\n(?::[\w-]+:.*?\n)*(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in sorted(NAMES)
        if not name.endswith("__main__")
    ],
)
def test_docstring_examples_run(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=() if page.name in OFTEN else pytest.mark.slow)
        for page in PAGES
        if BLOCK.search(page.read_text())
    ],
)
def test_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    """As `make docs` runs them, without building the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAWFUL_EVIDENCE", str(DOCS / "evidence"))
    program = tmp_path / "page.py"
    program.write_text("\n".join(BLOCK.findall(page.read_text())))
    runpy.run_path(str(program))
    plt.close("all")
