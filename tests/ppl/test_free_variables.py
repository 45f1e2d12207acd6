"""Free variables: what a program reads from outside is part of what its Form is found by, wherever it stands."""

from __future__ import annotations

import dataclasses
import functools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, inference
from lawful.inference import kernels
from lawful.tracing.free_variables import Reading
from lawful.tracing.trace import Rewritten

Y = 0.3
SD = 1.0
WIDE = np.ones(5)
PRIOR = dist.Normal(0.0, 1.0)
SETTINGS = {"deep": [{"sd": 1.0}]}
CONFIG = types.ModuleType("config_of_a_user")


def coin(sd):
    x = lawful.sample("x", dist.Bernoulli(0.5))
    lawful.sample("y", dist.Normal(1.0 * x, sd), obs=Y)


def scored(program):
    """The log density of x = 1, by the Form of now."""
    return float(lawful.trace(program).log_density({"x": 1}))


def truth(sd):
    """What it is."""
    return math.log(0.5) - 0.5 * ((Y - 1.0) / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi))


# Each way gives a program and what sets its standard deviation.


def a_global():
    def model():
        coin(SD)

    return model, functools.partial(globals().__setitem__, "SD")


def read_global():
    return SD


def a_global_of_a_helper():
    return lambda: coin(read_global()), functools.partial(globals().__setitem__, "SD")


def a_global_of_a_function_inside():
    def model():
        def inner():
            return [SD for _ in range(1)][0]

        coin(inner())

    return model, functools.partial(globals().__setitem__, "SD")


def a_variable_around():
    sd = 1.0

    def model():
        coin(sd)

    def change(new):
        nonlocal sd
        sd = new

    return model, change


def a_variable_around_a_helper():
    sd = 1.0

    def model():
        coin(helper())

    def helper():
        return sd

    def change(new):
        nonlocal sd
        sd = new

    return model, change


def an_array():
    held = np.ones(3)
    return lambda: coin(held[1]), lambda new: held.__setitem__(1, new)


def a_large_array():
    held = np.ones((300, 300))
    return lambda: coin(held[250, 7]), lambda new: held.__setitem__((250, 7), new)


def a_view_of_an_array():
    whole = np.ones(4)
    part = whole[1:3]
    part.flags.writeable = False
    return lambda: coin(part[0]), lambda new: whole.__setitem__(1, new)


def a_jax_array():
    held = [jnp.ones(3)]
    return lambda: coin(held[0][1]), lambda new: held.__setitem__(0, held[0].at[1].set(new))


def an_array_of_objects():
    held = np.array([1.0, None], object)
    return lambda: coin(held[0]), lambda new: held.__setitem__(0, new)


def a_nested_container():
    return lambda: coin(SETTINGS["deep"][0]["sd"]), lambda new: SETTINGS["deep"][0].__setitem__("sd", new)


def a_distribution():
    def model():
        x = lawful.sample("x", dist.Bernoulli(0.5))
        lawful.sample("y", PRIOR, obs=Y - 1.0 * x)

    return model, lambda new: setattr(PRIOR, "scale", new)


def a_module():
    CONFIG.sd = 1.0
    return lambda: coin(CONFIG.sd), lambda new: setattr(CONFIG, "sd", new)


class Study:
    """Has its parts as an instance, a class, a property and by a name that is put together."""

    everyone = 1.0

    def __init__(self):
        self.sd, self.log = 1.0, []

    @property
    def half(self):
        return 2 * self.sd / 2

    def model(self):
        coin(self.sd)

    def by_class(self):
        coin(self.everyone)

    def by_property(self):
        coin(self.half)

    def by_name(self):
        coin(getattr(self, "s" + "d"))

    def __call__(self):
        coin(self.sd)


class Slotted:
    __slots__ = ("sd",)

    def model(self):
        coin(self.sd)


@dataclasses.dataclass(frozen=True, eq=False)
class Frozen:
    parts: dict

    def __call__(self):
        coin(self.parts["sd"])


def an_attribute():
    study = Study()
    return study.model, lambda new: setattr(study, "sd", new)


def an_attribute_of_a_callable():
    study = Study()
    return study, lambda new: setattr(study, "sd", new)


