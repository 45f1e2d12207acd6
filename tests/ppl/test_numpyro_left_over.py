"""Laws of programs in which statements of NumPyro are left over: they raise where they stand, and nothing is lost."""

import threading

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import cond as numpyro_cond
from numpyro.contrib.control_flow import scan as numpyro_scan

import lawful
from lawful import handlers, inference
from lawful.errors import UnsupportedProgramError

KEY = jax.random.key(0)
Y = jnp.array([51.0, 52.0])


def observed(mu):
    numpyro.sample("y", dist.Normal(mu, 1.0), obs=Y[0])


def whole_plate(mu):
    with numpyro.plate("row", 2):
        lawful.factor("f", mu)


LEFT = {
    "sample('y')": observed,
    "factor('f')": lambda mu: numpyro.factor("f", mu),
    "sample('x')": lambda mu: numpyro.sample("x", dist.Normal(mu, 1.0)),
    "sample('z')": lambda mu: numpyro.sample("z", dist.Normal(mu, 1.0), rng_key=KEY),
    "deterministic('d')": lambda mu: numpyro.deterministic("d", mu),
    "param('p')": lambda mu: numpyro.param("p", 1.0),
    "mutable('m')": lambda mu: numpyro.primitives.mutable("m", {"v": 1.0}),
    "plate('row')": whole_plate,
    "sample('part_observed')": lambda mu: numpyro.sample(
        "part", dist.Normal(mu, jnp.ones(2)), obs=Y, obs_mask=jnp.array([True, False])
    ),
    "scan": lambda mu: numpyro_scan(lambda c, y: (numpyro.sample("s", dist.Normal(c, 1.0), obs=y), None), mu, Y),
    "cond": lambda mu: numpyro_cond(True, lambda _: observed(mu), lambda _: None, None),
}


def program_with(statement):
    def program():
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        statement(mu)
        return mu

    return program


@pytest.mark.parametrize("said", LEFT)
@pytest.mark.parametrize("mode", ["traced", "eager"])
def test_a_statement_left_over_raises_at_its_line(said, mode):
    program = program_with(LEFT[said])
    run = (lambda: lawful.trace(program)) if mode == "traced" else handlers.seed(program, KEY)
    line = LEFT[said].__code__.co_firstlineno
    with pytest.raises(UnsupportedProgramError, match=r"from_numpyro") as caught:
        run()
    text = str(caught.value)
    assert f"numpyro.{said}" in text and "test_numpyro_left_over.py" in text
    assert line <= caught.value.source.line <= line + 4
    assert numpyro.primitives._PYRO_STACK == []


@pytest.mark.parametrize("mode", ["staged", "eager"])
def test_every_inference_and_the_linter_refuse_it(mode):
    program = program_with(observed)
    for run in (
        lambda: inference.importance(program, particles=3, mode=mode)(KEY),
        lambda: inference.mcmc(program, chains=1, warmup=0, draws=1, mode=mode)(KEY),
        lambda: lawful.check_program(program),
        lambda: handlers.trace(handlers.seed(program, KEY))(),
        lambda: handlers.log_density(program, {"mu": 0.0})(),
    ):
        with pytest.raises(UnsupportedProgramError, match="from_numpyro"):
            run()


def test_a_whole_model_of_numpyro_is_told_how_to_be_read():
    def model(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    with pytest.raises(UnsupportedProgramError, match=r"numpyro.sample\('mu'\).*lawful.from_numpyro\(model\)"):
        lawful.trace(model, 0.5)
    assert len(list(lawful.trace(lawful.from_numpyro(model), 0.5).sites())) == 2
    # A handler of NumPyro that gives values to choices sees no observation, so the density would be lost all the same.
    with pytest.raises(UnsupportedProgramError, match=r"numpyro.sample\('y'\)"):
        lawful.trace(numpyro.handlers.seed(model, 0), 0.5)
    with pytest.raises(UnsupportedProgramError, match=r"numpyro.sample\('y'\)"):
        lawful.trace(numpyro.handlers.substitute(model, {"mu": 0.1}), 0.5)


@pytest.mark.parametrize("mode", ["traced", "eager"])
def test_numpyro_that_a_program_runs_for_its_own_ends_keeps_its_meaning(mode):
    def inner():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=2.0)
        return numpyro.deterministic("twice", 2.0 * x)

    def draws():
        with numpyro.plate("row", 2):
            return numpyro.sample("x", dist.Normal(0.0, 1.0))

    def program():
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.factor("inner", numpyro.infer.util.log_density(inner, (), {}, {"x": x})[0])
        sites = numpyro.handlers.trace(numpyro.handlers.seed(inner, 0)).get_trace()
        return sites["twice"]["value"], numpyro.handlers.seed(draws, 0)()

    def alone():
        return 2.0 * numpyro.handlers.trace(numpyro.handlers.seed(inner, 0)).get_trace()["x"]["value"]

    if mode == "traced":
        form = lawful.trace(program)
        found = form.log_density({"x": 0.5})
        expected = 2 * dist.Normal(0.0, 1.0).log_prob(0.5) + dist.Normal(0.5, 1.0).log_prob(2.0)
        assert abs(found - expected) < 1e-12
    else:
        value, drawn = handlers.seed(program, KEY)()
        assert float(value) == float(alone()) and drawn.shape == (2,)


def test_numpyro_outside_programs_never_meets_the_guard():
    def model():
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=0.5)
        return mu

    began, go_on = threading.Event(), threading.Event()

    def program():
        lawful.sample("x", dist.Normal(0.0, 1.0))
        began.set()
        assert go_on.wait(20)

    thread = threading.Thread(target=lambda: lawful.trace(program))
    thread.start()
    try:
        assert began.wait(20)
        assert numpyro.handlers.seed(model, 0)() == numpyro.handlers.seed(model, 0)()
        assert numpyro.sample("y", dist.Normal(0.0, 1.0), obs=0.5) == 0.5
        with numpyro.plate("row", 3):
            pass
    finally:
        go_on.set()
        thread.join()
    assert numpyro.primitives._PYRO_STACK == []


def test_a_program_that_runs_inside_a_model_of_numpyro_is_guarded_alone():
    form = lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))

    def model():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("lawful", form.log_density({"x": x}))
        with pytest.raises(UnsupportedProgramError, match="from_numpyro"):
            lawful.trace(program_with(observed))

    found, _ = numpyro.infer.util.log_density(model, (), {}, {"x": 0.5})
    assert abs(found - 2 * dist.Normal(0.0, 1.0).log_prob(0.5)) < 1e-12
