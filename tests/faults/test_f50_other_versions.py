"""Row 50: another version of JAX or another bit stream breaks no test; a checkpoint of another version is flagged."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import CheckpointMismatch
from lawful.inference import RunOptions, Status, resume
from lawful.inference.checkpoints.checkpoint_folder import load, save
from lawful.inference.checkpoints.fingerprints import check, fingerprints
from lawful.inference.checkpoints.form_digests import code_of
from tests.inference.running.test_resume import KEY, PLANS, Y, assert_same

ROOT = Path(__file__).resolve().parents[2]


def model(y):
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    lawful.sample("y", dist.Gamma(2.0, 1.0 + x**2).expand([2]).to_event(1), obs=y)
    lawful.sample("t", dist.Weibull(1.0, 1.5), obs=lawful.Interval(1.0, np.inf))
    lawful.factor("f", -(x**4))


def described():
    return fingerprints(lawful.trace(model, np.ones(2)), (np.ones(2),), {"draws": 3})


@pytest.mark.fault(50)
@pytest.mark.parametrize("name", ["jax", "jaxlib", "numpyro", "lawful", "python"])
def test_f50_a_checkpoint_of_another_version_is_taken_up_with_a_flag(name, tmp_path):
    told = described()
    new = told["versions"][name]
    save(tmp_path, {"fingerprints": told | {"versions": told["versions"] | {name: "0.0.1"}}}, {})
    assert check(load(tmp_path).header, told) == (f"{name}: 0.0.1 where it was stored, {new} now",)


def test_f50_a_run_that_goes_on_under_another_version_says_so(tmp_path):
    plan = PLANS["chains"][1](RunOptions(chunk=2))
    whole = plan(KEY, Y)
    plan.run = RunOptions(chunk=2, checkpoint=tmp_path, callbacks=[lambda progress: progress.phase == "sampling"])
    plan(KEY, Y)
    found = load(tmp_path)
    new, found.header["fingerprints"]["versions"]["jax"] = found.header["fingerprints"]["versions"]["jax"], "0.0.1"
    save(tmp_path, found.header, found.arrays)
    result = resume(tmp_path, plan, Y, run=RunOptions(chunk=2))
    (finding,) = [each for each in result.reasons if each.code == "RESUMED_ELSEWHERE"]
    assert f"jax: 0.0.1 where it was stored, {new} now" in finding.message and "not in bits" in finding.message
    assert finding in result.found and "RESUMED_ELSEWHERE" in " ".join(result.warnings)
    for a in range(2):  # the next checkpoints are of this version, and know of the other
        again = resume(tmp_path, plan, Y, run=RunOptions(chunk=2))
        assert [each.message for each in again.reasons if each.code == "RESUMED_ELSEWHERE"] == [finding.message], a
    assert finding.status == Status(0) and result.status == whole.status  # a remark: the draws have the same law
    assert_same(result, whole)  # it was the same version after all


def test_f50_another_device_and_precision_are_flagged(tmp_path):
    told = described()
    save(tmp_path, {"fingerprints": told | {"device": "abacus", "x64": False}}, {})
    assert check(load(tmp_path).header, told) == (
        f"device: abacus where it was stored, {told['device']} now",
        "x64: False where it was stored, True now",
    )


def test_f50_what_a_version_writes_of_operations_is_compared_with_the_same_version_alone(tmp_path):
    told = described()
    other = told["model"] | {"sites": {name: "0" * 16 for name in told["model"]["sites"]}}
    old = told | {"model": other, "versions": told["versions"] | {"jax": "0.9.0"}}
    assert len(check(old, told)) == 1
    with pytest.raises(CheckpointMismatch, match="other operations"):
        check(told | {"model": other}, told)
    text = told["model"] | {"text": told["model"]["text"].replace("Normal(0, 1)", "Normal(0, 3)")}
    with pytest.raises(CheckpointMismatch, match="site x"):
        check(old | {"model": text}, told)


def test_f50_the_constants_of_a_program_count_in_every_version():
    """The text of a program names an array that it holds by its type alone."""

    def holding(table):
        def step(x, row):
            x = lawful.sample("x", dist.Normal(jnp.asarray(table[1]) @ jnp.full(9, x), 1.0))
            return x, None

        def program(y):
            lawful.sample("y", dist.Normal(jnp.asarray(table[0]) @ jnp.full(9, y), 1.0))
            return lawful.scan(step, 0.0, jnp.arange(3.0))[0]

        return lawful.trace(program, 1.0)

    first = holding(np.ones((2, 9)))
    told = fingerprints(first, (1.0,), {})
    older = told | {"versions": told["versions"] | {"jax": "0.0.1"}}
    assert len(check(older, told)) == 1
    for row in range(2):
        other = np.ones((2, 9))
        other[row, 4] = 1 + 1e-15
        assert holding(other).show() == first.show() and code_of(holding(other)) != code_of(first)
        with pytest.raises(CheckpointMismatch, match=r"constant \d, float64\(9,\) \(other numbers"):
            check(older, fingerprints(holding(other), (1.0,), {}))
    before = {name: part for name, part in told["model"].items() if name != "constants"}
    assert len(check(older | {"model": before}, told)) == 1  # files from before they were written


@pytest.mark.slow
def test_f50_fingerprints_are_the_same_in_every_process():
    program = (
        "import json; import jax; jax.config.update('jax_enable_x64', True)\n"
        "from tests.faults.test_f50_other_versions import described; print(json.dumps(described()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert json.loads(run.stdout.splitlines()[-1]) == json.loads(json.dumps(described()))


WORTH = re.compile(r"\d[\d.]{8,}|\[[\[\]\d\s,-]{8,}\]")  # what a text has at least, to be read at all
DRAWN = re.compile(r"posterior|draw|ancestor|offspring|random\.|sample")


def numbers(node):
    """The numbers that a list or tuple holds, also with a minus and in lists of lists."""
    for part in node.elts:
        if isinstance(part, ast.List):
            yield from numbers(part)
        elif isinstance(part, ast.UnaryOp):
            part = part.operand
        if isinstance(part, ast.Constant):
            yield part.value


def digits(x):
    return len(repr(x).partition("e")[0].replace(".", "").strip("0")) if isinstance(x, float) else 0


def compared(node):
    """What a comparison, or a call of a function that asserts one, compares."""
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    name = getattr(getattr(node, "func", None), "attr", "")
    return node.args if name.startswith("assert_") else []


def golden(tree):
    """Lines that hold what looks like draws that were copied from a run.

    Three and more numbers of eight and more digits, or an unordered list of four and more integers that is compared
    with what is named like draws.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple) and sum(digits(x) >= 8 for x in numbers(node)) >= 3:
            yield node.lineno
        for side in compared(node):
            found = [x for x in numbers(side) if type(x) is int] if isinstance(side, ast.List) else []
            if len(found) >= 4 and found != sorted(found) and DRAWN.search(ast.unparse(node)):
                yield node.lineno


