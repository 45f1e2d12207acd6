"""What is made of a form is made once, and dies with the form, though most of it holds the form."""

import gc
import weakref
from dataclasses import replace

import jax
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers
from lawful.backends.log_density import scored
from lawful.backends.pointwise import pointwise
from lawful.backends.xla import DEFAULT, compile, emit
from lawful.form.markov_blanket import reached
from lawful.form.operations.from_jaxpr import inlined
from lawful.form.pipeline import LAWS, cache_of, per_form
from lawful.inference import check
from lawful.inference.check.exact.outcomes import compiled_worlds
from lawful.inference.kernels.default_kernel import default_kernel
from lawful.inference.representations.absent_elements import presence_of
from lawful.inference.results.log_densities import densities
from lawful.inference.running.memory import peak_bytes
from lawful.passes.rolling.roll import folded


def fresh():
    """A form that nothing else holds."""

    def coin(y):
        x = lawful.sample("x", dist.Bernoulli(0.25))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x

    return replace(lawful.trace(coin, 0.5))


CLIENTS = {
    "compiled": lambda form: compile(form)(jax.random.key(0), 0.5),
    "worlds": lambda form: compiled_worlds(form)(0.5),
    "log density": lambda form: form.log_density({"x": 1}, 0.5),
    "pointwise": lambda form: densities(form, (0.5,), {"x": [[1, 0]]}),
    "eager": lambda form: handlers.seed(form, jax.random.key(0))(0.5),
    "linter": lambda form: form.check(0.5),
    "kernel": default_kernel,
    "analyses": lambda form: (presence_of(form), peak_bytes(form), reached(form, [("x",)]), folded(form)),
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_form_dies_with_all_that_is_known_of_it(client):
    form = fresh()
    client(form)
    known = weakref.ref(form)
    assert form.cache or client is CLIENTS["eager"]  # which keeps what operations gave, in the nodes
    del form
    gc.collect()
    assert known() is None


@pytest.mark.parametrize("make", [compile, scored, pointwise, inlined, folded, compiled_worlds])
def test_what_is_made_of_a_form_is_made_once(make):
    form = fresh()
    assert make(form) is make(form) is not make(fresh())


def test_a_form_is_told_apart_from_one_that_it_was_rewritten_to():
    form = fresh()
    folded(form)
    assert form.cache and not replace(form, outputs=()).cache


def test_further_values_are_part_of_what_is_remembered():
    calls = []

    @per_form
    def made(form, *further, **named):
        calls.append((further, named))
        return object()

    form = fresh()
    assert made(form, 1) is made(form, 1) is not made(form, 2)
    assert made(form, a=1) is not made(form, a=2)
    assert len(calls) == 4


def test_what_is_remembered_of_a_part_dies_with_the_part():
    def function():
        """A part of a program."""

    cache_of(function)["answer"] = answer = type("Answer", (), {})()
    assert cache_of(function) == {"answer": answer}
    known = weakref.ref(answer)
    del function, answer
    gc.collect()
    assert known() is None


@pytest.mark.slow
@pytest.mark.parametrize("rule", LAWS, ids=lambda rule: rule.__name__)
def test_a_pass_that_is_declared_keeps_the_measure_and_makes_a_form_once(rule):
    form = fresh()
    assert rule(form) is rule(form)
    assert check.preserves(lambda form: rule(form), instances=8).passed


def test_what_is_compiled_went_through_the_passes_that_were_named():
    form = fresh()
    assert compile(form) is compile(form, DEFAULT) is not compile(form, ())
    seen = []
    emit(form, (lambda form: seen.append(form) or folded(form).form, lambda form: seen.append(form) or form))
    assert seen == [form, folded(form).form]
