"""The README stays short, and what it shows runs as it stands, as a user would run it: quickstart and commands."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest

from lawful.__main__ import main
from lawful.inference import Result
from tests.pages import Page

DATA = {"y": [2.1, 1.4, 3.0, 2.6, 0.9, 2.2, 1.7, 2.8]}


def blocks(root, heading, language):
    text = (root / "README.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def commands(root):
    return blocks(root, "Commands", "bash")[0].splitlines()


def with_model_and_data(folder, root):
    (folder / "model.py").write_text(blocks(root, "Commands", "python")[0])
    (folder / "data.json").write_text(json.dumps(DATA))


def ends_in_a_posterior_and_a_report(out):
    result = Result.load(out / "posterior.nc")
    assert result.ok and {"mean", "sd"} <= set(result.posterior)
    assert "OK: every check passed" in (out / "report.html").read_text()
    assert json.loads((out / "diagnostics.json").read_text())["ok"]


def test_it_has_at_most_120_lines(root):
    assert len((root / "README.md").read_text().splitlines()) <= 120


def test_every_result_of_the_quickstart_is_ok(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Page(root / "README.md")
    page.run(lambda block: "## Quickstart" in block.section)
    plt.close("all")
    assert len(page.made) == 3  # the chains, and two models by sequential Monte Carlo
    assert all(made.result.ok and not made.result.reasons for made in page.made)
    assert (tmp_path / "trace.png").stat().st_size > 10_000


@pytest.mark.slow
def test_quickstart_runs_by_itself_without_a_warning(root, tmp_path):
    (tmp_path / "quickstart.py").write_text("\n".join(blocks(root, "Quickstart", "python")))
    command = [sys.executable, "-W", "error", "quickstart.py"]
    environment = os.environ | {"MPLBACKEND": "Agg"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Result: ok") and "exact: every value enumerated" in run.stdout


@pytest.mark.slow
def test_the_commands_end_in_a_posterior_and_a_report(commands, root, tmp_path, monkeypatch):
    """In this process, with what is installed already."""
    assert len(commands) <= 5 and commands[0] == "make setup"
    with_model_and_data(tmp_path, root)
    monkeypatch.chdir(tmp_path)
    for command in commands[1:]:
        python, *words = shlex.split(command, comments=True)
        assert (python, words[:2]) == (".venv/bin/python", ["-m", "lawful"])
        assert main(words[2:]) == 0
    ends_in_a_posterior_and_a_report(tmp_path / "out")


@pytest.mark.slow
def test_the_commands_run_in_a_fresh_clone(commands, root, tmp_path):
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("not a git checkout: nothing to clone")
    clone = tmp_path / "lawful"
    subprocess.run(["git", "clone", "-q", str(root), str(clone)], check=True)
    with_model_and_data(clone, root)
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    script = "\n".join(["set -e", *commands])
    run = subprocess.run(["bash", "-c", script], cwd=clone, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    ends_in_a_posterior_and_a_report(clone / "out")
