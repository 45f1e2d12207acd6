"""Row 12: a zero scale or a singular covariance is an error that names the site; a point mass is asked for by name."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, inference, plate, sample, scan
from lawful.distributions.invalid_parameters import fault_of
from lawful.errors import ParameterError, SingularScaleError

KEY = jax.random.key(0)
RANK_TWO = np.array([[2.0, 1.0, 3.0], [1.0, 1.0, 2.0], [3.0, 2.0, 5.0]])  # the third row is the sum of the others


def run(program, *args):
    return inference.importance(program, particles=4)(KEY, *args)


def latent(sd):
    sample("x", dist.Normal(0.0, sd))


def observed(sd):
    sample("y", dist.LogNormal(sample("x", dist.Normal(0.0, 1.0)), sd), obs=1.0)


def looped(sd):
    scan(lambda x, _: (sample("x", dist.Laplace(x, 2 * sd)), None), 0.0, length=3)


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", [latent, observed, looped])
def test_f12_a_scale_of_zero_is_refused_with_its_site(program):
    site = "y" if program is observed else "x"
    with pytest.raises(SingularScaleError, match=rf"site '{site}' \(.*f12.*\): scale is 0.*dist\.Delta") as caught:
        run(program, 0.0)
    assert caught.value.site == (site,) and caught.value.value == 0.0
    run(program, 1.0)


def test_f12_a_constant_scale_is_refused_while_tracing():
    def constant():
        mu = sample("mu", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(mu, 0.0), obs=0.5)

    with pytest.raises(SingularScaleError, match="site 'y' .*scale is 0") as caught:
        lawful.trace(constant)
    assert caught.value.site == ("y",) and caught.value.source.file == __file__
    with pytest.raises(ParameterError, match="site 'b' .*'probs' is 2"):
        lawful.trace(lambda: sample("b", dist.Bernoulli(2.0)))


def test_f12_one_bad_element_of_a_batch_is_named():
    def batch(sd):
        with plate("item", 3):
            sample("x", dist.Normal(0.0, sd))

    with pytest.raises(SingularScaleError, match=r"scale is 0 at index \(1,\)") as caught:
        run(batch, np.array([1.0, 0.0, 2.0]))
    assert caught.value.index == (1,)

    def steps(sds):
        scan(lambda c, sd: (c, sample("x", dist.Normal(c, sd))), 0.0, sds)

    with pytest.raises(SingularScaleError, match=r"scale is 0 at index \(2,\)"):
        run(steps, np.array([1.0, 1.0, 0.0]))


def covariance(matrix):
    sample("x", dist.MultivariateNormal(jnp.zeros(matrix.shape[-1]), matrix))


@pytest.mark.fault(12)
def test_f12_a_singular_covariance_is_refused_with_the_leading_minor():
    with pytest.raises(SingularScaleError, match="site 'x' .*singular: its leading minor of order 3 is 0") as caught:
        run(covariance, RANK_TWO)
    assert abs(caught.value.value) < 1e-12
    with pytest.raises(SingularScaleError, match="not positive definite: its leading minor of order 2 is -3"):
        run(covariance, np.array([[1.0, 2.0], [2.0, 1.0]]))
    run(covariance, RANK_TWO + 1e-6 * np.eye(3))  # jitter
    run(covariance, np.array([[1.0, 1 - 1e-12], [1 - 1e-12, 1.0]]))  # close to singular, and is not


def test_f12_one_bad_covariance_of_a_batch_is_named():
    def batch(matrices):
        with plate("item", 2):
            sample("x", dist.MultivariateNormal(jnp.zeros(3), matrices))

    with pytest.raises(SingularScaleError, match=r"order 3 is .* at index \(1,\)"):
        run(batch, np.stack([np.eye(3), RANK_TWO]))


def test_f12_a_root_with_a_zero_on_its_diagonal_is_refused():
    def root(tril):
        sample("x", dist.MultivariateNormal(jnp.zeros(2), scale_tril=tril))

    with pytest.raises(SingularScaleError, match="scale_tril is singular: its leading minor of order 2 is 0"):
        run(root, np.array([[1.0, 0.0], [0.5, 0.0]]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f12_rounding_does_not_hide_a_lost_rank(dtype):
    rng = np.random.default_rng(0)
    for size in (2, 5, 20):
        for _ in range(10):
            factors = rng.normal(size=(size, size - 1)).astype(dtype)
            assert fault_of("covariance_matrix", factors @ factors.T) is not None
            full = rng.normal(size=(size, size + 5)).astype(dtype)
            assert fault_of("covariance_matrix", full @ full.T) is None


def test_f12_a_point_mass_is_asked_for_by_name_and_an_arm_may_guard_it():
    def named(sd):
        x = sample("x", dist.Delta(1.0))
        cond(sd > 0, lambda: sample("y", dist.Normal(x, sd)), lambda: sample("y", dist.Delta(x)))

    result = run(named, 0.0)
    np.testing.assert_array_equal(result.posterior["y"], 1.0)


def test_f12_every_algorithm_and_the_chains_refuse():
    for plan in (inference.smc(latent, particles=2), inference.mcmc(latent, chains=1, warmup=0, draws=1)):
        with pytest.raises(SingularScaleError):
            plan(KEY, 0.0)


@pytest.mark.parametrize("build", [inference.importance, inference.smc, inference.mcmc], ids=lambda b: b.__name__)
def test_f12_eager_runs_refuse_it_by_the_same_error(build):
    def constant():
        x = sample("x", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(float(x), 0.0), obs=0.5)

    size = {"warmup": 1, "draws": 2} if build is inference.mcmc else {"particles": 3}
    with pytest.raises(SingularScaleError, match=r"site 'y' \(.*f12.*\): scale is 0") as caught:
        build(constant, mode="eager", **size)(KEY)
    assert caught.value.site == ("y",)
    with pytest.raises(ParameterError, match="site 'b' .*'probs' is 2"):
        inference.importance(lambda: sample("b", dist.Bernoulli(2.0)), particles=2, mode="eager")(KEY)
