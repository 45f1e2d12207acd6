"""Control flow: each statement has one meaning, eager and staged, and says what is wrong with a use."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import bounded_loop, cond, deterministic, factor, handlers, inference, plate, sample, scan, scope, switch
from lawful.backends.xla import compile
from lawful.errors import IndexRangeError, LawfulError, UnsupportedProgramError
from lawful.inference.check import compare, enumerate_measure
from lawful.inference.check.exact.outcomes import compiled_measure, source

KEY = jax.random.key(2)


def agree(program, *args):
    """Both enumerators of one program give one measure; the tolerance is that of exact checks."""
    truth = enumerate_measure(program, *args)
    recorded, layout = source(lawful.trace(program, *args))
    measure = compiled_measure(recorded.form, layout, [jnp.asarray(a) for a in args])
    assert compare(measure, truth).error <= 1e-12
    exact = inference.enumerate(program, mode="staged")(*args)
    assert exact.overflow == pytest.approx(float(truth.overflow), rel=1e-12, abs=1e-15)
    return exact


def three_arms(p):
    k = sample("k", dist.Categorical(probs=p))
    x = switch(
        k,
        [
            lambda n: 0 * n,
            lambda n: n + sample("one", dist.Bernoulli(0.25)),
            lambda n: sample("one", dist.Bernoulli(0.75)) + sample("two", dist.Bernoulli(0.5)),
        ],
        1,
    )
    factor("f", 0.5 * x)
    return x


def geometric(p):
    def heads(count):
        return sample("heads", dist.Bernoulli(p)) == 1

    return bounded_loop(heads, lambda count: count + 1, 0, max_steps=3)


def walk(p):
    """A condition without sites, choices and factors in the body, and weights after the loop."""

    def step(state):
        x, steps = state
        up = sample("up", dist.Bernoulli(p))
        factor("cost", -0.1 * up)
        return x + 2 * up - 1, steps + 1

    x, steps = bounded_loop(lambda state: abs(state[0]) < 2, step, (0, 0), max_steps=4, name="walk")
    deterministic("steps", steps)
    factor("end", -0.3 * steps)
    return x


def restarted(p):
    """A branch in the body and a loop in a branch."""

    def body(n):
        return cond(
            sample("jump", dist.Bernoulli(p)) == 1, lambda: n + 1 + sample("far", dist.Bernoulli(0.5)), lambda: n
        )

    def search():
        return bounded_loop(lambda n: n < 2, body, 0, max_steps=2)

    return cond(sample("try", dist.Bernoulli(0.5)) == 1, search, lambda: jnp.array(7))


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", [three_arms, geometric, walk, restarted])
def test_eager_and_staged_denote_one_measure(program):
    agree(program, np.array([0.2, 0.3, 0.5]) if program is three_arms else np.array(0.375))


@pytest.mark.parametrize("program", [geometric, walk, restarted])
def test_eager_and_staged_draw_the_same(program):
    (staged, *_), _ = compile(lawful.trace(program, 0.4))(KEY, 0.4)
    assert int(staged) == int(handlers.seed(program, KEY)(0.4))


def test_only_the_arm_that_runs_has_active_sites():
    exact = agree(three_arms, np.array([0.2, 0.3, 0.5]))
    weights = {0: 0.2, 1: 0.3 * (0.75 * np.exp(0.5) + 0.25 * np.exp(1.0))}
    assert exact.marginal("k")[0] / exact.marginal("k")[1] == pytest.approx(weights[0] / weights[1], rel=1e-12)
    assert exact.marginal("one")[None] == pytest.approx(exact.marginal("k")[0], rel=1e-12)


def test_a_bounded_loop_draws_no_more_than_its_condition_asks():
    run = handlers.trace(handlers.substitute(geometric, {"heads": np.array([1, 0, 1, 1])}))(0.5)
    assert list(run.choices) == [("heads", 0), ("heads", 1)]
    assert int(run.value) == 1


def test_a_loop_at_its_bound_asks_once_more_and_is_impossible():
    run = handlers.trace(handlers.substitute(geometric, {"heads": np.ones(4, int)}))(0.5)
    assert list(run.choices) == [("heads", i) for i in range(4)]
    assert float(run.log_density) == -np.inf


def test_a_bounded_loop_of_no_steps_only_asks():
    def never(p):
        return bounded_loop(lambda n: sample("go", dist.Bernoulli(p)) == 1, lambda n: n + 1, 5, max_steps=0)

    exact = agree(never, np.array(0.25))
    assert np.exp(exact.log_evidence) == pytest.approx(0.75, rel=1e-12)
    assert exact.overflow == pytest.approx(0.25, rel=1e-12)


def test_a_random_number_of_steps_of_continuous_sites():
    def model(y):
        n = sample("n", dist.Categorical(probs=jnp.array([0.25, 0.25, 0.5])))

        def step(state):
            i, x = state
            return i + 1, x + sample("dx", dist.Normal(1.0, 0.5))

        _, x = bounded_loop(lambda state: state[0] < n, step, (0, 0.0), max_steps=2)
        sample("y", dist.Normal(x, 0.5), obs=y)

    form = lawful.trace(model, 1.5)
    choices = {"n": 1, "dx": np.array([1.2, 0.0])}
    normal = dist.Normal
    expected = np.log(0.25) + normal(1.0, 0.5).log_prob(1.2) + normal(1.2, 0.5).log_prob(1.5)
    assert float(form.log_density(choices, 1.5)) == pytest.approx(float(expected), rel=1e-12)
    assert float(handlers.log_density(model, choices)(1.5)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.slow
def test_bounded_loops_nest():
    def model():
        def outer(n):
            return n + bounded_loop(lambda k: sample("in", dist.Bernoulli(0.5)) == 1, lambda k: k + 1, 0, max_steps=1)

        return bounded_loop(lambda n: sample("out", dist.Bernoulli(0.5)) == 1, outer, 0, max_steps=2, name="outer")

    exact = agree(model)
    # The inner loop fails by 1/4, so the outer one has rounds of mass (1/2) (3/4) and ends with probability 1/2.
    assert np.exp(exact.log_evidence) == pytest.approx(0.5 * (1 + 3 / 8 + 9 / 64), rel=1e-12)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_known_index_names_a_branch(index):
    for run in (lambda p: p(), lambda p: lawful.trace(p)):
        with pytest.raises(IndexRangeError, match=rf"index {index} names no branch; there are 3.*Fix: .*jnp\.clip"):
            run(lambda: switch(index, [lambda: 0, lambda: 1, lambda: 2]))


@pytest.mark.parametrize(
    ("index", "branches", "message"),
    [(0, [], "at least one branch"), (True, [lambda: 0], "scalar integer"), (np.zeros(2, int), [lambda: 0], "scalar")],
)
def test_a_switch_needs_an_integer_and_branches(index, branches, message):
    with pytest.raises(LawfulError, match=message):
        switch(index, branches)


@pytest.mark.parametrize("bound", [-1, True])
def test_a_bound_is_a_python_integer(bound):
    with pytest.raises(LawfulError, match=r"bounded_loop 'loop' .*expected max_steps.*got"):
        bounded_loop(lambda s: s < 1, lambda s: s + 1, 0, max_steps=bound)


def test_the_state_keeps_structure_shape_and_type():
    for program, message in [
        (
            lambda: bounded_loop(lambda s: s < 1, lambda s: (s, s), 0, max_steps=2),
            "expected the structure of the state",
        ),
        (lambda: bounded_loop(lambda s: s < 1, lambda s: s + 0.5, 0, max_steps=2), "Fix: start from a value"),
    ]:
        with pytest.raises(LawfulError, match=message):
            lawful.trace(program)


def test_a_condition_is_one_truth_value():
    for run in (lambda p: p(), lawful.trace):
        with pytest.raises(LawfulError, match=r"scalar truth value.*\.any\(\)"):
            run(lambda: bounded_loop(lambda s: s < 1, lambda s: s + 1, np.zeros(2), max_steps=2))
        with pytest.raises(LawfulError, match=r"cond .*expected a scalar.*jnp\.where"):
            run(lambda: cond(np.ones(2, bool), lambda: 0, lambda: 1))


@pytest.mark.parametrize("statement", ["scan", "bounded_loop"])
def test_loops_stand_outside_plates(statement):
    def model():
        with plate("a", 2):
            if statement == "scan":
                scan(lambda c, x: (c, c), 0.0, length=2)
            else:
                bounded_loop(lambda s: s < 1, lambda s: s + 1, 0, max_steps=1)

    with pytest.raises(UnsupportedProgramError, match="inside plate 'a'"):
        model()


def test_loops_of_one_name_need_two_scopes():
    def model():
        def go(s):
            return s < 1

        bounded_loop(go, lambda s: s + 1, 0, max_steps=1)
        with scope("again"):
            bounded_loop(go, lambda s: s + 1, 0, max_steps=1)

    assert lawful.trace(model).nodes

    def twice():
        model()
        model()

    with pytest.raises(LawfulError, match="used twice"):
        lawful.trace(twice)


def test_an_eager_scan_of_no_steps_may_branch():
    def step(carry, y):
        b = sample("b", dist.Bernoulli(0.5))
        x = cond(b == 1, lambda: sample("x", dist.Normal(carry, 1.0)), lambda: 0.0)
        k = switch(b, [lambda: 1, lambda: 2])
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, (x, k)

    run = handlers.trace(handlers.seed(lambda ys: scan(step, 1.0, ys), KEY))(jnp.zeros(0))
    carry, (xs, ks) = run.value
    assert float(carry) == 1.0 and xs.shape == ks.shape == (0,) and ks.dtype == jnp.result_type(int)
    assert not run.choices and not run.observations


def test_a_scan_of_no_steps_says_which_shape_is_unknown():
    def step(carry, _):
        return carry, float(sample("x", dist.Normal(0.0, 1.0)))

    with pytest.raises(UnsupportedProgramError, match=r"scan .*of no steps: the shape of its output is unknown"):
        handlers.seed(lambda: scan(step, 0.0, length=0), KEY)()


def test_a_support_that_an_earlier_choice_moves_gives_no_density_outside():
    def model():
        high = sample("high", dist.Uniform(0.0, 2.0))
        sample("y", dist.Uniform(0.0, high), obs=1.5)

    run = handlers.trace(handlers.substitute(model, {"high": 1.0}))()
    assert float(run.log_density) == -np.inf
    assert float(lawful.trace(model).log_density({"high": 1.0})) == -np.inf
    inside = handlers.trace(handlers.substitute(model, {"high": 2.0}))()
    assert float(inside.log_density) == pytest.approx(2 * np.log(0.5), rel=1e-12)


def test_a_form_that_a_transformer_made_is_traced_again():
    def model():
        x = sample("x", dist.Bernoulli(0.5))
        y = cond(x == 1, lambda: sample("y", dist.Bernoulli(0.25)), lambda: 0 + sample("y", dist.Bernoulli(0.5)))
        factor("f", 0.5 * y)
        return y

    form = (inference.spawn(2) >> inference.PushEvidence >> inference.Collapse)(lawful.trace(model))
    again = lawful.trace(lambda: form())
    assert compare(enumerate_measure(again), enumerate_measure(form)).evidence_ratio == pytest.approx(1.0, rel=1e-12)