def an_attribute_of_a_class():
    return Study().by_class, lambda new: setattr(Study, "everyone", new)


def an_attribute_over_that_of_a_class():
    study = Study()
    Study.everyone = 1.0
    return study.by_class, lambda new: setattr(study, "everyone", new)


def a_property():
    study = Study()
    return study.by_property, lambda new: setattr(study, "sd", new)


def an_attribute_by_name():
    study = Study()
    return study.by_name, lambda new: setattr(study, "sd", new)


def a_slot():
    slotted = Slotted()
    slotted.sd = 1.0
    return slotted.model, lambda new: setattr(slotted, "sd", new)


def a_field():
    frozen = Frozen({"sd": 1.0})
    return frozen, lambda new: frozen.parts.__setitem__("sd", new)


def a_default():
    held = np.ones(1)

    def model(sd=held):
        coin(sd[0])

    return model, lambda new: held.__setitem__(0, new)


def another_default():
    def model(*, sd=1.0):
        coin(sd)

    return model, lambda new: model.__kwdefaults__.update(sd=new)


def a_part():
    held = {"sd": 1.0}
    return functools.partial(lambda held: coin(held["sd"]), held), lambda new: held.update(sd=new)


def an_attribute_of_a_function():
    def model():
        coin(model.sd)

    model.sd = 1.0
    return model, lambda new: setattr(model, "sd", new)


def other_code():
    def model():
        coin(1.0)

    def other():
        coin(10.0)

    return model, lambda new: setattr(model, "__code__", other.__code__)


def a_mapped_helper():
    held = np.ones(1)
    mapped = jax.vmap(lambda x: x * held[0])
    return lambda: coin(mapped(jnp.ones(2))[0]), lambda new: held.__setitem__(0, new)


def a_handled_program():
    held = np.ones(1)

    def model():
        sd = lawful.sample("sd", dist.HalfNormal(1.0))
        coin(sd)

    return lambda: handlers.do(model, {"sd": held[0]})(), lambda new: held.__setitem__(0, new)


def a_rewritten_program():
    held = np.ones(1)
    return Rewritten(lambda: coin(held[0]), lambda form: form), lambda new: held.__setitem__(0, new)


WAYS = [
    a_global, a_global_of_a_helper, a_global_of_a_function_inside, a_variable_around, a_variable_around_a_helper,
    an_array, a_large_array, a_view_of_an_array, a_jax_array, an_array_of_objects, a_nested_container, a_distribution,
    a_module, an_attribute, an_attribute_of_a_callable, an_attribute_of_a_class, an_attribute_over_that_of_a_class,
    a_property, an_attribute_by_name, a_slot, a_field, a_default, another_default, a_part, an_attribute_of_a_function,
    other_code, a_mapped_helper, a_handled_program, a_rewritten_program,
]  # fmt: skip


@pytest.mark.rest_slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_change_of_what_a_program_reads_gives_the_new_numbers_and_back_the_old_form(way):
    program, change = way()
    try:
        assert abs(scored(program) - truth(1.0)) < 1e-12
        first = lawful.trace(program)
        assert lawful.trace(program) is first
        change(10.0)
        assert abs(scored(program) - truth(10.0)) < 1e-12
        assert lawful.trace(program) is not first
    finally:
        change(1.0)
    if way is not other_code:
        assert abs(scored(program) - truth(1.0)) < 1e-12
        assert lawful.trace(program) is first or way is an_attribute_over_that_of_a_class  # it has one of its own now


@pytest.mark.kills("60")
def test_a_program_sees_what_its_helper_reads():
    test_a_change_of_what_a_program_reads_gives_the_new_numbers_and_back_the_old_form(a_global_of_a_helper)


@pytest.mark.slow
def test_runs_of_every_kind_see_the_change():
    study = Study()

    def model(y):
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(x, study.sd), obs=y)

    weighing = inference.importance(model, particles=8)
    moving = inference.mcmc(model, kernels.mh(kernels.random_walk(0.5)), chains=1, warmup=0, draws=40)
    stepping = inference.smc(model, particles=8)
    for plan in (weighing, moving, stepping):
        study.sd = 1.0
        old = plan(0, Y)
        study.sd = 10.0
        new = plan(0, Y)
        study.sd = 1.0
        again = plan(0, Y)
        told = [np.asarray(one.posterior["x"] if plan is moving else one.log_evidence) for one in (old, new, again)]
        assert not np.array_equal(told[0], told[1])
        assert np.array_equal(told[0], told[2])


