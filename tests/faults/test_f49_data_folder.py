"""Row 49: without the reference data a test fails in CI and skips elsewhere, naming the folder and LAWFUL_DATA."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiers import rest_slow

READS_THE_DATA = """
def test_reads_the_data(data):
    assert data.is_dir()
"""


def run_with(root: Path, folder: Path, tests: Path, ci: str | None) -> str:
    """The report of a run of one test that needs the data, with LAWFUL_DATA and CI as given."""
    (tests / "test_reader.py").write_text(READS_THE_DATA)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"LAWFUL_DATA": str(folder)} | ({} if ci is None else {"CI": ci})
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-o", "addopts=", "-ra", f"--rootdir={tests}"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tests)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    return run.stdout + run.stderr


@pytest.mark.fault(49)
@pytest.mark.parametrize(("ci", "outcome"), rest_slow([("1", "1 error"), (None, "1 skipped")]))
def test_f49_missing_data_fail_in_ci_and_skip_elsewhere(root, tmp_path, ci, outcome):
    missing = tmp_path / "nowhere"
    report = run_with(root, missing, tmp_path, ci)
    assert outcome in report
    assert str(missing) in "".join(report.split("\n"))  # a narrow terminal may have wrapped the line
    assert "LAWFUL_DATA" in report


@pytest.mark.slow
def test_f49_data_that_are_there_are_used(root, tmp_path):
    assert "1 passed" in run_with(root, tmp_path, tmp_path, ci="1")
