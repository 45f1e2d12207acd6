"""A flow is a law of all real vectors whatever its weights: its density is that of its draws, and sums to one."""

import builtins

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import RunOptions
from lawful.inference.laws import flow
from lawful.inference.laws.flow import Flow, flow_weights
from lawful.inference.transformers.propose.guide import reaches_all

from .known_line import line, line_data


def bent(size, by=0.3):
    """A flow of weights that were not fitted to anything."""
    rng = np.random.default_rng(size)
    root = 2 * np.eye(size) + np.tril(0.3 * np.ones((size, size)), -1)
    return Flow(
        jax.tree.map(lambda x: x + by * rng.normal(size=x.shape), flow_weights(size)), jnp.ones(size), jnp.asarray(root)
    )


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_density_is_that_of_the_draws(size):
    """By the Jacobian of the whole way, differentiated; what is drawn has no other way there."""
    with jax.enable_x64(True):
        law, key = bent(size), jax.random.key(3)
        noise = law._noise.sample(key, (4,))
        drawn = law.sample(key, (4,))
        way = jax.jacfwd(lambda z: law.loc + law.root @ law._layers.transform(z))
        known = law._noise.log_prob(noise) - jnp.linalg.slogdet(jax.vmap(way)(noise))[1]
        np.testing.assert_allclose(law.log_prob(drawn), known, rtol=1e-8)
        np.testing.assert_allclose(law.sample(key), law.sample(key, (1,))[0], rtol=1e-12)
        assert reaches_all(law)


def test_the_mass_is_one():
    """By the trapezoid rule on a line, where splines have kinks of the second derivative."""
    with jax.enable_x64(True):
        s = np.linspace(-60.0, 60.0, 400_001)
        np.testing.assert_allclose(np.exp(bent(1).log_prob(s[:, None])).sum() * (s[1] - s[0]), 1.0, atol=1e-6)


def test_flows_of_one_size_are_one_structure():
    """So that a plan that takes one as an argument compiles nothing for the next."""
    first, second = (jax.tree.structure(bent(3, by)) for by in (0.1, 0.2))
    assert first == second and first != jax.tree.structure(bent(2))
    inside = jax.jit(lambda loc: Flow(flow_weights(4), loc, jnp.eye(4)).log_prob(loc))
    np.testing.assert_allclose(inside(jnp.zeros(4)), -2 * np.log(2 * np.pi), rtol=1e-6)


def test_the_fit_of_a_flow_goes_on_where_it_was_stopped(tmp_path):
    """Bit for bit; the weights of its nets are in the checkpoint."""
    x, y = line_data()
    settings = {"family": "flow", "paths": 2, "steps": 60, "particles": 20, "runs": 2}
    whole = inference.guide(line, **settings)(3, x, y)
    stop = RunOptions(chunk=3, checkpoint=tmp_path / "flow", callbacks=lambda progress: progress.phase == "fit")
    part = inference.guide(line, run=stop, **settings)(3, x, y)
    found = inference.resume(tmp_path / "flow", line, x, y)
    np.testing.assert_array_equal(found.posterior["slopes"], whole.posterior["slopes"])
    assert not np.array_equal(part.posterior["slopes"], whole.posterior["slopes"])


def test_without_flowjax_the_error_says_what_installs_it(monkeypatch):
    """The library is asked for at the first flow, not before."""
    imported = builtins.__import__

    def missing(name, *rest):
        if name.startswith("flowjax"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    flow._parts.cache_clear()
    flow._begun.cache_clear()
    with pytest.raises(LawfulError, match=r"pip install 'lawful\[flow\]'"):
        inference.guide(line, family="flow", paths=1)(0, *line_data())
