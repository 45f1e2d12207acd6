"""The one door to sums; through a factor graph the factor is the sum over all states, its gradient that of the sum."""

import itertools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import ApproximateInExact, LawfulError, PathLimitError, UnsupportedProgramError
from lawful.form import Factor, Site, walk
from lawful.form.choices import choices_of
from lawful.inference import graphs, kernels, marginalise
from lawful.inference.summing.chosen_sites import checked_sites
from lawful.inference.summing.tables import PREFIX

GRAPH = marginalise(method="graph")


def ring(y):
    """Labels in a ring, whose means and coupling are continuous; one pair of states is excluded."""
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    pull = lawful.sample("pull", dist.Gamma(2.0, 2.0))
    with lawful.plate("i", 4):
        z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)
    lawful.factor("together", pull * jnp.sum(jnp.where(z == jnp.roll(z, 1), 1.0, 0.0)))
    lawful.factor("never", jnp.where((z[0] == 1) & (z[2] == 2), -jnp.inf, 0.0))
    lawful.factor("apart", -0.1 * mu**2)
    return mu, z


def chain(y):
    """A hidden chain with unknown moves and means, and a coin that decides whether a further site runs."""
    stay = lawful.sample("stay", dist.Beta(2.0, 2.0))
    gap = lawful.sample("gap", dist.Normal(1.0, 1.0))
    late = lawful.sample("late", dist.Bernoulli(0.4))
    shift = lawful.cond(late == 1, lambda: lawful.sample("shift", dist.Bernoulli(0.3)), lambda: 0)

    def step(z, y):
        z = lawful.sample("z", dist.Bernoulli(jnp.where(z == 1, stay, 1.0 - stay)))
        lawful.sample("y", dist.Normal(gap * z + shift, 1.0), obs=y)
        return z, None

    lawful.scan(step, jnp.asarray(0), y)


RING, CHAIN = (ring, jnp.array([0.3, -1.0, 2.0, 0.1])), (chain, jnp.array([0.5, 1.5, -0.2]))
POINTS = {ring: {"mu": 0.4, "pull": 0.7}, chain: {"stay": 0.3, "gap": 1.4}}
STATES = {ring: [("z", (4,), 3)], chain: [("late", (), 2), ("shift", (), 2), ("z", (3,), 2)]}


def sum_over_states(program, y, point):
    """Log of the sum of the program's density over all states; what does not run has one."""
    form = lawful.trace(program, y)
    total = []
    spaces = [itertools.product(range(k), repeat=int(np.prod(shape))) for _, shape, k in STATES[program]]
    for states in itertools.product(*map(list, spaces)):
        named = {name: jnp.array(x).reshape(shape)
                 for (name, shape, _), x in zip(STATES[program], states, strict=True)}  # fmt: skip
        if program is chain and named["late"] == 0 and named["shift"] == 1:
            continue
        total.append(float(form.log_density(named | point, y)))
    return np.logaddexp.reduce(total)


@pytest.mark.rest_slow
@pytest.mark.parametrize("program, y", [RING, CHAIN], ids=["ring", "chain"])
def test_the_factor_is_the_sum_over_all_states(program, y):
    form = lawful.trace(program, y)
    summed = inference.enumeration(form, GRAPH)
    assert [c.name for c in choices_of(summed.marginal)] == list(POINTS[program])
    for scale in (1.0, 0.3):
        point = {name: scale * x for name, x in POINTS[program].items()}
        found = float(summed.marginal.log_density(point, y))
        assert found == pytest.approx(sum_over_states(program, y, point), rel=1e-13)


@pytest.mark.rest_slow
@pytest.mark.parametrize("program, y", [RING, CHAIN], ids=["ring", "chain"])
def test_gradients_are_finite_differences(program, y):
    marginal = inference.enumeration(lawful.trace(program, y), GRAPH).marginal

    def density(point, y):
        return marginal.log_density(point, y)

    at = {name: jnp.asarray(x) for name, x in POINTS[program].items()}
    slopes, own = jax.grad(density, argnums=(0, 1))(at, y)
    step = 1e-5
    for name in at:
        up, down = (float(density(at | {name: at[name] + s}, y)) for s in (step, -step))
        assert float(slopes[name]) == pytest.approx((up - down) / (2 * step), rel=1e-6)
    up, down = (float(density(at, y.at[1].add(s))) for s in (step, -step))
    assert float(own[1]) == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_terms_free_of_the_sites_stay_and_one_factor_takes_the_place_of_the_others():
    marginal = inference.enumeration(lawful.trace(*RING), GRAPH).marginal
    factors = [node.address for node in walk(marginal) if isinstance(node, Factor)]
    assert factors == [("apart",), (PREFIX, "log mass", "z")]
    assert [node.address for node in walk(marginal) if isinstance(node, Site)] == [("mu",), ("pull",)]


