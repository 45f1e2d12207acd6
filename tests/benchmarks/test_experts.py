"""W6: the published data and answer, contestants that give it, and a report that tells their errors."""

import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.contestants.w6 import floor, numpy, ours
from benchmarks.harness import records, report
from benchmarks.harness.catalogue import WORKLOADS
from benchmarks.harness.rounds import Measurement


def test_the_data_of_w6_have_their_check_values():
    x, y = workloads.experts()
    assert x[0, 1] == pytest.approx(0.0012301532, abs=5e-10)
    assert y[0] == pytest.approx(-3.8450044802, abs=5e-11)
    assert y.sum() == pytest.approx(30181.5622, abs=5e-5)
    assert x.shape == (100_000, 11) and (x[:, 0] == 1).all()


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("contestant", [ours, floor], ids=["ours", "floor"])
def test_contestants_give_the_answer_and_climb_to_it(contestant):
    run = contestant.build({"model": "experts"})
    values = np.asarray(run(0))
    assert values.shape == (20,) and (np.diff(values) >= -1e-9 * np.abs(values[1:])).all()
    assert run.told(values)["log_likelihood"] == pytest.approx(workloads.EXPERTS_LOG_LIKELIHOOD, abs=1e-4, rel=0)
    assert round(workloads.EXPERTS_LOG_LIKELIHOOD, 4) == -151_990.0511


def test_numpy_climbs_the_same_way():
    """Two iterations on a part of the rows, beside ours."""
    (x, y), start = workloads.experts(), workloads.experts_start()
    found = numpy.em(x[:4000], y[:4000], start.gate, start.lines, start.deviations, 3)
    data = x[None, :4000].swapaxes(1, 2), y[None, :4000]
    values = floor.em(*(np.asarray(a) for a in (*data, start.gate.T, start.lines.T, start.deviations**2)))
    assert found == pytest.approx(float(values[2]), rel=1e-12)


def measured(name, error):
    outputs = {"log_likelihood": workloads.EXPERTS_LOG_LIKELIHOOD + error}
    run = {"cpu_s": 0.4, "wall_s": 0.4, "outputs": outputs, "stages": {}, "peak_mb": 150.0}
    description = {"versions": {}, "dtype": "float64", "bare_mb": 100.0, "work_units": None}
    return Measurement(name, description=description, first=run, runs=[run] * 20)


def test_the_report_tells_errors_and_refuses_wrong_values():
    (variant,) = WORKLOADS["W6"].variants
    found = {
        "ours": measured("ours", 1e-4),
        "ours_single": measured("ours_single", 0.02),
        "numpy": measured("numpy", 1),
    }
    entries = records.records(WORKLOADS["W6"], variant, found, cores=1)
    by_name = {entry["contestant"]: entry for entry in entries}
    assert report.row(by_name["ours"])[5] == "1.0e-04" and report.row(by_name["ours_single"])[5] == "2.0e-02"
    assert report.row(by_name["numpy"])[1] == "no time: wrong value"
    text = report.variant_section(entries)
    assert "at most 0.5 CPU s a run: 0.4 s, met" in text and "at most 0.001: 0.0001, met." in text
