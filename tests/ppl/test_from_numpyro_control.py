"""Loops and choices of NumPyro: what handlers around them do counts once; what cannot be meant is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan
from numpyro.infer.util import log_density

import lawful
from lawful import from_numpyro, inference
from lawful.errors import ImproperPriorError, IndexRangeError, LawfulError, ObservationError, UnsupportedProgramError
from tests.ppl.numpyro_models import forecast

# NumPyro's handlers use some keys twice, where what is drawn is thrown away.
pytestmark = pytest.mark.reuses_keys
XS = jnp.array([0.3, -0.4, 1.1])


def walk(first=0.0):
    """Three steps; each has a choice, data, a weight and a named value."""

    def step(x, _):
        x = numpyro.sample("x", dist.Normal(x, 1.0))
        numpyro.sample("y", dist.Normal(x, 0.5))
        numpyro.factor("f", -0.1 * x**2)
        numpyro.deterministic("d", x + 1.0)
        return x, x

    return scan(step, first, None, length=3)[1]


def theirs(model, values):
    """NumPyro's log density; its replay of a loop asks for a key, which decides nothing."""
    return float(jax.jit(lambda values: log_density(handlers.seed(model, 0), (), {}, values)[0])(values))


def density(model, values):
    """Ours."""
    program = from_numpyro(model)
    return float(lawful.trace(program).log_density(values))


@pytest.mark.parametrize(
    ("wrapped", "given"),
    [
        (lambda: handlers.condition(walk, data={"y": XS + 0.1}), {"x": XS}),
        (lambda: handlers.condition(walk, data={"y": jnp.array(0.5)}), {"x": XS}),
        (lambda: handlers.condition(walk, condition_fn=_half_of("y")), {"x": XS}),
        (lambda: handlers.substitute(walk, data={"x": XS, "y": XS}), {}),
        (lambda: handlers.replay(walk, trace=_trace_of({"x": XS, "y": 2.0 * XS})), {}),
        (lambda: handlers.scale(handlers.condition(walk, data={"y": XS}), scale=0.3), {"x": XS}),
        (lambda: handlers.scope(handlers.condition(walk, data={"y": XS}), prefix="p"), {"p/x": XS}),
        (lambda: handlers.block(handlers.substitute(walk, data={"x": XS, "y": XS}), hide=["y", "d"]), {}),
        (lambda: handlers.uncondition(handlers.condition(walk, data={"y": XS})), {"x": XS, "y": 2.0 * XS}),
        (lambda: handlers.infer_config(walk, config_fn=lambda site: {"mine": 1}), {"x": XS, "y": XS}),
    ],
    ids=["condition", "one value", "condition by a function", "substitute", "replay", "scale", "scope", "block",
         "uncondition", "infer_config"],
)  # fmt: skip
def test_a_handler_around_a_loop_acts_as_in_numpyro(wrapped, given):
    model = wrapped()
    if isinstance(model, handlers.uncondition):  # NumPyro's loop has seen the data all the same
        there = theirs(walk, given)
    else:  # it gives values to a loop by the names that the body has
        there = theirs(model, {name.removeprefix("p/"): value for name, value in given.items()})
    here = density(model, {tuple(name.split("/")): value for name, value in given.items()})
    assert here == pytest.approx(there, rel=1e-12)


def _half_of(name):
    return lambda site: jnp.array([0.1, 0.2, 0.3]) if site["name"] == name else None


def _trace_of(values):
    return handlers.trace(handlers.substitute(walk, data=values)).get_trace()


def test_a_recorder_inside_sees_each_site_of_a_loop_once_and_stacked():
    seen = {}

    def model():
        with handlers.trace() as trace:
            walk()
        seen.update({name: (site["value"].shape, site.get("fn")) for name, site in trace.items()})
        seen["x"] = seen["x"][0], seen["x"][1].batch_shape
        seen.update(dict.fromkeys("yfd"))

    form = lawful.trace(from_numpyro(model))
    assert list(seen) == ["x", "y", "f", "d"] and [site.address for site in form.sites()] == [("x",), ("y",)]
    assert seen["x"] == ((3,), (3,))


def test_steps_that_run_backwards_are_numbered_as_they_run():
    def model():
        def step(x, u):
            x = numpyro.sample("x", dist.Normal(2.0 * x + u, 1.0))
            return x, x

        return scan(step, 0.0, jnp.array([1.0, 5.0, 9.0]), reverse=True)

    for one in (model, handlers.scale(model, scale=jnp.array([1.0, 2.0, 5.0]))):
        assert density(one, {"x": XS}) == pytest.approx(theirs(one, {"x": XS}), rel=1e-12)
    last, ys = lawful.handlers.substitute(from_numpyro(model), {"x": XS})()
    np.testing.assert_allclose(ys, XS[::-1])
    assert float(last) == float(XS[-1])


def test_a_loop_that_outlives_its_data_has_steps_without_an_observation():
    """NumPyro scores what it draws there as data; here it has no part in the density, since nothing reads it."""
    sales = np.array([0.4, 1.0])
    form = lawful.trace(from_numpyro(forecast), sales)
    level = jnp.array([0.1, 0.3, 0.2, 0.5])
    expected = dist.Normal(jnp.array([0.0, 0.1, 0.3, 0.2]), 0.5).log_prob(level).sum()
    expected += dist.Normal(level[:2], 1.0).log_prob(sales).sum()
    assert float(form.log_density({"level": level}, sales)) == pytest.approx(float(expected), rel=1e-12)


