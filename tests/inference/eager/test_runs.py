"""Eager runs in chunks are those of one call, and can be watched, stopped and interrupted."""

import signal

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, MemoryLimitError
from lawful.inference import RunOptions, Status
from lawful.models import dynamic

KEY = jax.random.key(7)
OPTIONS = RunOptions


def lists(y):
    """A list of random length, whose sum is seen."""
    n = 1 + int(lawful.sample("longer", dynamic.coin(0.5)))
    items = [lawful.sample(f"item{i}", dist.Normal(0.0, 1.0)) for i in range(n)]
    lawful.sample("y", dist.Normal(float(sum(items)), 1.0), obs=y)
    return n


def chains(run=None, **settings):
    settings = {"chains": 2, "warmup": 5, "draws": 9, **settings}
    return inference.mcmc(lists, mode="eager", run=run, **settings)


def filters(run=None, method=inference.smc, **settings):
    return method(lists, particles=10, mode="eager", run=run, **{"runs": 3, **settings})


def interrupt():
    signal.raise_signal(signal.SIGINT)


def at(phase, step, act):
    return lambda progress: act() if (progress.phase, progress.step) == (phase, step) else None


def assert_same(one, other):
    for first, second in ((one.posterior, other.posterior), (one.stats, other.stats)):
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert [f.code for f in one.reasons] == [f.code for f in other.reasons]
    assert (one.finished, one.interrupted) == (other.finished, other.interrupted)


@pytest.mark.parametrize("thin", [1, 2])
def test_chains_in_chunks_are_the_chains_of_one_call(thin):
    whole = chains(thin=thin)(KEY, 0.3)
    for chunk in (16, 4, 1):
        result = chains(OPTIONS(chunk=chunk), thin=thin)(KEY, 0.3)
        assert_same(result, whole)
        assert_same(_Warm(result), _Warm(whole))
        assert [run["item0"] for run in result.traces[1]] == [run["item0"] for run in whole.traces[1]]


class _Warm:
    """The warm-up of a result, to be compared as results are."""

    reasons, finished, interrupted = (), 0, False

    def __init__(self, result):
        self.posterior, self.stats = result.warmup.posterior, result.warmup.stats


@pytest.mark.parametrize("method", [inference.smc, inference.importance])
def test_populations_in_chunks_are_those_of_one_call(method):
    whole = filters(method=method)(KEY, 0.3)
    result = filters(OPTIONS(), method)(KEY, 0.3)
    assert_same(result, whole)
    np.testing.assert_array_equal(result.log_evidence, whole.log_evidence)


def test_chains_that_are_ended_early_keep_what_is_finished():
    whole = chains()(KEY, 0.3)
    stopped = chains(OPTIONS(chunk=3, callbacks=at("sampling", 6, lambda: True)))(KEY, 0.3)
    ended = chains(OPTIONS(chunk=3, callbacks=at("sampling", 6, interrupt)))(KEY, 0.3)
    for result in (stopped, ended):
        np.testing.assert_array_equal(result.posterior["item0"], whole.posterior["item0"][:, :6])
        assert result.finished == 6 and len(result.traces[0]) == 6
    assert stopped.run["stopped_by"] and not stopped.interrupted
    assert ended.interrupted and Status.INTERRUPTED in ended.status
    early = chains(OPTIONS(chunk=3, callbacks=at("warmup", 3, interrupt)))(KEY, 0.3)
    assert early.posterior["item0"].shape == (2, 0) and early.warmup.posterior["item0"].shape == (2, 3)


def test_populations_that_are_ended_early_keep_the_finished_runs():
    whole = filters()(KEY, 0.3)
    result = filters(OPTIONS(callbacks=at("run 2 of 3", 1, interrupt)))(KEY, 0.3)
    assert result.interrupted and result.finished == 2
    np.testing.assert_array_equal(result.log_evidence, whole.log_evidence[:2])


