"""A run that writes its draws into a store is the run that keeps them, and the store shows what is finished."""

import gc
import subprocess
import sys
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import deterministic, inference, open_run, sample
from lawful.errors import CheckpointError, CheckpointMismatch, LawfulError, ResultFileError
from lawful.inference import RunOptions, kernels, resume
from lawful.inference.checkpoints import draws_store as store
from lawful.inference.checkpoints.checkpoint_folder import load
from lawful.inference.checkpoints.stored_array import StoredArray
from lawful.inference.plans.chains import row_streams as streams
from lawful.inference.running import saving
from tests.tiers import rest_slow

KEY = jax.random.key(5)
Y = jnp.array([0.3, -0.2, 1.1])
WARM, DRAWS = 6, 10


def model(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    deterministic("twice", jnp.exp(mu))
    sample("y", dist.Normal(mu, 1.0).expand([3]).to_event(1), obs=y)


def half(y):  # no number where x is below 0
    x = sample("x", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.sqrt(x), 1.0).expand([3]).to_event(1), obs=y)


SETTINGS = {"chains": 2, "warmup": WARM, "draws": DRAWS}
PLAN = inference.mcmc(model, kernels.random_walk(0.8), **SETTINGS)


@pytest.fixture(autouse=True)
def everything_at_once(monkeypatch):
    """Write after every chunk."""
    monkeypatch.setattr(saving, "SHARE", 0)
    monkeypatch.setattr(streams, "SHARE", 0)


KEPT = []


@pytest.fixture
def whole():
    """The run that keeps its draws, compiled as the tests are: fixtures of a module come before that is set."""
    if not KEPT:
        KEPT.append(run(PLAN))
    return KEPT[0]


def run(plan, chunk=4, key=KEY, **options):
    """Run a plan with other options; its compiled programs are kept."""
    plan.run = RunOptions(chunk=chunk, **options)
    return plan(key, Y)


def assert_prefix(result, whole, draws=DRAWS):
    parts = [(result.posterior, whole.posterior), (result.stats, whole.stats)]
    parts += [(result.warmup.posterior, whole.warmup.posterior), (result.warmup.stats, whole.warmup.stats)]
    for number, (own, other) in enumerate(parts):
        assert list(own) == list(other)
        for name in own:
            np.testing.assert_array_equal(own[name], other[name][:, : draws if number < 2 else WARM], err_msg=name)


def assert_shown(path, whole, draws, warm=WARM):
    tree = open_run(path)
    for group, arrays, n in [
        ("posterior", whole.posterior, draws), ("sample_stats", whole.stats, draws),
        ("warmup_posterior", whole.warmup.posterior, warm), ("warmup_sample_stats", whole.warmup.stats, warm),
    ]:  # fmt: skip
        assert tree[group].sizes["draw"] == n
        for name, array in arrays.items():
            np.testing.assert_array_equal(tree[group][name].values, np.asarray(array)[:, :n])


def failing(at):
    """A callback that raises once a phase has taken so many steps."""

    def broken(progress):
        if (progress.phase, progress.step) == at:
            raise ZeroDivisionError("of the callback")

    return broken


@pytest.mark.rest_slow
@pytest.mark.parametrize("chunk", [4, 1, "auto"])
def test_a_streamed_run_is_the_run_that_keeps_its_draws(chunk, whole, tmp_path):
    result = run(PLAN, chunk, store=tmp_path / "draws.zarr")
    assert_prefix(result, whole)
    assert_shown(tmp_path / "draws.zarr", whole, DRAWS)
    assert all(isinstance(x, StoredArray) for x in (*result.posterior.values(), *result.stats.values()))
    assert [f.code for f in result.reasons] == [f.code for f in whole.reasons]
    assert result.run["store"] == str(tmp_path / "draws.zarr")
    np.testing.assert_array_equal(result.state[0], whole.state[0])


