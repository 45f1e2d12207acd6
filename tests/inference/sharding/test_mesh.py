"""A mesh is refused where it cannot do what is asked, before anything runs."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.devices import mesh as meshes
from lawful.inference.devices.axis import Axis

ONE = jax.make_mesh((1,), ("p",), axis_types=(jax.sharding.AxisType.Auto,))


def model():
    lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=0.5)


@pytest.mark.parametrize("method", ["smc", "importance", "tempered_smc"])
def test_particles_that_do_not_divide_are_refused(method, monkeypatch):
    monkeypatch.setattr(meshes, "axis_of", lambda mesh: Axis("p", 4))
    with pytest.raises(LawfulError, match="particles=10 cannot be spread evenly over 4 devices"):
        getattr(inference, method)(model, particles=10, mesh=ONE, **({"steps": 1} if method == "tempered_smc" else {}))


def test_other_meshes_and_numbers_of_devices_are_refused(monkeypatch):
    two = jax.make_mesh((1, 1), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with pytest.raises(LawfulError, match=r"expected a jax.sharding.Mesh of one axis, got axes \('a', 'b'\)"):
        inference.importance(model, particles=10, mesh=two)
    with pytest.raises(LawfulError, match="needs mode='staged'"):
        inference.smc(model, particles=4, mesh=ONE, mode="eager")
    monkeypatch.setattr(meshes, "axis_of", lambda mesh: Axis("p", 7))
    with pytest.raises(LawfulError, match="at most 960 blocks"):
        inference.importance(model, particles=14, mesh=ONE)


@pytest.mark.parametrize("method", ["smc", "importance", "tempered_smc", "annealed_importance", "smc2", "mcmc"])
def test_what_is_no_mesh_is_told_beside_options_of_a_run_too(method):
    needed = {"smc2": {"proposal": inference.kernels.random_walk(0.5), "inner": 2, "particles": 4}, "mcmc": {}}
    settings = needed.get(method, {"particles": 4})
    with pytest.raises((LawfulError, TypeCheckError), match="mesh"):
        getattr(inference, method)(model, mesh="p", run=inference.RunOptions(), **settings)


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", ["smc", "tempered_smc", "importance"])
def test_populations_in_chunks_are_on_the_devices_of_one_process(method, monkeypatch):
    build, settings = getattr(inference, method), {"particles": 10, "mesh": ONE}
    settings |= {} if method == "importance" else {"resampling": "exact"}
    plan = build(model, run=inference.RunOptions(chunk=2), **settings)
    found = [each(jax.random.key(2)) for each in (plan, build(model, **settings))]
    np.testing.assert_array_equal(*(result.posterior["x"] for result in found))
    monkeypatch.setitem(vars(ONE), "is_multi_process", True)  # a value that is worked out once
    for run in (
        lambda: build(model, run=inference.RunOptions(), **settings),
        lambda: build(model, **settings).iterate(jax.random.key(0)),
    ):
        with pytest.raises(LawfulError, match=rf"{method}: a run in chunks .* and those of mesh= are of several"):
            run()


@pytest.mark.slow
def test_chains_in_chunks_are_on_the_devices_of_one_process(monkeypatch):
    settings = {"kernel": inference.kernels.random_walk(1.0), "chains": 2, "warmup": 3, "draws": 4, "mesh": ONE}
    plan = inference.mcmc(model, run=inference.RunOptions(chunk=2), **settings)
    found = [each(jax.random.key(2)) for each in (plan, inference.mcmc(model, **settings))]
    np.testing.assert_array_equal(*(result.posterior["x"] for result in found))
    monkeypatch.setitem(vars(ONE), "is_multi_process", True)  # a value that is worked out once
    with pytest.raises(LawfulError, match="mcmc: a run in chunks .* and those of mesh= are of several"):
        inference.mcmc(model, run=inference.RunOptions(), **settings)


def test_a_mesh_of_one_device_has_the_chains_of_none():
    settings = {"kernel": inference.kernels.random_walk(1.0), "chains": 2, "warmup": 3, "draws": 4}
    found = [inference.mcmc(model, mesh=mesh, **settings)(jax.random.key(2)) for mesh in (ONE, None)]
    np.testing.assert_array_equal(*(result.posterior["x"] for result in found))


def test_particles_on_a_mesh_find_the_evidence():
    """Weights have a spread of 0.45 of their mean, so a false alarm is more than six errors off: probability 2e-9."""
    found = inference.importance(model, particles=9600, mesh=ONE)(jax.random.key(3))
    assert abs(float(found.log_evidence[0]) + 1.328012123) < 6 * 0.5 / 9600**0.5
