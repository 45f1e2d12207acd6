"""What is done twice, and what cancels, is not in the compiled programs of algorithms: operations are counted."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference, plate, sample, scan
from lawful.backends.xla import emit
from lawful.form import Det, Loop, walk
from lawful.form.builder import LogProb
from lawful.inference import kernels
from lawful.passes.simplify import simplified
from lawful.passes.simplify.common_subexpressions import common
from tests.structure.programs import equations
from tests.structure.test_compiled import PLANS, traced


def regression(x, y):
    """The predictor is a product of matrices; the scale has a prior of its own."""
    b = sample("b", dist.Normal(jnp.zeros(x.shape[1]), 1.0).to_event(1))
    scale = sample("scale", dist.Gamma(2.0, 1.0))
    with plate("row", x.shape[0]):
        sample("y", dist.Normal(x @ b, scale), obs=y)


DATA = jnp.ones((10, 3)), jnp.zeros(10)


def near(current):
    sample("b", dist.Normal(current["b"], 0.1).to_event(1))


def drifting(current):
    sample("b", dist.Normal(0.9 * current["b"], 0.1).to_event(1))


def again(current):
    sample("scale", dist.Gamma(2.0, 1.0))


def kernel_of(kernel):
    return kernels.mh(kernel).build(lawful.trace(regression, *DATA)).step


def scores(form):
    """The log densities that a form computes, by what they are of."""
    found = [node for node in walk(form) if isinstance(node, Det) and isinstance(node.function, LogProb)]
    return Counter(node.label for node in found)


def operations(form):
    """The operations of the traced program, by name."""
    operands = [jnp.zeros(v.shape, v.dtype) for v in form.inputs]
    run = emit(form)
    jaxpr = jax.make_jaxpr(lambda key, *x: run(key, *x)[0])(jax.random.key(0), *operands)
    return Counter(equation.primitive.name for equation in equations(jaxpr))


def test_a_symmetric_proposal_is_not_scored():
    """Its two densities are one, with both signs; that of one that drifts is scored in both directions."""
    assert scores(kernel_of(near)) == {"log p(b)": 2, "log p(y)": 2}
    assert scores(kernel_of(drifting)) == {"log p(b)": 2, "log p(y)": 2, "log q": 2}


def test_a_proposal_that_repeats_the_prior_is_scored_as_the_prior_alone():
    """Once in each direction, for the log density of the state; and the predictor, which stays, is computed once."""
    form = kernel_of(again)
    assert sum(scores(form).values()) == 4
    assert scores(form)["log p(y)"] == 2
    found = operations(form)
    assert found["dot_general"] == 1
    assert found["lgamma"] == 2  # of the shape of the prior, in each direction


def shrinking(y):
    def step(x, y):
        x = sample("x", dist.StudentT(4.0, 0.9 * x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


def prior_of_shrinking(x, y):
    sample("x", dist.StudentT(4.0, 0.9 * x, 1.0))


def other(x, y):
    sample("x", dist.StudentT(4.0, 0.5 * (x + y), 1.0))


@pytest.mark.parametrize("keep", ["last", "paths"])
def test_the_prior_as_a_proposal_is_the_bootstrap_filter(keep):
    """The weight is the likelihood factor alone; another proposal is scored, and so is the prior then."""
    counts = {
        proposal: len(list(equations(traced(inference.smc(shrinking, particles=50, keep=keep, proposal=proposal), 6))))
        for proposal in (None, prior_of_shrinking, other)
    }
    assert counts[prior_of_shrinking] <= counts[None] + 1  # the weight adds a zero
    assert counts[other] > counts[None] + 20


@pytest.mark.parametrize("name", PLANS)
def test_no_algorithm_does_anything_twice(name):
    built = PLANS[name].prepare((jnp.linspace(-1.0, 1.0, 6),)).built
    form = built.kernel.form if hasattr(built, "kernel") else built.form
    assert common(form) is form
    assert len(list(walk(simplified(form)))) == len(list(walk(form)))


def repeated(y):
    """Steps that all use one function of a parameter, written in the step."""
    theta = sample("theta", dist.Normal(0.0, 1.0))
    start = sample("start", dist.Normal(0.0, jnp.exp(theta)))

    def step(x, y):
        x = sample("x", dist.Normal(x, jnp.exp(theta)))
        sample("y", dist.Normal(x, 1.0 + jnp.exp(theta)), obs=y)
        return x, None

    return scan(step, start, y)[0]


def test_a_loop_does_not_compute_again_what_stands_before_it():
    form = lawful.trace(repeated, jnp.zeros(5))
    for each, count in ((form, 3), (simplified(form), 1)):
        assert [node.label for node in walk(each) if isinstance(node, Det)].count("exp") == count
    (loop,) = (node for node in simplified(form).nodes if isinstance(node, Loop))
    assert [node.label for node in loop.body.nodes if isinstance(node, Det)] == ["add"]
