"""Row 1: a log density that is not a number during MCMC rejects the proposal, is counted exactly and is named."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from lawful import factor, inference, plate, sample, scan, trace
from lawful.inference import RunOptions, kernels
from lawful.inference.check import ALPHA, enumerate_measure, key_of
from lawful.inference.check.exact.transition import stationary
from lawful.inference.findings.findings import Status
from tests.tiers import rest_slow


def half_space():
    """The logarithm of a negative number where x < 0."""
    x = sample("x", dist.Normal(0.5, 1.0))
    sample("y", dist.Normal(jnp.log(x), 1.0), obs=0.2)


def twin(_):
    """The same, as a blind draw: every proposal is the prior's, so that those with x < 0 can be counted apart."""
    x = sample("x", dist.Normal(0.5, 1.0))
    factor("broken", jnp.where(x < 0, jnp.nan, 0.0))


def label_broken():
    """The scale of one element in three is not a number."""
    with plate("item", 3):
        z = sample("z", dist.Bernoulli(0.3))
        sample("y", dist.Normal(0.0, jnp.where(z == 1, jnp.nan, 1.0)), obs=jnp.zeros(3))


def step_broken():
    def step(x, y):
        x = sample("x", dist.Normal(0.3 * x, 1.0))
        sample("y", dist.Normal(0.0, jnp.sqrt(x)), obs=y)
        return x, None

    scan(step, 0.0, jnp.array([0.5, -0.3]))


KERNELS = [
    kernels.random_walk(0.8),
    kernels.mh(),
    kernels.mh(kernels.independence()),
    kernels.cycle(kernels.mh(), kernels.random_walk(0.5)),
]


@pytest.mark.fault(1)
@pytest.mark.tier1
@pytest.mark.parametrize(
    "kernel", [*KERNELS[:1], *(pytest.param(kernel, marks=pytest.mark.slow) for kernel in KERNELS[1:])], ids=repr
)
def test_f01_the_chain_targets_the_posterior_where_it_is_a_number(kernel):
    """False-alarm rate 1e-6 / 512 by Student's t on the means of 100 independent chains (fixed key)."""
    chains = 100
    plan = inference.mcmc(half_space, kernel, chains=chains, warmup=100, draws=200, init={"x": 1.0})
    result = plan(key_of(f"f01/{kernel!r}"))
    assert (result.posterior["x"] > 0).all()
    grid = np.linspace(1e-6, 8, 400_001)
    density = stats.norm.pdf(grid, 0.5) * stats.norm.pdf(0.2, np.log(grid))
    exact = float(np.sum(grid * density) / np.sum(density))
    means = result.posterior["x"].mean(axis=1)
    error = means.std(ddof=1) / math.sqrt(chains)
    assert abs(means.mean() - exact) < stats.t.isf(ALPHA / 2, chains - 1) * error
    assert error < 0.03


def two_steps(bad):
    """Two coins, each seen; from heads to tails the weight of the second step is `bad`."""

    def step(before, t):
        x = sample("x", dist.Bernoulli(jnp.where(before == 1, 0.7, 0.4)))
        factor("seen", jnp.where(x == 1, -0.3, -0.9))
        factor("weight", jnp.where((t == 1) & (before == 1) & (x == 0), bad, 0.0))
        return x, None

    scan(step, 0, jnp.arange(2))


EXACTLY = [
    kernels.particle_gibbs(2, ancestors="sampled"),
    kernels.particle_gibbs(2, ancestors="retained"),
    kernels.particle_gibbs(2, ancestors="backward"),
    kernels.particle_gibbs(2, ancestors="retained", resample_below=0.7),
    kernels.mh(),
    kernels.mh(kernels.independence()),
    kernels.gibbs(),
    kernels.block_gibbs(),
]


@pytest.mark.parametrize(
    ("kernel", "bad"),
    [
        (EXACTLY[6], jnp.inf),
        *(pytest.param(k, b, marks=pytest.mark.slow) for k in EXACTLY for b in (jnp.nan, jnp.inf)),
    ],
    ids=repr,
)  # fmt: skip
def test_f01_the_transition_matrix_keeps_the_posterior_where_it_is_a_number(kernel, bad):
    """Enumerated, with NaN and with +inf: pi K = pi for the pi of the program that has zero there."""
    truth = enumerate_measure(two_steps, jnp.asarray(-jnp.inf))
    report = stationary(kernel, trace(two_steps, bad), [jnp.asarray(bad)], truth, irreducible=False)
    assert report.status == "passed" and report.tv < 1e-12, report


