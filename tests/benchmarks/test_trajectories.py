"""The benchmarks of speed and scale run on a few persons, tell what they measure, and hold bars on whole runs alone."""

import pytest

from benchmarks.harness.measured import Measured, line_of
from benchmarks.trajectories import run


def test_a_measurement_is_told_with_its_bar():
    assert line_of(Measured("a fit", 2.5, 5.0)).split("  ")[-1].strip() == "at most 5: met"
    assert line_of(Measured("a fit", 5.5, 5.0)).endswith("5.5 s   at most 5: MISSED")
    assert "22916.69" in line_of(Measured("-2LL", 22916.694, unit=""))


@pytest.mark.slow
@pytest.mark.optimised
def test_speed_is_told_of_a_few_persons_without_bars(data, capsys):
    del data  # there, or the test is skipped
    assert run.main(["speed", "--here", "--persons", "120", "--starts", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("full mixture, 47 parameters, 120 persons, 2 starts: first call")
    assert len(told) == 9 and "at most" not in "".join(told)


@pytest.mark.slow
@pytest.mark.optimised
def test_the_fit_of_three_classes_is_better_than_the_truth_and_as_accurate(capsys):
    assert run.main(["scale", "--here", "--persons", "600", "--starts", "8"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("600 persons, 3 classes, 72 parameters, 8 starts") and len(told) == 7
    less, found, best = (float(line.split()[-1]) for line in told[4:])
    assert "less that of the true parameters" in told[4] and less < 0
    assert 0.05 < best < found < best + 0.1
