"""Random functions: one value for each argument, whoever asks first, and every run has its own."""

import enum

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, handlers, inference, mem, plate, sample, scan, scope
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference.check import compare, enumerate_measure

KEY = jax.random.key(5)


class Colour(enum.Enum):
    RED = 1


def coins(*questions):
    coin = mem(lambda *key: sample("coin", dist.Bernoulli(0.25)))
    return [coin(*question) for question in questions]


def test_equal_arguments_give_one_value_and_others_their_own():
    run = handlers.trace(handlers.seed(coins, KEY))((1,), (2,), (1,), (1, "a"))
    assert list(run.choices) == [("coin(1)",), ("coin(2)",), ("coin(1,'a')",)]
    assert run.value[0] is run.value[2]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (3, np.int64(3)),
        (3, jnp.asarray(3)),
        ((1, 2), np.array([1, 2])),
        ("a", "a"),
        (frozenset("ab"), frozenset("ba")),
        (Colour.RED, Colour.RED),
        (None, None),
    ],
)
def test_arrays_count_by_their_values(first, second):
    run = handlers.trace(handlers.seed(coins, KEY))((first,), (second,))
    assert len(run.choices) == 1


def test_values_of_different_types_are_different_arguments():
    run = handlers.trace(handlers.seed(coins, KEY))((1,), (True,), (1.0,), ("1",))
    assert len(run.choices) == 4


def test_things_that_look_alike_are_numbered():
    first, second = object(), object()
    run = handlers.trace(handlers.seed(coins, KEY))((first,), (second,), (first,))
    assert list(run.choices) == [("coin(object)",), ("coin(object)#1",)]


def test_names_and_defaults_of_arguments_do_not_matter():
    def model():
        height = mem(lambda person, year=2000: sample("height", dist.Normal(0.0, 1.0)))
        return height("ann"), height(person="ann"), height("ann", year=2000), height("ann", 2001)

    assert len(handlers.trace(handlers.seed(model, KEY))().choices) == 2


def test_the_order_of_questions_changes_nothing():
    one = handlers.seed(coins, KEY)((1,), (2,), (3,))
    other = handlers.seed(coins, KEY)((3,), (2,), (1,))
    assert one == other[::-1]
    table = [enumerate_measure(lambda q=q: coins(*q)[0]).marginal(lambda t: t.output) for q in ([(1,)], [(1,), (2,)])]
    assert compare(*table).error <= 1e-12


def test_eager_and_staged_denote_one_measure():
    def model():
        parity = mem(lambda n: (sample("bit", dist.Bernoulli(0.25)) + n) % 2)
        total = parity(0) + parity(1) + parity(0)
        factor("f", 0.5 * total)
        return total

    exact = inference.enumerate(model, mode="staged")()
    eager = inference.enumerate(model, mode="eager")()
    assert exact.log_evidence == pytest.approx(eager.log_evidence, rel=1e-12)
    assert exact.marginal("bit(0)") == pytest.approx(eager.marginal("bit(0)"), rel=1e-12)
    assert sorted(exact.support) == sorted(eager.support)


def test_a_value_belongs_to_the_place_of_the_function():
    def model():
        f = mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))
        with scope("inside"), plate("row", 2):
            inner = f(0)

        def step(carry, _):
            return carry, f(0) + f(1)

        return inner, scan(step, 0.0, None, length=2)[1]

    run = handlers.trace(handlers.seed(model, KEY))()
    assert list(run.choices) == [("x(0)",), ("x(1)",)]
    inner, sums = run.value
    assert inner.shape == () and sums[0] == sums[1]


def test_the_handlers_of_the_function_see_its_sites():
    def model():
        f = mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))
        return handlers.block(lambda: f(0))()

    assert list(handlers.trace(handlers.seed(model, KEY))().choices) == [("x(0)",)]
    assert float(handlers.seed(handlers.condition(model, {"x(0)": 2.0}), KEY)()) == 2.0


def test_random_functions_call_each_other_and_themselves():
    def model():
        @mem
        def population(year):
            return 1.0 if year == 0 else population(year - 1) + sample("growth", dist.Normal(0.0, 1.0))

        @mem
        def twice(year):
            return 2 * population(year)

        return twice(3), population(3)

    run = handlers.trace(handlers.seed(model, KEY))()
    assert sorted(run.choices) == [(f"growth({year})",) for year in (1, 2, 3)]
    assert run.value[0] == 2 * run.value[1]


def test_a_value_that_needs_itself_is_refused():
    def model():
        f = mem(lambda n: f(n) + 1)
        return f(3)

    with pytest.raises(LawfulError, match=r"the value at \(3\) needs itself"):
        handlers.seed(model, KEY)()


def test_a_function_whose_first_question_fails_may_be_asked_again():
    def model():
        tries = []

        def body(n):
            tries.append(n)
            if len(tries) == 1:
                raise ZeroDivisionError
            return sample("x", dist.Normal(0.0, 1.0))

        f = mem(body)
        with pytest.raises(ZeroDivisionError):
            f(1)
        return f(1)

    handlers.seed(model, KEY)()


def test_functions_of_one_site_name_need_two_scopes():
    def model(scoped):
        f = mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))
        if scoped:
            with scope("second"):
                g = mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))
        else:
            g = mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))
        return f(0), g(0)

    assert list(handlers.trace(handlers.seed(model, KEY))(True).choices) == [("x(0)",), ("second", "x(0)")]
    with pytest.raises(LawfulError, match="used twice"):
        handlers.seed(model, KEY)(False)


def test_outside_a_program_all_runs_would_share_it():
    with pytest.raises(LawfulError, match=r"mem .*outside a program.*Fix: call lawful\.mem inside"):
        mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))


def test_arguments_are_hashable():
    with pytest.raises(LawfulError, match="hashable arguments"):
        handlers.seed(coins, KEY)(([1],))


def test_a_traced_argument_is_refused():
    def model():
        k = sample("k", dist.Bernoulli(0.5))
        return mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))(k)

    handlers.seed(model, KEY)()
    with pytest.raises(UnsupportedProgramError, match=r"mem of .*argument is a traced value.*jnp\.stack.*eagerly"):
        lawful.trace(model)


def test_a_first_question_inside_an_arm_is_refused():
    def model(before):
        f = mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))
        if before:
            f(1)
        b = sample("b", dist.Bernoulli(0.5))
        return cond(b == 1, lambda: f(1), lambda: 0.0)

    assert len(list(lawful.trace(model, True).sites())) == 2
    with pytest.raises(
        UnsupportedProgramError, match=r"\(1\) is asked for the first time inside .*Fix: ask for it once"
    ):
        lawful.trace(model, False)
    handlers.seed(model, KEY)(False)
