"""Log densities of draws of eager runs: terms sum to the density of the run, and are those of a traced program."""

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.results.log_densities import densities
from tests.inference.eager.test_results import BUILDS, KEY, lists

DATA = np.array([0.3, -0.2, 1.1])


def totals(tree, *groups):
    arrays = [x.values for g in groups for x in tree[g].data_vars.values()]
    return sum(x.reshape(*x.shape[:2], -1).sum(axis=-1) for x in arrays)


@pytest.fixture(scope="module", params=BUILDS)
def result(request):
    return BUILDS[request.param](lists)(KEY, 0.3)


def test_terms_sum_to_the_log_density_where_structure_changes_from_run_to_run(result):
    """By hand: a coin, as many normal items and steps as it says, two levels, and one datum around all of them."""
    draws, log = result.posterior, stats.norm.logpdf
    walk, longer = draws["walk"], draws["longer"] == 1
    prior = np.log(0.5) + log(draws["item0"]) + np.where(longer, log(draws["item1"]), 0.0) + log(walk[..., 0])
    prior += np.where(longer, log(walk[..., 1], walk[..., 0]), 0.0) + log(draws["level"]).sum(axis=-1)
    last = np.where(longer, walk[..., 1], walk[..., 0])
    tree = result.to_datatree()
    np.testing.assert_allclose(totals(tree, "log_prior"), prior, rtol=1e-12)
    likelihood = log(0.3, last + draws["level"].sum(axis=-1))
    np.testing.assert_allclose(tree["log_likelihood"]["y"], likelihood, rtol=1e-12)
    np.testing.assert_array_equal(tree["log_prior"]["item1"].values[~longer], 0.0)
    assert tree["log_prior"]["level"].dims == ("chain", "draw", "team")


def seen(y):
    """A plate, an observed loop, factors of both parts, and a scale and a mask around statements."""
    with lawful.plate("group", 3):
        level = lawful.sample("level", dist.Normal(0.0, 2.0))
        lawful.sample("y", dist.Normal(level, 1.0), obs=y)

    def step(x, datum):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("z", dist.Normal(x, 0.5), obs=datum)
        return x, None

    lawful.scan(step, 0.0, y)
    with lawful.scale(0.5):
        lawful.sample("half", dist.Normal(level[0], 1.0), obs=0.1)
    with lawful.mask(False):
        lawful.sample("off", dist.Normal(level[1], 1.0), obs=0.1)
    lawful.factor("cost", -0.3 * level[2] ** 2)
    lawful.factor("prior", -0.1 * level[1] ** 2, role="prior")


@pytest.mark.slow
def test_terms_are_those_of_the_traced_program_at_the_same_draws():
    result = inference.mcmc(seen, chains=2, warmup=3, draws=50, mode="eager")(KEY, DATA)
    tree = result.to_datatree()
    expected = densities(lawful.trace(seen, DATA), (DATA,), result.posterior)
    for group in ("log_likelihood", "log_prior"):
        wanted = getattr(expected, group)
        assert set(tree[group].data_vars) == set(wanted)
        for name, terms in wanted.items():
            np.testing.assert_allclose(tree[group][name], terms, rtol=1e-12, atol=1e-300, err_msg=name)
            assert tree[group][name].dims == ("chain", "draw", *expected.dims[name]), name
    assert tree["observed_data"]["y"].dims == ("group",) and tree["observed_data"]["z"].dims == ("time",)
    assert np.isfinite(result.loo("y").elpd)


def test_what_no_array_can_hold_is_summed():
    def crowd():
        n = 1 + int(lawful.sample("more", dist.Bernoulli(0.5)))
        with lawful.plate("person", n):
            heights = lawful.sample("height", dist.Normal(0.0, 1.0))
        lawful.factor("tall", 0.1 * float(np.sum(heights)))

    result = inference.importance(crowd, particles=8, mode="eager")(KEY)
    tree = result.to_datatree()
    heights = np.array([[stats.norm.logpdf(run["height"]).sum() for run in row] for row in result.traces])
    np.testing.assert_allclose(tree["log_prior"]["height"], heights, rtol=1e-12)
    assert len({len(run["height"]) for run in result.traces[0]}) == 2


def test_one_group_alone_and_what_needs_a_traced_program():
    result = BUILDS["importance"](lists)(KEY, 0.3)
    tree = result.to_datatree(log_likelihood=False)
    assert "log_likelihood" not in tree.children and "log_prior" in tree.children
    for asked in ({"predictive": True}, {"unconstrained": True}):
        with pytest.raises(LawfulError, match="of a traced program, and this result is of mode='eager'"):
            result.to_datatree(**asked)


def test_a_weight_that_was_read_as_zero_has_the_term_of_zero(tmp_path):
    def half():
        x = float(lawful.sample("x", dist.Normal(0.0, 1.0)))
        lawful.factor("f", np.nan if x > -0.3 else -1.0)

    result = inference.importance(half, particles=20, nonfinite="dead", mode="eager")(KEY)
    particles = inference.smc(half, particles=3, runs=3, nonfinite="dead", mode="eager")(KEY)
    assert 0 < np.isneginf(particles.log_evidence).sum() < 3
    particles.save(tmp_path / "dead.nc")
    terms = particles.surviving().to_datatree()["log_likelihood"]["f"].values
    np.testing.assert_array_equal(terms, -1.0)
    np.testing.assert_array_equal(result.to_datatree()["log_likelihood"]["f"], -1.0)


def test_a_program_that_does_not_repeat_itself_is_told_and_its_draws_are_not_lost():
    turns = []

    def changing():
        turns.append(0)
        return lawful.sample(f"x{len(turns) // 5}", dist.Normal(0.0, 1.0))

    result = inference.importance(changing, particles=4, mode="eager")(KEY)
    with pytest.warns(UserWarning, match="log densities are left out"):
        tree = result.to_datatree()
    assert "log_prior" not in tree.children and "posterior" in tree.children
    with pytest.raises(LawfulError):
        result.to_datatree(log_prior=True)


def test_axes_are_called_as_those_of_the_traced_program_where_loops_differ_in_length():
    def two(y):
        x, _ = lawful.scan(lambda c, _: (lawful.sample("x", dist.Normal(c, 1.0)), None), 0.0, None, length=2)
        lawful.scan(lambda c, y: (c, lawful.sample("y", dist.Normal(x, 1.0), obs=y)), 0.0, y)

    staged, eager = (inference.importance(two, particles=3, mode=mode)(KEY, DATA) for mode in ("staged", "eager"))
    assert eager.dims["x"] == staged.dims["x"] == ("time",)
    trees = [result.to_datatree() for result in (staged, eager)]
    for group in ("posterior", "log_prior", "log_likelihood"):
        shapes = [{name: x.dims for name, x in tree[group].data_vars.items()} for tree in trees]
        assert shapes[0] == shapes[1], group
