"""A driven run can be watched, stopped, interrupted and extended, and its draws stay those of the whole."""

import io
import json
import math
import signal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError

from lawful import deterministic, inference, sample, scan
from lawful.errors import LawfulError
from lawful.inference import RunOptions, Status, kernels, log_to, progress_bar, stop_when
from lawful.inference.running import bar as bar_module
from lawful.inference.running.bar import told
from lawful.inference.running.progress import Progress

KEY = jax.random.key(5)
Y = jnp.array([0.3, -0.2, 1.1])
SETTINGS = {"chains": 2, "warmup": 6, "draws": 10}


def model(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    deterministic("twice", 2 * mu)
    sample("y", dist.Normal(mu, 1.0).expand([3]).to_event(1), obs=y)


def walk(y):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


PLAN = inference.mcmc(model, kernels.random_walk(0.8), **SETTINGS)
FILTER = inference.smc(walk, particles=20, runs=3)


@pytest.fixture(scope="module")
def whole():
    return run(PLAN)


def run(plan, chunk=4, **options):
    """Run a plan with other options; its compiled programs are kept."""
    plan.run = RunOptions(chunk=chunk, **options)
    return plan(KEY, Y)


def assert_prefix(result, whole, draws):
    assert result.posterior.keys() == whole.posterior.keys()
    for name, array in whole.posterior.items():
        np.testing.assert_array_equal(result.posterior[name], array[:, :draws], err_msg=name)
    for name, array in whole.stats.items():
        np.testing.assert_array_equal(result.stats[name], array[:, :draws], err_msg=name)


def at(phase, step, act):
    """A callback that acts once a phase has taken so many steps."""
    return lambda progress: act() if (progress.phase, progress.step) == (phase, step) else None


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_iterate_gives_the_draws_of_a_call_chunk_by_chunk(whole):
    PLAN.run = RunOptions(chunk=4)
    chunks = list(PLAN.iterate(KEY, Y))
    assert [(c.phase, c.start, c.stop) for c in chunks] == [
        ("warmup", 0, 4), ("warmup", 4, 6), ("sampling", 0, 4), ("sampling", 4, 8), ("sampling", 8, 10)
    ]  # fmt: skip
    assert all(c.seconds >= 0 for c in chunks)
    for part, groups in (("sampling", whole), ("warmup", whole.warmup)):
        own = [c for c in chunks if c.phase == part]
        for name, array in groups.posterior.items():
            np.testing.assert_array_equal(np.concatenate([c.draws[name] for c in own], axis=1), array)
        for name, array in groups.stats.items():
            np.testing.assert_array_equal(np.concatenate([c.info[name] for c in own], axis=1), array)


def test_iterate_gives_the_stages_of_every_run_of_a_population():
    FILTER.run = RunOptions(chunk=2)
    chunks = list(FILTER.iterate(KEY, Y))
    assert {c.phase for c in chunks} >= {"run 1 of 3", "run 3 of 3"}
    stages = [c for c in chunks if c.phase == "run 2 of 3"]
    result = FILTER(KEY, Y)
    increments = np.concatenate([c.info["log_evidence_increment"] for c in stages])
    np.testing.assert_array_equal(increments, result.stats["log_evidence_increment"][1, -len(increments) :])
    assert stages[-1].info["log_evidence"] == pytest.approx(result.log_evidence[1], abs=1e-12)


def test_a_second_call_compiles_nothing(whole):
    steps = PLAN.prepare((Y,)).built.steps
    before = {id(program) for one in steps.values() for own in one.programs.values() for program in own.ready.values()}
    result = run(PLAN)
    after = {id(program) for one in steps.values() for own in one.programs.values() for program in own.ready.values()}
    assert before == after and result.run["compile_seconds"] == 0.0
    assert result.run["run_seconds"] > 0


def test_a_callback_sees_how_the_run_goes():
    seen = []
    run(PLAN, callbacks=[seen.append])
    assert [(p.phase, p.step, p.total) for p in seen][-2:] == [("sampling", 8, 10), ("sampling", 10, 10)]
    assert all(0 <= p.acceptance_rate <= 1 and p.divergences == 0 and p.n_nonfinite == 0 for p in seen)
    assert [p.seconds for p in seen] == sorted(p.seconds for p in seen)
    assert math.isnan(seen[0].rhat) and seen[-1].rhat > 0 and seen[-1].ess > 0
    seen.clear()
    result = inference.tempered_smc(model, particles=20, run=RunOptions(chunk=3, callbacks=seen.append))(KEY, Y)
    assert seen[0].phase == "run 1 of 1" and seen[0].stage == 3
    assert seen[-1].beta == 1.0 == np.nanmax(result.stats["beta"])
    assert seen[-1].log_evidence == pytest.approx(result.log_evidence[0], abs=1e-12)


def test_a_callback_that_returns_true_ends_the_run_early(whole):
    def enough(progress):
        return (progress.phase, progress.step) == ("sampling", 8)

    result = run(PLAN, callbacks=[enough])
    assert_prefix(result, whole, 8)
    assert "enough" in result.run["stopped_by"]
    assert not result.interrupted and Status.INTERRUPTED not in result.status
    assert result.finished == 8
    assert "stopped_by" not in run(PLAN, callbacks=[at("sampling", 10, lambda: True)]).run  # all was done


def test_a_callback_that_raises_ends_the_run_and_loses_no_draw(whole):
    def broken():
        raise ZeroDivisionError("of the callback")

    with pytest.raises(LawfulError, match="ZeroDivisionError after 10 steps") as caught:
        run(PLAN, callbacks=[at("sampling", 4, broken)])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.result.interrupted
    assert_prefix(caught.value.result, whole, 4)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("kernel", "settings"),
    [(kernels.random_walk(0.8), {}), (kernels.hmc(n_steps=2), {"thin": 2})],
    ids=["random walk", "tuned, thinned"],
)
def test_an_extended_run_is_the_longer_run(kernel, settings):
    settings = {"chains": 2, "warmup": 5, **settings}
    build = lambda draws: inference.mcmc(model, kernel, **settings, draws=draws, run=RunOptions(chunk=3))(KEY, Y)
    short, long = build(4), build(9)
    extended = short.extend(5)
    assert_prefix(extended, long, 9)
    assert_prefix(short, long, 4)
    np.testing.assert_array_equal(extended.warmup.posterior["mu"], long.warmup.posterior["mu"])
    assert extended.run["draws"] == 9


