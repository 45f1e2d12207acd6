"""Blocks of variables are drawn from their exact conditionals: exactly invariant, and right beside continuous sites."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnsupportedProgramError, WidthError
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.inference.check.exact.transition import transition_matrix
from lawful.inference.check.rows.kernel_rows import hidden, labels, nested


def ring():
    """Four labels in a ring: no single elimination within a table of four entries, and states that are excluded."""
    with lawful.plate("i", 4):
        z = lawful.sample("z", dist.Bernoulli(jnp.array([0.3, 0.6, 0.5, 0.8])))
    lawful.factor("pull", jnp.sum(jnp.where(z == jnp.roll(z, 1), 0.9, 0.0)))
    lawful.factor("never", jnp.where((z[0] == 1) & (z[1] == 1), -jnp.inf, 0.0))


def two_arms():
    """Arms of a branch that draw a site of one name."""
    k = lawful.sample("k", dist.Bernoulli(0.5))
    one, other = dist.Bernoulli(0.3), dist.Bernoulli(0.6)
    v = lawful.cond(k == 1, lambda: 1 * lawful.sample("a", one), lambda: 2 * lawful.sample("a", other))
    lawful.sample("y", dist.Normal(1.0 * v, 1.0), obs=0.3)


SMALL = {"width_budget": 4}


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("settings", [{}, SMALL], ids=["one block", "forests"])
@pytest.mark.parametrize("program", [labels, nested, ring], ids=lambda p: p.__name__)
def test_the_posterior_stays_exactly(program, settings):
    report = invariant(kernels.block_gibbs(**settings), program)
    assert report.passed and report.tv < 1e-14, report


@pytest.mark.kills("39f", blocks=(("z",),))
@pytest.mark.tier0
@pytest.mark.parametrize("blocks", [(("z",),), [{"z": [0, 1]}, {"z": np.array([False, True, True, True])}]], ids=str)
def test_blocks_that_are_given_keep_the_posterior(blocks):
    report = invariant(kernels.block_gibbs("z", blocks), ring)
    assert report.passed and report.tv < 1e-14, report


@pytest.mark.tier0
def test_a_name_that_two_arms_share_is_drawn_by_the_arm_that_runs():
    """The kernel gave it its first value in both arms, and was off by 0.26 in total variation."""
    report = invariant(kernels.block_gibbs(), two_arms)
    assert report.passed and report.tv < 1e-14, report


@pytest.mark.tier0
def test_a_block_of_all_sites_forgets_where_it_was():
    form = lawful.trace(hidden)
    truth = inference.check.enumerate_measure(hidden).marginal(lambda t: inference.check.Trace(t.choices, None))
    matrix, _, pi, _ = transition_matrix(kernels.block_gibbs().build(form), form, [], truth, 1000)
    np.testing.assert_allclose(matrix, np.broadcast_to(pi, matrix.shape), atol=1e-14)


def clusters(y):
    """Labels beside means that another kernel moves."""
    mean = lawful.sample("mean", dist.Normal(jnp.array([-1.0, 2.0]), 1.0).to_event(1))
    with lawful.plate("i", 3):
        z = lawful.sample("z", dist.Bernoulli(0.4))
        lawful.sample("y", dist.Normal(mean[z], 1.0), obs=y)


def bag():
    """A bag of labels that a count holds together, large enough to be read as one, and a site beside it."""
    p = lawful.sample("p", dist.Bernoulli(0.4))
    with lawful.plate("i", 9):
        z = lawful.sample("z", dist.Bernoulli(jnp.linspace(0.2, 0.6, 9)))
    lawful.sample("seen", dist.Normal(1.0 * jnp.sum(z) - p, 0.5), obs=4.0)


@pytest.mark.slow
def test_labels_of_a_bag_are_drawn_with_their_count():
    """The pair of p and the count, whose law is known, from many chains that forget where they began."""
    kernel = kernels.block_gibbs(blocks=[["p"], {"z": [0, 1, 2, 3]}, {"z": [4, 5, 6, 7, 8]}])
    result = inference.mcmc(bag, kernel, chains=300, warmup=20, draws=1)(jax.random.key(2))
    total = np.asarray(result.posterior["z"])[:, 0].sum(axis=-1)
    masses = np.array([1.0])
    for q in np.linspace(0.2, 0.6, 9):
        masses = np.convolve(masses, [1 - q, q])
    joint = np.stack(
        [w * masses * np.exp(-0.5 * ((np.arange(10) - p - 4.0) / 0.5) ** 2) for p, w in ((0, 0.6), (1, 0.4))]
    )
    joint /= joint.sum()
    mean, sd = (joint.sum(axis=0) * np.arange(10)).sum(), 0.75
    assert abs(total.mean() - mean) < 5 * sd / 300**0.5
    share = np.asarray(result.posterior["p"]).mean()
    assert abs(share - joint[1].sum()) < 5 * 0.5 / 300**0.5


@pytest.mark.slow
@pytest.mark.tier1
def test_it_keeps_exact_draws_beside_continuous_sites():
    both = kernels.cycle(kernels.block_gibbs(), kernels.on("mean", kernels.mh(kernels.random_walk(0.5))))
    assert invariant(both, clusters, jnp.zeros(3), n=2_000, steps=(1, 4)).passed


@pytest.mark.slow
def test_chains_run_beside_moves_of_continuous_sites():
    kernel = kernels.cycle(kernels.block_gibbs(), kernels.on("mean", kernels.mh(kernels.random_walk(0.5))))
    y = jnp.array([1.0, 2.0, 0.0])
    result = inference.mcmc(clusters, kernel, chains=2, warmup=2, draws=4)(jax.random.key(0), y)
    assert set(np.unique(result.posterior["z"])) <= {0, 1}
    assert np.isfinite(result.posterior["mean"]).all()


@pytest.mark.slow
def test_it_runs_in_single_precision(single_precision):
    result = inference.mcmc(ring, kernels.block_gibbs(**SMALL), chains=2, warmup=0, draws=40)(jax.random.key(1))
    z = np.asarray(result.posterior["z"])
    assert not np.any((z[..., 0] == 1) & (z[..., 1] == 1))
    assert 0 < z.mean() < 1


def test_the_plan_says_how_many_blocks():
    plan = kernels.block_gibbs(**SMALL).plan(lawful.trace(clusters, jnp.zeros(3)))
    assert plan == ["mean: not moved", "z: drawn exactly in 1 block of variables, the largest table 2"]


def test_what_cannot_be_drawn_is_refused():
    form = lawful.trace(clusters, jnp.zeros(3))
    with pytest.raises(LawfulError, match="mean: expected sites of finitely many values; these are: z"):
        kernels.block_gibbs("mean").build(form)
    with pytest.raises(LawfulError, match="no latent site 'w'"):
        kernels.block_gibbs("w").build(form)
    with pytest.raises(LawfulError, match="no site 'mean' is drawn; these are: z"):
        kernels.block_gibbs("z", [["mean"]]).build(form)
    with pytest.raises(LawfulError, match="expected 'auto' or a list of blocks"):
        kernels.block_gibbs("z", "z")
    with pytest.raises(WidthError, match="block 0 of 1"):
        kernels.block_gibbs("z", [["z"]], width_budget=2).build(lawful.trace(ring))
    with pytest.raises(UnsupportedProgramError, match=r"the values of a decide whether 'e' .* runs, which is held"):
        kernels.block_gibbs("a").build(lawful.trace(nested))
