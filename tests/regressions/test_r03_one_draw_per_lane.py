"""15.3: a site draws once for each lane and for each element, also where nothing tells them apart.

A primitive without a mapped operand gives one draw to all lanes of `jax.vmap`. That lanes are independent, and not
just different, is tested in tests/faults/test_f31_vmap_over_a_site.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, inference, plate, sample
from lawful.backends.xla import compile
from lawful.inference.check import key_of

KEY = key_of("r03")


def nested_plates():
    with plate("row", 4), plate("column", 3):
        return sample("x", dist.Normal(0.0, 1.0))


def nested_maps():
    return jax.vmap(lambda _: jax.vmap(lambda _: sample("x", dist.Normal(0.0, 1.0)))(jnp.zeros(4)))(jnp.zeros(3))


def a_map_over_a_plate():
    def lane(_):
        with plate("column", 4):
            return sample("x", dist.Normal(0.0, 1.0))

    return jax.vmap(lane)(jnp.zeros(3))


def a_map_inside_a_plate():
    """A mapped site whose elements the plate declares."""
    with plate("column", 4):
        return jax.vmap(lambda _: sample("x", dist.Normal(jnp.zeros(4), 1.0)))(jnp.zeros(3))


PROGRAMS = [nested_plates, nested_maps, a_map_over_a_plate, a_map_inside_a_plate]


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    with jax.enable_x64(request.param == "float64"):
        yield


@pytest.mark.regression("15.3a")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_nested_plates_and_maps_of_3_by_4_give_12_distinct_draws(program, precision):
    (draws,), _ = compile(lawful.trace(program))(KEY)
    assert draws.shape == (3, 4)
    assert len(np.unique(np.asarray(draws))) == 12


@pytest.mark.regression("15.3a")
def test_an_eager_run_of_nested_plates_gives_12_distinct_draws(precision):
    assert len(np.unique(np.asarray(handlers.seed(nested_plates, KEY)()))) == 12


@pytest.mark.rest_slow
@pytest.mark.regression("15.3a")
@pytest.mark.parametrize("program", [nested_plates, nested_maps], ids=lambda p: p.__name__)
def test_particles_and_chains_share_no_draw_either(program):
    population = inference.importance(program, particles=5, runs=2)(KEY).weighted.values["x"]
    chains = inference.mcmc(program, chains=3, warmup=0, draws=1)(KEY).posterior["x"]
    assert len(np.unique(np.asarray(population))) == 5 * 2 * 12
    assert len(np.unique(np.asarray(chains))) == 3 * 12