def test_the_store_is_the_tree_of_the_result(whole, tmp_path):
    result = run(PLAN, store=tmp_path / "draws.zarr")
    tree, other = result.to_datatree(save_warmup=True), whole.to_datatree(save_warmup=True)
    shown = open_run(tmp_path / "draws.zarr")
    for name, group in other.children.items():
        assert tree[name].to_dataset().equals(group.to_dataset()), name
        if name not in ("log_likelihood", "log_prior"):
            assert shown[name].to_dataset().equals(group.to_dataset()), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "settings"),
    rest_slow([(kernels.random_walk(0.8), {"thin": 3}), (kernels.hmc(n_steps=2), {"thin": 2})]),
    ids=["thinned", "tuned, thinned"],
)
def test_thinned_and_tuned_chains_are_streamed_like_others(kernel, settings, tmp_path):
    plan = inference.mcmc(model, kernel, **SETTINGS, **settings)
    kept, result = run(plan, 3), run(plan, 3, store=tmp_path / "draws.zarr")
    assert_prefix(result, kept)
    assert result.found == kept.found
    for name in {"step_size", "inverse_mass"} & {*kept.run}:
        np.testing.assert_array_equal(result.run[name], kept.run[name])


def test_the_store_shows_exactly_the_finished_part_while_the_run_goes_on(whole, tmp_path):
    path, seen = tmp_path / "draws.zarr", []

    def look(progress):
        warm = progress.step if progress.phase == "warmup" else WARM
        assert_shown(path, whole, progress.step if progress.phase == "sampling" else 0, warm)
        if progress.phase == "sampling":
            np.testing.assert_array_equal(progress.drawn()["mu"], whole.posterior["mu"][:, : progress.step])
        seen.append(progress.step)

    run(PLAN, store=path, callbacks=look)
    assert seen == [4, 6, 4, 8, 10]


@pytest.mark.rest_slow
@pytest.mark.parametrize("at", [("warmup", 4), ("sampling", 4), ("sampling", 8)])
def test_a_run_that_fails_shows_what_is_finished_and_resumes_to_equal_bits(at, whole, tmp_path):
    path = tmp_path / "draws.zarr"
    with pytest.raises(LawfulError, match="ZeroDivisionError") as caught:
        run(PLAN, store=path, checkpoint=tmp_path, callbacks=failing(at))
    draws, warm = (at[1], WARM) if at[0] == "sampling" else (0, at[1])
    part = caught.value.result
    assert part.interrupted and part.posterior["mu"].shape == (2, draws)
    np.testing.assert_array_equal(part.posterior["mu"], whole.posterior["mu"][:, :draws])
    np.testing.assert_array_equal(part.warmup.posterior["mu"], whole.warmup.posterior["mu"][:, :warm])
    assert_shown(path, whole, draws, warm)
    assert not any(name.startswith("rows") for name in load(tmp_path).arrays)  # the draws are in the store alone
    result = resume(tmp_path, PLAN, Y, run=RunOptions(chunk=3))  # the store is found in the folder
    assert_prefix(result, whole)
    assert_shown(path, whole, DRAWS)
    assert [f.code for f in result.found] == [f.code for f in whole.found]


def test_draws_beyond_the_checkpoint_are_written_again_with_equal_bits(whole, tmp_path, monkeypatch):
    path = tmp_path / "draws.zarr"
    run(PLAN, store=path, checkpoint=tmp_path / "run", callbacks=lambda p: (p.phase, p.step) == ("sampling", 4))
    monkeypatch.setattr(saving.Saver, "save", lambda *_: ())
    resume(tmp_path / "run", PLAN, Y, run=RunOptions(chunk=2, store=path))
    monkeypatch.undo()
    assert load(tmp_path / "run").header["done"] == [WARM, 4]
    assert_shown(path, whole, DRAWS)

    def look(progress):  # no counted row ever changes
        assert_shown(path, whole, DRAWS)

    assert_prefix(resume(tmp_path / "run", PLAN, Y, run=RunOptions(chunk=3, store=path, callbacks=look)), whole)


def test_a_run_that_is_begun_again_writes_the_same_store(whole, tmp_path):
    path = tmp_path / "draws.zarr"
    run(PLAN, store=path, callbacks=lambda p: p.phase == "sampling")
    assert_prefix(run(PLAN, 3, store=path), whole)
    assert_shown(path, whole, DRAWS)


