"""Interventions: do cuts a site off from its causes, scope renames, and programs compose."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, handlers, inference, plate, program, sample, scan, scope
from lawful.errors import LawfulError, ObservationError
from lawful.inference.check import compare, enumerate_measure

KEY = jax.random.key(6)


def sprinkler():
    rain = sample("rain", dist.Bernoulli(0.25))
    on = sample("on", dist.Bernoulli(jnp.where(rain == 1, 0.125, 0.5)))
    wet = sample("wet", dist.Bernoulli(0.125 + 0.25 * on + 0.5 * rain))
    return rain, wet


def test_do_is_not_condition():
    seen = inference.enumerate(handlers.condition(sprinkler, {"on": 1}))().marginal("rain")
    done = inference.enumerate(handlers.do(sprinkler, {"on": 1}))().marginal("rain")
    assert done[1] == pytest.approx(0.25, rel=1e-12)
    assert seen[1] == pytest.approx(0.25 * 0.125 / (0.25 * 0.125 + 0.75 * 0.5), rel=1e-12)


def test_do_is_the_truncated_factorisation():
    def cut():
        rain = sample("rain", dist.Bernoulli(0.25))
        return rain, sample("wet", dist.Bernoulli(0.125 + 0.25 * 1 + 0.5 * rain))

    done = handlers.do(sprinkler, {"on": 1})
    assert [site.address for site in lawful.trace(done).sites()] == [("rain",), ("wet",)]
    for enumerated in (enumerate_measure(done), enumerate_measure(lawful.trace(done))):
        found = enumerated.marginal(lambda trace: tuple(trace.output))
        truth = enumerate_measure(cut).marginal(lambda trace: tuple(trace.output))
        assert compare(found, truth).error <= 1e-12


def test_a_fresh_choice_goes_on_as_before():
    plain = handlers.trace(handlers.seed(sprinkler, KEY))()
    on = 1 - int(plain.choices[("on",)])
    run = handlers.trace(handlers.seed(handlers.do(sprinkler, {"on": on}), KEY))()
    assert run.choices[("on",)] == plain.choices[("on",)] != on


def test_a_counterfactual_observes_what_was_and_does_what_was_not():
    """Twin network: the noise is inferred from x = 0, y = 1, then x is set to 1."""

    def model():
        noise = sample("noise", dist.Bernoulli(0.25))
        x = sample("x", dist.Bernoulli(0.5))
        sample("y", dist.Bernoulli(jnp.where(noise == 1, 0.75, 0.25)), obs=1)
        return (x + noise) % 2

    twin = handlers.condition(handlers.do(model, {"x": 1}), {"x": 0})
    exact = inference.enumerate(twin)()
    assert np.exp(exact.log_evidence) == pytest.approx(0.5 * (0.25 * 0.75 + 0.75 * 0.25), rel=1e-12)
    assert exact.marginal("return")[0] == pytest.approx(0.5, rel=1e-12)
    assert enumerate_measure(twin).total() == pytest.approx(np.exp(exact.log_evidence), rel=1e-12)


def test_an_observation_stays_one_when_its_site_is_intervened_on():
    def model():
        x = sample("x", dist.Normal(0.0, 1.0), obs=0.5)
        return sample("y", dist.Normal(x, 1.0), obs=2.0)

    run = handlers.trace(handlers.do(model, {"x": 2.0}))()
    assert list(run.observations) == [("x",), ("y",)]
    expected = dist.Normal(0.0, 1.0).log_prob(0.5) + dist.Normal(2.0, 1.0).log_prob(2.0)
    assert float(run.log_density) == pytest.approx(float(expected), rel=1e-12)


def test_do_reaches_steps_of_a_loop():
    def walk():
        def step(x, _):
            x = sample("x", dist.Bernoulli(0.25 + 0.5 * x))
            return x, x

        return scan(step, 0, None, length=3)[1]

    assert handlers.seed(handlers.do(walk, {("x", 1): 1}), KEY)()[1] == 1
    everywhere = handlers.do(walk, {"x": np.array([1, 0, 1])})
    assert handlers.seed(everywhere, KEY)().tolist() == [1, 0, 1]
    assert not list(lawful.trace(everywhere).sites())
    exact = inference.enumerate(handlers.do(walk, {("x", 1): 1}), mode="eager")()
    assert exact.marginal("return")[(0, 1, 1)] == pytest.approx(0.75 * 0.75, rel=1e-12)


def test_nested_interventions_the_outer_one_does_not_reach_through():
    inner = handlers.do(sprinkler, {"on": 1})
    both = handlers.do(inner, {"on": 0})
    found = enumerate_measure(both).marginal(lambda trace: tuple(trace.output))
    truth = enumerate_measure(inner).marginal(lambda trace: tuple(trace.output))
    assert compare(found, truth).error <= 1e-12


@pytest.mark.parametrize("handler", [handlers.do, handlers.condition])
def test_values_have_the_shape_of_their_site(handler):
    with pytest.raises(ObservationError, match=r"site 'on'.*shape \(2,\), expected \(\)"):
        handlers.seed(handler(sprinkler, {"on": np.zeros(2)}), KEY)()


def test_scopes_rename_and_change_nothing_else():
    scoped = handlers.scope(handlers.scope(sprinkler, "garden"), "my")
    assert list(handlers.trace(handlers.seed(scoped, KEY))().choices)[0] == ("my", "garden", "rain")
    found = inference.enumerate(scoped)().marginal("my.garden.wet")
    assert found == pytest.approx(inference.enumerate(sprinkler)().marginal("wet"), rel=1e-12)


def test_wrapped_programs_keep_their_signature():
    import inspect

    def model(y, *, scale=1.0):
        """Doc."""

    for wrapped in (
        handlers.seed(model, KEY),
        handlers.condition(model, {}),
        handlers.do(model, {}),
        handlers.mask(model, True),
        handlers.scale(model, 2.0),
        handlers.scope(model, "a"),
        handlers.block(model),
    ):
        assert inspect.signature(wrapped) == inspect.signature(model)
        assert wrapped.__doc__ == "Doc."


@program
def noisy(inner, rate):
    """Takes a program and returns one."""

    def outer(*args):
        x = inner(*args)
        return (x + sample("noise", dist.Bernoulli(rate))) % 2

    return outer


def coin(p):
    return sample("coin", dist.Bernoulli(p))


def random_program():
    """Draws which program it returns."""
    k = sample("k", dist.Bernoulli(0.25))
    return lambda n: cond(k == 1, lambda: sample(f"a{n}", dist.Bernoulli(0.5)), lambda: 0 * k)


def higher_order():
    with scope("first"):
        channel = noisy(noisy_once := noisy(coin, 0.25), 0.5)
    del noisy_once
    with scope("sent"):
        bit = noisy(coin, 0.125)(0.75)
    draw = random_program()
    factor("f", 0.5 * bit)
    return bit + draw(1) + draw(2), channel is not None


def test_programs_take_and_return_programs():
    exact = inference.enumerate(lambda: higher_order()[0], mode="staged")()
    eager = inference.enumerate(lambda: higher_order()[0], mode="eager")()
    assert exact.log_evidence == pytest.approx(eager.log_evidence, rel=1e-12)
    assert exact.marginal("return") == pytest.approx(eager.marginal("return"), rel=1e-12)
    p = 0.75 * 0.875 + 0.25 * 0.125
    assert np.exp(exact.log_evidence) == pytest.approx(1 - p + p * np.exp(0.5), rel=1e-12)


def test_programs_run_other_programs_under_handlers():
    def model():
        inner = handlers.condition(handlers.scope(coin, "given"), {("given", "coin"): 1})
        inner(0.25)
        return handlers.scope(coin, "free")(0.5)

    exact = inference.enumerate(model)()
    assert np.exp(exact.log_evidence) == pytest.approx(0.25, rel=1e-12)
    assert enumerate_measure(model).total() == pytest.approx(0.25, rel=1e-12)


def test_traced_programs_are_called_by_programs():
    form = lawful.trace(coin, 0.25)

    def model():
        with scope("a"):
            first = form(0.25)
        with scope("b"):
            second = form(0.75)
        with plate("row", 2):
            third = sample("x", dist.Bernoulli(0.25 + 0.25 * first))
        return first + second + third.sum()

    exact = inference.enumerate(model, mode="staged")()
    eager = inference.enumerate(model, mode="eager")()
    assert exact.marginal("return") == pytest.approx(eager.marginal("return"), rel=1e-12)
    assert sorted(exact.support) == ["a.coin", "b.coin", "return", "x"]


def test_a_program_that_returns_a_function_is_called_inside_another():
    with pytest.raises(LawfulError, match="returns"):
        lawful.trace(random_program)
