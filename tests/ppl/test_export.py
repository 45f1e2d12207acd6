"""The exported density: the measure of the program in coordinates without bounds, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate

import lawful
from lawful import cond, factor, handlers, plate, sample, scan
from lawful.errors import LawfulError, NoFiniteStartError, ObservationError, UnsupportedProgramError
from lawful.interop.density import Density

from .families import FAMILIES
from .programs import PROGRAMS

KEY = jax.random.key(7)
CARRIED = [
    "Beta", "Dirichlet", "LKJCholesky", "LogUniform", "MultivariateNormal", "Pareto", "TruncatedNormal", "VonMises",
]  # fmt: skip


def model(y):
    mu = sample("mu", dist.Normal(0.0, 5.0))
    tau = sample("tau", dist.HalfCauchy(5.0))
    with plate("school", 3):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, 2.0), obs=y)


def steps(y):
    def step(scale, y):
        high = sample("high", dist.Gamma(3.0, scale))
        x = sample("x", dist.Uniform(-high, high))
        p = sample("p", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
        sample("y", dist.Normal(x + p[0], 1.0), obs=y)
        return high, x

    scan(step, 1.0, y)
    factor("f", -1.0)


def lanes():
    scales = jax.vmap(lambda rate: sample("scale", dist.Exponential(rate)))(jnp.array([1.0, 2.0]))
    jax.vmap(lambda s: sample("u", dist.Uniform(-s, s)))(scales)


def arms():
    x = sample("x", dist.Normal(0.0, 1.0))
    cond(x > 0, lambda: sample("z", dist.Gamma(2.0, 1.0)), lambda: -sample("z", dist.Beta(2.0, 3.0)))


MODELS = {
    "plates": (model, (np.array([1.0, -1.0, 3.0]),)),
    "loop": (steps, (np.array([0.5, -0.5]),)),
    "lanes": (lanes, ()),
    "arms": (arms, ()),
}


@pytest.fixture(params=MODELS, scope="module")
def start(request):
    program, args = MODELS[request.param]
    density = lawful.density(program, *args)
    return density, density.initial(KEY)


@pytest.mark.rest_slow
def test_a_density_is_the_one_of_the_program_plus_the_jacobian(start):
    density, position = start
    flat, unravel = density.ravel(position)

    def constrained(flat):
        return jnp.concatenate(
            [jnp.ravel(_coordinates(name, value)) for name, value in density.constrain(unravel(flat)).items()]
        )

    jacobian = jnp.linalg.slogdet(jax.jacobian(constrained)(flat))[1]
    expected = density.log_density(density.constrain(position)) + jacobian
    np.testing.assert_allclose(density.logp(position), expected, rtol=1e-12)


def _coordinates(name, value):
    """A simplex has one coordinate fewer than entries; Lebesgue measure on it is that of the others."""
    return value[..., :-1] if name == "p" else value


@pytest.mark.rest_slow
def test_the_gradient_equals_finite_differences(start):
    density, position = start
    flat, unravel = density.ravel(position)
    score = jax.jit(lambda flat: density.logp(unravel(flat)))
    gradient = jax.jit(jax.grad(score))(flat)
    step = 1e-5
    for i, unit in enumerate(jnp.eye(len(flat))):
        # Differences of fourth order: the error is of order step**4 + 1e-16 / step.
        slope = 8 * (score(flat + step * unit) - score(flat - step * unit))
        slope -= score(flat + 2 * step * unit) - score(flat - 2 * step * unit)
        np.testing.assert_allclose(gradient[i], slope / (12 * step), rtol=1e-7, atol=1e-8)


@pytest.mark.rest_slow
def test_jit_and_vmap_keep_the_density(start):
    density, position = start
    flat, unravel = density.ravel(position)

    def score(flat):
        return density.logp(unravel(flat))

    points = flat + jnp.linspace(-0.5, 0.5, 4)[:, None]
    one_by_one = [score(point) for point in points]
    np.testing.assert_allclose(jax.vmap(score)(points), one_by_one, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(score)(points[0]), one_by_one[0], rtol=1e-12)


@pytest.mark.rest_slow
def test_values_go_to_coordinates_and_back(start):
    """`unconstrain` is the inverse of `constrain` on both sides, one point or many, by name or by step."""
    density, position = start
    values = density.constrain(position)
    for name, free in density.unconstrain(values).items():
        np.testing.assert_allclose(free, position[name], rtol=1e-12, atol=1e-12)
    for name, value in density.constrain(density.unconstrain(values)).items():
        np.testing.assert_allclose(value, values[name], rtol=1e-12, atol=1e-12)
    flat, unravel = density.ravel(position)
    points = jax.vmap(unravel)(flat + jnp.linspace(-0.5, 0.5, 3)[:, None])
    for name, free in jax.jit(jax.vmap(density.unconstrain))(jax.vmap(density.constrain)(points)).items():
        np.testing.assert_allclose(free, points[name], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("sigma", [-1.0, 0.0, np.nan])
def test_a_value_outside_its_support_has_no_coordinates_and_the_site_is_named(sigma):
    density = lawful.density(lambda: sample("sigma", dist.HalfNormal(1.0)))
    with pytest.raises(LawfulError, match="'sigma'.*outside the support.*Fix: give values inside"):
        density.unconstrain({"sigma": sigma})
    assert not jnp.isfinite(jax.jit(density.unconstrain)({"sigma": sigma})["sigma"])
    with pytest.raises(LawfulError, match="given shape"):
        density.unconstrain({"sigma": np.ones(2)})


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", CARRIED)
def test_each_kind_of_support_is_carried(name):
    family = FAMILIES[name]
    density = lawful.density(lambda: sample("x", family.make()))
    position = density.initial(KEY)
    value = density.constrain(position)["x"]
    assert value.shape == jnp.shape(family.inside) == density.shapes["x"]
    np.testing.assert_allclose(density.unconstrain({"x": value})["x"], position["x"], rtol=1e-9, atol=1e-9)
    assert np.isfinite(density.log_density({"x": value})) and np.isfinite(density.logp(position))
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(jax.grad(density.logp)(position)))


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "name", ["Beta", "Gamma", "HalfCauchy", "LogNormal", "Pareto", "TruncatedNormal", "Uniform", "Weibull"]
)
def test_the_density_in_coordinates_integrates_to_one(name):
    density = lawful.density(lambda: sample("x", FAMILIES[name].make()))
    function = jax.jit(lambda u: jnp.exp(density.logp({"x": u})))
    mass, _ = integrate.quad(lambda u: float(function(u)), -60, 60, limit=400, epsabs=1e-11, points=[-3, 0, 3])
    assert mass == pytest.approx(1.0, abs=1e-8)


def test_a_factor_and_an_observation_count():
    def weighed(y):
        x = sample("x", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        factor("f", 3.0)

    density = lawful.density(weighed, 2.0)
    expected = 3.0 + dist.Normal(0.0, 1.0).log_prob(jnp.array([0.5, 1.5])).sum()
    np.testing.assert_allclose(density.logp({"x": 0.5}), expected, rtol=1e-15)
    np.testing.assert_allclose(density.log_density({"x": 0.5}), expected, rtol=1e-15)


def test_names_shapes_types_and_dims_are_those_of_results():
    program, args = MODELS["loop"]
    density = lawful.density(program, *args)
    assert density.names == ("high", "x", "p")
    assert density.shapes == {"high": (2,), "x": (2,), "p": (2, 3)}
    assert density.dtypes == dict.fromkeys(density.names, jnp.float64)
    assert density.dims == {"high": ("time",), "x": ("time",), "p": ("time", "p_dim_0")}
    assert lawful.density(model, np.zeros(3)).dims["theta"] == ("school",)


@pytest.mark.slow
def test_ravel_and_its_inverse():
    density = lawful.density(*[MODELS["loop"][0], *MODELS["loop"][1]])
    origin, unravel = density.ravel()
    assert origin.shape == (2 + 2 + 2 * 2,) and not origin.any()
    position = density.initial(KEY)
    flat, unravel = density.ravel(position)
    jax.tree.map(np.testing.assert_array_equal, dict(unravel(flat)), dict(position))
    assert set(position) == set(density.names) and np.isfinite(density.logp(position))


def test_a_form_is_exported_as_its_program_is():
    form = lawful.trace(model, np.zeros(3))
    ours, theirs = lawful.density(form, np.zeros(3)), lawful.density(model, np.zeros(3))
    assert isinstance(ours, Density) and ours.logp(ours.initial(KEY)) == theirs.logp(theirs.initial(KEY))


def test_discrete_sites_are_named_and_enumeration_is_offered():
    program, args = PROGRAMS["branches"]
    with pytest.raises(
        UnsupportedProgramError, match=r"discrete sites 'b' \(.*\), 'k' \(.*inference\.enumerate"
    ) as caught:
        lawful.density(program, *args)
    assert caught.value.sites == (("b",), ("k",))


def test_a_point_mass_has_no_density():
    def density():
        return lawful.density(lambda: sample("x", dist.Delta(1.0))).logp({"x": 0.0})

    with pytest.raises(UnsupportedProgramError, match=r"site 'x' .*point mass.*lawful\.deterministic"):
        density()


def test_a_site_of_one_arm_only_is_refused():
    def one_armed():
        x = sample("x", dist.Normal(0.0, 1.0))
        cond(x > 0, lambda: sample("z", dist.Normal(0.0, 1.0)), lambda: 0.0)

    with pytest.raises(UnsupportedProgramError, match="site 'z' .*one arm"):
        lawful.density(one_armed)


def test_data_are_checked_when_the_density_is_made():
    with pytest.raises(ObservationError, match="site 'y'.*NaN"):
        lawful.density(model, np.array([1.0, np.nan, 0.0]))


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ({"x": 0.0}, "expected the sites high, x, p, got x"),
        ({"high": np.zeros(2), "x": np.zeros(2), "p": np.zeros((2, 3))}, r"site 'p' has \(2, 2\) coordinates"),
    ],
)
def test_a_position_that_does_not_fit_is_named(position, message):
    program, args = MODELS["loop"]
    with pytest.raises(LawfulError, match=message):
        lawful.density(program, *args).logp(position)


def test_no_finite_start_names_the_site_at_fault():
    def impossible():
        x = sample("x", dist.Normal(0.0, 1.0))
        sample("fine", dist.Normal(x, 1.0), obs=0.0)
        factor("wall", jnp.where(x > 100, 0.0, -jnp.inf))

    with pytest.raises(NoFiniteStartError, match="100 starts.*x = .*site 'wall' .*-inf") as caught:
        lawful.density(impossible).initial(KEY)
    assert caught.value.sites == (("wall",),)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["plates", "loop", "arms"])
def test_an_eager_run_scores_the_constrained_values_alike(name):
    program, args = MODELS[name]
    density = lawful.density(program, *args)
    values = density.constrain(density.ravel()[1](density.ravel()[0] + 0.3))
    np.testing.assert_allclose(density.log_density(values), handlers.log_density(program, values)(*args), rtol=1e-12)
