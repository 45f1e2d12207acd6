"""A walk with a given covariance keeps its target; its covariance is that of the weighted particles."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import sample, trace
from lawful.backends.xla import emit
from lawful.form import Plate, Var
from lawful.form.builder import Block
from lawful.inference.kernels.particles.scales import PopulationRoot
from lawful.inference.kernels.particles.walk import PopulationWalk, population_walk, unconstrained
from lawful.inference.representations.annealing_paths import prior_to_posterior
from lawful.inference.representations.tempered import tempered
from lawful.inference.representations.traced import traced
from lawful.inference.transformers.move import Parts
from lawful.inference.transformers.temper import at_start
from lawful.inference.transformers.temperatures import given
from lawful.passes.thread_sites import score

pytestmark = pytest.mark.tier0b


def model():
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    share = sample("share", dist.Beta(2.0, 3.0))
    weights = sample("weights", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
    level = sample("level", dist.Normal(jnp.zeros(2), 1.0))
    sample("y", dist.Normal(rate * share + weights[0] - level.sum(), 1.0), obs=0.3)


def opened():
    """One step of the walk with noise and coin as inputs, and where to start from."""
    path = tempered(traced(trace(model)), prior_to_posterior(), given([0.3, 1.0]))
    maps = unconstrained(path.choices)
    size = sum(m.size for m in maps)
    target = path.target()
    target = replace(target, inputs=(*target.inputs, Var((size, size), jnp.dtype(float))))
    built = PopulationWalk(slot=len(target.inputs) - 1).carrying(target, Parts(path, 0))
    scored = score(built.form)
    return path, maps, size, scored, jax.jit(emit(scored.form))


@pytest.mark.slow
def test_the_step_satisfies_detailed_balance_of_densities():
    """Log pi(x) + log |dx/du| + log a(x, y) + log q(step) is symmetric in (x, y), relative to 1e-10, at 40 points."""
    path, maps, size, scored, run = opened()
    start = jax.jit(emit(path.start()))
    power, at = jnp.array(0.3), jnp.array(0, jnp.int32)
    seen = 0
    for point in range(40):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(7), point), 3)
        root = 0.4 * jnp.tril(jax.random.normal(keys[0], (size, size)))
        noise = jax.random.normal(keys[1], (size,))
        state = start(keys[2])[0]

        def propose(state, noise):
            density = state[-2] + power * state[-1]
            given = (*state[:-2], density, *state[-2:], noise, jnp.array(True))
            out = run(jax.random.key(0), at, power, root, *given)[0]
            there = out[: len(state) + 1]
            return (*there[:-3], *there[-2:]), float(out[len(scored.parts.own)])

        def target(state):
            jacobian = sum(float(m.log_jacobian(m.coordinates(v), v)) for m, v in zip(maps, state, strict=False))
            return float(state[-2] + power * state[-1]) + jacobian

        there, forth = propose(state, noise)
        back_at, back = propose(there, -noise)
        left, right = target(state) + forth, target(there) + back
        if np.isneginf(left) and np.isneginf(right):
            continue
        seen += 1
        assert abs(left - right) <= 1e-10 * max(1.0, abs(left))
        for a, b in zip(back_at, state, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)
    assert seen >= 30


def test_the_covariance_is_that_of_the_weighted_particles():
    maps = unconstrained(tempered(traced(trace(model)), prior_to_posterior(), given([1.0])).choices)
    rng = np.random.default_rng(0)
    n = 400
    values = (rng.gamma(2.0, size=n), rng.beta(2, 3, size=n), rng.dirichlet([1, 2, 3], n), rng.normal(size=(n, 2)))
    log_weight = rng.normal(size=n)
    log_weight[:20] = -np.inf
    values[0][:20] = np.inf  # the dead lie anywhere
    points = np.concatenate(
        [np.asarray(jax.jit(jax.vmap(m.coordinates))(v)) for m, v in zip(maps, values, strict=True)], axis=1
    )
    root = np.asarray(jax.jit(PopulationRoot())(log_weight, points))
    weight = np.exp(log_weight[20:])
    wanted = np.cov(points[20:], rowvar=False, ddof=0, aweights=weight)
    apart = wanted / np.sqrt(np.outer(np.diag(wanted), np.diag(wanted))) - np.eye(len(wanted))
    off = ~np.eye(len(wanted), dtype=bool)
    noise = ((1 - apart[off] ** 2) ** 2).sum() * (weight**2).sum() / weight.sum() ** 2
    kept = 1 - noise / (apart[off] ** 2).sum()  # of the correlations, as Schaefer and Strimmer have it
    assert 0.2 < kept < 1
    np.testing.assert_allclose(root @ root.T, np.where(off, kept, 1.0) * wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("points", ["one", "equal", "few", "dead"])
def test_a_singular_covariance_still_gives_finite_steps(points):
    maps = unconstrained(tempered(traced(trace(model)), prior_to_posterior(), given([1.0])).choices)
    n = 1 if points == "one" else 3
    rng = np.random.default_rng(1)
    values = [rng.gamma(2.0, size=n), rng.beta(2, 3, size=n), rng.dirichlet([1, 2, 3], n), rng.normal(size=(n, 2))]
    if points == "equal":
        values = [np.repeat(v[:1], n, axis=0) for v in values]
    log_weight = np.full(n, -np.inf if points == "dead" else 0.0)
    columns = [jax.vmap(m.coordinates)(jnp.asarray(v)) for m, v in zip(maps, values, strict=True)]
    root = np.asarray(PopulationRoot()(jnp.asarray(log_weight), jnp.concatenate(columns, axis=1)))
    assert np.isfinite(root).all()


def test_a_walk_outside_a_path_is_refused():
    from lawful import inference
    from lawful.errors import LawfulError

    with pytest.raises(LawfulError, match="expected a population on a path"):
        (inference.Trace >> inference.spawn(2) >> inference.rejuvenate(population_walk(), 1))(trace(model))


def test_a_walk_before_the_first_weights_is_refused():
    from lawful.errors import LawfulError

    path = tempered(traced(trace(model)), prior_to_posterior(), given([1.0]))
    population = at_start(path, Plate("particle", 4))
    with pytest.raises(LawfulError, match="move after Advance"):
        population_walk().fit(Block(), population.pending, population.plate, 2)


@pytest.mark.parametrize("scale", [0, -1.0, float("inf")])
def test_a_scale_without_meaning_is_refused(scale):
    from lawful.errors import LawfulError

    with pytest.raises(LawfulError, match="positive number"):
        population_walk(scale)