def test_what_is_drawn_back_has_the_conditional():
    """The mean over draws at one point, against the marginals that `bp` gives there."""
    summed = inference.enumeration(lawful.trace(*RING), GRAPH)
    point = POINTS[ring]
    many = {name: np.full((1, 4000), x) for name, x in point.items()}
    drawn = inference.recover(summed, many, jax.random.key(3), RING[1])
    assert sorted(drawn) == ["mu", "pull", "z"]
    exact = inference.bp(ring, given=point).beliefs(RING[1]).marginals["z"]
    shares = np.stack([(drawn["z"][0] == k).mean(axis=0) for k in range(3)], axis=-1)
    np.testing.assert_allclose(shares, exact, atol=5 * 0.5 / 4000**0.5)
    assert not np.any((drawn["z"][..., 0] == 1) & (drawn["z"][..., 2] == 2))


def test_some_sites_are_summed_and_others_stay():
    form = lawful.trace(*CHAIN)
    marginal = inference.enumeration(form, marginalise(["z"], method="graph")).marginal
    assert [c.name for c in choices_of(marginal)] == ["stay", "gap", "late", "shift"]
    whole = [float(marginal.log_density(POINTS[chain] | rest, CHAIN[1]))
             for rest in ({"late": 0}, {"late": 1, "shift": 0}, {"late": 1, "shift": 1})]  # fmt: skip
    assert np.logaddexp.reduce(whole) == pytest.approx(sum_over_states(*CHAIN, POINTS[chain]), rel=1e-13)


def test_a_program_without_finite_sites_is_left_as_it_is():
    form = lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))
    assert marginalise()(form) is form


def test_states_that_exclude_each_other_give_minus_infinity_and_gradients_of_zero():
    def never():
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        z = lawful.sample("z", dist.Bernoulli(0.5))
        lawful.factor("no", jnp.where(z >= 0, -jnp.inf, x))

    marginal = inference.enumeration(lawful.trace(never), GRAPH).marginal
    assert marginal.log_density({"x": 0.3}) == -jnp.inf
    assert jax.grad(lambda x: marginal.log_density({"x": x}))(0.3) == pytest.approx(-0.3)


@pytest.mark.slow
def test_labels_of_a_bag_are_summed_as_a_count():
    """No table of a hundred labels is made: the mass is that of the distribution of their number."""
    chances = np.linspace(0.1, 0.6, 100)

    def bag():
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        with lawful.plate("i", 100):
            z = lawful.sample("z", dist.Bernoulli(jnp.asarray(chances)))
        lawful.sample("seen", dist.Normal(1.0 * jnp.sum(z) + mu, 0.5), obs=40.0)

    marginal = inference.enumeration(lawful.trace(bag), GRAPH).marginal
    masses = np.array([1.0])
    for p in chances:
        masses = np.convolve(masses, [1 - p, p])
    prior = dist.Normal(0.0, 1.0).log_prob(0.3)
    seen = dist.Normal(np.arange(101) + 0.3, 0.5).log_prob(40.0)
    wanted = float(prior) + np.log(np.sum(masses * np.exp(np.asarray(seen))))
    assert float(marginal.log_density({"mu": 0.3})) == pytest.approx(wanted, rel=1e-12)


# ---- inside the program, or through the graph


def long_ring(y):
    """Elements that meet, of which a table would have more entries than are listed."""
    with lawful.plate("i", len(y)):
        z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
    lawful.factor("together", 0.4 * jnp.sum(jnp.where(z == jnp.roll(z, 1), 1.0, 0.0)))


def ways(form):
    """Through a graph or not, as the plan says."""
    return ["factor graph" in line for line in inference.enumeration(form).plan()]


def test_sums_stay_in_the_program_where_elements_are_apart_and_go_through_a_graph_where_they_meet():
    """Of eight elements that meet: 6,561 states, which the program can list, and the graph need not."""
    assert ways(lawful.trace(mixture, jnp.zeros(8))) == ways(lawful.trace(*CHAIN))[:1] == [False]
    form = lawful.trace(long_ring, jnp.linspace(-1.0, 2.0, 8))
    assert ways(form) == [True]
    y = jnp.linspace(-1.0, 2.0, 8)
    found = [marginalise(method=m)(form).log_density({}, y) for m in ("auto", "graph", "program")]
    np.testing.assert_allclose(found[:2], found[2], rtol=1e-13)
    assert found[0] == found[1]


