"""What an eager inference returns: draws as arrays, NaN where a run made no such choice, and the runs themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, inference
from lawful.errors import (
    DeadPopulationError,
    LawfulError,
    NoFiniteStartError,
    NonFiniteError,
    UnsupportedProgramError,
)
from lawful.inference import kernels
from lawful.inference.check import key_of
from lawful.models import dynamic

KEY = jax.random.key(7)


def lists(y):
    """A list of random length, a named value, a loop of random length, a plate."""
    n = 1 + int(lawful.sample("longer", dynamic.coin(0.5)))
    items = [lawful.sample(f"item{i}", dist.Normal(0.0, 1.0)) for i in range(n)]

    def step(carry, _):
        return lawful.sample("walk", dist.Normal(carry, 1.0)), carry

    last, _ = lawful.scan(step, 0.0, length=n)
    with lawful.plate("team", 2):
        level = lawful.sample("level", dist.Normal(0.0, 1.0))
    lawful.deterministic("total", float(sum(items)))
    lawful.sample("y", dist.Normal(float(last) + float(np.sum(level)), 1.0), obs=y)
    return {"n": n, "items": items, "name": "a list"}


BUILDS = {
    "importance": lambda model, **options: inference.importance(model, particles=20, runs=2, mode="eager", **options),
    "smc": lambda model, **options: inference.smc(model, particles=20, runs=2, mode="eager", **options),
    "mcmc": lambda model: inference.mcmc(model, chains=2, warmup=5, draws=20, mode="eager"),
}


@pytest.fixture(scope="module", params=BUILDS)
def result(request):
    return BUILDS[request.param](lists)(KEY, 0.3)


@pytest.mark.rest_slow
def test_a_choice_that_a_run_did_not_make_is_nan(result):
    posterior = result.posterior
    assert posterior["longer"].shape == (2, 20)
    assert posterior["longer"].dtype.kind == "i"
    longer = posterior["longer"] == 1
    np.testing.assert_array_equal(np.isnan(posterior["item1"]), ~longer)
    assert not np.isnan(posterior["item0"]).any()
    assert not np.isnan(posterior["total"]).any()


def test_choices_of_a_loop_are_an_array_as_long_as_the_longest_run(result):
    walk = result.posterior["walk"]
    assert walk.shape == (2, 20, 2)
    np.testing.assert_array_equal(np.isnan(walk[..., 1]), result.posterior["longer"] == 0)
    assert result.dims["walk"] == ("time",)
    assert result.dims["level"] == ("team",)


def test_traces_are_the_runs_behind_the_draws(result):
    assert len(result.traces) == 2 and len(result.traces[0]) == 20
    for chain in range(2):
        for draw in range(20):
            run = result.traces[chain][draw]
            assert run["longer"] == result.posterior["longer"][chain, draw]
            assert float(run["item0"]) == result.posterior["item0"][chain, draw]
            assert len(run.value["items"]) == run.value["n"] == result.posterior["return.n"][chain, draw]
            assert run.get("item1", "absent") == "absent" or run.value["n"] == 2


def test_it_converts_to_a_datatree_and_summarises(result):
    tree = result.to_datatree()
    assert set(tree["posterior"].data_vars) == set(result.posterior)
    assert float(tree["observed_data"]["y"]) == 0.3
    assert tree.attrs["mode"] == "eager"
    assert "item0" in result.summary(var_names=["item0", "longer"]).index
    assert repr(result).startswith("Result: ")


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", BUILDS)
def test_equal_keys_give_equal_results_and_others_do_not(name):
    plan = BUILDS[name](lists)
    first, again, other = plan(KEY, 0.3), plan(KEY, 0.3), plan(8, 0.3)
    for variable in first.posterior:
        np.testing.assert_array_equal(first.posterior[variable], again.posterior[variable])
    assert not np.array_equal(first.posterior["item0"], other.posterior["item0"])
    assert not np.array_equal(first.posterior["item0"][0], first.posterior["item0"][1])


def test_draws_are_those_of_seed():
    """One particle, no weight: the key of a choice comes from its address in the algorithm."""

    def program():
        return lawful.sample("x", dist.Normal(0.0, 1.0))

    result = inference.importance(program, particles=3, mode="eager")(KEY)
    drawn = []
    for slot in range(3):
        place = lawful.messages.Surroundings(scopes=("~eager",), indices=(0, 0, slot))
        with lawful.messages.placed(place):
            drawn.append(float(handlers.seed(program, KEY)()))
    np.testing.assert_allclose(sorted(drawn), sorted(result.weighted.values["x"][0]), rtol=1e-12)


def test_keep_last_gives_what_the_program_returns_alone():
    result = BUILDS["smc"](lists, keep="last")(KEY, 0.3)
    assert set(result.posterior) == {"return.n", "return.items.0"}


def test_a_value_that_is_no_number_stays_in_the_traces():
    def grammar():
        tree = dynamic.derivation({"S": [(0.5, ["S", "a"]), (0.5, ["b"])]})
        lawful.factor("short", -0.1 * len(dynamic.words_of(tree)))
        return tree

    result = inference.importance(grammar, particles=10, mode="eager")(KEY)
    assert "return" not in result.posterior
    assert result.traces[0][0].value[0] == "S"


def test_shapes_that_change_stay_in_the_traces():
    def shapes():
        n = 1 + int(lawful.sample("n", dynamic.coin(0.5)))
        return lawful.sample("x", dist.Normal(jnp.zeros(n), 1.0).to_event(1)).sum()

    result = inference.importance(shapes, particles=10, mode="eager")(KEY)
    assert set(result.posterior) == {"n", "return"}
    assert {run["x"].shape for run in result.traces[0]} == {(1,), (2,)}


def test_evidence_and_draws_agree_with_the_staged_inference():
    """A program that both modes run: log evidence within six standard errors."""

    def walk(y):
        def step(x, y):
            x = lawful.sample("x", dist.Normal(x, 1.0))
            lawful.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        return lawful.scan(step, 0.0, y)[0]

    y = jnp.array([0.5, -0.3])
    eager = inference.smc(walk, particles=40, runs=5, mode="eager")(key_of("eager/walk"), y)
    staged = inference.smc(walk, particles=1000, runs=8)(key_of("staged/walk"), y)
    error = np.hypot(eager.log_evidence_error, staged.log_evidence_error)
    assert abs(eager.log_evidence_pooled - staged.log_evidence_pooled) < 6 * error
    assert eager.posterior["x"].shape == (5, 40, 2)


# ---- faults


def test_a_population_that_dies_has_no_samples_and_a_readable_evidence():
    def impossible():
        n = int(lawful.sample("n", dynamic.coin(0.5)))
        lawful.factor("never", -np.inf)
        return n

    result = inference.smc(impossible, particles=5, runs=2, mode="eager")(KEY)
    assert np.isneginf(result.log_evidence).all()
    assert not result.ok
    with pytest.raises(DeadPopulationError):
        _ = result.posterior


def test_a_chain_needs_a_start_and_says_where_the_weight_vanished():
    def impossible():
        lawful.sample("n", dynamic.coin(0.5))
        lawful.factor("never", -np.inf)

    with pytest.raises(NoFiniteStartError, match=r"factor 'never' \(.*test_results\.py:\d+\)"):
        inference.mcmc(impossible, chains=1, draws=1, mode="eager")(KEY)


def test_a_start_can_be_given():
    def narrow():
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.factor("far", 0.0 if x > 20 else -np.inf)
        return x

    result = inference.mcmc(narrow, chains=1, warmup=0, draws=3, init={"x": 21.0}, mode="eager")(KEY)
    assert (result.posterior["x"] > 20).all()


def broken(side):
    x = lawful.sample("x", dynamic.coin(0.5))
    lawful.factor("broken", np.nan if x == side else -0.5)
    return int(x)


@pytest.mark.parametrize("build", [inference.importance, inference.smc])
def test_a_nan_weight_is_an_error_or_a_dead_particle(build):
    with pytest.raises(NonFiniteError, match=r"factor 'broken' .*nonfinite='dead'"):
        build(broken, particles=50, mode="eager")(KEY, 1)
    result = build(broken, particles=50, mode="eager", nonfinite="dead")(KEY, 1)
    assert (result.posterior["return"] == 0).all()
    assert "NONFINITE_WEIGHT" in {finding.code for finding in result.reasons}
    assert np.sum(result.stats["n_nonfinite"]) == np.isneginf(result.weighted.log_weight).sum()


def test_a_chain_rejects_nan_and_counts_it():
    result = inference.mcmc(broken, chains=2, warmup=0, draws=50, mode="eager")(KEY, 1)
    assert (result.posterior["return"] == 0).all()
    assert result.stats["n_nonfinite"].sum() > 0
    assert "NONFINITE_DENSITY" in {finding.code for finding in result.reasons}


def test_without_a_choice_there_is_nothing_to_move():
    with pytest.raises(UnsupportedProgramError, match="no free choice"):
        inference.mcmc(lambda: lawful.factor("f", -0.5), chains=1, draws=1, mode="eager")(KEY)


def test_a_recursion_without_end_is_named():
    def endless(level=0):
        lawful.sample("x", dynamic.coin(0.5))
        with lawful.scope("deeper"):
            return endless(level + 1)

    with pytest.raises(UnsupportedProgramError, match=r"recursion is deeper.*deeper\.deeper"):
        inference.importance(endless, particles=1, mode="eager")(KEY)


def test_a_bounded_loop_reports_what_it_cuts_off():
    def loop():
        def heads(count):
            return lawful.sample("heads", dynamic.coin(0.5)) == 1

        return lawful.bounded_loop(heads, lambda count: count + 1, 0, max_steps=1)

    result = inference.importance(loop, particles=400, runs=2, mode="eager")(KEY)
    found = {finding.code: finding for finding in result.reasons}
    assert found["OVERFLOW"].value == pytest.approx(0.25, abs=0.12)  # 6 standard errors of 800 coins
    assert np.exp(result.log_evidence_pooled) == pytest.approx(1 - found["OVERFLOW"].value, abs=1e-12)


@pytest.mark.parametrize(
    ("build", "options", "match"),
    [
        (inference.smc, {"particles": 2, "nonfinite": "flag"}, "nonfinite='flag' needs mode='staged'"),
        (inference.importance, {"particles": 2, "on_fault": "flag"}, "on_fault='flag' needs mode='staged'"),
        (inference.mcmc, {"kernel": kernels.mh(kernels.random_walk(0.1))}, "kernel=.* needs mode='staged'"),
    ],
)
def test_options_of_staged_inferences_are_refused(build, options, match):
    with pytest.raises(LawfulError, match=match):
        build(lists, mode="eager", **options)


def test_a_plan_says_what_it_does_and_has_no_form():
    plan = inference.smc(lists, particles=3, mode="eager")
    assert "eager" in repr(plan) and "3 runs" in plan.plan(0.0)
    with pytest.raises(UnsupportedProgramError, match="no Form"):
        plan.form(0.0)


def test_the_staged_error_points_to_eager_mode():
    def recursive():
        return 0 if lawful.sample("x", dist.Bernoulli(0.5)) == 1 else 1

    with pytest.raises(UnsupportedProgramError, match="mode='eager'"):
        inference.smc(recursive, particles=2)(KEY)
