"""Population cycle: parts in a row keep the measure, each learns from its own numbers, and these are told apart."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from tests.tiers import rest_slow

Y = np.array([2.4, 3.1, 1.9, 2.2])
EXACT = stats.multivariate_normal(np.zeros(4), np.eye(4) + 4.0).logpdf(Y)


def conjugate(y):
    """A normal mean with variance 4 and data of variance 1."""
    mu = lawful.sample("mu", dist.Normal(0.0, 2.0))
    with lawful.plate("i", 4):
        lawful.sample("y", dist.Normal(mu, 1.0), obs=y)


def skewed(current):
    lawful.sample("mu", dist.Normal(0.7 * current["mu"] + 1.0, 0.6))


CYCLES = {
    "flow first": lambda: kernels.cycle(inference.population_hmc(0.5, 2), skewed),
    "flow last": lambda: kernels.cycle(skewed, inference.population_hmc(0.5, 2)),
    "a walk that reads its density": lambda: kernels.cycle(inference.population_walk(), kernels.random_walk(0.5)),
    "two of a population": lambda: kernels.cycle(
        inference.population_walk(), inference.population_hmc(0.5, 2, adapt=True)
    ),
    "by Barker's rule, some again, one of two": lambda: kernels.mixture(
        [1, 1],
        kernels.barker(inference.population_walk()),
        kernels.repeat(kernels.cycle(inference.population_hmc(0.5, 1), skewed), 2),
    ),
}


def run(kernel, **options):
    settings = {"particles": 400, "ladder": [0.2, 1.0], "runs": 40} | options
    return inference.tempered_smc(conjugate, kernel=kernel, **settings)(0, Y)


def standard_errors(result):
    """How far the evidence and the mean are from the exact ones."""
    ratio = np.exp(np.asarray(result.log_evidence) - EXACT)
    means = result.posterior["mu"].mean(axis=1) - Y.sum() / (4 + 0.25)
    return np.array([abs(v.mean()) / (v.std(ddof=1) / np.sqrt(len(v))) for v in (ratio - 1, means)])


@pytest.mark.slow
@pytest.mark.tier2
@pytest.mark.parametrize("options", rest_slow([{"steps": 2}, {"chains": 20}]), ids=["steps", "waste-free"])
@pytest.mark.parametrize("name", CYCLES)
def test_evidence_and_moments_of_a_conjugate_program(name, options):
    """40 runs; within six standard errors of the exact numbers: by Student's law at 5e-7 for each."""
    assert (standard_errors(run(CYCLES[name](), **options)) < 6).all()


@pytest.mark.slow
def test_blocks_of_data_and_annealed_importance_take_a_cycle():
    """The same bound; observations enter two by two."""
    path = inference.data_by_data(block=2)
    assert (standard_errors(run(CYCLES["a walk that reads its density"](), path=path, steps=2)) < 6).all()
    annealed = inference.annealed_importance(
        conjugate, particles=400, kernel=CYCLES["flow last"](), ladder=[0.1, 0.4, 1.0], runs=40
    )
    ratio = np.exp(np.asarray(annealed(0, Y).log_evidence) - EXACT) - 1
    assert abs(ratio.mean()) < 6 * ratio.std(ddof=1) / np.sqrt(40)


@pytest.mark.slow
def test_a_proposal_takes_the_arrays_that_it_has_arguments_for():
    def towards(current, y):
        lawful.sample("mu", dist.Normal(0.5 * current["mu"] + 0.5 * jnp.mean(y), 0.6))

    kernel = kernels.cycle(inference.population_walk(), towards)
    assert (standard_errors(run(kernel, steps=2)) < 6).all()


@pytest.mark.slow
def test_a_part_of_a_mixture_that_did_not_run_leaves_what_is_told_of_it():
    stats = run(kernels.mixture([1, 1], kernels.mh(), kernels.random_walk(0.5)), steps=20, runs=2).stats
    for name in ("acceptance_rate@0_mh", "acceptance_rate@1_mh"):
        assert np.isfinite(stats[name]).all() and (stats[name] > 0).all()


@pytest.mark.slow
def test_a_cycle_tells_its_numbers_together_and_apart():
    stats = run(CYCLES["flow first"](), steps=3, runs=2).stats
    flow, move = stats["acceptance_rate@0_population_hmc"], stats["acceptance_rate@1_mh"]
    np.testing.assert_allclose(stats["acceptance_rate"], 0.5 * (flow + move), rtol=1e-6)
    assert (flow > move + 0.1).all() and stats["n_nonfinite_moves@1_mh"].sum() == 0


@pytest.mark.slow
def test_a_tree_has_a_group_for_each_part_and_a_file_gives_them_back(tmp_path):
    result = run(CYCLES["flow first"](), steps=3, runs=2)
    tree = result.to_datatree()
    for component in ("0_population_hmc", "1_mh"):
        part = tree[f"sample_stats_smc_{component}"]
        assert part.acceptance_rate.dims == ("chain", "stage") and not [n for n in part.data_vars if "@" in n]
    assert not [name for name in tree["sample_stats_smc"].data_vars if "@" in name]
    result.save(tmp_path / "run.nc")
    again = inference.Result.load(tmp_path / "run.nc")
    for name, array in result.stats.items():
        np.testing.assert_array_equal(again.stats[name], array)


