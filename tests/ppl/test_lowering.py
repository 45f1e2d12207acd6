"""Lowering: sites inside the constructs of JAX keep their meaning, or an error says why they cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, handlers, plate, sample, scan
from lawful.backends.xla import compile
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Branch, Loop, walk

KEY = jax.random.key(5)
NORMAL = dist.Normal(0.0, 1.0)


def plain(y):
    x = sample("x", dist.Normal(y, 2.0))
    factor("f", -(x**2))
    return x


def body(x):
    x = sample("x", dist.Normal(x, 2.0))
    factor("f", -(x**2))
    return x


@jax.custom_jvp
def custom_jvp(y):
    return body(y)


custom_jvp.defjvp(lambda primals, tangents: (body(*primals), tangents[0]))


@jax.custom_vjp
def custom_vjp(y):
    return body(y)


custom_vjp.defvjp(lambda y: (body(y), None), lambda residual, g: (g,))

WRAPPED = {
    "jit": lambda y: jax.jit(body)(y),
    "nested jit": lambda y: jax.jit(lambda z: jax.jit(body)(z))(y),
    "checkpoint": lambda y: jax.checkpoint(body)(y),
    "custom_jvp": custom_jvp,
    "custom_vjp": custom_vjp,
    "named_call": lambda y: jax.named_call(body, name="part")(y),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_site_in_a_call_of_jax_is_the_site_itself(name):
    expected = lawful.trace(plain, 0.5)
    form = lawful.trace(WRAPPED[name], 0.5)
    assert not any(isinstance(node, Loop | Branch) for node in walk(form))
    assert float(form.log_density({"x": 0.3}, 0.5)) == float(expected.log_density({"x": 0.3}, 0.5))
    (value,), weight = compile(form)(KEY, 0.5)
    (wanted,), wanted_weight = compile(expected)(KEY, 0.5)
    assert (float(value), float(weight)) == (float(wanted), float(wanted_weight))


def test_a_site_under_grad_is_drawn_and_its_value_is_a_constant_of_the_derivative():
    def model():
        def square(mu):
            x = sample("x", NORMAL)
            return (x + mu) ** 2

        return jax.value_and_grad(square)(1.0)

    form = lawful.trace(model)
    (value, slope), _ = compile(form)(KEY)
    x = handlers.seed(lambda: sample("x", NORMAL), KEY)()
    np.testing.assert_allclose([value, slope], [(x + 1) ** 2, 2 * (x + 1)], rtol=1e-14)
    assert float(form.log_density({"x": 0.0})) == float(NORMAL.log_prob(0.0))


def test_grad_of_a_density_inside_a_program_is_a_plain_operation():
    def model():
        x = sample("x", NORMAL)
        return sample("y", dist.Normal(x + jax.grad(lambda z: NORMAL.log_prob(z))(x), 1.0))

    form = lawful.trace(model)
    assert float(form.log_density({"x": 2.0, "y": 0.0})) == float(NORMAL.log_prob(2.0) + NORMAL.log_prob(0.0))


def test_lax_scan_is_the_scan_of_the_language():
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    ys = jnp.array([0.5, -1.0, 2.0])
    ours, plain = (lawful.trace(lambda y, s=s: s(step, 0.0, y)[1], ys) for s in (scan, jax.lax.scan))
    choices = {"x": jnp.array([0.1, 0.2, 0.3])}
    assert float(ours.log_density(choices, ys)) == float(plain.log_density(choices, ys))
    np.testing.assert_array_equal(compile(ours)(KEY, ys)[0][0], compile(plain)(KEY, ys)[0][0])


def test_lax_scan_in_reverse_gives_each_step_its_own_index():
    def step(x, _):
        x = sample("x", dist.Normal(x, 1.0))
        return x, x

    form = lawful.trace(lambda: jax.lax.scan(step, 0.0, None, length=3, reverse=True)[1])
    x = jnp.array([0.1, 0.2, 0.5])
    expected = dist.Normal(jnp.array([0.2, 0.5, 0.0]), 1.0).log_prob(x).sum()
    assert float(form.log_density({"x": x})) == pytest.approx(float(expected), rel=1e-15)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_lax_switch_scores_the_arm_that_runs(index):
    arms = [lambda s=s: sample(f"x{s}", dist.Normal(float(s), 1.0)) for s in range(3)]
    form = lawful.trace(lambda i: jax.lax.switch(i, arms), jnp.array(index))
    expected = dist.Normal(float(index), 1.0).log_prob(0.3)
    assert float(form.log_density({f"x{index}": 0.3}, jnp.array(index))) == float(expected)


@pytest.mark.parametrize("truth", [True, False])
def test_lax_cond_is_the_cond_of_the_language(truth):
    arms = (lambda: sample("a", NORMAL), lambda: sample("b", dist.Normal(1.0, 1.0)) + sample("c", NORMAL))
    ours = lawful.trace(lambda p: cond(p, *arms), jnp.array(truth))
    plain = lawful.trace(lambda p: jax.lax.cond(p, *arms), jnp.array(truth))
    choices = {"a": 0.5} if truth else {"b": 0.5, "c": 0.1}
    assert float(ours.log_density(choices, jnp.array(truth))) == float(plain.log_density(choices, jnp.array(truth)))


@pytest.mark.parametrize(
    "loop",
    [
        lambda: jax.lax.while_loop(lambda c: c < 3, lambda c: c + sample("x", NORMAL) ** 2, 0.0),
        lambda: jax.lax.fori_loop(
            0, jnp.asarray(sample("n", dist.Poisson(3.0))), lambda i, c: c + sample("x", NORMAL), 0.0
        ),
    ],
    ids=["while_loop", "fori_loop"],
)
def test_a_site_in_a_loop_without_a_static_length_has_no_density(loop):
    form = lawful.trace(loop)
    given = {("x", "while"): jnp.zeros(2, jnp.uint32), ("n",): 3}
    names = {site.address for site in form.sites()}
    with pytest.raises(
        UnsupportedProgramError, match=r"site 'x' \(.*test_lowering\.py:\d+\).*while_loop.*lawful\.bounded_loop"
    ):
        form.log_density({name: value for name, value in given.items() if name in names})


def test_a_loop_without_sites_is_a_plain_operation():
    def model():
        x = sample("x", NORMAL)
        return jax.lax.while_loop(lambda c: c < 3, lambda c: c + 1 + x**2, x)

    assert [site.address for site in lawful.trace(model).sites()] == [("x",)]


def test_fori_loop_of_static_length_is_a_loop():
    form = lawful.trace(lambda: jax.lax.fori_loop(0, 3, lambda i, c: c + sample("x", NORMAL), 0.0))
    assert float(form.log_density({"x": jnp.zeros(3)})) == pytest.approx(3 * float(NORMAL.log_prob(0.0)), rel=1e-15)


@pytest.mark.rest_slow
@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 4)])
def test_plain_vmap_over_a_site_draws_independently(shape):
    """No parameter has the mapped axis, and yet no two lanes share a draw."""

    def model():
        def draw(_):
            return sample("x", NORMAL)

        for _ in shape:
            draw = jax.vmap(draw)
        return draw(jnp.zeros(shape))

    form = lawful.trace(model)
    (draws,), _ = compile(form)(KEY)
    assert draws.shape == shape
    assert len(np.unique(draws)) == draws.size
    values = jnp.arange(float(np.prod(shape))).reshape(shape) / 10
    np.testing.assert_allclose(form.log_density({"x": values}), NORMAL.log_prob(values).sum(), rtol=1e-14)


def test_plain_vmap_with_parameters_on_different_axes_scores_each_lane():
    locs, scales = jnp.array([0.0, 1.0, 2.0]), jnp.array([1.0, 2.0])

    def model():
        def lane(loc, scale):
            return sample("x", dist.Normal(jnp.stack([loc, -loc]), scale))

        return jax.vmap(jax.vmap(lane, in_axes=(0, None)), in_axes=(None, 0))(locs, scales)

    form = lawful.trace(model)
    values = jnp.arange(12.0).reshape(2, 3, 2) / 5
    expected = dist.Normal(jnp.stack([locs, -locs], -1), scales[:, None, None]).log_prob(values).sum()
    np.testing.assert_allclose(form.log_density({"x": values}), expected, rtol=1e-14)
    assert compile(form)(KEY)[0][0].shape == (2, 3, 2)


def test_plain_vmap_of_a_scan_keeps_lanes_and_steps_apart():
    def lane(start):
        return scan(lambda x, _: (sample("x", dist.Normal(x, 1.0)),) * 2, start, length=3)[1]

    form = lawful.trace(lambda: jax.vmap(lane)(jnp.array([0.0, 10.0])))
    (draws,), _ = compile(form)(KEY)
    assert draws.shape == (2, 3) and len(np.unique(np.diff(draws, axis=1))) == 4
    values = jnp.array([[1.0, 9.0], [2.0, 8.0], [3.0, 7.0]])
    steps = values - jnp.concatenate([jnp.array([[0.0, 10.0]]), values[:-1]])
    np.testing.assert_allclose(form.log_density({"x": values}), NORMAL.log_prob(steps).sum(), rtol=1e-14)


def test_factors_under_vmap_are_summed():
    def model():
        jax.vmap(lambda w: factor("f", w))(jnp.array([1.0, 2.0]))
        jax.vmap(lambda _: factor("g", 0.5))(jnp.zeros(4))

    assert float(lawful.trace(model).log_density({})) == 5.0


def test_an_observation_that_is_mapped_with_its_site_is_scored_lane_by_lane():
    form = lawful.trace(lambda y: jax.vmap(lambda v: sample("y", NORMAL, obs=v))(y), jnp.zeros(3))
    y = jnp.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(form.log_density({}, y), NORMAL.log_prob(y).sum(), rtol=1e-15)


def test_one_observation_for_all_lanes_is_refused():
    def model(y):
        jax.vmap(lambda mu: sample("y", dist.Normal(mu, 1.0), obs=y))(jnp.zeros(3))

    with pytest.raises(LawfulError, match=r"site 'y' .*under jax\.vmap.*plate\(name, size\)"):
        lawful.trace(model, 0.5)


def test_closed_over_arrays_become_constants_and_sizes_stay_python():
    table = np.arange(3.0)

    def model(n):
        with plate("a", n):
            return sample("x", dist.Normal(jnp.asarray(table), 1.0))

    form = lawful.trace(model, 3)
    assert not form.inputs and [site.out.shape for site in form.sites()] == [(3,)]
    assert float(form.log_density({"x": table}, 3)) == pytest.approx(3 * float(NORMAL.log_prob(0.0)), rel=1e-15)
