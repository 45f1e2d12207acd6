"""The compiled step of a single-site move does not grow with the program: loops, plates and branch flips alike.

No clock is read: operations, floating-point work and the largest array that is made are counted, for one step.
"""

import re

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, inference, plate, sample, scan
from lawful.backends.xla import emit
from lawful.form import Loop
from lawful.inference import kernels
from tests.structure.programs import equations
from tests.tiers import rest_slow


def chain(y):
    def step(x, y):
        x = sample("x", dist.Normal(0.9 * x, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    scan(step, 0.0, y)


def switching(y):
    """Every move of `b` flips a branch."""

    def step(x, y):
        b = sample("b", dist.Bernoulli(0.3))
        x = cond(
            b == 1,
            lambda x: sample("jump", dist.Normal(x, 5.0)),
            lambda x: sample("walk", dist.Normal(x, 0.1)),
            x,
        )
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, 0.0, y)


def labels(y):
    """The labels of a mixture with known parts, as elements of a plate."""
    mu = jnp.array([-3.0, 0.0, 3.0])
    with plate("item", len(y)):
        z = sample("z", dist.Categorical(jnp.array([0.3, 0.3, 0.4])))
        sample("y", dist.Normal(mu[z], 1.0), obs=y)


def rows(y):
    """A plate in a loop: a move touches one element at one step."""

    def step(x, y):
        with plate("lane", y.shape[0]):
            x = sample("x", dist.StudentT(4.0, 0.5 * x, 1.0))
            sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, jnp.zeros(y.shape[1]), y)


def step_of(program, y):
    """The compiled step: its operations, its work, and the elements of what it makes but does not update in place."""
    form = lawful.trace(program, y)
    built = kernels.mh().build(form)
    run = emit(built.step)
    operands = [jnp.zeros(v.shape, v.dtype) for v in built.step.inputs]
    key = jax.random.key(0)
    traced = jax.make_jaxpr(lambda key, *x: run(key, *x)[0])(key, *operands)
    found = list(equations(traced))
    passed_on = ("dynamic_update_slice", "custom_vmap_call", "cond", "jit", "pjit", "optimization_barrier")
    made = max(v.aval.size for e in found if e.primitive.name not in passed_on for v in e.outvars)
    cost = jax.jit(lambda key, *x: run(key, *x)[0]).lower(key, *operands).compile().cost_analysis()
    return len(found), (cost[0] if isinstance(cost, list) else cost)["flops"], made


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("program", "shape"),
    rest_slow(
        [
            (chain, lambda n: (n,)),
            (rows, lambda n: (n // 10, 10)),
            (switching, lambda n: (n,)),
            (labels, lambda n: (n,)),
        ],
        2,
    ),
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_step_of_100_parts_is_that_of_1000(program, shape):
    small, large = (step_of(program, jnp.zeros(shape(n))) for n in (100, 1000))
    assert small == large
    assert large[2] < 100


def test_all_chains_move_the_same_part_so_that_one_arm_of_the_program_runs():
    """The branch over sites has a scalar index, and nothing is gathered chain by chain."""
    plan = inference.mcmc(labels, kernels.mh(), chains=50, warmup=0, draws=3)
    prepared = plan.prepare((jnp.zeros(200),))
    (body,) = (node.body for node in prepared.built.form.nodes if isinstance(node, Loop))
    state = [jnp.zeros(v.full_shape, v.dtype) for v in body.inputs]
    run = emit(body)
    found = list(equations(jax.make_jaxpr(lambda *x: run(jax.random.key(0), *x)[0])(*state)))
    sliced = [e for e in found if e.primitive.name == "dynamic_slice" and e.invars[0].aval.shape == (50, 200)]
    assert sliced
    assert not [e for e in found if e.primitive.name in ("gather", "scatter") and e.invars[0].aval.shape == (50, 200)]
    shared = [site for site in body.sites() if site.address[-1] == "part"]
    assert [site.plates for site in shared] == [()]


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("program", rest_slow([switching, chain, labels]))
def test_the_chains_are_written_in_place(program):
    """The loop over the steps copies no state: each array is copied once at most, when the run begins."""
    prepared = inference.mcmc(program, kernels.mh(), chains=8, warmup=0, draws=2, thin=10).prepare((jnp.zeros(1000),))
    state, _ = prepared.built.start(jax.random.key(0), prepared.inputs)
    compiled = prepared.built.run.lower(jax.random.key(1), prepared.inputs, state).compile()
    copies = re.findall(r"= \w+\[8,1000\]\S* copy\(", compiled.as_text())
    assert len(copies) <= sum(x.shape == (8, 1000) for x in state)
