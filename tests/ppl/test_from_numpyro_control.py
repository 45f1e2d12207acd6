"""Loops and choices of NumPyro: data that `condition` puts on around them; what cannot be meant is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan
from numpyro.infer.reparam import LocScaleReparam
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
    "wrapped",
    [
        lambda: handlers.condition(walk, data={"y": XS + 0.1}),
        lambda: handlers.condition(walk, data={"y": jnp.array(0.5)}),
        lambda: handlers.condition(walk, condition_fn=_half_of("y")),
        lambda: handlers.condition(handlers.condition(walk, data={"y": XS}), data={"y": 2.0 * XS}),
    ],
    ids=["one for each step", "one for all", "by a function", "inside each other"],
)
def test_condition_around_a_loop_gives_data_as_in_numpyro(wrapped):
    assert density(wrapped(), {"x": XS}) == pytest.approx(theirs(wrapped(), {"x": XS}), rel=1e-12)


def _half_of(name):
    return lambda site: jnp.array([0.1, 0.2, 0.3]) if site["name"] == name else None


def _trace_of(model, values):
    return handlers.trace(handlers.substitute(model, data=values)).get_trace()


def before():
    """A parameter and a choice, then a loop and a choice among arms."""
    numpyro.sample("z", dist.Normal(numpyro.param("p", 0.5), 1.0))
    lamps()
    return walk()


NAMED = {
    "substitute": lambda f: handlers.substitute(f, data={"z": 0.2}),
    "replay": lambda f: handlers.replay(f, trace=_trace_of(lambda: numpyro.sample("z", dist.Normal()), {"z": 0.2})),
    "do": lambda f: handlers.do(f, data={"z": 0.2}),
    "reparam": lambda f: handlers.reparam(f, config={"z": LocScaleReparam(0)}),
    "lift": lambda f: handlers.lift(f, prior={"p": dist.Normal(0.0, 2.0)}),
    "block": lambda f: handlers.block(f, hide=["z"]),
    "infer_config": lambda f: handlers.infer_config(f, config_fn=lambda site: {"enumerate": "parallel"}),
    "seed": lambda f: handlers.seed(f, 3),
}  # fmt: skip


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", NAMED)
def test_a_handler_around_the_model_that_names_no_site_of_a_loop_acts_as_in_numpyro(name):
    wrapped = handlers.seed(NAMED[name](before), 5)
    values = {"x": XS, "y": 2.0 * XS, "kind": jnp.array(1), "light": jnp.array(0)}
    values |= (
        {"z_decentered": 0.1} if name == "reparam" else {} if name in ("substitute", "replay", "block") else {"z": 0.3}
    )
    values |= {"p": 0.7} if name == "lift" else {}
    assert density(wrapped, values) == pytest.approx(theirs(wrapped, values), rel=1e-12)


class Doubled(numpyro.primitives.Messenger):
    """A handler of the user's own."""


def gain():
    return scan(lambda x, _: (x * numpyro.param("p", 0.5), None), 1.0, None, length=3)


@pytest.mark.parametrize(
    ("kind", "wrapped", "site"),
    [
        ("numpyro.handlers.substitute", lambda: handlers.substitute(walk, data={"x": XS}), "x"),
        ("numpyro.handlers.substitute", lambda: handlers.substitute(walk, data={"d": XS}), "d"),
        ("numpyro.handlers.substitute", lambda: handlers.substitute(walk, substitute_fn=_half_of("y")), "x"),
        ("numpyro.handlers.replay", lambda: handlers.replay(walk, trace=_trace_of(walk, {"x": XS, "y": XS})), "x"),
        ("numpyro.handlers.do", lambda: handlers.do(walk, data={"y": 1.0}), "y"),
        ("numpyro.handlers.scale", lambda: handlers.scale(walk, scale=jnp.array([1.0, 2.0, 0.5])), "x"),
        ("numpyro.handlers.mask", lambda: handlers.mask(walk, mask=True), "x"),
        ("numpyro.handlers.scope", lambda: handlers.scope(walk, prefix="p"), "x"),
        ("numpyro.handlers.block", lambda: handlers.block(walk, hide=["y"]), "y"),
        ("numpyro.handlers.uncondition", lambda: handlers.uncondition(handlers.condition(walk, {"y": XS})), "y"),
        ("numpyro.handlers.reparam", lambda: handlers.reparam(walk, config={"x": LocScaleReparam(0)}), "x"),
        ("numpyro.handlers.lift", lambda: handlers.lift(gain, prior={"p": dist.Normal()}), "p"),
        ("numpyro.handlers.trace", lambda: handlers.trace(walk), "x"),
        ("Doubled", lambda: Doubled(walk), "x"),
        ("numpyro.handlers.scale", lambda: handlers.scale(lambda: scan(_inner, 0.0, jnp.ones(2)), scale=2.0), "x"),
    ],
)
def test_a_handler_around_a_loop_that_would_act_inside_is_refused(kind, wrapped, site):
    with pytest.raises(UnsupportedProgramError, match=f"site '{site}'.*Fix: put it inside the body") as caught:
        lawful.trace(from_numpyro(wrapped()))
    assert f"{kind} stands around numpyro's scan (" in str(caught.value)
    assert str(caught.value).count("test_from_numpyro_control.py:") == 2
    assert numpyro.primitives._PYRO_STACK == []


