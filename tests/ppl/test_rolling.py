"""Rolling keeps outputs, measure and keys, address by address, and makes the program's size that of one step."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, deterministic, factor, handlers, plate, sample, scan
from lawful.backends import xla
from lawful.backends.xla import emit
from lawful.form import Loop, walk
from lawful.passes.rolling.roll import rolled
from tests.ppl.unrolled import random_unrolled, traced
from tests.structure.programs import equations
from tests.tiers import rest_slow

KEY = jax.random.key(3)


def loops(form):
    return [node.length for node in form.nodes if isinstance(node, Loop)]


def as_written(form):
    """A form as one compiled function, not rolled any further."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xla, "rolled", lambda form: form)
        return jax.jit(emit(form), compiler_options={"xla_backend_optimization_level": 0})  # which compiles faster


def agree(form, *inputs):
    small = rolled(form, 3, always=True)
    run, plain = as_written(small), as_written(form)
    for key in (KEY, jax.random.key(4)):
        ours, theirs = run(key, *inputs), plain(key, *inputs)
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    return small


# ---- the law, on random programs


@pytest.mark.rest_slow
@pytest.mark.parametrize("finite", [True, False])
@pytest.mark.parametrize("seed", rest_slow(range(4), 2))
def test_outputs_weights_and_draws_stay_with_equal_keys(seed, finite):
    form, y = traced(random_unrolled(100 + seed, steps=9, finite=finite, most=100))
    small = agree(form, y)
    assert loops(small) and max(loops(small)) >= 6
    assert len(small.nodes) < len(form.nodes)


@pytest.mark.parametrize("seed", rest_slow(range(6), 3))
def test_the_log_density_at_the_original_names_is_the_eager_score(seed):
    form, y = traced(random_unrolled(200 + seed, steps=20, finite=False))
    record = handlers.trace(handlers.seed(form, KEY))(y)
    ours = form.log_density(record.choices, y)
    assert abs(float(ours) - float(record.log_density)) < 1e-12 * max(1.0, abs(float(record.log_density)))


# ---- what is rolled


def chain(n):
    x = sample("x0", dist.Normal(0.0, 1.0))
    for i in range(1, n):
        x = sample(f"x{i}", dist.Normal(0.5 * x, 1.0))
    return x


def test_a_chain_carries_its_state():
    form = lawful.trace(chain, 14)
    small = agree(form)
    (loop,) = [node for node in small.nodes if isinstance(node, Loop)]
    assert loop.length >= 13 and len(loop.init) == 1 and loop.unrolled


def test_a_longer_memory_is_carried_too():
    def model():
        x = [sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(1.0, 1.0))]
        for i in range(10):
            x.append(sample(f"x{i}", dist.Normal(0.5 * x[-1] - 0.2 * x[-2], 1.0)))
        return x[-1], x[3]

    small = agree(lawful.trace(model))
    (loop,) = [node for node in small.nodes if isinstance(node, Loop)]
    assert len(loop.init) == 2


