"""Studies of rates: tidy errors, replications that depend on their own key alone, one command that goes on."""

import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest

from benchmarks.studies.gaussian_moe import bars, run
from benchmarks.studies.gaussian_moe.catalogue import STUDIES
from benchmarks.studies.gaussian_moe.rates import Rates, rate_study
from benchmarks.studies.gaussian_moe.replications import measured
from lawful.models.gaussian_moe import Gate, GaussianMoE, Mixture
from tests.models.gaussian_moe.cases import TRUTH

HARD = Mixture(Gate("topk", top_k=1), TRUTH)
TOP_1 = GaussianMoE(2, "topk", top_k=1)


@pytest.mark.slow
def test_a_replication_is_a_function_of_its_own_numbers():
    """The same rows whatever other sizes and replications are run, and others for another key."""
    whole = list(measured(0, HARD, TOP_1, 60, range(3)))
    for one, other in zip(measured(0, HARD, TOP_1, 60, [2, 0]), [whole[2], whole[0]], strict=True):
        assert one == pytest.approx(other, nan_ok=True)
    assert next(measured(1, HARD, TOP_1, 60, [0]))["unit_loss"] != whole[0]["unit_loss"]


@pytest.mark.slow
def test_errors_fall_at_the_rates_of_theory_where_the_fit_is_exact():
    """The exact solver: experts at n^-1/2, the boundary at 1/n; medians of 30 replications, wide intervals."""
    found = rate_study(0, HARD, TOP_1, [100, 10_000], 30)
    assert found.frame.shape[0] == 60 and found.medians().index.tolist() == [100, 10_000]
    assert -0.65 < found.slope("unit_loss") < -0.35 and -0.65 < found.slope("hellinger") < -0.35
    assert found.slope("boundary") < -0.75
    ax = found.plot(["unit_loss", "boundary"])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f"{name}: {found.slope(name):+.2f}" for name in ("unit_loss", "boundary")]
    plt.close("all")


@pytest.mark.slow
def test_the_command_goes_on_where_it_stopped_and_tells_its_bars(tmp_path, monkeypatch, capsys):
    arguments = ["--sizes", "50", "200", "--replications", "3", "--out", str(tmp_path), "top-1"]
    monkeypatch.setattr(run, "bars_of_information", lambda: [])
    run.main(arguments)
    assert capsys.readouterr().out.count("replications") == 2
    page = (tmp_path / "RESULTS.md").read_text()
    assert "(i) top-1: slope of the boundary" in page and "| 200 | 3 |" in page and (tmp_path / "top-1.png").exists()
    run.main(arguments)
    assert capsys.readouterr().out == "" and (tmp_path / "RESULTS.md").read_text() == page
    run.main([*arguments[:2], "50", "100", *arguments[3:]])
    assert capsys.readouterr().out.count("replications") == 1


def test_bars_are_read_from_the_errors_of_their_study():
    n = np.repeat([1000, 10_000], 3)
    frame = pandas.DataFrame({"n": n, "loss": 6.82 * n**-0.5, "boundary": 1.0 / n})
    found = {bar.name: bar for bar in bars.bars_of_rates({"softmax": frame, "top-1": frame})}
    assert found["(i) plain gate: slope of median D1"].value == pytest.approx(-0.5)
    assert found["(i) plain gate: mean of sqrt(n) D1, n >= 1000"].value == pytest.approx(6.82)
    assert all(bar.met for bar in found.values())
    frame["loss"] = 1.0
    assert not any(bar.met for bar in bars.bars_of_rates({"softmax": frame}))


def test_a_study_without_two_sizes_has_no_slope():
    assert np.isnan(Rates(pandas.DataFrame({"n": [10, 10], "loss": [1.0, 2.0]})).slope("loss"))


def test_every_study_names_errors_that_it_measures():
    for study in STUDIES.values():
        assert study.model.n_experts >= study.truth.parameters.n_experts
        assert set(study.columns) & {"loss", "hellinger"}


@pytest.mark.slow
@pytest.mark.optimised
def test_the_quick_study_meets_the_bars_that_its_sizes_can_tell(tmp_path):
    """Four sizes up to 10,000, 20 replications: slopes within 0.15 of theory, where the whole study asks for 0.10."""
    names = ["softmax", "softmax-split-1", "top-1", "temperature", "activated"]
    run.main(["--quick", "--out", str(tmp_path), *names])
    frames = {name: pandas.read_csv(tmp_path / f"{name}.csv") for name in names}
    for bar in bars.bars_of_rates(frames):
        if "weighted" in bar.name:  # two sizes and free shares: no slope yet
            continue
        assert bar.low - 0.15 <= bar.value <= bar.high + 0.15, bar
    for bar in bars.bars_of_information():
        assert bar.met, bar