def test_what_a_graph_refuses_is_listed_in_the_program_and_the_reverse():
    """A site that stays reads elements that meet: no graph takes that; a table of 6,561 entries does."""

    def read(y):
        with lawful.plate("i", 8):
            z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        x = lawful.sample("x", dist.Normal(1.0 * jnp.sum(z), 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)

    form = lawful.trace(read, 0.3)
    with pytest.raises(UnsupportedProgramError, match="the law of site 'x'"):
        GRAPH(form)
    counts = np.array([1.0])
    for _ in range(8):
        counts = np.convolve(counts, [0.2, 0.5, 0.3])
    log_prior = dist.Normal(jnp.arange(17.0), 1.0).log_prob(1.7)
    exact = np.log(np.sum(counts * np.exp(log_prior))) + dist.Normal(1.7, 1.0).log_prob(0.3)
    marginal = inference.enumeration(form, ["z"]).marginal
    assert float(marginal.log_density({"x": 1.7}, 0.3)) == pytest.approx(float(exact), rel=1e-13)
    with pytest.raises(PathLimitError, match="together its elements have 6561 values.*Fix"):
        marginalise(max_table=1000)(form)


# ---- what is refused


def test_a_site_that_stays_must_not_read_what_is_summed():
    def model():
        z = lawful.sample("z", dist.Bernoulli(0.5))
        x = lawful.sample("x", dist.Normal(1.0 * z, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=0.3)

    with pytest.raises(
        UnsupportedProgramError, match=r"the law of site 'x' .*, which stays, reads z.*method='program'"
    ):
        GRAPH(lawful.trace(model))
    assert [c.name for c in choices_of(inference.enumeration(lawful.trace(model)).marginal)] == ["x"]


def test_a_sum_over_budget_is_refused_with_its_cost_and_the_cheapest_exact_way():
    form = lawful.trace(*RING)
    with pytest.raises(ApproximateInExact, match="width_budget=27, which takes a table of 27") as error:
        marginalise(method="graph", width_budget=9)(form)
    assert "block_gibbs(), which draws them exactly in 2 blocks, the largest table 9" in str(error.value)
    assert error.value.sites == (("z",),)
    with pytest.raises(ApproximateInExact, match="belief propagation is no exact sum. Fix: method='graph'"):
        marginalise(method="loopy")(form)
    with pytest.raises(ApproximateInExact, match="needs a table over the budget of 9 entries"):
        marginalise(width_budget=9)(lawful.trace(long_ring, jnp.zeros(30)))


def test_a_warm_start_is_refused():
    with pytest.raises(LawfulError, match="depend on the past of a chain"):
        marginalise(approximate=True, init=None)
    with pytest.raises(LawfulError, match="expected one of auto, program, graph, loopy, got 'exact'"):
        marginalise(method="exact")
    with pytest.raises(LawfulError, match="'mu' has infinitely many values"):
        marginalise(["mu"])(lawful.trace(*RING))


@pytest.mark.parametrize("given", [3, [0], {"z": 1}, 0.5, [("z",), 1]])
def test_what_names_no_sites_is_refused_alike_by_every_method(given):
    message = (
        re.escape("enumerate: expected 'all', names of finite sites, or a rule that takes a choice") + ".*got .*Fix: "
    )
    calls = [
        lambda: checked_sites(given, "enumerate"),
        lambda: inference.mcmc(ring, enumerate=given),
        lambda: inference.tempered_smc(ring, particles=10, enumerate=given),
        lambda: inference.parallel_tempering(ring, enumerate=given),
    ]
    for call in calls:
        with pytest.raises(LawfulError, match=message):
            call()


# ---- belief propagation in place of the sum


def loop(y):
    """A ring without exclusions, so that messages settle."""
    pull = lawful.sample("pull", dist.Gamma(2.0, 2.0))
    with lawful.plate("i", 3):
        z = lawful.sample("z", dist.Bernoulli(0.4))
        lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
    lawful.factor("together", pull * jnp.sum(jnp.where(z == jnp.roll(z, 1), 1.0, 0.0)))


@pytest.mark.slow
def test_an_approximation_has_the_value_of_belief_propagation_and_never_passes_as_exact():
    y = jnp.array([0.3, -1.0, 2.0])
    rough = marginalise(method="graph", approximate=True, width_budget=2)
    assert not rough.contract.exact and "approximate" in rough.name
    assert not (rough >> inference.spawn(2)).contract.exact
    marginal = rough(lawful.trace(loop, y))
    graph = graphs.to_factor_graph(loop, y, given={"pull": 0.7})
    bethe = float(graphs.propagated(graph).log_z)
    exact = float(graphs.eliminated(graph).log_z)
    found = float(marginal.log_density({"pull": 0.7}, y))
    assert found == pytest.approx(bethe, abs=1e-8)
    assert abs(found - exact) > 1e-4
    slope = jax.grad(lambda x: marginal.log_density({"pull": x}, y))(0.7)
    up, down = (float(marginal.log_density({"pull": 0.7 + s}, y)) for s in (1e-4, -1e-4))
    assert float(slope) == pytest.approx((up - down) / 2e-4, rel=1e-5)


def test_a_sum_within_budget_is_exact_although_an_approximation_is_allowed():
    y = jnp.array([0.3, -1.0, 2.0])
    point = {"pull": 0.7}
    allowed, exact = (
        marginalise(method="graph", approximate=a)(lawful.trace(loop, y)).log_density(point, y) for a in (True, False)
    )
    assert allowed == exact


def test_what_was_summed_approximately_is_not_drawn_back():
    with pytest.raises(UnsupportedProgramError, match="cannot be drawn back exactly"):
        marginalise(method="graph", approximate=True, width_budget=2)(lawful.trace(*RING))


# ---- runs


def mixture(y):
    """The mixture of the reference data: labels of equal weight, two means."""
    mu = lawful.sample("mu", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    with lawful.plate("i", 8):
        z = lawful.sample("z", dist.Bernoulli(0.5))
        lawful.sample("y", dist.Normal(mu[z], 0.5**0.5), obs=y)


@pytest.fixture
def case(data):
    return json.loads((data / "exact" / "mixture_enumerated.json").read_text())


@pytest.mark.slow
def test_nuts_on_the_marginal_finds_the_clusters(case):
    y = jnp.array(case["data"]["y"])
    plan = inference.mcmc(mixture, kernels.nuts(), chains=4, warmup=300, draws=500, enumerate=GRAPH)
    assert "z: summed out exactly through a factor graph (2 values, 8 elements), drawn back after the run" in plan.plan(
        y
    )
    z = np.asarray(plan(jax.random.key(7), y).posterior["z"])
    same = (z[..., :, None] == z[..., None, :]).astype(float)
    exact = np.array(case["exact"]["same_cluster_probability"])
    # Given the means labels are independent draws; means of chains stand apart by label switching alone, which the
    # event does not see. The error of the mean over chains is that of their means.
    error = np.maximum(same.mean(axis=1).std(axis=0, ddof=1) / 2, (exact * (1 - exact) / same[..., 0, 0].size) ** 0.5)
    off = ~np.eye(8, dtype=bool)
    assert (np.abs(same.mean(axis=(0, 1)) - exact) / np.maximum(error, 1e-12))[off].max() < 4


@pytest.mark.slow
def test_smc_on_the_marginal_has_the_evidence(case):
    y = jnp.array(case["data"]["y"])
    run = inference.smc(mixture, particles=4000, runs=8, enumerate=GRAPH)
    result = run(jax.random.key(5), y)
    assert abs(result.log_evidence_pooled - case["exact"]["log_evidence"]) < 4 * result.log_evidence_error
    assert result.log_evidence_error < 0.05
    assert result.posterior["z"].shape[-1] == 8


@pytest.mark.slow
def test_it_runs_in_single_precision(single_precision):
    plan = inference.mcmc(ring, kernels.nuts(), chains=2, warmup=20, draws=20, enumerate=GRAPH)
    result = plan(jax.random.key(0), jnp.array([0.3, -1.0, 2.0, 0.1]))
    assert np.isfinite(result.posterior["mu"]).all() and result.posterior["z"].shape == (2, 20, 4)


def two_arms():
    """Arms of a branch that draw a site of one name, each by its own law and to another use."""
    k = lawful.sample("k", dist.Bernoulli(0.5))
    a = "a"
    v = lawful.cond(
        k == 1, lambda: 1.0 * lawful.sample(a, dist.Bernoulli(0.3)), lambda: 2.0 * lawful.sample(a, dist.Bernoulli(0.6))
    )
    lawful.sample("y", dist.Normal(v, 1.0), obs=0.3)


def in_steps():
    lawful.scan(lambda carry, _: (carry, two_arms()), 0, None, length=3)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("program", "exact"), [(two_arms, -1.2559115289890879), (in_steps, 3 * -1.2559115289890879)])
def test_a_name_that_two_arms_share_is_summed_with_the_law_of_the_arm_that_runs(program, exact):
    """It had its first value wherever one of the two did not run, which gave -1.5618 for -1.2559."""
    form = lawful.trace(program)
    for sites in (GRAPH, "all"):
        assert float(inference.enumeration(form, sites).marginal.log_density({})) == pytest.approx(exact, rel=1e-12)
    assert float(inference.bp(program).beliefs().log_evidence) == pytest.approx(exact, rel=1e-12)