def test_independent_steps_are_one_block_without_a_carry():
    def model(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        for i in range(12):
            sample(f"y{i}", dist.Normal(mu, 1.0 + i), obs=y[i])
            sample(f"z{i}", dist.Normal(mu, 2.0))

    small = agree(lawful.trace(model, jnp.arange(12.0)), jnp.arange(12.0))
    (loop,) = [node for node in small.nodes if isinstance(node, Loop)]
    assert loop.length >= 11 and not loop.init  # a step may begin at a site that looks like another one


def test_data_closed_over_constants_and_literals_are_scanned():
    data = np.linspace(-1.0, 1.0, 10)

    def model(y):
        x = 0.0
        for i in range(10):
            x = sample(f"x{i}", dist.Normal(x * (1 + i) + data[i], 1.0))
            sample(f"y{i}", dist.Normal(x, 1.0), obs=y[2 * i])
        return x

    y = jnp.linspace(0.0, 1.0, 20)
    small = agree(lawful.trace(model, y), y)
    assert loops(small) and max(loops(small)) >= 9


@pytest.mark.slow
def test_branches_loops_plates_factors_and_names_inside_the_steps_are_rolled():
    def model(y):
        x = 0.0
        for i in range(8):
            x = cond(
                x > 0,
                lambda x=x, i=i: sample(f"x{i}", dist.Normal(x, 1.0)),
                lambda i=i: sample(f"u{i}", dist.Normal(1.0, 1.0)),
            )
            walked, _ = scan(lambda c, d, i=i: (c + sample(f"w{i}", dist.Normal(d, 1.0)), None), x, y)
            with plate(f"p{i}", 3):
                z = sample(f"z{i}", dist.Normal(walked, 1.0))
            factor(f"f{i}", -0.1 * jnp.sum(z))
            deterministic(f"d{i}", jnp.max(z))
        return x

    y = jnp.arange(4.0)
    small = agree(lawful.trace(model, y), y)
    assert loops(small) and max(loops(small)) >= 7


def test_steps_inside_a_scan_are_rolled_with_the_keys_of_both():
    def model():
        def step(c, _):
            for i in range(9):
                c = sample(f"x{i}", dist.Normal(c, 1.0))
            return c, c

        return scan(step, 0.0, length=4)

    form = lawful.trace(model)
    small = agree(form)
    assert [node.length for node in walk(small) if isinstance(node, Loop)] == [4, 9]


def test_sums_and_stacks_of_the_steps_are_one_operation():
    def model():
        x = [sample(f"x{i}", dist.Normal(0.0, 1.0)) for i in range(12)]
        return jnp.stack(x), jnp.concatenate([jnp.full(2, v) for v in x])

    small = agree(lawful.trace(model))
    assert len(small.nodes) < 6


@pytest.mark.slow
def test_what_differs_from_step_to_step_is_left_alone():
    def families():
        x = 0.0
        for i in range(13):
            x = sample(f"x{i}", dist.Normal(x, 1.0) if i % 3 and i % 4 else dist.Laplace(x, 1.0 + i))
        return x

    def all_before():
        x = [jnp.zeros(())]
        for i in range(9):
            x.append(sample(f"x{i}", dist.Normal(sum(x), 1.0)))
        return x[-1]

    for model in (families, all_before):
        agree(lawful.trace(model))
    for least in (3, 8):
        assert rolled(lawful.trace(all_before), least) is lawful.trace(all_before)


def test_a_few_steps_and_loops_that_save_nothing_are_left_alone():
    assert rolled(lawful.trace(chain, 7)) is lawful.trace(chain, 7)

    def scaled(*x):
        return tuple(2.0 * v for v in x)

    form = lawful.trace(scaled, *map(float, range(20)))
    assert rolled(form) is form
    assert loops(rolled(form, always=True)) == [20]


# ---- what it is for


def autoregression(y):
    x = sample("x0", dist.Normal(0.0, 1.0))
    sample("y0", dist.Normal(x, 1.0), obs=y[0])
    for i in range(1, len(y)):
        x = sample(f"x{i}", dist.Normal(0.5 * x, 1.0))
        sample(f"y{i}", dist.Normal(x, 1.0), obs=y[i])


def test_the_number_of_operations_does_not_depend_on_the_number_of_sites():
    counts = []
    for n in (20, 50):
        d = lawful.density(autoregression, jnp.linspace(-1.0, 1.0, n))
        counts.append(len(list(equations(jax.make_jaxpr(jax.value_and_grad(d.logp_vector))(d.ravel()[0])))))
    assert counts[0] == counts[1] < 300


def test_the_log_density_is_the_exact_number():
    """20 sites at x = 0.1: -20.482058, from the sum of twenty normal scores."""
    d = lawful.density(autoregression, jnp.linspace(-1.0, 1.0, 10))
    position = {f"x{i}": 0.1 for i in range(10)}
    vector, _ = d.ravel({name: jnp.asarray(value) for name, value in position.items()})
    assert abs(float(d.logp(position)) + 20.482058) < 1e-6
    assert abs(float(d.logp_vector(vector)) - float(d.logp(position))) < 1e-12
    gradient = jax.grad(d.logp_vector)(vector)
    for name, value in d.ravel()[1](gradient).items():
        np.testing.assert_allclose(value, jax.grad(d.logp)(position)[name], rtol=1e-12)


def test_a_choice_is_conditioned_by_its_own_name():
    n = 12
    y = jnp.linspace(-1.0, 1.0, n)
    some = {"x3": jnp.asarray(0.4), "x7": jnp.asarray(-0.2)}
    form = lawful.trace(handlers.condition(autoregression, some), y)
    rest = {f"x{i}": 0.1 * i for i in range(n) if f"x{i}" not in some}
    whole = lawful.trace(autoregression, y).log_density(rest | some, y)
    assert abs(float(form.log_density(rest, y)) - float(whole)) < 1e-12