@pytest.mark.slow
def test_a_part_learns_from_its_own_acceptance():
    """Leapfrogs that are far too short are lengthened, by what they accept, whatever the other part does."""
    alone = inference.population_hmc(0.05, 2, adapt=True)

    def far(current):
        lawful.sample("mu", dist.Normal(current["mu"] + 1e6, 1.0))

    powers = np.linspace(0.1, 1.0, 10).tolist()
    stats = run(kernels.cycle(alone, far), ladder=powers, steps=1, runs=2).stats
    flow, joint = stats["acceptance_rate@0_population_hmc"], stats["acceptance_rate"]
    assert (joint[:, -1] < 0.5).all()  # which would shorten the steps, and raise what they accept
    fixed = kernels.cycle(inference.population_hmc(0.05, 2), far)
    still = run(fixed, ladder=powers, steps=1, runs=2).stats
    refused = 1 - still["acceptance_rate@0_population_hmc"][:, -1]
    assert (1 - flow[:, -1] > 3 * refused).all()  # what is refused grows with the square of the step, which may double


@pytest.mark.slow
def test_a_part_that_does_not_adapt_keeps_its_step():
    """Beside a part whose step becomes twice as long: its own acceptance would fall."""
    walk, plain = inference.population_walk(), inference.population_hmc(1.0, 2)
    powers = np.linspace(0.1, 1.0, 10).tolist()
    name, rates = "acceptance_rate@1_population_hmc", []
    for kernel in ((walk, plain), (walk, plain, inference.population_hmc(0.05, 1, adapt=True))):
        rates.append(run(kernels.cycle(*kernel), ladder=powers, steps=2, runs=4).stats[name][:, -3:])
    assert abs(rates[0].mean() - rates[1].mean()) < 0.02


@pytest.mark.slow
def test_a_walk_that_goes_on_with_the_parts_of_its_density_is_the_walk(monkeypatch):
    """Also where a site stays, and in waste-free moves: the same draws to rounding, each place scored once."""

    def pair():
        scale = lawful.sample("scale", dist.LogNormal(0.0, 0.5))
        lawful.factor("f", -0.5 * scale * lawful.sample("x", dist.Normal(0.0, scale)) ** 2)

    for kernel, more in ((kernels.random_walk(0.5), {"chains": 5}), (kernels.random_walk({"x": 0.7}), {"steps": 3})):
        plan = lambda: inference.tempered_smc(pair, particles=20, kernel=kernel, ladder=[0.5, 1.0], **more)
        found = plan()(0).posterior
        with monkeypatch.context() as patch:
            patch.setattr(type(kernels.mh()), "carrying", lambda *_: None)
            again = plan()(0).posterior
        for name in found:
            np.testing.assert_allclose(found[name], again[name], rtol=1e-9)


def test_what_nothing_fits_and_what_moves_a_part_only_is_refused():
    with pytest.raises(LawfulError, match="population_walk: no particles fit its scales here"):
        inference.mcmc(conjugate, inference.population_walk(), draws=5, warmup=0)(0, Y)

    def pair():
        lawful.sample("a", dist.Normal())
        lawful.sample("b", dist.Normal())

    part = kernels.on(["a"], inference.population_hmc(0.5, 1))
    with pytest.raises(LawfulError, match="population_hmc: scales of 2 coordinates for 1"):
        inference.tempered_smc(pair, particles=10, kernel=part, steps=1)(0)


def test_a_density_without_a_gradient_is_told_of_moves_along_gradients():
    def rooted():
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.factor("f", jnp.sqrt(jnp.maximum(x + 1.0, 0.0)))  # below -1 its gradient is infinity times 0

    kernel = inference.population_hmc(0.5, 2)
    result = inference.tempered_smc(rooted, particles=400, kernel=kernel, ladder=[1.0], steps=2, on_fault="flag")(0)
    assert result.stats["n_nonfinite_grad"].sum() > 0
    assert any("NONFINITE_GRADIENT" in str(reason) for reason in (*result.reasons, *result.warnings))


def test_two_that_adapt_are_refused_also_in_a_cycle_of_cycles():
    adapts = inference.population_hmc(adapt=True)
    for kernel in (kernels.cycle(adapts, adapts), kernels.cycle(kernels.cycle(adapts, kernels.mh()), adapts)):
        with pytest.raises(LawfulError, match="two kernels adapt"):
            run(kernel)
    with pytest.raises(LawfulError, match="expected a proposal or a program"):
        kernels.cycle(adapts, 3)


def test_what_a_part_cannot_move_is_told():
    def coins():
        lawful.factor("f", 0.1 * lawful.sample("x", dist.Bernoulli(0.5)))

    kernel = kernels.cycle(kernels.mh(), inference.population_hmc())
    with pytest.raises(UnsupportedProgramError, match="population_hmc: site 'x' .* is discrete"):
        inference.tempered_smc(coins, particles=10, kernel=kernel, steps=1)(0)


def test_the_plan_says_how_each_part_moves():
    plan = inference.tempered_smc(conjugate, particles=10, kernel=CYCLES["flow last"](), steps=1).plan(Y)
    assert "1. mu: proposed by skewed" in plan and "2. mu: 2 leapfrogs of 0.5 x" in plan
