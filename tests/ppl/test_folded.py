"""A folded form has the choices, the data and the measure of its form; what is wrong is told by the step's own name."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, plate, sample, scan
from lawful.errors import ObservationError
from lawful.form import Loop
from lawful.inspection.lint.observed_data import checked_data
from lawful.passes.rolling.roll import folded
from tests.ppl.unrolled import random_unrolled
from tests.tiers import rest_slow

Y = jnp.linspace(-1.0, 1.0, 12)


@pytest.mark.parametrize("seed", rest_slow(range(4), 2))
def test_all_coordinates_in_one_vector_have_the_density_of_the_named_ones(seed):
    program = random_unrolled(300 + seed, steps=12, finite=False, kinds=("latent", "observed", "factor", "named"))
    density = lawful.density(program, Y)
    assert any(isinstance(node, Loop) for node in folded(density.form).form.nodes)
    vector, unravel = density.ravel()
    vector = jax.random.normal(jax.random.key(seed), vector.shape)
    ours, theirs = jax.value_and_grad(density.logp_vector)(vector), jax.value_and_grad(density.logp)(unravel(vector))
    assert abs(float(ours[0] - theirs[0])) < 1e-12 * max(1.0, abs(float(theirs[0])))
    np.testing.assert_allclose(ours[1], density.ravel(theirs[1])[0], rtol=1e-9, atol=1e-12)


def groups(y):
    """Steps with a scale, a loop and a plate of their own."""
    for i in range(8):
        scale = sample(f"scale{i}", dist.LogNormal(0.0, 1.0))
        with plate(f"row{i}", 2):
            sample(f"level{i}", dist.Normal(0.0, scale))

        def step(x, y, i=i, scale=scale):
            x = sample(f"x{i}", dist.Normal(x, scale))
            sample(f"y{i}", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, 0.0, y[i])


def test_steps_with_loops_and_plates_inside_have_the_density_of_the_named_ones():
    density = lawful.density(groups, jnp.linspace(-1.0, 1.0, 24).reshape(8, 3))
    found = folded(density.form)
    assert found.names(("x0",)) == tuple((f"x{i}",) for i in range(8))
    vector, unravel = density.ravel()
    assert vector.shape == (8 * (1 + 2 + 3),)
    vector = jax.random.normal(jax.random.key(0), vector.shape)
    assert abs(float(density.logp_vector(vector) - density.logp(unravel(vector)))) < 1e-12


def sums(y):
    """Data that steps compute from earlier data: they never meet a choice."""
    total = 0.0
    for i in range(len(y)):
        total = total + y[i]
        x = sample(f"x{i}", dist.Normal(0.0, 1.0))
        sample(f"total{i}", dist.Normal(x, 1.0), obs=total)
    sample("whole", dist.Exponential(1.0), obs=total)


def test_data_are_read_by_the_names_of_the_steps():
    data = checked_data(lawful.trace(sums, Y + 1.0), [Y + 1.0])
    sizes = np.cumsum(np.asarray(Y + 1.0))
    assert set(data) == {f"total{i}" for i in range(12)} | {"whole"}
    for i in range(12):
        assert data[f"total{i}"].shape == ()
        np.testing.assert_allclose(data[f"total{i}"], sizes[i], rtol=1e-12)
    np.testing.assert_allclose(data["whole"], sizes[-1], rtol=1e-12)


@pytest.mark.parametrize(
    ("y", "site", "index"),
    [(Y.at[7].set(jnp.nan), "total7", ()), (Y - 1.0, "whole", ())],
    ids=["a number that is none", "outside the support"],
)
def test_wrong_data_are_refused_by_the_name_of_their_step(y, site, index):
    with pytest.raises(ObservationError) as caught:
        lawful.density(sums, y)
    assert (caught.value.site, caught.value.index) == ((site,), index)


def test_wrong_data_of_a_loop_inside_a_step_are_refused_by_step_and_index():
    y = jnp.zeros((8, 3)).at[5, 2].set(jnp.nan)
    with pytest.raises(ObservationError) as caught:
        lawful.density(groups, y)
    assert (caught.value.site, caught.value.index) == (("y5",), (2,))


def through(y):
    """A datum that a loop computes beside its own data, and one that hangs on a choice of the loop."""

    def step(carry, y):
        total, x = carry
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return (total + y, x), None

    (total, x), _ = scan(step, (0.0, 0.0), y)
    sample("sum", dist.Exponential(1.0), obs=total)
    factor("end", -x)


def test_a_datum_that_a_loop_carries_is_checked():
    data = checked_data(lawful.trace(through, Y + 1.0), [Y + 1.0])
    np.testing.assert_allclose(data["sum"], float(jnp.sum(Y + 1.0)), rtol=1e-12)
    with pytest.raises(ObservationError, match="site 'sum'"):
        lawful.density(through, Y - 1.0)
