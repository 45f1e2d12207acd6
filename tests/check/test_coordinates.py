"""The density in coordinates without bounds is checked by the derivatives of the map, dependent bounds included."""

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import UnsupportedProgramError
from lawful.inference.check import coordinates
from tests.mutants import maps
from tests.mutants.small_checks import simplex

pytestmark = pytest.mark.tier0b


def supports(y):
    """One site of each common support, one in a plate and one in a loop."""
    scale = lawful.sample("scale", dist.HalfNormal(1.0))
    share = lawful.sample("share", dist.Beta(2.0, 3.0))
    with lawful.plate("i", 3):
        x = lawful.sample("x", dist.Normal(share, scale))
    late = lawful.sample("late", dist.Uniform(scale, scale + 2.0))

    def step(level, y):
        level = lawful.sample("level", dist.LogNormal(jnp.log(level), 0.3))
        lawful.sample("y", dist.Normal(level + late + x.sum(), 1.0), obs=y)
        return level, None

    lawful.scan(step, 1.0, y)


@pytest.mark.parametrize(
    ("model", "data"), [(supports, jnp.array([0.5, 1.0])), (simplex, 0.3)], ids=["many", "simplex"]
)
def test_the_exported_density_has_the_right_volume(model, data):
    report = coordinates(model, data)
    assert report.passed and report.measure_error < 1e-12, report


@pytest.mark.slow
def test_a_dependent_bound_without_its_factor_is_found():
    with maps.dependent_bound_forgotten() as reached:
        report = coordinates(simplex, 0.3)
    assert reached.count and report.status == "failed" and report.measure_error > 0.01


def test_maps_without_a_volume_are_refused():
    with pytest.raises(UnsupportedProgramError, match="3 values and 2 coordinates"):
        coordinates(lambda: lawful.sample("p", dist.Dirichlet(jnp.ones(3))))
