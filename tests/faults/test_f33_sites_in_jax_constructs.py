"""Row 33: sites inside jit, checkpoint and custom derivatives have a density; in a while loop they are only drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, inference, sample
from lawful.backends.xla import compile
from lawful.errors import UnsupportedProgramError

KEY = jax.random.key(33)


def part(mu):
    x = sample("x", dist.Normal(mu, 1.0))
    factor("f", -jnp.abs(x))
    return 2 * x


@jax.custom_jvp
def with_jvp(mu):
    return part(mu)


with_jvp.defjvp(lambda primals, tangents: (with_jvp(*primals), tangents[0]))


@jax.custom_vjp
def with_vjp(mu):
    return part(mu)


with_vjp.defvjp(lambda mu: (with_vjp(mu), None), lambda _, g: (g,))

CONSTRUCTS = {
    "jit": jax.jit(part),
    "checkpoint": jax.checkpoint(part),
    "custom_jvp": with_jvp,
    "custom_vjp": with_vjp,
    "nested": jax.jit(jax.checkpoint(jax.jit(part))),
    "fori_loop": lambda mu: jax.lax.fori_loop(0, 1, lambda _, x: part(x), mu),
    "switch": lambda mu: jax.lax.switch(0, [part, lambda mu: mu], mu),
}


@pytest.mark.fault(33)
@pytest.mark.regression("15.7h")
@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_f33_the_density_is_that_of_the_program_without_the_construct(construct):
    def model(mu, run):
        sample("y", dist.Normal(run(mu), 1.0), obs=0.5)

    def density(mu, run, value):
        return lawful.trace(model, mu, run).log_density({"x": value}, mu, run)

    inner = CONSTRUCTS[construct]
    steps = np.array([0.3]) if construct == "fori_loop" else 0.3
    for f in (density, jax.grad(density)):
        assert float(f(0.1, inner, steps)) == pytest.approx(float(f(0.1, part, 0.3)), rel=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_f33_inference_runs(construct):
    result = inference.importance(CONSTRUCTS[construct], particles=256)(KEY, 0.1)
    assert np.isfinite(result.log_evidence).all()


def geometric(p):
    def go(state):
        count, going = state
        return count + going, sample("heads", dist.Bernoulli(p))

    return jax.lax.while_loop(lambda state: state[1] == 1, go, (-1, 1))[0]


def test_f33_a_while_loop_is_drawn_forward_with_the_right_law():
    """P(count = k) = p^k (1 - p); counts of 20,000 draws within 6 sd, which fails once in 10^8."""
    (counts,), _ = jax.vmap(lambda key: compile(lawful.trace(geometric, 0.5))(key, 0.5))(jax.random.split(KEY, 20_000))
    for k in range(5):
        p = 0.5 ** (k + 1)
        assert abs(np.mean(np.asarray(counts) == k) - p) < 6 * np.sqrt(p * (1 - p) / 20_000)


def test_f33_a_while_loop_serves_methods_that_only_draw():
    def model(p):
        n = geometric(p)
        sample("y", dist.Normal(n, 1.0), obs=1.0)

    result = inference.importance(model, particles=20_000)(KEY, 0.5)
    exact = np.logaddexp.reduce([(k + 1) * np.log(0.5) + dist.Normal(k, 1.0).log_prob(1.0) for k in range(40)])
    assert float(result.log_evidence[0]) == pytest.approx(float(exact), abs=0.02)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: lawful.trace(geometric, 0.5).log_density({("heads", "while"): np.zeros(2, np.uint32)}, 0.5),
        lambda: inference.mcmc(geometric, draws=10)(KEY, 0.5),
        lambda: inference.enumerate(geometric, mode="staged")(0.5),
    ],
    ids=["density", "mcmc", "enumerate"],
)
def test_f33_the_density_of_a_while_loop_is_a_named_error(ask):
    with pytest.raises(UnsupportedProgramError, match=r"site 'heads.*\(.*test_f33.*while"):
        ask()


def test_f33_weights_in_a_while_loop_are_refused():
    def model():
        def step(x):
            factor("f", -x)
            return x + sample("dx", dist.Exponential(1.0))

        return jax.lax.while_loop(lambda x: x < 1, step, 0.0)

    with pytest.raises(UnsupportedProgramError, match=r"'f' \(.*test_f33.*inside jax 'while'.*lawful\.bounded_loop"):
        lawful.trace(model)