def test_what_a_trace_itself_writes_does_not_count():
    runs, study = [], Study()

    def model():
        runs.append(1)
        study.log.append(len(study.log))
        study.sd = study.sd
        coin(study.sd)

    for _ in range(3):
        assert abs(scored(model) - truth(1.0)) < 1e-12
    assert len(runs) == 1
    study.sd = 10.0
    assert abs(scored(model) - truth(10.0)) < 1e-12
    assert len(runs) == 2


def test_what_a_program_does_not_name_does_not_count():
    runs, study = [], Study()

    def model():
        runs.append(1)
        study.model()

    lawful.trace(model)
    study.log.append(3)
    study.other = 4
    globals()["UNREAD"] = 5
    lawful.trace(model)
    assert len(runs) == 1


def test_equal_content_is_one_form_whoever_holds_it():
    held = {"sd": [1.0, 2.0]}

    def model():
        coin(held["sd"][0])

    first = lawful.trace(model)
    held["sd"] = [1.0, 2.0]
    assert lawful.trace(model) is first
    held["sd"][1] = 3.0
    assert lawful.trace(model) is not first


def test_content_tells_types_signs_and_order_apart():
    def key(value):
        return Reading(lambda: value).key

    values = [0, 0.0, -0.0, False, None, "0", b"0", [0], (0,), {0: 0}, {0}, np.zeros(1), np.zeros(1, int), np.zeros(()),
              np.zeros((1, 1)), jnp.zeros(1), np.float32(0), math.nan, {"a": 1, "b": 2}, {"b": 2, "a": 1}, [[0], 0],
              [[0, 0]], np.zeros(1000), np.arange(1000.0), np.float64]  # fmt: skip
    keys = [key(value) for value in values]
    same = [(a, b) for i, a in enumerate(values) for j, b in enumerate(values) if (keys[i] == keys[j]) != (i == j)]
    assert not same


def test_a_reading_meets_itself_and_ends():
    held = {}
    held["again"] = held

    def model():
        return held["again"], model

    reading = Reading(model)
    assert reading.holds()
    held["new"] = 1
    assert not reading.holds()


def test_what_the_user_wrote_for_a_kernel_counts_too():
    step = [0.1]

    def model():
        lawful.sample("x", dist.Normal(0.0, 1.0))

    def near(current):
        lawful.sample("x", dist.Normal(current["x"], step[0]))

    plan = inference.mcmc(model, kernels.mh(near), chains=1, warmup=0, draws=20)
    old = plan(0).posterior["x"]
    step[0] = 5.0
    new = plan(0).posterior["x"]
    fresh = inference.mcmc(model, kernels.mh(near), chains=1, warmup=0, draws=20)(0).posterior["x"]
    assert np.array_equal(new, fresh)
    assert not np.array_equal(new, old)


def test_an_attribute_of_a_class_that_the_trace_counts_in_does_not_count():
    class Counting:
        runs = 0

        def __call__(self):
            Counting.runs += 1
            coin(1.0)

    program = Counting()
    assert lawful.trace(program) is lawful.trace(program) is lawful.trace(program)
    assert Counting.runs == 1


def test_tables_count_with_their_labels():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"sd": [1.0]})

    def model():
        coin(table["sd"][0])

    assert abs(scored(model) - truth(1.0)) < 1e-12
    table.loc[0, "sd"] = 10.0
    assert abs(scored(model) - truth(10.0)) < 1e-12
    first = Reading(lambda: table)
    table.columns = ["other"]
    assert not first.holds()


def test_a_class_of_the_users_is_followed_whatever_its_name():
    class Dataset:
        sd = 1.0

    data = Dataset()

    def model():
        lawful.sample("x", dist.Normal(0.0, data.sd), obs=3.0)

    before = lawful.trace(model).log_density({})
    data.sd = 10.0
    assert lawful.trace(model).log_density({}) != before
