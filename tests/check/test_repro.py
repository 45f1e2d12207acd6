"""The line of a report repeats it: in a fresh process it gives the same verdict and the same numbers, to the bit."""

import ast
import functools
import json
import subprocess
import sys

import pytest

import lawful
from lawful.errors import LawfulError
from lawful.inference import check, kernels
from lawful.inference.check.statistics.report import STATUSES
from lawful.inference.check.statistics.repro import kernel_text, line, named

pytestmark = [pytest.mark.tier0, pytest.mark.reuses_keys]

# What the names in the lines of the checks stand for: a user's own objects.
OBJECTS = """
import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful.inference
from lawful import factor, inference, sample
from lawful.inference.check import *
from lawful.inference.kernels import *

def coins(y):
    a = sample("a", dist.Bernoulli(0.3))
    sample("y", dist.Bernoulli(0.2 + 0.5 * a), obs=y)
    return a

def level(y):
    scale = sample("scale", dist.LogNormal(0.5, 0.8))
    sample("y", dist.Normal(0.0, scale), obs=y)

def estimator(keys):
    return jnp.where(jax.vmap(jax.random.bernoulli)(keys), jnp.log(3.0), 0.0)

def algorithm(program):
    def infer(key, *args):
        return {"scale": jnp.exp(0.5 + 0.8 * jax.random.normal(key, (9,)))}
    return infer

model, args = coins, (1,)
transformer = inference.spawn(2) >> inference.PushEvidence >> inference.Collapse

def wrong(form):
    block = lawful.form.builder.Block()
    outputs = block.splice(form, form.inputs)
    block.factor(("~twice",), block.constant(jnp.log(2.0)))
    return block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
"""
# One report of each kind, and of each status.
REPORTS = {
    "a row of a transformer": "check_row('spawn', programs=2, structures=1, parameter_sets=2)",
    "a row of a kernel": "check_row('mh single site', programs=2, structures=0)",
    "a row of identities": "check_row('mh random walk')",
    "a row of an eager population": "check_row('eager importance', programs=2)",
    "a row of an eager kernel": "check_row('eager mh single site', programs=6)",
    "a resampler": "resampler('stratified', sizes=(2, 3), offspring=(2,))",
    "a resampler that claims another name": "resampler('systematic', scheme='stratified', sizes=(3,))",
    "a transformer on a program": "preserves(transformer, coins, *args, tolerance=1e-11)",
    "a transformer that fails": "preserves(wrong, coins, *args, enumerator='reference')",
    "a transformer on random programs": "preserves(transformer, instances=2, enumerator='reference', particles=2)",
    "a transformer that is inconclusive": "preserves(transformer, coins, *args, max_paths=3, enumerator='reference')",
    "a kernel on a finite program": "invariant(mh(), coins, 1, irreducible=False)",
    "a kernel from exact draws": "invariant(mh(random_walk(0.7)), level, 0.5, n=200, steps=(1, 2))",
    "the symmetry of a walk": "mh_symmetry(mh(random_walk(0.7)), level, 0.5, points=3)",
    "a map of coordinates": "coordinates(level, 0.5, points=3)",
    "an estimator": "unbiased(estimator, 0.6931471805599453, n=300)",
    "a calibration": "sbc(level, algorithm, 0.5, n_sims=40, draws=9, bins=5, batched=True)",
}
LONG = {"a row of a transformer", "a row of a kernel", "a transformer on random programs", "a kernel from exact draws"}
ARGUMENTS = {
    "a kernel from exact draws": 0.5,
    "the symmetry of a walk": 0.5,
    "a map of coordinates": 0.5,
    "a calibration": 0.5,
}
FIELDS = (
    "status", "worst", "measure_error", "evidence_ratio", "tv", "p_value", "stage", "n_used", "alpha_spent",
    "min_detectable_effect", "power", "paths", "instances", "repro",
)  # fmt: skip


def told(report):
    """The verdict and the numbers; floats are written so that they are equal where their bits are."""
    return json.loads(json.dumps({name: repr(getattr(report, name)) for name in FIELDS}))


