"""The command line: what it writes, what it says, and its exit codes."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lawful import command_line as loading
from lawful.__main__ import main
from lawful.errors import LawfulError
from lawful.inference import Result

PROGRAMS = """
import jax.numpy as jnp
import numpyro.distributions as dist
import lawful


def walk(y, sd=1.0):
    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, sd))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    return lawful.scan(step, 0.0, y)[0]


def mean(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(mu, 1.0), obs=y)


def mixture(y):
    mean = lawful.sample("mean", dist.Normal(jnp.array([-1.0, 1.0]), 1.0).to_event(1))
    with lawful.plate("row", len(y)):
        label = lawful.sample("label", dist.Bernoulli(0.5))
        lawful.sample("y", dist.Normal(mean[label], 1.0), obs=y)


def coin():
    lawful.sample("heads", dist.Bernoulli(0.5))


def broken(y):
    raise RuntimeError("a mistake of the user")


number = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    (folder / "some_programs.py").write_text(PROGRAMS)
    (folder / "data.json").write_text('{"y": [0.5, 1.0, -0.2]}')
    (folder / "data.csv").write_text("y\n0.5\n1.0\n-0.2\n")
    (folder / "bad.json").write_text('{"y": [0.5, NaN, -0.2]}')
    return folder


@pytest.mark.slow
def test_run_writes_posterior_diagnostics_plot_and_report(folder):
    """In a process of its own, as users call it."""
    words = ["run", f"{folder}/some_programs.py:walk", "--data", f"{folder}/data.json", "--out", f"{folder}/out"]
    call = [sys.executable, "-m", "lawful", *words, "--x64", "--particles", "2000", "--seed", "1"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("smc: ") and "Result: ok" in done.stdout
    result = Result.load(folder / "out" / "posterior.nc")
    assert result.ok and result.posterior["x"].shape == (4, 2000, 3) and result.posterior["x"].dtype == np.float64
    diagnostics = json.loads((folder / "out" / "diagnostics.json").read_text())
    assert diagnostics["ok"] and diagnostics["log_evidence"] == result.log_evidence_pooled
    assert {f.name for f in (folder / "out").iterdir()} == {
        "posterior.nc", "diagnostics.json", "report.html", "posterior.png", "stages.png",
    }  # fmt: skip
    assert (folder / "out" / "posterior.png").stat().st_size > 1000
    page = (folder / "out" / "report.html").read_text()
    assert "x[t] ~ Normal" in page and "<svg" in page and " ".join(words[:2]) in page
    assert result.run["seed"] == 1 and "<td>seed</td><td>1</td>" in page and len(page) < 2_000_000


@pytest.mark.slow
def test_a_result_that_is_not_ok_has_code_3(folder):
    words = ["run", f"{folder}/some_programs.py:mean", "--data", f"{folder}/data.json", "--out", str(folder / "short")]
    assert main([*words, "--warmup", "2", "--draws", "5", "--chains", "2"]) == 3
    assert json.loads((folder / "short" / "diagnostics.json").read_text())["status"]


def test_check_finds_and_counts(folder, capsys):
    place = f"{folder}/some_programs.py"
    data, bad = ["--data", f"{folder}/data.json"], ["--data", f"{folder}/bad.json"]
    assert main(["check", f"{place}:mean", *data]) == 0
    assert capsys.readouterr().out == "0 errors, 0 warnings\n"
    assert main(["check", f"{place}:mean", "--data", f"{folder}/data.csv"]) == 0
    assert capsys.readouterr().out == "0 errors, 0 warnings\n"
    assert main(["check", f"{place}:mean", *bad, "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["code"], finding["site"], finding["level"]) == ("nan-data", "y", "error")
    assert finding["file"] == place and PROGRAMS.splitlines()[finding["line"] - 1].strip().startswith("lawful.sample")
    assert main(["check", f"{place}:coin", "--algorithm", "random_walk"]) == 1
    assert "error discrete-no-plan: site 'heads'" in capsys.readouterr().out


def test_strict_counts_warnings(folder, tmp_path):
    idle = '    lawful.sample("idle", dist.Normal(0.0, 1.0))\n'
    (tmp_path / "idle_program.py").write_text(PROGRAMS.replace("    mu =", f"{idle}    mu ="))
    words = ["check", f"{tmp_path}/idle_program.py:mean", "--data", f"{folder}/data.json"]
    assert main(words) == 0 and main([*words, "--strict"]) == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("some_programs.py", "expected FILE.py:name"),
        ("nowhere.py:walk", "no such file"),
        ("some_programs.py:wlak", "has no name 'wlak'. Did you mean walk"),
        ("some_programs.py:number", "is no function but int"),
        (
            "some_programs.py:walk",
            "no data: give a file with --data: the program walk takes (y, sd=...): the argument y is missing. ",
        ),
        ("no_such_module:walk", "cannot be imported"),
    ],
)
def test_what_cannot_be_used_has_code_2_and_says_why(folder, place, message, capsys):
    place = f"{folder}/{place}" if ".py" in place else place
    for command in ("check", "run"):
        assert main([command, place]) == 2
        assert message in capsys.readouterr().err


def test_an_error_of_the_program_shows_its_place(folder, capsys):
    assert main(["check", f"{folder}/some_programs.py:broken", "--data", f"{folder}/data.json"]) == 2
    error = capsys.readouterr().err
    assert "a mistake of the user" in error and "some_programs.py" in error


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--enumerate"], ["--algorithm", "nuts", "--enumerate", "label"]], ids=str)
def test_labels_of_a_mixture_are_summed_where_nothing_or_that_is_asked_for(folder, tmp_path, words, capsys):
    given = ["run", f"{folder}/some_programs.py:mixture", "--data", f"{folder}/data.json", "--out", f"{tmp_path}/out"]
    assert main([*given, *words]) == 0
    told = capsys.readouterr().out
    assert "label: summed out exactly" in told and "mean: no-U-turn moves" in told
    assert set(Result.load(tmp_path / "out/posterior.nc").posterior) == {"mean", "label"}


def test_a_name_that_is_no_finite_site_is_told_with_those_that_are(folder, tmp_path, capsys):
    given = ["run", f"{folder}/some_programs.py:mixture", "--data", f"{folder}/data.json", "--out", f"{tmp_path}/out"]
    assert main([*given, "--enumerate", "label,lable"]) == 1
    assert "'lable' is no latent site. The finite sites of the program are: label." in capsys.readouterr().err


def test_an_inference_that_fails_has_code_1(folder, capsys):
    words = ["run", f"{folder}/some_programs.py:mean", "--data", f"{folder}/bad.json", "--out", str(folder / "failed")]
    assert main(words) == 1
    assert "the observation is NaN at index (1,)" in capsys.readouterr().err


def test_arguments_are_those_of_python(tmp_path):
    def named(y, n, mask=None, *, name="a"):
        pass

    def program(y, n, mask=None):
        pass

    def read(text, of=program):
        (tmp_path / "data.json").write_text(text)
        return loading.read_arguments(of, tmp_path / "data.json")

    assert read('{"y": 1, "n": 2, "name": "b"}', named) == (1, 2, None, "b")
    y, n = read('{"n": 3, "y": {"a": [[1, 2], [3, 4]], "b": 0.5}}')
    assert n == 3 and isinstance(n, int) and y["b"] == 0.5
    assert y["a"].dtype == np.int64 and y["a"].shape == (2, 2)
    assert read("[1.5, 2, [true, false]]")[2].dtype == bool
    for text, message in (
        (
            '{"yy": 1}',
            r"no argument has the name yy \(did you mean y\?\); the argument y is missing",
        ),
        ("[1]", "the argument n is missing"),
        ("3", "expected an object of arguments"),
        ("{", "is no JSON"),
        ('{"y": [[1], [1, 2]], "n": 1}', "rows of different lengths"),
        ('{"y": [1, null], "n": 1}', "the list 'y' of data holds texts, nulls or objects"),
    ):
        with pytest.raises(LawfulError, match=message):
            read(text)
    with pytest.raises(LawfulError, match="No such file"):
        loading.read_arguments(program, tmp_path / "nothing.json")


def test_columns_of_a_table_are_arrays(tmp_path):
    def program(count, size):
        pass

    def read(text):
        (tmp_path / "data.csv").write_text(text)
        return loading.read_arguments(program, tmp_path / "data.csv")

    count, size = read("size, count\n1.5,3\n2,4\n\n")
    assert count.dtype == np.int64 and count.tolist() == [3, 4] and size.tolist() == [1.5, 2.0]
    assert np.isnan(read("size,count\nnan,3\n")[1]).all()
    for text, message in (
        ("size,count\n1.5\n", "line 2: expected 2 cells, got 1"),
        ("size,count\n1.5,many\n", "line 2, column 'count': expected a number, got 'many'"),
        ("size,count\n,1\n", "line 2, column 'size': expected a number, got ''"),
        ("size,size\n1,2\n", "a name for each column, each once"),
        ("", "a name for each column"),
        ("size,counts\n1,2\n", "no argument has the name counts .did you mean count"),
    ):
        with pytest.raises(LawfulError, match=message):
            read(text)


def test_what_run_writes_is_asked_for_before_anything_runs(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("lawful.__main__.NEEDED", ("jinja2", "no_such_module"))
    words = ["run", f"{folder}/some_programs.py:mean", "--data", f"{folder}/data.json", "--out", str(tmp_path / "out")]
    assert main(words) == 2 and not (tmp_path / "out").exists()
    assert "needs no_such_module. Fix: pip install 'lawful[report]'" in capsys.readouterr().err