def _inner(x, _):
    return walk(x)[-1], None


@pytest.mark.parametrize("mode", ["traced", "eager"])
@pytest.mark.parametrize(
    "wrap", [lambda f: handlers.scale(f, scale=2.0), lambda f: handlers.substitute(f, {"light": 1})]
)
def test_a_handler_around_an_arm_that_would_act_inside_is_refused(wrap, mode):
    program = from_numpyro(wrap(lamps))
    with pytest.raises(UnsupportedProgramError, match=r"stands around numpyro's cond \(.*lawful.handlers.s"):
        lawful.trace(program) if mode == "traced" else lawful.handlers.seed(program, jax.random.key(0))()


def test_a_site_of_a_hidden_loop_that_is_shown_is_refused():
    with pytest.raises(UnsupportedProgramError, match="site 'y'.*handlers.block.*Fix: put block inside the body"):
        lawful.trace(from_numpyro(handlers.block(walk, expose=["y"])))


@pytest.mark.parametrize(
    ("name", "argument", "values"),
    [
        ("scale", 0.3, {("x",): XS, ("y",): XS}),
        ("scope", "p", {("p", "x"): XS, ("p", "y"): XS}),
        ("condition", {"y": XS}, {("x",): XS}),
    ],
)
def test_a_handler_of_lawful_around_the_program_does_what_is_refused(name, argument, values):
    program = getattr(lawful.handlers, name)(from_numpyro(walk), argument)
    keyword = {"scale": "scale", "scope": "prefix", "condition": "data"}[name]
    there = theirs(getattr(handlers, name)(walk, **{keyword: argument}), {a[-1]: v for a, v in values.items()})
    assert float(lawful.trace(program).log_density(values)) == pytest.approx(there, rel=1e-12)


def test_steps_that_run_backwards_are_numbered_as_they_run():
    def model():
        def step(x, u):
            x = numpyro.sample("x", dist.Normal(2.0 * x + u, 1.0))
            return x, x

        return scan(step, 0.0, jnp.array([1.0, 5.0, 9.0]), reverse=True)

    assert density(model, {"x": XS}) == pytest.approx(theirs(model, {"x": XS}), rel=1e-12)
    seen = handlers.condition(model, data={"x": XS})
    assert density(seen, {}) == pytest.approx(theirs(seen, {}), rel=1e-12)
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
    half = lawful.handlers.scale(lit, 2.0)
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


def test_arms_may_have_different_sites_and_a_loop_may_start_from_a_number():
    def model(flag):
        start = cond(flag, lambda _: numpyro.sample("a", dist.Normal(0.0, 2.0)), lambda _: 0.0, None)
        scan(lambda x, _: (numpyro.sample("x", dist.Normal(x + start, 1.0)),) * 2, 0, None, length=2)

    x = np.array([0.3, -0.2])
    found = lawful.trace(from_numpyro(model), jnp.array(False)).log_density({"a": 0.0, "x": x}, jnp.array(False))
    truth = dist.Normal(np.array([0.0, 0.3]), 1.0).log_prob(x).sum()
    assert float(found) == pytest.approx(float(truth), abs=1e-12)


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


def _stretched():
    numpyro.sample("x", dist.Normal(jnp.zeros(3), 1.0), obs=jnp.zeros((3, 1)))


def _long():
    handlers.condition(walk, data={"y": jnp.zeros(5)})()


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
        (_stretched, {}, ObservationError, "site 'x'"),
        (_long, {}, ObservationError, r"site 'y'.*\(5,\), expected \(3,\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(model, options, error, said):
    with pytest.raises(error, match=said):
        lawful.trace(from_numpyro(model, **options))


def test_a_model_that_is_no_function_is_refused():
    with pytest.raises((LawfulError, TypeCheckError), match="model"):  # types are checked first while tests run
        from_numpyro(3)
