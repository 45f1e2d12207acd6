"""The kernel that a program gets where none is given: what is chosen and why, its law, and every way to run it."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, inference, plate, sample, scan
from lawful.errors import LawfulError
from lawful.inference import RunOptions, kernels
from lawful.inference.check import invariant
from lawful.inference.check.programs.grammar import random_program
from lawful.inference.check.rows.kernel_rows import CHOSEN
from lawful.inference.check.statistics.power import z_critical
from lawful.inference.kernels.base.smooth_sites import smooth_sites
from lawful.inference.kernels.default_kernel import default_kernel
from tests.tiers import rest_slow

KEY = jax.random.key(38)
Y = jnp.array([-2.9, -3.4, 0.2, 3.1])
SHORT = {"chains": 2, "warmup": 20, "draws": 30}


def mixture(y):
    mean = sample("mean", dist.Normal(jnp.array([-3.0, 3.0]), 1.0).to_event(1))
    with plate("item", len(y)):
        label = sample("label", dist.Bernoulli(0.4))
        sample("y", dist.Normal(mean[label], 1.0), obs=y)


def regression(y):
    slope, noise = sample("slope", dist.Normal(0.0, 2.0)), sample("noise", dist.HalfNormal(1.0))
    with plate("item", len(y)):
        sample("y", dist.Normal(slope * jnp.arange(len(y)), noise), obs=y)


def spins():
    """All spins meet: the sum over them is out of reach, and draws of blocks without a cycle are not."""
    pull = sample("pull", dist.Normal(0.0, 0.01))
    with plate("i", 24):
        z = sample("z", dist.Bernoulli(0.5))
    factor("f", pull * jnp.sum(z[:, None] * z[None, :]))


def parity():
    """One term reads all spins at once: its table is too large even for blocks."""
    pull = sample("pull", dist.Normal(0.0, 1.0))
    with plate("i", 24):
        z = sample("z", dist.Bernoulli(0.5))
    factor("f", pull * jnp.cos(jnp.sum(z)))


def grid():
    """A grid whose sum takes too large tables; blocks without a cycle do not."""
    pull = sample("pull", dist.Normal(0.0, 0.1))
    with plate("i", 12), plate("j", 12):
        z = sample("z", dist.Bernoulli(0.5))
    factor("f", pull * (jnp.sum(z[1:] * z[:-1]) + jnp.sum(z[:, 1:] * z[:, :-1])))


def row():
    """A row of spins written with slices: a sum that the factor graph of the program does, and no plate."""
    pull = sample("pull", dist.Normal(0.0, 1.0))
    with plate("i", 24):
        z = sample("z", dist.Bernoulli(0.5))
    factor("f", pull * jnp.sum(z[1:] * z[:-1]))


def chain(y):
    stay = sample("stay", dist.Beta(2.0, 2.0))

    def step(z, y):
        z = sample("z", dist.Bernoulli(jnp.where(z == 1, stay, 1.0 - stay)))
        sample("y", dist.Normal(2.0 * z, 1.0), obs=y)
        return z, None

    scan(step, 1, y)


def parents():
    """The law of x reads z, so that x would have no gradient if z were summed out."""
    z = sample("z", dist.Bernoulli(0.5))
    x = sample("x", dist.Normal(2.0 * z, 1.0))
    sample("y", dist.Normal(x, 1.0), obs=1.0)


def everything():
    count, x = sample("count", dist.Poisson(3.0)), sample("x", dist.Normal(0.0, 1.0))
    switch = sample("switch", dist.Bernoulli(0.5))
    rounded, coin = sample("rounded", dist.Normal(0.0, 1.0)), sample("coin", dist.Bernoulli(0.3))
    arm = cond(switch == 1, lambda: sample("arm", dist.Normal(0.0, 1.0)), lambda: 0.0)
    factor("f", -((x - count + jnp.floor(rounded) + coin + arm) ** 2))


NUTS, DENSE = (f"nuts(max_depth=10) with tuned step, tuned {mass} mass" for mass in ("diagonal", "dense"))
CHOICES = {
    "continuous": (regression, (Y,), DENSE, ()),
    "labels": (mixture, (Y,), DENSE, ("label",)),
    "hidden chain": (chain, (Y,), NUTS, ("z",)),
    "a row of spins": (row, (), NUTS, ("z",)),
    "spins that all meet": (spins, (), f"cycle(on(['z'], block_gibbs()), on(['pull'], {NUTS}))", ()),
    "spins in one term": (parity, (), f"cycle(on(['z'], gibbs()), on(['pull'], {NUTS}))", ()),
    "a grid of spins": (grid, (), f"cycle(on(['z'], block_gibbs()), on(['pull'], {NUTS}))", ()),
    "a law that reads them": (parents, (), NUTS, ("z",)),
    "everything": (
        everything,
        (),
        f"cycle(on(['x'], {NUTS}), on(['count', 'switch', 'rounded', 'arm'], repeat(mh(single_site()), 4)))",
        ("coin",),
    ),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", CHOICES)
def test_the_program_decides(name):
    program, args, kernel, summed = CHOICES[name]
    found = default_kernel(lawful.trace(program, *args))
    assert (repr(found.kernel), found.summed) == (kernel, tuple((site,) for site in summed)), found.reasons


@pytest.mark.parametrize(
    ("size", "rows", "dense"),
    [(1, 1, False), (2, 1, True), (32, 1, True), (33, 1, False), (150, 300, True), (300, 300, False)],
)
def test_the_mass_is_dense_where_coordinates_are_few_or_the_density_costs_more(size, rows, dense):
    def program(x):
        weights = sample("weights", dist.Normal(0.0, 1.0).expand([size]).to_event(1))
        sample("y", dist.Normal(x @ weights, 1.0).to_event(1), obs=jnp.zeros(rows))

    kernel = default_kernel(lawful.trace(program, np.ones((rows, size)))).kernel
    assert kernel.dense == dense and kernel.target == 0.9


@pytest.mark.slow
def test_the_plan_says_what_was_chosen_and_why():
    text = inference.mcmc(grid).plan()
    assert "z: not summed out: site 'z' cannot be summed" in text
    assert "z: drawn in blocks from exact conditionals, as they have finitely many values" in text
    assert "pull: NUTS, as the log density has a gradient there" in text
    result = inference.mcmc(mixture, **SHORT)(KEY, Y)
    assert "label: summed out, as that takes" in str(result.run["plan"])
    assert result.run["kernel"] == DENSE and result.run["enumerated"] == ["label"]


def test_names_to_sum_are_the_only_ones_and_none_means_none():
    def two(y):
        sample("more", dist.Bernoulli(0.5))
        mixture(y)

    text = inference.mcmc(two, enumerate=["label"]).plan(Y)
    assert "more: drawn from the exact conditional" in text and "label: summed out exactly" in text
    assert "label: drawn from the exact conditional" in inference.mcmc(mixture, enumerate=[]).plan(Y)


# ---- the law


@pytest.mark.tier0
@pytest.mark.parametrize("seed", rest_slow(range(9)))
def test_on_random_finite_programs_the_posterior_stays_exactly(seed):
    program = random_program(seed, max_paths=12)
    report = invariant(CHOSEN, program.program, program.default_tables())
    assert report.passed and report.tv < 1e-14, report


@pytest.mark.slow
def test_labels_and_means_of_a_mixture_have_their_exact_posterior(false_alarm):
    """Expectations by a grid over the two means; at least 10,000 effective draws, and 0.1 sd would be seen at 0.99."""
    result = inference.mcmc(mixture, chains=8, warmup=300, draws=2500)(KEY, Y)
    assert result.ok, result.warnings
    y, grid = np.asarray(Y), np.linspace(-7.0, 7.0, 561)
    ones, zeros = (w * np.exp(-0.5 * (y - grid[:, None]) ** 2) for w in (0.4, 0.6))
    prior = [np.exp(-0.5 * (grid - m) ** 2) for m in (-3.0, 3.0)]
    terms = zeros[:, None] + ones[None, :]
    mass = terms.prod(axis=-1) * prior[0][:, None] * prior[1]
    mass /= mass.sum()
    means = np.array([mass.sum(axis=1) @ grid, mass.sum(axis=0) @ grid])
    labels = np.einsum("ij,ijk->k", mass, ones[None, :] / terms)
    draws = result.posterior
    found = np.concatenate([draws["mean"].mean(axis=(0, 1)), draws["label"].mean(axis=(0, 1))])
    likely = np.clip(labels, 1e-3, 1 - 1e-3)  # a label that is nearly certain has few draws on the other side
    sd = np.concatenate([draws["mean"].std(axis=(0, 1)), np.sqrt(likely * (1 - likely))])
    error = np.abs(found - np.concatenate([means, labels])) / sd
    assert error.max() < z_critical(false_alarm, len(found)) / np.sqrt(10_000)


@pytest.mark.slow
@pytest.mark.parametrize("program", [everything, parents, parity, grid], ids=lambda p: p.__name__)
def test_every_part_of_a_mixed_program_moves(program):
    result = inference.mcmc(program, chains=2, warmup=100, draws=100)(KEY)
    assert all(np.unique(x[~np.isnan(x)]).size > 1 for x in map(np.asarray, result.posterior.values()))


# ---- which sites are smooth


def rough(x):
    a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
    factor("f", x(a) + b**2)


READS = {
    "a square": (lambda a: a**2, True),
    "an arm of where": (lambda a: jnp.where(a > 0, a, 0.0), True),
    "relu, which brings its own derivative": (jax.nn.relu, True),
    "a call": (jax.jit(jnp.sin), True),
    "a loop": (lambda a: jax.lax.fori_loop(0, 3, lambda i, c: c * a + i, 1.0), True),
    "a branch": (lambda a: jax.lax.cond(a > 0, jnp.sin, jnp.cos, a), True),
    "a comparison": (lambda a: jnp.where(a > 0, 1.0, 2.0), False),
    "a floor": (jnp.floor, False),
    "an integer": (lambda a: a.astype(int) * 1.0, False),
    "an index": (lambda a: jnp.arange(3.0)[jnp.argmax(jnp.array([a, 0.0, 1.0]))], False),
    "no gradient": (jax.lax.stop_gradient, False),
    "a loop without a bound": (lambda a: jax.lax.while_loop(lambda c: c < 3.0, lambda c: c + 1.0, a), False),
    "a branch of constants": (lambda a: jax.lax.cond(a > 0, lambda: 1.0, lambda: 2.0), False),
}


@pytest.mark.parametrize("name", READS)
def test_smooth_is_what_has_a_derivative(name):
    read, smooth = READS[name]
    names = [c.name for c in smooth_sites(lawful.trace(lambda: rough(read)))]
    assert names == (["a", "b"] if smooth else ["b"])


def test_what_decides_whether_a_site_runs_is_not_smooth():
    def program():
        x, y = sample("x", dist.Normal(0.0, 1.0)), sample("y", dist.Normal(0.0, 1.0))
        factor("f", -((cond(x > 0, lambda: sample("arm", dist.Normal(0.0, 1.0)), lambda: 0.0) - y) ** 2))

    assert [c.name for c in smooth_sites(lawful.trace(program))] == ["y"]


# ---- every way to run it


@pytest.fixture(scope="module")
def whole():
    return inference.mcmc(mixture, **SHORT)(KEY, Y)


def assert_same(found, whole):
    assert found.posterior.keys() == whole.posterior.keys() == {"mean", "label"}
    for name, draws in whole.posterior.items():
        np.testing.assert_array_equal(found.posterior[name], draws, err_msg=name)


def stops(progress):
    return progress.phase == "sampling" and progress.step >= 8


@pytest.mark.slow
@pytest.mark.parametrize("as_plan", rest_slow([False, True]))
def test_a_run_that_was_stopped_goes_on_with_the_same_labels(whole, tmp_path, as_plan):
    plan = inference.mcmc(mixture, run=RunOptions(chunk=8, checkpoint=tmp_path, callbacks=stops), **SHORT)
    part = plan(KEY, Y)
    assert part.posterior["label"].shape == (2, 8, 4)
    np.testing.assert_array_equal(part.posterior["label"], whole.posterior["label"][:, :8])
    again = inference.mcmc(mixture, run=RunOptions(chunk=8), **SHORT) if as_plan else mixture
    assert_same(inference.resume(tmp_path, again, Y), whole)


@pytest.mark.slow
def test_sites_that_were_named_are_summed_again_after_a_stop(tmp_path):
    settings = {"kernel": kernels.random_walk(0.5), "enumerate": ["label"], **SHORT}
    run = RunOptions(chunk=8, checkpoint=tmp_path, callbacks=stops)
    inference.mcmc(mixture, run=run, **settings)(5, Y)
    found = inference.resume(tmp_path, mixture, Y)
    assert_same(found, inference.mcmc(mixture, **settings)(5, Y))
    assert found.run["seed"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["smc", "importance", "tempered_smc"])
def test_particles_beside_summed_sites_go_on_after_a_stop(method, tmp_path):
    build = getattr(inference, method)
    settings = {"particles": 20, "runs": 2, "enumerate": ["label"]}
    stop = RunOptions(chunk=1, checkpoint=tmp_path, callbacks=lambda progress: progress.step == 1)
    build(mixture, run=stop, **settings)(5, Y)
    assert_same(inference.resume(tmp_path, mixture, Y), build(mixture, **settings)(5, Y))


@pytest.mark.slow
def test_chunks_and_more_draws_have_the_labels_of_one_run(whole):
    plan = inference.mcmc(mixture, run=RunOptions(chunk=10), **{**SHORT, "draws": 10})
    assert_same(plan(KEY, Y).extend(20), whole)
    chunks = list(inference.mcmc(mixture, run=RunOptions(chunk=10), **SHORT).iterate(KEY, Y))
    late = [chunk.draws["label"] for chunk in chunks if chunk.phase == "sampling"]
    np.testing.assert_array_equal(np.concatenate(late, axis=1), whole.posterior["label"])


@pytest.mark.slow
def test_where_draws_go_into_a_store_labels_are_drawn_beside_the_means(tmp_path):
    plan = inference.mcmc(mixture, run=RunOptions(store=tmp_path / "draws.zarr"), **SHORT)
    assert "label: drawn from the exact conditional" in plan.plan(Y)
    assert plan(KEY, Y).posterior["label"].shape == (2, 30, 4)
    with pytest.raises(LawfulError, match="a store holds the draws of the others alone"):
        inference.mcmc(mixture, enumerate="all", run=RunOptions(store=tmp_path / "other.zarr"))


@pytest.mark.slow
def test_starts_of_what_is_summed_are_not_needed_and_not_refused():
    start = {"mean": jnp.array([-3.0, 3.0]), "label": jnp.zeros(4, int)}
    found = [inference.mcmc(mixture, init=init, **SHORT)(KEY, Y) for init in (start, {"mean": start["mean"]})]
    assert_same(*found)


@pytest.mark.slow
def test_chains_one_after_the_other_and_mapped_runs(whole):
    sequential = inference.mcmc(mixture, chain_method="sequential", **SHORT)(KEY, Y)
    assert sequential.posterior["label"].shape == (2, 30, 4)
    plan = inference.mcmc(mixture, **SHORT)
    draw = plan.sampler(Y)
    found = jax.vmap(draw, (0, None))(jax.random.split(KEY, 3), Y)
    assert found["label"].shape == (3, 60, 4)
    assert plan.memory(Y) > 0 and isinstance(plan.form(Y), lawful.Form)