def test_a_callback_that_raises_loses_nothing():
    def broken():
        raise ZeroDivisionError("of the callback")

    for plan, ended in (
        (chains(OPTIONS(chunk=3, callbacks=at("sampling", 3, broken))), 3),
        (filters(OPTIONS(callbacks=at("run 1 of 3", 1, broken))), 1),
    ):
        with pytest.raises(LawfulError, match="ZeroDivisionError") as caught:
            plan(KEY, 0.3)
        assert caught.value.result.finished == ended and caught.value.result.interrupted


def test_a_callback_sees_how_the_run_goes():
    seen = []
    whole = chains(OPTIONS(chunk=4, callbacks=seen.append), draws=40)(KEY, 0.3)
    assert [(p.phase, p.step) for p in seen][:3] == [("warmup", 4), ("warmup", 5), ("sampling", 4)]
    assert seen[-1].acceptance_rate == pytest.approx(np.mean(whole.stats["acceptance_rate"][:, -4:]))
    assert seen[-1].rhat > 0 and seen[-1].ess > 0


def test_iterate_gives_the_draws_of_a_call_chunk_by_chunk():
    plan = chains(OPTIONS(chunk=4), thin=2)
    whole, chunks = plan(KEY, 0.3), list(plan.iterate(KEY, 0.3))
    drawn = [c for c in chunks if c.phase == "sampling"]
    np.testing.assert_array_equal(np.concatenate([c.draws["item0"] for c in drawn], axis=1), whole.posterior["item0"])
    np.testing.assert_array_equal(np.concatenate([c.info["lp"] for c in drawn], axis=1), whole.stats["lp"])
    found = [c.info["log_evidence"] for c in filters().iterate(KEY, 0.3)]
    np.testing.assert_array_equal(found, filters()(KEY, 0.3).log_evidence)


@pytest.mark.parametrize(("warmup", "draws"), [(0, 4), (3, 0)])
def test_a_phase_without_steps_is_passed_over(warmup, draws):
    found = [chains(run, warmup=warmup, draws=draws)(KEY, 0.3) for run in (OPTIONS(chunk=3), None)]
    assert_same(*found)
    assert all((r.warmup is None) == (not warmup) for r in found)
    assert found[0].posterior["item0"].shape == (2, draws)


@pytest.mark.parametrize("settings", [{"keep": "last"}, {"nonfinite": "dead"}, {"runs": 1}])
def test_settings_of_a_population_hold_in_chunks(settings):
    assert_same(*(filters(run, **settings)(KEY, 0.3) for run in (OPTIONS(), None)))


def test_iterate_keeps_nothing_and_reports_a_bad_key_at_once():
    with pytest.raises(LawfulError, match="key: expected one typed key"):
        chains().iterate("key", 0.3)
    with pytest.raises(LawfulError, match="key: expected one typed key"):
        filters().iterate("key", 0.3)
    plan = filters()
    course = plan._course(KEY, (0.3,))
    plan._course = lambda key, args: course
    assert len(list(plan.iterate(KEY, 0.3))) == 3 and course.kept == []


def test_an_eager_plan_has_nothing_to_resume_from(tmp_path):
    with pytest.raises(LawfulError, match="mcmc.lists, mode='eager'. leaves no checkpoints"):
        inference.resume(tmp_path, chains(), 0.3)


def test_no_memory_is_told_with_what_is_finished():
    def full():
        raise MemoryError("none is left")

    course = chains()._course(KEY, (0.3,))
    with pytest.raises(MemoryLimitError, match="fewer chains, particles or draws") as caught:
        plan = chains(OPTIONS(chunk=3))
        plan._course = lambda key, args: course
        step, course.step = course.step, lambda here, at: full() if at == 9 else step(here, at)
        plan(KEY, 0.3)
    assert caught.value.result.finished == 3  # of draws, after five steps of warm-up


@pytest.mark.parametrize("build", [chains, filters])
@pytest.mark.parametrize("name", ["checkpoint", "store"])
def test_what_would_need_files_is_refused(build, name, tmp_path):
    with pytest.raises(LawfulError, match=f"{name}: with mode='eager'"):
        build(OPTIONS(**{name: tmp_path / "run"}))
