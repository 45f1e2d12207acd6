"""Steps of other libraries are kernels: lawful ones keep exact draws, a step without its correction does not."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.infer.hmc import hmc

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import geweke, invariant
from lawful.passes.unconstrain import coordinates_of
from tests.check.test_invariance import Y, chain, positive

pytestmark = pytest.mark.tier1


def random_walk(log_density):
    """BlackJAX's random walk."""
    walk = blackjax.additive_step_random_walk(log_density, blackjax.mcmc.random_walk.normal(jnp.asarray(0.7)))
    return lambda key, position: walk.step(key, walk.init(position))[0].position


def hamiltonian(log_density):
    """NumPyro's Hamiltonian Monte Carlo."""
    init, sample = hmc(potential_fn=lambda z: -log_density(z), algo="HMC")
    fixed = {"adapt_step_size": False, "adapt_mass_matrix": False, "num_warmup": 0}

    def step(key, position):
        return sample(init(position, step_size=0.3, trajectory_length=0.9, rng_key=key, **fixed)).z

    return step


def langevin(log_density):
    """A step of Langevin's equation that nothing corrects."""
    gradient = jax.grad(log_density)

    def step(key, position):
        keys = dict(zip(position, jax.random.split(key, len(position)), strict=True))
        slope = gradient(position)
        return {
            name: x + 0.15 * slope[name] + 0.3**0.5 * jax.random.normal(keys[name], x.shape, x.dtype)
            for name, x in position.items()
        }

    return step


@pytest.mark.rest_slow
@pytest.mark.parametrize("make", [random_walk, hamiltonian], ids=lambda make: make.__name__)
def test_a_lawful_step_keeps_exact_draws(make):
    report = invariant(kernels.foreign(make, reversible=True), positive, Y, n=2_000, steps=(1, 5))
    assert report.passed, report
    assert report.alpha_spent == 1e-6 / 512 and report.detects(0.2)


@pytest.mark.slow
def test_a_step_in_a_loop_of_sites_keeps_the_joint_law():
    kernel = kernels.cycle(kernels.foreign(random_walk), kernels.mh())
    report = geweke(chain, kernel, Y, n=1_000, steps=3)
    assert report.passed, report


def test_a_step_without_its_correction_is_found():
    report = invariant(kernels.foreign(langevin), positive, Y, n=2_000, steps=(1, 5))
    assert report.status == "failed", report


def test_a_foreign_kernel_samples_like_any_other(false_alarm):
    """200 chains on a Gamma prior alone: mean 2, by Student's t on their means."""
    from scipy import stats

    def prior():
        lawful.sample("scale", dist.Gamma(2.0, 1.0))

    plan = inference.mcmc(prior, kernels.foreign(random_walk), chains=200, warmup=50, draws=100)
    means = plan(0).posterior["scale"].mean(axis=1) - 2.0
    assert abs(means.mean()) < stats.t.isf(false_alarm / 2, 199) * means.std(ddof=1) / np.sqrt(200)
    assert "scale: by the step of random_walk" in plan.plan()


def bounds():
    """Supports of all kinds, one of which depends on another site."""
    a = lawful.sample("a", dist.Uniform(0.0, 1.0))
    lawful.sample("b", dist.Uniform(0.0, 1.0 - a))
    lawful.sample("p", dist.Dirichlet(jnp.ones(3)))
    lawful.scan(lambda c, _: (lawful.sample("x", dist.HalfNormal(c)), None), 1.0, length=3)
    with lawful.plate("i", 2):
        lawful.sample("m", dist.Normal(0.0, 1.0))


@pytest.mark.slow
def test_coordinates_and_values_are_each_others_inverse():
    form = lawful.trace(bounds)
    found, density = coordinates_of(form), lawful.density(form)
    position = density.initial(jax.random.key(0))
    free = [position[c.name] for c in found.choices]
    log_density, *values = emit(found.values)(jax.random.key(0), *free)[0]
    assert float(log_density) == pytest.approx(float(density.logp(position)), rel=1e-12)
    back = emit(found.free)(jax.random.key(0), *values)[0]
    for before, after in zip(free, back, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-12)


def test_what_a_step_cannot_do_is_told():
    def coin():
        lawful.sample("x", dist.Bernoulli(0.3))

    with pytest.raises(UnsupportedProgramError, match=r"discrete sites 'x'"):
        invariant(kernels.foreign(random_walk), coin, level="statistical")
    with pytest.raises(LawfulError, match="position with scale, got other"):
        invariant(kernels.foreign(lambda log_density: lambda key, position: {"other": 0.0}), positive, Y)
    with pytest.raises(LawfulError, match=r"'scale' the shape \(2,\), expected \(\)"):
        invariant(kernels.foreign(lambda log_density: lambda key, position: {"scale": jnp.zeros(2)}), positive, Y)
