"""The study of cost: peers sample the posteriors of our programs, and rows count what is wrong, refused and behind."""

import csv
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density

import lawful
from benchmarks.contestants.posteriordb import data, numpyro_models
from benchmarks.studies.posteriordb import POSTERIORS, cost, data_folder, read
from benchmarks.studies.posteriordb.cost import Row, measured, row_of, silent, summary, written

TOLD = {"mu": {"mean": 0.0, "mcse_mean": 0.03, "sd": 1.0, "mcse_sd": 0.03}}
PAIRS = {"mu": ("low", "high")}  # an ordered pair is one site of NumPyro's models


def run(ok=None, mean=0.0, cpu=1.0, **others):
    given = {"ess mu": 400.0, "mean mu": mean, "mcse_mean mu": 0.04, "sd mu": 1.0, "mcse_sd mu": 0.04} | others
    return {"outputs": given | ({} if ok is None else {"ok": float(ok)}), "cpu_s": cpu, "notes": {"how": "nuts"}}


@pytest.mark.parametrize("name", POSTERIORS)
def test_a_model_of_numpyro_has_the_density_of_the_program(name):
    """Up to one constant, at three points; the covariance of the process has a condition number of some 1e10."""
    reference = read(data_folder(), name)
    with jax.enable_x64(True):
        posterior = POSTERIORS[name]
        density = lawful.density(posterior.program, *posterior.arguments(reference.data))
        settings = {"posterior": name, "folder": data_folder()}
        columns, model = data.columns(settings), numpyro_models.MODELS[name]
        gaps = []
        for number in range(3):
            position = density.initial(jax.random.key(number))
            choices = dict(density.constrain(position))
            ours = density.log_density(choices)
            pairs = {pair: jnp.stack([choices[x] for x in both]) for pair, both in PAIRS.items() if both[0] in choices}
            theirs, _ = log_density(model, (columns,), {}, choices | pairs)
            gaps.append(float(ours - theirs))
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9, atol=1e-6 if name.startswith("gp_") else 1e-8)


def test_a_result_is_silent_only_where_it_is_ok_and_off():
    rows = [
        row_of("infer", "right", [run(True), run(True)], TOLD),
        row_of("infer", "refused", [run(False, mean=9.0), run(False, mean=9.0)], TOLD),
        row_of("infer", "once", [run(True), run(True, mean=9.0)], TOLD),
        row_of("infer", "no number", [run(True), run(True, **{"sd mu": np.nan})], TOLD),
        row_of("infer", "dead", [{"outputs": {"ok": 0.0}, "cpu_s": 1.0, "notes": {}}], TOLD),
        row_of("nutpie", "peers say nothing", [run(mean=9.0), run()], TOLD),
    ]
    found, limit = silent(rows)
    assert [row.posterior for row in found] == ["once", "no number"]
    assert limit == cost.bound(16) and [row.ok for row in rows] == [True, False, True, True, False, None]
    np.testing.assert_allclose(rows[1].z_mean, 9.0 / 0.05)


def test_rates_are_compared_over_the_posteriors_of_both_and_not_of_what_is_refused():
    def row(sampler, posterior, ess, ok=None):
        return Row(sampler, posterior, ok, ess=ess, cold_s=4.0, warm_s=1.0)

    rows = [row("infer", "a-x", 50.0, True), row("infer", "b", 800.0, True), row("infer", "c", 1.0, False)]
    rows += [row("nutpie", "a-x", 100.0), row("nutpie", "b", 100.0), row("nutpie", "c", 100.0), Row("nutpie", "d")]
    assert list(summary(rows)) == [
        "infer: 2 posteriors, effective draws per CPU second: cold 50, warm 200",
        "nutpie: 3 posteriors, effective draws per CPU second: cold 25, warm 100",
        "left out, a run of infer not being ok: c",
        "infer / nutpie, 2 posteriors: cold 2, behind in a 0.5; warm 2, behind in a 0.5",
    ]


def test_independent_runs_tell_errors_by_their_spread():
    draws = np.random.default_rng(0).normal(size=(32, 100)) + np.linspace(-1.0, 1.0, 32)[:, None]
    found = data.told({"mu": draws}, ["mu"], independent=True)
    np.testing.assert_allclose(found["mcse_mean mu"], draws.mean(axis=1).std(ddof=1) / 32**0.5)


def test_the_first_call_is_cold_and_files_are_written(tmp_path, monkeypatch):
    seen = SimpleNamespace(settings=None, seeds=[])

    class Worker:
        def __init__(self, python, module, settings, limit_s, cores, variables):
            assert module.endswith(".nutpie_density") and cores == 1 and variables["HOME"]
            seen.settings = settings

        def run(self, i):
            seen.seeds.append(i)
            outputs = {f"{what} {name}": 1.0 for name in seen.settings["scalars"] for what in WHAT}
            return {"outputs": outputs, "cpu_s": 10.0 / (1 + i), "notes": {}}

        def close(self):
            seen.closed = True

    WHAT = ("ess", "mean", "sd", "mcse_mean", "mcse_sd")
    monkeypatch.setattr(cost, "Worker", Worker)
    row = measured("nutpie", "hudson_lynx_hare-lotka_volterra", data_folder(), 0, 3, 1.0)
    assert (row.cold_s, row.warm_s, row.ok, seen.seeds, seen.closed) == (10.0, 10.0 / 3, None, [0, 1, 2, 3], True)
    written([row], tmp_path)
    with (tmp_path / "cost.csv").open() as file:
        assert [one["sampler"] for one in csv.DictReader(file)] == ["nutpie"]
    assert (tmp_path / "cost.svg").stat().st_size > 1000


@pytest.mark.slow
def test_a_regression_is_right_without_options_and_beside_numpyro():
    rows = [measured(sampler, "sblrc-blr", data_folder(), 0, 1, 600.0) for sampler in ("infer", "numpyro")]
    assert not silent(rows)[0] and all(row.ess > 100 and max(row.z_mean, row.z_sd) < 6.0 for row in rows)