@pytest.fixture(scope="module")
def reports():
    scope = {}
    exec(OBJECTS, scope)
    return functools.cache(lambda name: eval(REPORTS[name], scope))


@pytest.fixture(scope="module")
def repeated(reports):
    """What the lines give in one fresh process."""
    lines = {name: (report.repro, ARGUMENTS.get(name, 1)) for name in REPORTS for report in [reports(name)]}
    program = f"""
import jax, json
jax.config.update("jax_enable_x64", True)
from lawful.backends.compile_options import compile_quickly
compile_quickly()
{OBJECTS}
for name, (line, datum) in {lines!r}.items():
    args, model = (datum,), coins if datum == 1 else level
    report = eval(line)
    print(json.dumps([name, {{field: repr(getattr(report, field)) for field in {FIELDS!r}}}]), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(text) for text in done.stdout.splitlines() if text.startswith("["))


@pytest.mark.slow
@pytest.mark.parametrize("name", REPORTS)
def test_the_line_of_a_report_gives_it_again_in_a_fresh_process(name, reports, repeated):
    assert repeated[name] == told(reports(name)), reports(name).repro


@pytest.mark.slow
def test_reports_of_every_status_are_repeated(reports):
    assert {report.status for report in map(reports, REPORTS)} == set(STATUSES)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else ()) for n in REPORTS])
def test_a_report_says_what_it_would_find_and_how_to_repeat_it(name, reports):
    report = reports(name)
    assert report.repro in repr(report) and report.repro.startswith(("lawful.inference.check.", "unbiased("))
    assert 0 <= report.power <= 1 and report.min_detectable_effect >= 0
    assert report.power >= 0.99 or report.status not in ("passed", "failed")
    assert report.detects(0.0) == (report.status in ("passed", "failed") and report.bound == "exact")


def test_no_check_makes_a_report_without_a_line(root):
    """A tally is given its line; every other report states one."""
    for file in (root / "inference" / "check").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Report":
                assert "repro" in {word.arg for word in node.keywords}, f"{file.name}:{node.lineno}"


# ---- what stands in a line


@pytest.mark.parametrize(
    "kernel",
    [
        kernels.mh(),
        kernels.mh(kernels.random_walk({"mu": 2.0, "tau": 0.4})),
        kernels.cycle(kernels.gibbs(), kernels.on(["a", "b"], kernels.mh())),
        kernels.mixture([2, 1], kernels.repeat(kernels.mh(), 2), kernels.mh(kernels.independence())),
    ],
    ids=repr,
)
def test_a_kernel_of_the_library_is_written_so_that_it_can_be_read(kernel):
    assert eval(kernel_text(kernel), {"lawful": lawful}) == kernel


class Foreign:
    """A kernel whose text is that of another."""

    def __repr__(self):
        return "mh(single_site())"


class Broken:
    """A kernel whose text is no expression of kernels, and must not be run."""

    def __repr__(self):
        return "mh(__import__('os').abort())"


@pytest.mark.parametrize(
    "kernel",
    [
        Foreign(),
        Broken(),
        object(),
        kernels.mh(lambda current: None),
        kernels.mh(kernels.random_walk(0.5, sites=["x"])),
    ],
    ids=["foreign", "broken", "object", "program", "not all of it is shown"],
)
def test_a_kernel_that_its_text_does_not_give_back_has_a_name(kernel):
    assert kernel_text(kernel) == "kernel"


def test_settings_that_are_the_defaults_are_left_out():
    assert line(check.coordinates, "model") == "lawful.inference.check.coordinates(model)"
    assert line(check.coordinates, "model", points=7).endswith("coordinates(model, points=7)")
    assert (named(line, "program"), named(lambda: 0, "program"), named(kernels.mh(), "program")) == (
        "line", "program", "program",
    )  # fmt: skip


def test_a_row_that_is_misspelt_is_refused_with_those_that_look_alike():
    with pytest.raises(LawfulError, match="no row is called 'smc sytematic'. Fix: give one of smc systematic"):
        check.check_row("smc sytematic")
