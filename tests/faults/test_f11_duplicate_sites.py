"""Row 11: two sites of one address are an error that shows both lines, unless they stand in two arms of a branch."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, deterministic, factor, handlers, inference, plate, sample, scan, scope
from lawful.backends.xla import compile
from lawful.errors import DuplicateSiteError

KEY = jax.random.key(0)
NORMAL = dist.Normal(0.0, 1.0)


def twice(first, second=None):
    def program():
        first()
        (second or first)()

    return program


def x():
    return sample("x", NORMAL)


def in_plate():
    with plate("a", 2):
        return sample("x", NORMAL)


def in_scan():
    return scan(lambda c, _: (c, sample("x", NORMAL)), 0.0, length=2)


def in_arm():
    return cond(jnp.array(True), x, lambda: jnp.array(0.0))


def nested_call():
    def part():
        return x()

    return part()


DUPLICATES = {
    "straight line": twice(x),
    "nested call": twice(x, nested_call),
    "plate": twice(in_plate),
    "plate and outside": twice(in_plate, x),
    "scan body": lambda: scan(lambda c, _: (c, (x(), x())), 0.0, length=2),
    "two scans": twice(in_scan),
    "scan and outside": twice(in_scan, x),
    "outside and scan": twice(x, in_scan),
    "within an arm": lambda: cond(jnp.array(True), lambda: x() + x(), lambda: jnp.array(0.0)),
    "arm and outside": twice(in_arm, x),
    "two branches": twice(in_arm),
    "factor and site": twice(x, lambda: factor("x", 0.0)),
    "value and site": twice(x, lambda: deterministic("x", 0.0)),
    "two factors": twice(lambda: factor("x", 0.0)),
    "observed and latent": twice(x, lambda: sample("x", NORMAL, obs=0.0)),
    "python loop": lambda: [x() for _ in range(3)],
}


@pytest.mark.fault(11)
@pytest.mark.parametrize("name", DUPLICATES)
@pytest.mark.parametrize("mode", ["staged", "eager"])
def test_f11_two_sites_of_one_address_are_refused_with_both_lines(name, mode):
    program = DUPLICATES[name]
    with pytest.raises(DuplicateSiteError) as caught:
        if mode == "staged":
            lawful.trace(program)
        else:
            handlers.trace(handlers.seed(program, KEY))()
    message = str(caught.value)
    assert "'x'" in message and message.count("test_f11_duplicate_sites.py:") == 2
    assert "lawful.scope" in message
    assert caught.value.first.line > 0 and caught.value.second.line > 0


LEGAL = {
    "arms of one branch": lambda: cond(jnp.array(True), x, lambda: sample("x", dist.Normal(1.0, 1.0))),
    "arms of arms": lambda: cond(jnp.array(True), x, lambda: cond(jnp.array(True), x, x)),
    "scopes": lambda: (_scoped("a"), _scoped("b")),
    "names that differ": lambda: (x(), sample("y", NORMAL)),
}


def _scoped(name):
    with scope(name):
        return x()


@pytest.mark.parametrize("name", LEGAL)
def test_f11_one_name_is_legal_where_one_site_runs_at_most(name):
    form = lawful.trace(LEGAL[name])
    handlers.trace(handlers.seed(LEGAL[name], KEY))()
    compile(form)(KEY)


def test_f11_the_two_lines_are_those_of_the_two_sites():
    def program():
        sample("x", NORMAL)
        sample("x", NORMAL)

    first = program.__code__.co_firstlineno + 1
    for run in (lambda: lawful.trace(program), handlers.seed(program, KEY)):
        with pytest.raises(DuplicateSiteError) as caught:
            run()
        assert (caught.value.first.line, caught.value.second.line) == (first, first + 1)
        assert caught.value.site == ("x",)


@pytest.mark.parametrize("build", [inference.importance, inference.smc], ids=["importance", "smc"])
def test_f11_every_inference_refuses_before_it_runs(build):
    with pytest.raises(DuplicateSiteError, match="'x' is used twice"):
        build(DUPLICATES["straight line"], particles=4)(KEY)


@pytest.mark.slow
def test_f11_a_sample_in_each_arm_is_one_site_of_the_results():
    def program():
        b = sample("b", dist.Bernoulli(0.5))
        return cond(b == 1, lambda: sample("k", dist.Bernoulli(0.9)), lambda: sample("k", dist.Bernoulli(0.2)))

    exact = inference.enumerate(program)()
    assert exact.marginal("k") == pytest.approx({0: 0.45, 1: 0.55}, rel=1e-12)
    plan = inference.importance(program, particles=64)
    assert set(plan(KEY).posterior) >= {"b", "k"}
    # In a population both arms run, for different particles: eagerly too, and with the same draws.
    ours, compiled_draws = handlers.seed(plan.form(), KEY)(), compile(plan.form())(KEY)[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), list(ours), list(compiled_draws))
