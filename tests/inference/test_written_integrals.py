"""Integrals over few normals in each lane, written out, are those by derivatives: values, derivatives, conditionals."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.inference import enumeration, integrate_normals, marginalise
from lawful.inference.transformers.gaussian import integrate_normals as module

N, J = 4, 3
RNG = np.random.default_rng(0)
Y, T = jnp.asarray(RNG.normal(size=(J, N))), jnp.asarray(RNG.normal(size=(J, N)))


def lines(at):
    """A vector of two for each person, read element by element; one datum is masked."""
    root = jnp.array([[1.0, 0.0], [0.3, 0.5]]) * at
    with lawful.plate("person", N):
        eta = lawful.sample("eta", dist.MultivariateNormal(jnp.stack([at, at**2]), scale_tril=root))
        with lawful.plate("wave", J), lawful.mask(jnp.abs(T) > 0.1):
            lawful.sample("y", dist.Normal(eta[:, 0] + eta[:, 1] * T, 0.5 + at), obs=Y)


def columns(at):
    """The same vector, times a matrix of loadings, and a term that no person has."""
    loads = jnp.stack([jnp.ones_like(T), jnp.abs(T - at)])
    with lawful.plate("person", N):
        eta = lawful.sample("eta", dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.eye(2) * at))
        fitted = jnp.sum(loads * eta.T[:, None], axis=0)
        lawful.factor("squares", -0.5 * jnp.sum((Y - fitted) ** 2) / at - at**2)


def two(at):
    """Two sites, one of which reads the other, put together and multiplied by a matrix."""
    with lawful.plate("person", N):
        a = lawful.sample("a", dist.Normal(at, 1.0))
        b = lawful.sample("b", dist.Normal(0.5 * a, at))
    both = jnp.stack([a, b, a - b], axis=-1) @ jnp.array([[1.0, 2.0], [0.5, 1.0], [0.0, at]])
    lawful.factor("both", -0.5 * jnp.sum(both**2) + jnp.sum(jnp.concatenate([a, b]) * jnp.ravel(Y[:2])))


def labelled(at):
    """Classes are summed after what they share a law with."""
    with lawful.plate("person", N):
        z = lawful.sample("z", dist.Categorical(logits=jnp.stack([at, 0.3])))
        x = lawful.sample("x", dist.Normal(jnp.stack([at, -1.0])[z], 1.0))
        with lawful.plate("wave", J):
            lawful.sample("y", dist.Normal(x * T, jnp.stack([0.5, at])[z][None]), obs=Y)


CASES = {
    "element by element": (lines, integrate_normals(["eta"])),
    "by columns": (columns, integrate_normals(["eta"])),
    "two sites": (two, integrate_normals([["a", "b"]])),
    "and then classes": (labelled, integrate_normals(["x"]) >> marginalise(["z"])),
}


def found(case):
    program, how = CASES[case]
    form = enumeration(lawful.trace(program, 0.7), how).marginal

    def value(at):
        return form.log_density({}, at)

    return jax.jit(lambda at: (value(at), jax.grad(value)(at), jax.jvp(jax.grad(value), (at,), (1.0,))[1]))(0.7)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_values_and_two_derivatives_are_those_of_the_integral_by_derivatives(case, monkeypatch):
    here = found(case)
    written = []

    def refused(*_):
        written.append(True)

    monkeypatch.setattr(module.Written, "of", refused)
    there = found(case)
    assert written
    np.testing.assert_allclose(here, there, rtol=1e-11)


@pytest.mark.slow
def test_few_numbers_are_written_out_and_their_conditional_is_that_by_derivatives(monkeypatch):
    """Means and roots of precisions are what noises are drawn back from; five numbers in a lane are not written out."""
    made, of = [], module.Written.of
    monkeypatch.setattr(module.Written, "of", lambda *given: made.append((of(*given), given)) or made[-1][0])
    integrate_normals(["eta"])(lawful.trace(lines, 0.7))
    ((written, (density, noises)),) = made
    assert written is not None and noises.block == 2
    integral = module._Integral(module.NormalDensity(density.inputs[1:], density), noises)
    operands = [jnp.asarray(RNG.uniform(0.5, 1.5, v.shape)).astype(v.dtype) for v in density.inputs[1:]]
    for here, there in zip(written(*operands)[2:], integral(*operands)[1:], strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-11, atol=1e-13)

    def wide(at):
        x = lawful.sample("x", dist.Normal(jnp.zeros(5), at).to_event(1))
        lawful.sample("y", dist.Normal(jnp.sum(x), 1.0), obs=1.0)

    integrate_normals(["x"])(lawful.trace(wide, 0.7))
    assert made[-1][0] is None