def test_the_store_of_another_run_is_refused(tmp_path):
    path = tmp_path / "draws.zarr"
    run(PLAN, store=path, checkpoint=tmp_path / "run")
    before = sorted((file, file.stat().st_mtime_ns) for file in path.rglob("*"))
    with pytest.raises(CheckpointMismatch, match="the key"):
        run(PLAN, store=path, key=jax.random.key(6))
    with pytest.raises(CheckpointMismatch, match="settings draws"):
        run(inference.mcmc(model, kernels.random_walk(0.8), chains=2, warmup=WARM, draws=9), store=path)
    with pytest.raises(CheckpointMismatch, match="site"):
        run(inference.mcmc(half, kernels.random_walk(0.8), **SETTINGS), store=path)
    assert before == sorted((file, file.stat().st_mtime_ns) for file in path.rglob("*"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultFileError, match="no store of a run"):
        run(PLAN, store=tmp_path / "folder")
    result = run(PLAN)
    result.save(tmp_path / "saved.zarr")
    with pytest.raises(LawfulError, match="no run of chains wrote"):
        run(PLAN, store=tmp_path / "saved.zarr")


def test_a_resumed_run_needs_the_store_that_it_wrote(tmp_path):
    path, folder = tmp_path / "draws.zarr", tmp_path / "run"
    run(PLAN, store=path, checkpoint=folder, callbacks=lambda p: (p.phase, p.step) == ("sampling", 8))
    PLAN.run = None
    with pytest.raises(CheckpointError, match="which it is"):
        resume(folder, PLAN, Y)
    with pytest.raises(CheckpointError, match="there is no store"):
        resume(folder, PLAN, Y, run=RunOptions(store=tmp_path / "nowhere.zarr"))
    run(PLAN, store=tmp_path / "short.zarr", callbacks=lambda p: p.phase == "sampling")
    with pytest.raises(CheckpointMismatch, match="the store has"):
        resume(folder, PLAN, Y, run=RunOptions(store=tmp_path / "short.zarr"))
    run(PLAN, checkpoint=tmp_path / "kept", callbacks=lambda p: p.phase == "sampling")
    with pytest.raises(LawfulError, match="in its checkpoints"):
        resume(tmp_path / "kept", PLAN, Y, run=RunOptions(store=path))


def test_a_disk_that_is_full_costs_no_draw(whole, tmp_path, monkeypatch):
    plain, left = store.Store.write, [3]

    def write(self, group, start, rows):
        if group == "posterior":
            left[0] -= 1
            if left[0] < 2:
                raise OSError(28, "No space left on device")
        plain(self, group, start, rows)

    monkeypatch.setattr(store.Store, "write", write)
    path, folder = tmp_path / "draws.zarr", tmp_path / "run"
    with pytest.warns(UserWarning, match="No space left.*the first 4 of the sampling.*in memory") as warned:
        result = run(PLAN, store=path, checkpoint=folder)
    assert len(warned) == 1 and [f.code for f in result.found].count("NOT_SAVED") == 1
    assert_prefix(result, whole)
    assert_shown(path, whole, 4)
    monkeypatch.undo()
    assert load(folder).header["done"] == [WARM, 4]  # never beyond the store
    assert_prefix(resume(folder, PLAN, Y, run=RunOptions(store=path)), whole)


def test_a_folder_that_cannot_be_made_costs_no_draw(whole, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="could not be made.*in memory") as warned:
        result = run(PLAN, store=tmp_path / "file" / "draws.zarr")
    assert len(warned) == 1 and [f.code for f in result.found].count("NOT_SAVED") == 1
    assert_prefix(result, whole)


def test_draws_that_are_gone_are_never_made_up(tmp_path):
    path = tmp_path / "draws.zarr"
    result = run(PLAN, store=path)
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(ResultFileError, match="are gone"):
        np.asarray(result.posterior["mu"])

    def remove(progress):
        if progress.phase == "sampling" and path.exists():
            path.rename(tmp_path / "away")

    with pytest.warns(UserWarning, match="the store is gone"), pytest.raises(ResultFileError, match="are gone"):
        run(PLAN, store=path, callbacks=remove)
    assert not path.exists()


@pytest.mark.slow
def test_broken_proposals_are_told_like_those_of_a_run_that_keeps_its_draws(tmp_path):
    plan = inference.mcmc(half, kernels.random_walk(0.8), **SETTINGS, init={"x": 0.5})
    kept, result = run(plan, 3), run(plan, 3, store=tmp_path / "draws.zarr")
    assert "NONFINITE_DENSITY" in [f.code for f in kept.found] and "step" in kept.found[0].message
    assert result.found == kept.found
    run(plan, 3, store=tmp_path / "run" / "x.zarr", checkpoint=tmp_path / "run", callbacks=lambda p: p.step == 9)
    assert resume(tmp_path / "run", plan, Y).found == kept.found


def test_chains_that_never_moved_are_told(tmp_path):
    plan = inference.mcmc(model, kernels.random_walk(1e9), **SETTINGS)
    kept, result = run(plan, 3), run(plan, 3, store=tmp_path / "draws.zarr")
    assert "NEVER_MOVED" in [f.code for f in kept.found]
    assert result.found == kept.found


def test_memory_holds_a_piece_of_the_draws(tmp_path, monkeypatch):
    known = []
    plain = streams.Stream.take

    def take(self, number, start, rows):
        known.extend(weakref.ref(array) for array in rows)
        plain(self, number, start, rows)

    monkeypatch.setattr(streams.Stream, "take", take)
    result = run(PLAN, 2, store=tmp_path / "draws.zarr")
    gc.collect()
    assert len(known) > 10 and not any(ref() is not None for ref in known)
    assert result.posterior["mu"].shape == (2, DRAWS)


PEAK = """
import sys
import jax.numpy as jnp, numpyro.distributions as dist
from lawful import inference, sample
from lawful.inference import RunOptions, kernels
from tests.peak import peak_bytes

def model():
    sample("x", dist.Normal(jnp.zeros(10), 1.0).to_event(1))

run = RunOptions(store=sys.argv[2])
plan = inference.mcmc(model, kernels.random_walk(0.5), chains=4, warmup=0, draws=int(sys.argv[1]), run=run)
assert plan(0).posterior["x"].shape == (4, int(sys.argv[1]), 10)
print(peak_bytes() / 2**20)
"""


@pytest.mark.slow
@pytest.mark.optimised
def test_memory_of_a_streamed_run_does_not_grow_with_its_draws(tmp_path):
    """From 10^5 to 10^6 draws there are 158 MiB more; a chunk has 16 MiB at most, and the piece at hand as many."""
    peaks = []
    for draws in (10**5, 10**6):
        command = [sys.executable, "-c", PEAK, str(draws), str(tmp_path / f"{draws}.zarr")]
        peaks.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 32, peaks


def test_a_stored_array_is_indexed_like_an_array(whole, tmp_path):
    path = tmp_path / "draws.zarr"
    stored, plain = run(PLAN, 4, store=path).posterior["mu"], np.ascontiguousarray(whole.posterior["mu"])
    assert (stored.shape, stored.ndim, stored.size, len(stored), stored.dtype) == ((2, 10), 2, 20, 2, plain.dtype)
    for index in [
        0, (0, 1), np.s_[:], np.s_[:, ::3], np.s_[1:, 2:9:2], np.s_[:, -3:], np.s_[:, 5:2], np.s_[:, ::-1],
        np.s_[..., None], plain > 0, np.s_[[1, 0]], np.s_[:, [3, 1]],
    ]:  # fmt: skip
        np.testing.assert_array_equal(stored[index], plain[index])
    np.testing.assert_array_equal(1 + np.exp(stored) * stored, 1 + np.exp(plain) * plain)
    assert stored.mean() == plain.mean() and (stored == plain).all()


def test_a_streamed_run_has_no_room_for_more(tmp_path):
    with pytest.raises(LawfulError, match="room for 10"):
        run(PLAN, store=tmp_path / "draws.zarr").extend(5)


def test_a_store_is_refused_where_it_means_nothing(tmp_path):
    options = RunOptions(store=tmp_path / "draws.zarr")
    with pytest.raises(LawfulError, match="once their run has ended"):
        inference.importance(model, particles=10, run=options)
    plan = inference.tempered_smc(model, particles=10)
    with pytest.raises(LawfulError, match="enumerate"):
        inference.mcmc(model, enumerate="all", run=options)
    plan.run = options
    with pytest.raises(LawfulError, match="once their run has ended"):
        plan(KEY, Y)
    with pytest.raises(LawfulError, match="a folder of its own"):
        RunOptions(store=tmp_path, checkpoint=tmp_path)
    with pytest.raises(LawfulError, match="store: expected a folder"):
        RunOptions(store=__file__)
