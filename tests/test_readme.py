"""The README's quickstart runs as it stands, as a user would run it, and stays short."""

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def quickstart(root):
    text = (root / "README.md").read_text().partition("## Quickstart")[2]
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


def test_quickstart_has_at_most_25_lines(quickstart):
    assert len(quickstart.splitlines()) <= 25


def test_quickstart_runs_without_a_warning(quickstart, tmp_path):
    (tmp_path / "quickstart.py").write_text(quickstart)
    command = [sys.executable, "-W", "error", "quickstart.py"]
    environment = os.environ | {"MPLBACKEND": "Agg"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