@pytest.mark.parametrize(
    "text",
    [
        "x = [0.123456789012, 1.23456789012, 0.0123456789012, 3.23456789012]",
        "x = (0.62348912, -0.31415926, 1.2345678)",
        "x = [[1.2345678e-5, 0.62348912], [-0.31415926, 2.0]]",
        "assert result.posterior['k'].tolist() == [2, 0, 1, 3]",
        "np.testing.assert_array_equal(ancestors, [[0, 1], [1, 0]])",
    ],
)
def test_f50_draws_that_were_copied_from_a_run_are_known_by_their_looks(text):
    assert WORTH.search(text) and set(golden(ast.parse(text))) == {1}


def test_f50_tests_hold_no_draws_that_were_copied_from_a_run():
    found = {
        f"{file.relative_to(ROOT)}:{line}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for text in [file.read_text()]
        if WORTH.search(text)
        for line in golden(ast.parse(text))
    }
    assert found == set()


@pytest.mark.parametrize("change", ["fewer", "more"])
def test_f50_a_checkpoint_with_other_rows_of_a_step_is_refused(change, tmp_path):
    plan = PLANS["chains"][1](RunOptions(chunk=2))
    plan.run = RunOptions(chunk=2, checkpoint=tmp_path, callbacks=[lambda progress: progress.phase == "sampling"])
    plan(KEY, Y)
    found = load(tmp_path)
    last = max(int(name.split()[2]) for name in found.arrays if name.startswith("rows 1 "))
    arrays = dict(found.arrays)
    if change == "fewer":
        del arrays[f"rows 1 {last}"]
    else:
        arrays[f"rows 1 {last + 1}"] = arrays[f"rows 1 {last}"]
    save(tmp_path, found.header, arrays)
    with pytest.raises(CheckpointMismatch, match="other rows .* another version wrote it"):
        resume(tmp_path, plan, Y)


def test_f50_a_run_that_is_extended_remembers_where_else_it_was(tmp_path):
    plan = PLANS["chains"][1](RunOptions(chunk=2, checkpoint=tmp_path))
    plan(KEY, Y)
    found = load(tmp_path)
    found.header["fingerprints"]["versions"]["jax"] = "0.0.1"
    save(tmp_path, found.header, found.arrays)
    longer = resume(tmp_path, plan, Y, run=RunOptions(chunk=2, checkpoint=tmp_path)).extend(draws=2)
    assert [each.code for each in longer.reasons if each.code == "RESUMED_ELSEWHERE"]
    assert load(tmp_path).header["elsewhere"]
