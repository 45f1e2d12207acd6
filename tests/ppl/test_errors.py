"""Errors: every one is a LawfulError, carries its fields, and crosses processes whole."""

import copy
import inspect
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import errors, handlers, sample
from lawful.errors import LawfulError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, LawfulError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_pickles_whole(kind):
    error = kind("what was given and what was expected", site=("group", "x"), index=(0, 2), expected={"shape": (3,)})
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is kind and str(twin) == str(error)
        assert (twin.site, twin.index, twin.expected) == (error.site, error.index, error.expected)
        assert twin.fields == error.fields


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_public(kind):
    assert kind.__name__ in errors.__all__
    assert inspect.getdoc(kind)


def provoked():
    """Errors as the library raises them, with addresses and sources among their fields."""

    def twice():
        sample("x", dist.Normal(0.0, 1.0))
        sample("x", dist.Normal(0.0, 1.0))

    programs = [
        lambda: lawful.trace(twice),
        lambda: handlers.seed(twice, jax.random.key(0))(),
        lambda: lawful.trace(lambda: sample("y", dist.Normal(0.0, 1.0), obs=[1.0])),
        lambda: lawful.trace(lambda: sample("y", dist.Poisson(1.0), obs=-1)),
        lambda: lawful.trace(lambda: 1 if sample("x", dist.Normal(0.0, 1.0)) > 0 else 2),
        lambda: lawful.density(lambda: sample("k", dist.Poisson(1.0))),
    ]
    for program in programs:
        try:
            program()
        except LawfulError as error:
            yield error
    # Each program above must fail.


def test_the_errors_of_the_language_pickle_whole():
    found = list(provoked())
    assert len(found) == 6
    for error in found:
        twin = pickle.loads(pickle.dumps(error))
        assert type(twin) is type(error) and str(twin) == str(error) and set(twin.fields) == set(error.fields)


def fail():
    raise errors.DuplicateSiteError("site 'x' is used twice", site=("x",))


@pytest.mark.slow
def test_an_error_of_another_process_arrives_with_its_fields():
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(errors.DuplicateSiteError) as caught,
    ):
        pool.submit(fail).result()
    assert caught.value.site == ("x",)


def test_messages_tell_arrays_that_are_traced_by_type_and_place():
    """JAX's own words for them, as `y[JitTracer(int64[])]`, say nothing to a reader, and cannot be pickled."""

    def walk(y):
        def step(x, y):
            lawful.sample("y", dist.Normal(jnp.zeros(2), 1.0), obs=y)
            return x, None

        return lawful.scan(step, 0.0, y)

    with pytest.raises(lawful.errors.ObservationError, match=r"site 'y\[step\]': observed shape \(\)") as found:
        lawful.trace(walk, jnp.ones(3))
    assert pickle.loads(pickle.dumps(found.value)).site == ("y",)


@pytest.mark.parametrize("transformed", [
    lambda f: jax.jit(f)(1.0), lambda f: jax.vmap(f)(jnp.ones(2)), lambda f: jax.grad(f)(1.0),
    lambda f: jax.jit(jax.vmap(jax.grad(f)))(jnp.ones(2)),
])  # fmt: skip
def test_no_message_holds_a_word_of_jax_for_an_array_that_is_traced(transformed):
    def refuse(value):
        raise LawfulError(f"size: got {value!r}.", given=value)

    with pytest.raises(LawfulError, match=r"size: got an array f\w+\[\] that is traced\.") as found:
        transformed(refuse)
    assert pickle.loads(pickle.dumps(found.value)).given.endswith("[]")