@pytest.mark.slow
@pytest.mark.parametrize("bad", rest_slow([jnp.nan, jnp.inf]), ids=["nan", "inf"])
@pytest.mark.parametrize("kernel", [EXACTLY[0], *rest_slow([*EXACTLY[4:], kernels.slice(1.0)], 0)], ids=repr)
def test_f01_what_is_no_number_is_never_visited_and_is_counted(kernel, bad):
    result = inference.mcmc(two_steps, kernel, chains=4, warmup=0, draws=100)(jax.random.key(0), jnp.asarray(bad))
    assert not ((result.posterior["x"][..., 0] == 1) & (result.posterior["x"][..., 1] == 0)).any()
    assert np.isfinite(result.stats["lp"]).all()
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
    assert not result.ok and finding.value == result.stats["n_nonfinite"].sum() > 0


def test_f01_the_count_is_that_of_the_proposals():
    """A blind proposal is broken where its draw is negative; the same draws are seen where nothing is."""
    plan = inference.mcmc(twin, kernels.mh(kernels.independence()), chains=5, warmup=0, draws=60, init={"x": 1.0})
    result = plan(jax.random.key(3), 0.0)
    clean = inference.mcmc(
        lambda _: sample("x", dist.Normal(0.5, 1.0)), kernels.mh(kernels.independence()),
        chains=5, warmup=0, draws=60, init={"x": 1.0},
    )(jax.random.key(3), 0.0)  # fmt: skip
    injected = clean.posterior["x"] < 0
    assert 20 < injected.sum() < 280
    np.testing.assert_array_equal(result.stats["n_nonfinite"], injected)
    assert (result.stats["acceptance_rate"][injected] == 0).all()


def test_f01_thinning_and_warmup_lose_no_count():
    def nowhere_else():
        x = sample("x", dist.Normal(0.5, 1.0))
        factor("broken", jnp.where(x == 1.0, 0.0, jnp.nan))

    plan = inference.mcmc(nowhere_else, kernels.random_walk(2.0), chains=3, warmup=7, draws=11, thin=4, init={"x": 1.0})
    result = plan(jax.random.key(5))
    assert (result.warmup.stats["n_nonfinite"] == 1).all() and (result.stats["n_nonfinite"] == 4).all()
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
    assert finding.value == 3 * (7 + 4 * 11)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("program", "kernel", "start", "site", "pattern"),
    [
        (half_space, KERNELS[0], {"x": 1.0}, "y", r"'y' \(.*test_f01.*\), loc = nan at value 0\.2"),
        (half_space, KERNELS[3], {"x": 1.0}, "y", r"'y' \(.*test_f01.*\), loc = nan at value 0\.2"),
        (label_broken, KERNELS[1], {"z": jnp.zeros(3, int)}, "y", r"scale = \[.*nan.*\] at value \[0"),
        (step_broken, KERNELS[1], {"x": jnp.ones(2)}, "y[", r"'y\[[01]\]' .* scale = nan at value"),
    ],
    ids=lambda p: getattr(p, "__name__", None),
)
def test_f01_the_site_and_its_parameter_are_named(program, kernel, start, site, pattern):
    result = inference.mcmc(program, kernel, chains=4, warmup=3, draws=30, thin=2, init=start)(jax.random.key(2))
    assert not result.ok and Status.NONFINITE_DENSITY in result.status
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
    assert finding.sites[0].startswith(site)
    assert re.search(pattern, finding.message), finding.message
    assert "in chain" in finding.message and "at step" in finding.message


