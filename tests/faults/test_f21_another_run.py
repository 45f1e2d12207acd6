"""Row 21: a checkpoint of another model, other data, another algorithm or other settings is refused by what differs."""

import json

import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import CheckpointMismatch
from lawful.inference import RunOptions, kernels, resume
from lawful.inference.checkpoints.fingerprints import check, fingerprints

Y = np.array([0.3, 0.9, 1.1])
SETTINGS = {"chains": 4, "draws": 100, "step": 0.5, "kernel": "random_walk"}


def walk(y, scale=1.0, name="x", drift=lambda x: x):
    mean = lawful.sample("mean", dist.Normal(0.0, scale))

    def step(x, y):
        x = lawful.sample(name, dist.Normal(drift(x), 0.5))
        lawful.sample("y", dist.Normal(x + mean, 1.0), obs=y)
        return x, None

    return lawful.scan(step, 0.0, y)[0]


def described(y=Y, settings=SETTINGS, algorithm="mcmc", **model):
    return fingerprints(lawful.trace(lambda y: walk(y, **model), y), {"y": y}, settings, algorithm)


def stored(**changed):
    """What a header has, once it was on the disk."""
    return {"fingerprints": json.loads(json.dumps(described(**changed))), "step": 3}


def refused(**changed):
    with pytest.raises(CheckpointMismatch) as caught:
        check(stored(), described(**changed))
    assert all(part in str(caught.value) for part in caught.value.differing[:1])
    return caught.value.differing


def test_f21_the_same_run_is_taken_up():
    assert check(stored(), described()) == ()


@pytest.mark.fault(21)
def test_f21_another_prior_is_told_by_its_site():
    assert refused(scale=2.0) == ("model, site mean (Normal(0, 1) stored, Normal(0, 2) now)",)


def test_f21_another_name_of_a_site_is_told():
    assert "model, site z[t] (nothing stored, Normal(c0, 0.5) now)" in refused(name="z")


def test_f21_operations_that_the_text_leaves_out_count_too():
    """A long formula is shown by what it reads, and a function by its name."""

    def drift(last):
        def long(x):
            for number in (2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, last):
                x = x * number + 1.0
            return x

        return long

    first = lawful.trace(lambda y: walk(y, drift=drift(19.0)), Y)
    other = lawful.trace(lambda y: walk(y, drift=drift(23.0)), Y)
    assert first.show() == other.show()
    old, new = (fingerprints(form, (Y,), {}) for form in (first, other))
    with pytest.raises(CheckpointMismatch) as caught:
        check(old, new)
    assert caught.value.differing == ("model, x in loop 1 (is computed by other operations)",)


def test_f21_a_constant_array_of_the_program_counts():
    held = np.arange(5.0)

    def model(table):
        return lawful.sample("x", dist.Normal(lawful.sample("z", dist.Normal(0.0, 1.0)), np.asarray(table).sum()))

    old, new = (fingerprints(lawful.trace(lambda t=t: model(t)), (), {}) for t in (held + 1, held + 2))
    with pytest.raises(CheckpointMismatch, match="site x"):
        check(old, new)


@pytest.mark.parametrize(
    "y", [np.array([0.3, 0.9, 1.1 + 1e-15]), Y.astype(np.float32), Y[:2]], ids=["datum", "type", "shape"]
)
def test_f21_another_datum_type_or_shape_is_told_by_the_argument(y):
    differing = refused(y=y)
    assert any(each.startswith("data y (float64[3]") for each in differing)


@pytest.mark.parametrize("name", SETTINGS)
def test_f21_another_setting_is_told_by_its_name(name):
    other = {"chains": 5, "draws": 101, "step": 0.6, "kernel": "mh"}[name]
    assert refused(settings=SETTINGS | {name: other}) == (f"settings {name} ({SETTINGS[name]} stored, {other} now)",)


def test_f21_a_setting_that_is_missing_or_new_is_told():
    less = {name: value for name, value in SETTINGS.items() if name != "step"}
    assert refused(settings=less) == ("settings step (0.5 stored, nothing now)",)
    assert refused(settings=SETTINGS | {"thin": 2}) == ("settings thin (nothing stored, 2 now)",)


def test_f21_another_algorithm_is_told():
    assert refused(algorithm="smc") == ("algorithm (mcmc stored, smc now)",)


def test_f21_everything_that_differs_is_told_at_once():
    differing = refused(y=Y + 1, settings=SETTINGS | {"chains": 2}, algorithm="smc", scale=3.0)
    assert [each.split(" (")[0] for each in differing] == ["model, site mean", "data y", "settings chains", "algorithm"]


def test_f21_settings_may_be_arrays_and_functions():
    def settings(power, start):
        return {"start": np.full(3, start), "kernel": lambda x: x**power, "nan": float("nan"), "none": None}

    old = json.loads(json.dumps(fingerprints(None, (), settings(2, 0.0))))
    assert check(old, fingerprints(None, (), settings(2, 0.0))) == ()
    for changed, name in ((settings(3, 0.0), "kernel"), (settings(2, 1.0), "start")):
        with pytest.raises(CheckpointMismatch, match=f"settings {name}"):
            check(old, fingerprints(None, (), changed))


CHANGED = {"chains": 3, "draws": 7, "warmup": 5, "thin": 2}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", CHANGED)
def test_f21_a_run_with_another_setting_does_not_go_on(name, tmp_path):
    def plan(**changed):
        return inference.mcmc(drawn, kernels.random_walk(0.8), **{"chains": 2, "warmup": 4, "draws": 6, **changed})

    first = plan()
    first.run = RunOptions(chunk=2, checkpoint=tmp_path, callbacks=[lambda progress: True])
    first(0, Y)
    with pytest.raises(CheckpointMismatch, match=f"settings {name} .*stored, {CHANGED[name]} now") as caught:
        resume(tmp_path, plan(**{name: CHANGED[name]}), Y)
    assert any(each.startswith(f"settings {name} ") for each in caught.value.differing)


def drawn(y):
    lawful.sample("y", dist.Normal(lawful.sample("mu", dist.Normal(0.0, 1.0)), 1.0).expand([3]).to_event(1), obs=y)


@pytest.mark.slow
def test_f21_a_filter_with_another_number_of_runs_does_not_go_on(tmp_path):
    run = RunOptions(chunk=1, checkpoint=tmp_path, callbacks=[lambda progress: True])
    inference.smc(walk, particles=5, runs=2, run=run)(0, Y)
    for changed in ({"runs": 3}, {"particles": 6}):
        with pytest.raises(CheckpointMismatch, match=f"settings {next(iter(changed))}"):
            resume(tmp_path, inference.smc(walk, **{"particles": 5, "runs": 2, **changed}), Y)