def test_what_cannot_be_extended_says_why(whole):
    with pytest.raises(LawfulError, match="in chunks"):
        inference.smc(walk, particles=20)(KEY, Y).extend(5)
    with pytest.raises(LawfulError, match="draws: expected"):
        whole.extend(0)
    with pytest.raises(LawfulError, match="4 of 6 steps of its warm-up"):
        run(PLAN, callbacks=[at("warmup", 4, interrupt)]).extend(5)


# Callbacks


def agreeing(draws):
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(4, draws)), "y": rng.normal(size=(4, draws, 2))}


def test_stop_when_waits_for_agreement_and_length():
    stop = stop_when(rhat=1.05, ess=1000)
    assert not stop(Progress("warmup", 900, 1000, 1.0, drawn=lambda: agreeing(900)))
    assert not stop(Progress("sampling", 100, 1000, 1.0, drawn=lambda: agreeing(100)))
    apart = {"x": agreeing(900)["x"] + np.arange(4)[:, None]}
    assert not stop(Progress("sampling", 900, 1000, 1.0, drawn=lambda: apart))
    assert not stop(Progress("sampling", 950, 1000, 1.0, drawn=lambda: agreeing(950)))  # too soon to look again
    assert stop(Progress("sampling", 1000, 1000, 1.0, drawn=lambda: agreeing(1000)))
    with pytest.raises(LawfulError, match="rhat above 1"):
        stop_when(rhat=0.9)


def test_diagnostics_look_at_a_bounded_number_of_draws():
    seen = Progress("sampling", 10**5, 10**5, 1.0, drawn=lambda: {"x": np.zeros((2, 10**5, 30, 30))})
    assert seen._some["x"].shape[:2] == (2, 1000) and seen._some["x"].shape[2] <= 64


def test_a_log_holds_a_line_a_chunk(tmp_path):
    run(PLAN, callbacks=[log_to(tmp_path / "log.jsonl")])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 6, 4, 8, 10]
    assert "beta" not in lines[0] and lines[-1]["total"] == 10
    with pytest.raises(LawfulError, match="no folder"):
        log_to(tmp_path / "nowhere" / "log.jsonl")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_a_bar_is_shown_on_a_terminal_alone(with_tqdm, monkeypatch):
    if not with_tqdm:
        monkeypatch.setattr(bar_module, "_tqdm", lambda: None)
    for file, shown in ((Terminal(), True), (io.StringIO(), False)):
        bar = progress_bar()
        bar.file = file
        run(PLAN, callbacks=[bar])
        assert ("sampling" in file.getvalue() and "10/10" in file.getvalue()) == shown


def test_progress_is_told_in_a_few_words():
    seen = Progress("run 1 of 2", 3, 10, 1.0, beta=0.25, log_evidence=-3.5, n_nonfinite=2)
    assert told(seen) == "run 1 of 2 3/10, beta 0.25, log evidence -3.50, 2 not finite"


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": "fast"}, "chunk: expected"),
        ({"chunk": 2.5}, "chunk: expected"),
        ({"callbacks": [3]}, "callbacks: expected functions"),
        ({"checkpoint": __file__}, "is a file"),
    ],
)
def test_options_that_make_no_sense_are_refused_early(options, message):
    with pytest.raises(LawfulError, match=message):
        RunOptions(**options)


def test_plans_refuse_other_options():
    with pytest.raises((LawfulError, TypeCheckError), match="run"):
        inference.mcmc(model, run={"chunk": 3})
    with pytest.raises(LawfulError, match="mode='staged'"):
        inference.mcmc(model, mode="eager", run=RunOptions(store="run"))
