"""Chains as runs: warm-up stays apart, thinning skips, starts are finite, and equal keys give equal chains."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError

import lawful
from lawful import cond, deterministic, factor, inference, plate, sample
from lawful.errors import LawfulError, NoFiniteStartError, UnsupportedProgramError
from lawful.inference import kernels

WALK = kernels.random_walk(0.8)
KEY = jax.random.key(4)


def model(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    sd = sample("sd", dist.Gamma(2.0, 1.0))
    deterministic("twice", 2 * mu)
    with plate("person", 3):
        theta = sample("theta", dist.Normal(mu, sd))
        sample("y", dist.Normal(theta, 0.5), obs=y)


Y = jnp.array([0.3, -0.2, 1.1])


def run(kernel=WALK, key=KEY, program=model, args=(Y,), **settings):
    settings = {"chains": 3, "warmup": 0, "draws": 20, **settings}
    return inference.mcmc(program, kernel, **settings)(key, *args)


@pytest.fixture(scope="module")
def plan():
    return inference.mcmc(model, WALK, chains=3, warmup=0, draws=20)


@pytest.fixture(scope="module")
def whole(plan):
    return plan(KEY, Y)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.slow
def test_warmup_draws_are_kept_apart_and_change_no_draw(whole):
    result = run(warmup=5, draws=15)
    assert whole.warmup is None
    assert_same(result.posterior, {name: array[:, 5:] for name, array in whole.posterior.items()})
    assert_same(result.warmup.posterior, {name: array[:, :5] for name, array in whole.posterior.items()})
    assert_same(result.warmup.stats, {name: array[:, :5] for name, array in whole.stats.items()})
    assert result.stats["lp"].shape == (3, 15)


def test_warmup_of_everything_leaves_no_draw():
    result = run(warmup=5, draws=0)
    assert {name: array.shape[:2] for name, array in result.posterior.items()} == dict.fromkeys(
        ("mu", "sd", "theta", "twice"), (3, 0)
    )
    assert not result.ok
    assert "NOT OK: LOW_ESS" in repr(result)


def test_few_chains_on_an_accelerator_get_a_remark_and_no_bit(plan, whole, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    result = plan(KEY, Y)
    (remark,) = [f for f in result.reasons if f.code == "IDLE_DEVICE"]
    assert "leaves a gpu mostly idle" in remark.message and "raise chains" in remark.message
    assert result.status == whole.status and 0 < remark.value < remark.limit
    assert not inference.findings.findings.idle_device("gpu", "chains", remark.limit)


def test_chains_differ_and_equal_keys_give_equal_chains(plan, whole):
    for name, array in whole.posterior.items():
        assert all(len(np.unique(array[:, draw], axis=0)) == 3 for draw in (0, -1)), name
    assert_same(plan(KEY, Y).posterior, whole.posterior)
    assert not np.array_equal(plan(jax.random.key(5), Y).posterior["mu"], whole.posterior["mu"])


def test_every_choice_and_named_value_has_its_shape_and_dims(whole):
    shapes = {name: array.shape[2:] for name, array in whole.posterior.items()}
    assert shapes == {"mu": (), "sd": (), "theta": (3,), "twice": ()}
    assert whole.dims["theta"] == ("person",)
    np.testing.assert_array_equal(whole.posterior["twice"], 2 * whole.posterior["mu"])


def test_the_recorded_log_density_is_that_of_the_draw(whole):
    form = lawful.trace(model, Y)
    for chain, draw in [(0, 0), (1, 7), (2, 19)]:
        choices = {name: whole.posterior[name][chain, draw] for name in ("mu", "sd", "theta")}
        assert whole.stats["lp"][chain, draw] == pytest.approx(float(form.log_density(choices, Y)), abs=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize("kernel", [WALK, kernels.mh()], ids=repr)
def test_a_chain_moves_exactly_where_it_accepts(kernel):
    start = {"mu": 0.5, "sd": 1.5, "theta": jnp.array([0.1, 0.2, 0.3])}
    result = run(kernel, init=start, draws=50)
    if kernel == kernels.mh():
        parts = np.concatenate([np.atleast_3d(result.posterior[name]) for name in start], axis=-1)
        assert ((parts[:, 1:] != parts[:, :-1]).sum(axis=-1) <= 1).all()  # one part at a time
    path = {name: np.insert(result.posterior[name], 0, start[name], axis=1) for name in start}
    moved = np.zeros((3, 50), bool)
    for array in path.values():
        moved |= (array[:, 1:] != array[:, :-1]).reshape(3, 50, -1).any(axis=-1)
    np.testing.assert_array_equal(moved, result.stats["accepted"])
    rate = result.stats["acceptance_rate"]
    assert (rate >= 0).all() and (rate <= 1).all()
    assert (rate[result.stats["accepted"]] > 0).all()


def test_a_bare_proposal_is_wrapped():
    assert (
        repr(inference.mcmc(model, WALK))
        == repr(inference.mcmc(model, kernels.mh(WALK)))
        == "mcmc(mh(random_walk(0.8)))"
    )


def test_the_plan_names_the_move_of_each_site():
    text = inference.mcmc(model, kernels.random_walk({"mu": 0.3})).plan(Y)
    assert text.splitlines()[1:] == [
        "  mu: normal step of scale 0.3 (identity coordinates)",
        "  sd: not moved",
        "  theta: not moved",
    ]


@pytest.mark.slow
def test_a_branch_shows_which_arm_ran():
    def program():
        b = sample("b", dist.Bernoulli(0.5))
        cond(b == 1, lambda: sample("left", dist.Normal(0.0, 1.0)), lambda: sample("right", dist.Normal(5.0, 1.0)))

    draws = run(None, program=program, args=(), draws=40).posterior
    np.testing.assert_array_equal(np.isnan(draws["left"]), draws["b"] == 0)
    np.testing.assert_array_equal(np.isnan(draws["right"]), draws["b"] == 1)


def test_a_value_named_in_an_arm_is_not_a_number_where_the_arm_did_not_run():
    def program():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("f", -abs(cond(x > 0, lambda: deterministic("twice", 2.0 * x), lambda: x)))

    posterior = run(program=program, args=(), chains=2, warmup=2).posterior
    x = posterior["x"]
    assert (x > 0).any() and (x <= 0).any()
    np.testing.assert_array_equal(posterior["twice"], np.where(x > 0, 2 * x, np.nan))


def test_a_program_without_observations_and_discrete_sites_runs():
    result = run(None, program=lambda: sample("k", dist.Poisson(3.0)), args=())
    assert np.issubdtype(result.posterior["k"].dtype, np.integer)


@pytest.mark.parametrize(
    "setting", [{"chains": 0}, {"warmup": -1}, {"draws": -1}, {"thin": 0}, {"chains": 2.5}], ids=str
)
def test_a_wrong_setting_is_named_when_the_plan_is_built(setting):
    with pytest.raises(
        (LawfulError, TypeCheckError), match=next(iter(setting))
    ):  # types are checked first while tests run
        inference.mcmc(model, WALK, **setting)


def test_each_chain_starts_where_it_is_told():
    """Sites that do not move stay at the start of their chain; a start that is given once is that of all chains."""
    start = {"mu": np.array([0.1, 0.2, 0.3]), "sd": 1.5, "theta": np.arange(9.0).reshape(3, 3)}
    result = run(kernels.random_walk({"sd": 1e-6}), init=start, draws=4)
    np.testing.assert_array_equal(result.posterior["mu"], np.repeat(start["mu"][:, None], 4, axis=1))
    np.testing.assert_array_equal(result.posterior["theta"], np.repeat(start["theta"][:, None], 4, axis=1))
    np.testing.assert_allclose(result.posterior["sd"], 1.5, rtol=1e-4)
    form = lawful.trace(model, Y)
    for chain in range(3):
        choices = {name: result.posterior[name][chain, -1] for name in start}
        assert result.stats["lp"][chain, -1] == pytest.approx(float(form.log_density(choices, Y)), abs=1e-10)


def test_chains_start_apart_in_loops_too():
    def walk(y):
        lawful.scan(lambda x, y: (sample("x", dist.Normal(x, 1.0)), None), 0.0, y)

    start = {"x": np.arange(6.0).reshape(2, 3)}
    result = run(kernels.random_walk(1e-6), program=walk, args=(jnp.zeros(3),), chains=2, draws=1, init=start)
    np.testing.assert_allclose(result.posterior["x"][:, 0], start["x"], atol=1e-4)


@pytest.mark.parametrize(
    ("init", "named"),
    [
        ({"mu": jnp.zeros(4), "sd": 1.0, "theta": jnp.zeros(3)}, r"'mu'.*\(4,\), expected \(\)"),
        ({"mu": 0.0, "sd": 1.0, "theta": jnp.zeros(2)}, r"'theta'.*\(2,\), expected \(3,\)"),
        ({"mu": 0.0, "sd": 1.0, "theta": jnp.zeros(3), "tau": 1.0}, "has the name tau; those that can are: mu, sd"),
    ],
)
def test_a_wrong_start_is_named(init, named):
    with pytest.raises(LawfulError, match=named):
        run(init=init)


def test_a_start_without_density_is_refused_naming_its_sites():
    with pytest.raises(NoFiniteStartError, match="given start.*'sd'.*-1.0") as caught:
        run(init={"mu": 0.0, "sd": -1.0, "theta": jnp.zeros(3)})
    assert ("sd",) in caught.value.sites


def test_a_program_without_latent_sites_is_refused():
    with pytest.raises(UnsupportedProgramError, match="no latent site"):
        run(None, program=lambda: factor("weight", -1.0), args=())


def test_starts_without_density_are_drawn_again():
    """Half of the prior draws are impossible; every chain starts in the other half."""

    def program():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("positive", jnp.where(x > 0, 0.0, -jnp.inf))

    result = run(kernels.random_walk(0.1), program=program, args=(), chains=64, draws=5)
    assert (result.posterior["x"] > 0).all()
    assert len(np.unique(result.posterior["x"][:, 0])) == 64


def coin():
    x = sample("x", dist.Bernoulli(0.3))
    sample("y", dist.Bernoulli(jnp.where(x == 1, 0.9, 0.2)), obs=1)


def law_of_states(rows, **settings):
    """Exact probabilities of what some rows of the kept states are, for the algorithm as a Form."""
    prepared = inference.mcmc(coin, kernels.mh(), chains=1, **settings).prepare(())
    loop, form, start = prepared.built.loop, prepared.built.form, [jnp.zeros(1, int), jnp.log(jnp.full(1, 0.7 * 0.2))]
    assert [v.full_shape for v in form.inputs] == [x.shape for x in start]
    size, info = loop.kernel.size, len(loop.kernel.info)

    def states():
        outs = form(*start)  # the last state, then states and numbers of a loop, or of warm-up and draws
        kept = jnp.concatenate([outs[size], *outs[2 * size + info : 3 * size + info][:1]], axis=1)
        sample("states", dist.Delta((kept[0, jnp.array(rows)] @ jnp.array([1, 2, 4])).astype(float)))

    return inference.enumerate(states)().marginal("states")


@pytest.mark.slow
def test_the_form_of_thinned_draws_has_the_law_of_the_rows_that_are_kept():
    whole = law_of_states([0, 2, 4], warmup=0, draws=5)
    assert len(whole) == 8
    for settings in ({"warmup": 1, "draws": 2, "thin": 2}, {"warmup": 3, "draws": 2}):
        rows = [0, 1, 2] if "thin" in settings else [0, 2, 4]
        assert law_of_states(rows, **settings) == pytest.approx(whole, abs=1e-14)


def test_the_form_of_a_warmup_alone_keeps_what_the_warmup_does():
    prepared = inference.mcmc(coin, kernels.mh(), chains=2, warmup=3, draws=0, thin=2).prepare(())
    loop, form = prepared.built.loop, prepared.built.form
    assert {v.full_shape for v in form.outputs[loop.kernel.size : 2 * loop.kernel.size]} == {(2, 3)}