@pytest.mark.slow
def test_f01_the_place_is_the_same_however_the_run_is_divided(tmp_path):
    """Whole, in chunks, into a store: one message, of the step that the counts of the whole run have first."""

    def told(run):
        plan = inference.mcmc(half_space, KERNELS[0], chains=3, warmup=2, draws=30, thin=2, init={"x": 4.0}, run=run)
        result = plan(key_of("f01/divided"))
        (finding,) = [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
        return finding.message, np.asarray(result.warmup.stats["n_nonfinite"]), np.asarray(result.stats["n_nonfinite"])

    message, early, late = told(None)
    assert not early.any()
    draw, chain = np.argwhere(late.T)[0]
    assert draw > 0 and f"in chain {chain} at step {2 + 2 * draw} to {3 + 2 * draw};" in message
    for run in (RunOptions(chunk=7), RunOptions(chunk=7, store=tmp_path / "draws.zarr")):
        assert told(run)[0] == message


def vector_broken():
    """The square root of a negative number in a corner of four coordinates, one of them bounded."""
    with plate("item", 3):
        x = sample("x", dist.Normal(0.0, 1.0))
    s = sample("s", dist.HalfNormal(1.0))
    sample("y", dist.Normal(0.0, jnp.sqrt(x.sum() + s + 2.0)), obs=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel", [kernels.hmc(n_steps=4), *rest_slow([kernels.nuts(), kernels.mala(0.9)], 0)], ids=repr
)
def test_f01_kernels_that_learn_name_a_site_near_by(kernel):
    result = inference.mcmc(vector_broken, kernel, chains=4, warmup=100, draws=300)(jax.random.key(0))
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
    assert finding.sites == ("y",) and "scale = nan at value 0.2" in finding.message
    assert "near the state before it, the density is so at 'y'" in finding.message and "test_f01" in finding.message


def test_f01_a_bound_that_moves_is_no_hindrance():
    """Coordinates are those of the support at the state: its bound is another choice."""

    def program():
        u = sample("u", dist.Uniform(0.0, sample("tau", dist.HalfNormal(1.0))))
        sample("y", dist.Normal(jnp.log(u - 0.01), 1.0), obs=-1.0)

    plan = inference.mcmc(program, kernels.hmc(n_steps=4), warmup=50, draws=400, init={"u": 0.3, "tau": 1.0})
    (finding,) = [f for f in plan(0).reasons if f.code == "NONFINITE_DENSITY"]
    assert finding.sites == ("y",) and "loc = nan at value -1" in finding.message


def test_f01_where_steps_are_not_run_again_nothing_is_lost():
    plan = inference.mcmc(
        half_space, kernels.random_walk(1.0), chain_method="sequential", warmup=50, draws=100, init={"x": 1.0}
    )
    result = plan(0)
    assert result.posterior["x"].shape == (4, 100)
    assert [f.sites for f in result.reasons if f.code == "NONFINITE_DENSITY"] == [("y",)]


def test_f01_a_factor_is_named_with_its_weight():
    result = inference.mcmc(twin, kernels.random_walk(1.0), chains=2, warmup=0, draws=50, init={"x": 1.0})(
        jax.random.key(0), 0.0
    )
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
    assert finding.sites == ("broken",)
    assert "log weight = nan" in finding.message


def test_f01_the_other_chains_stay_bit_identical():
    """One chain starts next to the edge; chains whose proposals were numbers are those of a model without the fault."""

    def sound():
        x = sample("x", dist.Normal(0.5, 1.0))
        sample("y", dist.Normal(jnp.log(jnp.where(x > 0, x, 1.0)), 1.0), obs=0.2)

    settings = {"chains": 6, "warmup": 0, "draws": 12, "init": {"x": 2.0}}
    broken = inference.mcmc(half_space, kernels.random_walk(0.6), **settings)(jax.random.key(7))
    clean = inference.mcmc(sound, kernels.random_walk(0.6), **settings)(jax.random.key(7))
    whole = broken.stats["n_nonfinite"].sum(axis=1) == 0
    assert 0 < whole.sum() < 6
    np.testing.assert_array_equal(broken.posterior["x"][whole], clean.posterior["x"][whole])


@pytest.mark.slow
def test_f01_without_a_fault_there_is_no_finding():
    result = inference.mcmc(lambda: sample("x", dist.Normal(0.0, 1.0)), draws=50, warmup=0)(jax.random.key(0))
    assert not [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]


def edge():
    """No number beyond 1, where moves go and a third of the prior's draws does not."""
    x = sample("x", dist.Normal(-1.5, 1.0))
    factor("edge", jnp.where(x > 1.0, jnp.nan, 0.3 * x))


def looks():
    """The same at the second of eight steps; a move takes one step, of all particles."""

    def step(x, t):
        x = sample("x", dist.Normal(0.5 * x - 1.0, 1.0))
        factor("edge", jnp.where((t == 1) & (x > 1.0), jnp.nan, 0.3 * x))
        return x, None

    scan(step, 0.0, jnp.arange(8))


WIDE = kernels.random_walk(2.0)
POPULATIONS = {
    "tempered": lambda **how: inference.tempered_smc(edge, kernel=WIDE, steps=2, ladder=[0.5, 1.0], **how),
    "waste-free": lambda **how: inference.tempered_smc(edge, kernel=WIDE, chains=10, ladder=[1.0], **how),
    "annealed": lambda **how: inference.annealed_importance(edge, kernel=WIDE, ladder=3, **how),
    "moves in a filter": lambda **how: inference.smc(looks, move=kernels.mh(), **how),
}


@pytest.mark.parametrize("name", [*list(POPULATIONS)[:1], *rest_slow(list(POPULATIONS)[1:], 0)])
def test_f01_moves_of_particles_are_rejected_and_counted(name):
    result = POPULATIONS[name](particles=200, nonfinite="dead")(jax.random.key(1))
    x = result.posterior["x"]
    assert ((x[..., 1] if x.ndim == 3 else x) <= 1.0).all()
    counts = {f.value for f in result.reasons if f.code == "NONFINITE_DENSITY"}
    assert not result.ok and counts == {int(np.nansum(result.stats["n_nonfinite_moves"]))} and min(counts) > 0


def test_f01_particles_without_weight_count_nothing():
    """Half of them never have any, and from there every ratio of densities is infinite or no number."""

    def half():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("edge", jnp.where(x > 0.0, -x, -jnp.inf))

    result = inference.annealed_importance(half, particles=100, kernel=WIDE, ladder=3)(jax.random.key(2))
    assert (result.stats["n_nonfinite_moves"] == 0).all()
    assert not [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