def test_a_loop_of_no_steps_leaves_what_it_starts_from():
    model = lambda: scan(lambda x, u: (numpyro.sample("x", dist.Normal(x, 1.0)), u), 1.5, jnp.zeros(0))  # noqa: E731
    last, ys = lawful.handlers.seed(from_numpyro(model), jax.random.key(2))()
    assert float(last) == 1.5 and ys.shape == (0,)


def lamps():
    def on(w):
        return numpyro.sample("light", dist.Bernoulli(w))

    def off(w):
        return numpyro.sample("light", dist.Bernoulli(0.5 * w))

    return cond(numpyro.sample("kind", dist.Bernoulli(0.3)) == 1, on, off, 0.8)


def test_a_choice_is_summed_exactly():
    exact = inference.enumerate(from_numpyro(lamps))()
    assert exact.marginal("light")[1] == pytest.approx(0.3 * 0.8 + 0.7 * 0.4, rel=1e-12)
    lit = from_numpyro(handlers.condition(lamps, data={"light": 1}))
    assert float(jnp.exp(inference.enumerate(lit)().log_evidence)) == pytest.approx(0.52, rel=1e-12)
    half = from_numpyro(handlers.scale(handlers.condition(lamps, data={"light": 1}), scale=2.0))
    there = theirs(handlers.scale(handlers.condition(lamps, data={"light": 1}), scale=2.0), {"kind": jnp.array(1)})
    assert float(lawful.trace(half).log_density({"kind": 1})) == pytest.approx(there, rel=1e-12)


def test_a_hidden_choice_that_is_seeded_has_the_density_of_numpyro():
    """It is a constant of the model; one that is not seeded can be drawn, and has no density."""

    def model():
        x = handlers.block(lambda: numpyro.sample("x", dist.Normal(0.0, 1.0)))()
        numpyro.sample("y", dist.Normal(x, 1.0), obs=0.3)

    seeded = handlers.seed(model, 3)
    assert density(seeded, {}) == pytest.approx(theirs(seeded, {}), rel=1e-12)
    with pytest.raises(UnsupportedProgramError, match="no density"):
        density(model, {"key0": np.zeros(2, np.uint32)})
    runs = inference.importance(from_numpyro(model), particles=20_000, runs=1)(0)
    # evidence: y ~ Normal(0, sqrt 2); relative error of the estimate below 0.6 %, so 4 % is beyond 6 standard errors
    truth = float(jnp.exp(dist.Normal(0.0, 2.0**0.5).log_prob(0.3)))
    assert float(jnp.exp(runs.log_evidence_pooled)) == pytest.approx(truth, rel=0.04)


def _mutable():
    numpyro.primitives.mutable("count", {"n": 0})


def _subsampled():
    with numpyro.plate("row", 5, subsample_size=2):
        numpyro.sample("x", dist.Normal(0.0, 1.0))


def _drawn():
    numpyro.param("w", lambda key: jnp.ones(2))


def _flat():
    with handlers.mask(mask=False):
        numpyro.sample("x", dist.Normal(0.0, 1.0))


def _arms():
    cond(True, lambda _: numpyro.sample("x", dist.Normal()), lambda _: numpyro.sample("z", dist.Normal()), None)


def _stretched():
    numpyro.sample("x", dist.Normal(jnp.zeros(3), 1.0), obs=jnp.zeros((3, 1)))


def _long():
    handlers.condition(walk, data={"y": jnp.zeros(5)})()


def _short():
    handlers.substitute(walk, data={"x": jnp.zeros(2)})()


@pytest.mark.parametrize(
    ("model", "options", "error", "said"),
    [
        (_mutable, {}, UnsupportedProgramError, "mutable 'count'.*test_from_numpyro_control.py"),
        (_subsampled, {}, UnsupportedProgramError, "plate 'row'.*2 of 5.*subsample="),
        (_subsampled, {"subsample": {"row": [0, 5]}}, IndexRangeError, "plate 'row'.*0 to 4"),
        (_subsampled, {"subsample": {"row": [0]}}, LawfulError, "takes 2 integer indices, got int64.1."),
        (_subsampled, {"subsample": {"row": [0, 1], "rwo": [0, 1]}}, LawfulError, "no 'rwo'. Did you mean 'row'"),
        (_drawn, {}, LawfulError, "parameter 'w'.*params="),
        (_drawn, {"params": {"w": 1.0, "v": 2.0}}, LawfulError, "params: the program has no 'v'"),
        (_flat, {}, ImproperPriorError, "site 'x'"),
        (_arms, {}, UnsupportedProgramError, "same sites in both arms"),
        (_stretched, {}, ObservationError, "site 'x'"),
        (_long, {}, ObservationError, r"site 'y'.*\(5,\), expected \(3,\)"),
        (_short, {}, UnsupportedProgramError, "site 'x'.*2 values for 3 steps"),
    ],
)
def test_what_cannot_be_meant_is_refused(model, options, error, said):
    with pytest.raises(error, match=said):
        lawful.trace(from_numpyro(model, **options))


def test_a_model_that_is_no_function_is_refused():
    with pytest.raises((LawfulError, TypeCheckError), match="model"):  # types are checked first while tests run
        from_numpyro(3)
