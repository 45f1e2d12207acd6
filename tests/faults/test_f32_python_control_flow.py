"""Row 32: Python control flow on a drawn value runs eagerly; staged, an error names line and site and the remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, inference, sample
from lawful.errors import UnsupportedProgramError

TABLE = [0.0, 1.0, 2.0]


def uses_if():
    x = sample("x", dist.Normal(0.0, 1.0))
    if x > 0:  # here
        return sample("y", dist.Normal(x, 1.0))
    return x


def uses_while():
    total = sample("x", dist.Exponential(1.0))
    while total < 1:  # here
        total = total + 1
    return total


def uses_a_list():
    x = sample("x", dist.Categorical(probs=jnp.ones(3) / 3))
    return TABLE[x]  # here


def uses_a_range():
    x = sample("x", dist.Poisson(3.0))
    return sum(1.0 for _ in range(x))  # here


def uses_float():
    x = sample("x", dist.Normal(0.0, 1.0))
    return float(x)  # here


def uses_numpy():
    x = sample("x", dist.Normal(0.0, 1.0))
    return np.sin(x) + np.asarray(x)  # here


def uses_a_mask():
    x = sample("x", dist.Normal(jnp.zeros(3), 1.0).to_event(1))
    return x[x > 0].sum()  # here


def uses_and():
    x = sample("x", dist.Normal(0.0, 1.0))
    return x > 0 and x < 1  # here


def uses_an_argument(y=1.0):
    x = sample("x", dist.Normal(y, 1.0))
    return x if y > 0 else -x  # here


PROGRAMS = [
    uses_if, uses_while, uses_a_list, uses_a_range, uses_float, uses_numpy, uses_a_mask, uses_and, uses_an_argument,
]  # fmt: skip


def line_of(program):
    """The line that is marked in the source of a program."""
    import inspect

    lines, first = inspect.getsourcelines(program)
    return first + next(i for i, line in enumerate(lines) if line.rstrip().endswith("# here"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_f32_eager_runs_take_any_python(program):
    run = handlers.trace(handlers.seed(program, jax.random.key(0)))(*([1.0] if program is uses_an_argument else []))
    assert ("x",) in run.choices


@pytest.mark.fault(32)
@pytest.mark.parametrize("program", PROGRAMS)
def test_f32_staged_the_error_names_line_and_site_and_the_ways_out(program):
    with pytest.raises(UnsupportedProgramError) as caught:
        lawful.trace(program, *([1.0] if program is uses_an_argument else []))
    error = caught.value
    assert (error.source.file, error.source.line) == (__file__, line_of(program))
    assert error.site == ("x",)
    message = str(error)
    assert f"{__file__}:{line_of(program)}" in message and "site 'x' (" in message
    assert "lawful.cond" in message and "lawful.scan" in message and "handlers.seed" in message


@pytest.mark.parametrize(
    ("build", "options"),
    [(inference.importance, {"particles": 8}), (inference.smc, {"particles": 8}), (inference.mcmc, {})],
    ids=["importance", "smc", "mcmc"],
)
def test_f32_every_compiled_inference_gives_the_same_error(build, options):
    with pytest.raises(UnsupportedProgramError, match=r"test_f32_python_control_flow\.py:\d+.*site 'x'"):
        build(uses_if, **options)(jax.random.key(0))


def test_f32_enumeration_runs_such_a_program_eagerly():
    exact = inference.enumerate(uses_a_list)()
    assert exact.marginal("return") == pytest.approx({0.0: 1 / 3, 1.0: 1 / 3, 2.0: 1 / 3}, rel=1e-12)


def test_f32_a_value_used_before_any_site_names_the_line():
    def early(y):
        return sample("x", dist.Normal(0.0, 1.0)) if y > 0 else 0.0

    with pytest.raises(UnsupportedProgramError, match=r"test_f32_python_control_flow\.py:\d+:") as caught:
        lawful.trace(early, 1.0)
    assert caught.value.site is None


def test_f32_static_arguments_may_steer_python():
    def sized(n, kind):
        draws = [sample(f"x{i}", dist.Normal(0.0, 1.0)) for i in range(n)]
        return sum(draws) if kind == "sum" else draws[-1]

    assert len(list(lawful.trace(sized, 3, "sum").sites())) == 3
    assert lawful.trace(sized, 1, "sum") is not lawful.trace(sized, True, "sum")
