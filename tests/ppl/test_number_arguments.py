"""Numbers among the arguments: one Form for all their values, and the results that each has when it is written in."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.inference.checkpoints.fingerprints import fingerprints
from lawful.inference.results.arguments import digest_of
from lawful.tracing.number_arguments import with_inputs

XS = jnp.arange(5.0) ** 2


def about(mean, y=0.3):
    """Two values of a choice, and an observation that depends on them and on a number."""
    x = lawful.sample("x", dist.Bernoulli(0.4))
    lawful.sample("y", dist.Normal(x + mean, 2.0), obs=y)


# Programs, and calls of each that share one Form.


def scaled(n):
    about(n * 0.1)


def summed_up(n):
    about((n + 1) * (n - 1) / 2 + n**2 - 2 * n)


def divided(n, k):
    about(n / k)


def compared(n):
    about(jnp.where(n > 2, 1.0, n))


def switched(flag):
    about(jnp.where(flag, 0.5, -0.5))


def branched(flag):
    about(lawful.cond(flag, lambda: 1.0, lambda: 0.0))


def indexed(n):
    about(XS[n])


def observed(n, k):
    x = lawful.sample("x", dist.Bernoulli(0.4))
    lawful.sample("y", dist.Binomial(n, 0.2 + 0.5 * x), obs=k)


def observed_by_normal(y):
    about(0.5, y)


def in_a_container(data):
    about(data["k"] + sum(data["more"]))


def looped(n):
    def step(total, x):
        return total + n * x, None

    about(lawful.scan(step, 0.0, XS)[0])


ONE = [
    (scaled, [(3,), (5,), (0,), (-7,)]), (summed_up, [(3,), (5,), (-7,)]), (divided, [(3, 2), (5, 4)]),
    (compared, [(3,), (2,)]), (switched, [(True,), (False,)]), (branched, [(True,), (False,)]),
    (indexed, [(3,), (0,), (-1,)]), (observed, [(10, 3), (12, 12), (3, 0)]), (observed_by_normal, [(1,), (2,)]),
    (in_a_container, [({"k": 1, "more": [2, 3]},), ({"k": 4, "more": [5, 6]},)]), (looped, [(1,), (2,)]),
]  # fmt: skip


def evidence(program, *args):
    return inference.enumerate(program, mode="staged")(*args).log_evidence


def written(program, args):
    """The evidence of the program into which the arguments are written."""
    return evidence(functools.partial(program, *args))


@pytest.mark.rest_slow
@pytest.mark.parametrize(("program", "calls"), ONE, ids=lambda x: getattr(x, "__name__", ""))
def test_numbers_are_inputs_of_one_form_and_give_what_they_give_when_written(program, calls):
    plan = inference.enumerate(program, mode="staged")
    for args in calls:
        assert abs(plan(*args).log_evidence - written(program, args)) < 1e-12
    forms = {lawful.trace(program, *with_inputs(program, args)) for args in calls}
    assert len(forms) == 1


def test_other_numbers_run_what_was_compiled(caplog):
    traced = []

    def model(k, s, flag):
        traced.append(1)
        x = lawful.sample("x", dist.Normal(0.0, 1.0 * s))
        lawful.sample("y", dist.Poisson(jnp.exp(jnp.where(flag, x, 0.5 * x))), obs=k)

    plans = inference.importance(model, particles=8), inference.smc(model, particles=8)
    for plan in plans:
        plan(0, 5, 2, True)
    count = len(traced)
    with jax.log_compiles():
        for plan in plans:
            plan(0, 6, 3, False)
    assert len(traced) == count == 1
    assert not [record for record in caplog.records if "Finished XLA compilation" in record.getMessage()]


# Programs that need a number as one: each value has a Form of its own.


def sized(n):
    with lawful.plate("i", n):
        lawful.sample("z", dist.Bernoulli(0.5))
    about(0.0)


def stepped(n):
    about(lawful.scan(lambda c, _: (c + 1.0, None), 0.0, None, length=n)[0])


def chosen(flag):
    about(1.0 if flag else 2.0)


def ranged(n):
    about(sum(0.5**i for i in range(n)))


def by_math(n):
    about(math.lgamma(n))


def by_numpy(n):
    about(np.arange(9.0)[n])


def named(n):
    lawful.sample(f"z{n}", dist.Bernoulli(0.5))
    about(0.0)


def told_apart(n):
    about(1.0 if isinstance(n, int) else 2.0)


def looked_up(n):
    about({1: 0.5, 2: 1.5, 3: 2.5}[n])


def bounding(n):
    about(0.5 * lawful.sample("k", dist.Binomial(n, 0.3)))


def between(n):
    about(0.5 * lawful.sample("k", dist.DiscreteUniform(0, n)))


def floored(n):
    about(n // 2)


def counted(n):
    about((n > 1) + (n > 2) + (True + (n > 0)))


def powered(n):
    about(2 ** (n - 3) * 8)


OWN = [
    sized,
    stepped,
    chosen,
    ranged,
    by_math,
    by_numpy,
    named,
    told_apart,
    looked_up,
    bounding,
    between,
    floored,
    powered,
]


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", OWN, ids=lambda x: x.__name__)
def test_numbers_that_are_needed_as_numbers_stay_numbers(program):
    for n in (3, 1):
        value = bool(n - 1) if program is chosen else n
        assert with_inputs(program, (value,)) == (value,)
        assert type(with_inputs(program, (value,))[0]) is type(value)
        assert abs(evidence(program, value) - written(program, (value,))) < 1e-12


def test_the_size_of_a_law_that_keeps_it_as_given_stays_a_number():
    def flat(n):
        lawful.sample("x", dist.ImproperUniform(dist.constraints.real, (), (n,)))

    assert with_inputs(flat, (2,)) == (2,) and with_inputs(flat, (3,)) == (3,)
    assert [site.law.shape for site in lawful.trace(flat, 3).sites()] == [(3,)]


def test_truth_values_add_up_to_integers():
    def model(a, b):
        about(0.5 * (a + b))

    for pair in ((True, True), (True, False)):
        assert with_inputs(model, pair) is pair
        assert abs(evidence(model, *pair) - written(model, pair)) < 1e-12


def test_the_one_number_that_is_needed_stays_and_the_others_are_inputs():
    def model(n, k, flag):
        with lawful.plate("i", n):
            lawful.sample("z", dist.Bernoulli(0.5))
        about(1.0 * k if flag else 2.0 * k)

    def kinds(*args):
        return [type(arg) in (int, bool) for arg in with_inputs(model, args)]

    assert kinds(2, 5, True) == kinds(3, 6, False) == [True, False, True]
    assert abs(evidence(model, 2, 5, True) - written(model, (2, 5, True))) < 1e-12
    assert abs(evidence(model, 2, 5, False) - written(model, (2, 5, False))) < 1e-12


def test_a_number_that_is_needed_for_another_value_of_a_number_stays_one_then():
    def model(sized, k):
        with lawful.plate("i", k if sized else 2):
            lawful.sample("z", dist.Bernoulli(0.5))
        about(1.0 * k)

    for args in ((False, 3), (False, 4), (True, 3), (True, 1), (False, 1), (1, 3)):
        assert abs(evidence(model, *args) - written(model, args)) < 1e-12


def test_functions_that_get_the_inputs_get_those_that_they_got():
    def model(k, y):
        lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0 * k)), 1.0), obs=y)

    def near(current, y):
        assert y.shape == (3,)
        lawful.sample("x", dist.Normal(0.5 * current["x"] + 0.1 * y[0], 1.0))

    plan = inference.mcmc(lambda k, y: model(k, y[0]), kernels.mh(near), chains=1, warmup=0, draws=3)
    assert plan(0, 2, jnp.ones(3)).args[0] == 2


@pytest.mark.kills("60b")
def test_integers_that_would_leave_their_type_stay_numbers():
    def model(n):
        about(n * n * n / 1e18)

    with jax.enable_x64(False):
        for n, is_input in ((5, True), (2_000_000, False)):
            assert (type(with_inputs(model, (n,))[0]) is not int) == is_input
            assert evidence(model, n) == pytest.approx(written(model, (n,)), rel=1e-6)
    for n, is_input in ((5, True), (1_000_000, True), (3_000_000, False), (1 << 70, False)):
        assert (type(with_inputs(model, (n,))[0]) is not int) == is_input
    assert abs(evidence(model, 3_000_000) - written(model, (3_000_000,))) < 1e-12 * 27**2


def test_a_program_that_draws_takes_numbers_too():
    def model(n, k):
        return lawful.sample("x", dist.Normal(1.0 * k, 1.0).expand([n]))

    plan = inference.importance(model, particles=5)
    first, second = (np.asarray(plan(0, 2, k).posterior["x"]) for k in (3, 4))
    assert first.shape[-1] == 2
    assert np.allclose(first + 1, second, atol=1e-12)


def test_a_wrong_program_says_what_it_says_for_numbers():
    def model(n):
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        if x > n:
            lawful.factor("f", 1.0)

    with pytest.raises(lawful.errors.UnsupportedProgramError, match="after site 'x'"):
        inference.importance(model, particles=2)(0, 3)


def test_the_digest_of_a_number_is_that_of_its_input():
    def model(k):
        about(1.0 * k)

    for number in (3, True):
        given = with_inputs(model, (number,))
        assert given is not (number,) and digest_of(given) == digest_of((number,))
        assert fingerprints(None, given, {})["data"] == fingerprints(None, (number,), {})["data"]
