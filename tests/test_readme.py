"""The README's quickstart runs as it stands, as a user would run it, and stays short; so do its commands."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from lawful.__main__ import main
from lawful.inference import Result

DATA = {"y": [2.1, 1.4, 3.0, 2.6, 0.9, 2.2, 1.7, 2.8]}


def block(root, heading, language):
    text = (root / "README.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture(scope="module")
def quickstart(root):
    return block(root, "Quickstart", "python")


@pytest.fixture(scope="module")
def commands(root):
    return block(root, "From a checkout to a report", "bash").splitlines()


def with_model_and_data(folder, root):
    (folder / "model.py").write_text(block(root, "From a checkout to a report", "python"))
    (folder / "data.json").write_text(json.dumps(DATA))


def ends_in_a_posterior_and_a_report(out):
    result = Result.load(out / "posterior.nc")
    assert result.ok and {"mean", "sd"} <= set(result.posterior)
    assert "OK: every check passed" in (out / "report.html").read_text()
    assert json.loads((out / "diagnostics.json").read_text())["ok"]


def test_quickstart_has_at_most_25_lines(quickstart):
    assert len(quickstart.splitlines()) <= 25


def test_quickstart_runs_without_a_warning(quickstart, tmp_path):
    (tmp_path / "quickstart.py").write_text(quickstart)
    command = [sys.executable, "-W", "error", "quickstart.py"]
    environment = os.environ | {"MPLBACKEND": "Agg"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_commands_end_in_a_posterior_and_a_report(commands, root, tmp_path, monkeypatch):
    """In this process, with what is installed already."""
    assert len(commands) <= 5 and commands[0] == "make setup"
    with_model_and_data(tmp_path, root)
    monkeypatch.chdir(tmp_path)
    for command in commands[1:]:
        python, *words = shlex.split(command)
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
