"""The text of a Form: one line per meaning, the same in every process."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, deterministic, factor, inference, plate, sample, scan
from lawful.form import Det, Factor, Site, walk
from lawful.inspection.drawing.formulas import number_text

from .families import FAMILIES
from .programs import PROGRAMS

NORMAL = dist.Normal(0.0, 1.0)


def shown(model, *args):
    return [line.removeprefix("  ") for line in lawful.trace(model, *args).show().splitlines()[1:]]


def test_sites_factors_plates_inputs_and_outputs():
    def schools(y, sigma):
        mu = sample("mu", dist.Normal(0.0, 5.0))
        tau = sample("tau", dist.HalfCauchy(5.0))
        with plate("school", 8):
            theta = sample("theta", dist.Normal(mu, tau))
            deterministic("shrunk", theta / (1 + tau))
            sample("y", dist.Normal(theta, sigma), obs=y)
        factor("soft", -(mu**2))
        return theta

    assert shown(schools, np.zeros(8), np.ones(8)) == [
        "in0: float64[8]",
        "in1: float64[8]",
        "mu ~ Normal(0, 5)",
        "tau ~ HalfCauchy(5)",
        "theta ~ Normal(mu, tau)  float64[8]  plate[school 8]",
        "shrunk = theta / (1 + tau)  float64[8]  deterministic",
        "y ~ Normal(theta, in1)  float64[8]  observed in0  plate[school 8]",
        "factor soft = -mu**2",
        "return theta",
    ]


def test_loops_and_branches_are_indented():
    def walk(y):
        def step(x, y):
            jump = sample("jump", dist.Bernoulli(0.5))
            x = sample("x", dist.Normal(x, 1.0))
            z = cond(jump == 1, lambda x: sample("z", dist.Normal(x, 1.0)), lambda x: 2 * x, x)
            sample("y", dist.Normal(x + z, 1.0), obs=y)
            return x, (x, x - z)

        return scan(step, 1.5, y)

    assert shown(walk, np.zeros(3)) == [
        "in0: float64[3]",
        "loop t = 0..2",
        "  carry c0 = 1.5",
        "  jump[t] ~ Bernoulli(0.5)",
        "  x[t] ~ Normal(c0, 1)",
        "  v0 = branch on jump[t] == 1",
        "    arm 0",
        "      give 2 * x[t]",
        "    arm 1",
        "      z[t] ~ Normal(x[t], 1)",
        "      give z[t]",
        "  y[t] ~ Normal(x[t] + v0, 1)  observed in0[t]",
        "  next c0 = x[t]",
        "  stack s0 = x[t] - v0",
        "return c0[last], x, s0",
    ]


def test_the_index_of_a_step_is_shown_as_such():
    def model():
        def inner(c, j):
            return (c, sample("x", dist.Normal(c + j, 1.0)))

        scan(lambda c, i: scan(inner, i, jnp.arange(2.0)), 0.0, jnp.arange(3.0))
        jax.lax.scan(lambda c, i: (c, sample("z", NORMAL)), 0.0, None, length=2, reverse=True)
        scan(lambda c, _: (c, sample("w", NORMAL)), 0.0, length=0)

    text = "\n".join(shown(model))
    assert "x[t][s] ~ Normal(t + s, 1)" in text
    assert "loop t = 0..1  backwards" in text and "loop of no steps" in text


def test_a_long_run_of_operations_is_one_line():
    def model(a):
        x = sample("x", dist.Normal(a, 1.0))
        for _ in range(20):
            x = jnp.sin(x) * a + 1
        return sample("y", dist.Normal(x, 1.0))

    lines = shown(model, 0.5)
    assert lines[2] == "v0 = f(x, in0)  60 operations: sin, mul, add"
    assert lines[3] == "y ~ Normal(v0, 1)"


def test_formulas_keep_their_brackets():
    def model(a, b):
        sample("x", dist.Normal((a - b) - (a - (b + 1)), (a + b) * 2))
        sample("z", dist.Normal(-(a + b) / (a * b), 1.0))

    assert shown(model, 1.0, 2.0)[2:4] == [
        "x ~ Normal(in0 - in1 - (in0 - (in1 + 1)), (in0 + in1) * 2)",
        "z ~ Normal(-(in0 + in1) / (in0 * in1), 1)",
    ]


def test_small_constants_are_written_and_large_ones_named():
    table, short = np.arange(12.0).reshape(3, 4), np.array([0.1, 0.2])
    lines = shown(
        lambda: (sample("x", dist.Normal(jnp.asarray(table), 1.0)), sample("y", dist.Normal(jnp.asarray(short), 1.0)))
    )
    assert lines[0] == "k0  float64[3, 4]  constant"
    assert lines[1] == "x ~ Normal(k0, 1)  float64[3, 4]"
    assert lines[2] == "y ~ Normal([0.1, 0.2], 1)  float64[2]"


def test_numbers_are_written_exactly():
    assert [number_text(x) for x in (2.0, -1, True, np.float32(0.1), 1e-7, np.inf)] == [
        "2",
        "-1",
        "True",
        "0.1",
        "1e-07",
        "inf",
    ]


def test_a_site_under_vmap_shows_its_lanes():
    lines = shown(lambda: jax.vmap(lambda a: sample("x", dist.Normal(a, 1.0)))(jnp.zeros(3)))
    assert lines[0] == "x ~ Normal(0, 1) for each of [3]  float64[3]"


def test_names_of_values_avoid_the_names_of_sites():
    def model(a):
        x = sample("v0", dist.Normal(a, 1.0))
        for _ in range(9):
            x = jnp.sin(x)
        sample("y", dist.Normal(x, 1.0))

    assert shown(model, 0.0)[2].startswith("v1 = f(v0)")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Beta", "Beta(2, 3)"),
        ("Categorical", "Categorical([0.5, 0.25, 0.25])"),
        ("LogNormal", "LogNormal(0, 2)"),
        ("Poisson", "Poisson(2)"),
        ("TruncatedNormal from below", "LeftTruncatedDistribution(Normal(0, 2), 0)"),
        ("StudentT", "StudentT(3, 0, 2)"),
        ("MixtureSameFamily", "MixtureSameFamily(Categorical([0.5, 0.25, 0.25]), Gamma(1 + arange(3), 2))"),
        ("ZeroInflatedPoisson", "ZeroInflatedPoisson(0.3, 2)"),
        ("Uniform", "Uniform(0, 2)"),
    ],
)
def test_a_law_is_shown_with_the_arguments_of_its_distribution(name, text):
    assert shown(lambda: sample("x", FAMILIES[name].make()))[0] == f"x ~ {text}"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_site_and_factor_has_its_line(name):
    form = lawful.trace(PROGRAMS[name][0], *PROGRAMS[name][1])
    text = form.show()
    for node in walk(form):
        if isinstance(node, Site):
            assert f"{'.'.join(node.address)}" in text and f"~ {node.law.label}(" in text
        elif isinstance(node, Factor):
            assert f"factor {'.'.join(node.address)}" in text
        elif isinstance(node, Det) and node.address is not None:
            assert f"{'.'.join(node.address)} =" in text


@pytest.mark.parametrize("name", PROGRAMS)
def test_tracing_again_gives_the_same_text(name):
    program, args = PROGRAMS[name]
    assert lawful.trace(lambda *a: program(*a), *args).show() == lawful.trace(program, *args).show()


def test_an_algorithm_is_shown_as_any_program():
    text = inference.smc(PROGRAMS["chain"][0], particles=10).form(np.zeros(3)).show()
    assert "plate[particle 10]" in text and "systematic(" in text and "x[t] ~ Normal(" in text


SCRIPT = """
import jax, sys
jax.config.update("jax_enable_x64", True)
sys.path.insert(0, {root!r})
import lawful
from tests.ppl.families import FAMILIES
from tests.ppl.programs import PROGRAMS
for program, args in PROGRAMS.values():
    form = lawful.trace(program, *args)
    print(form.show(), form.to_dot(), form.to_mermaid(), sorted(form.to_networkx().edges), *form.check())
for family in FAMILIES.values():
    print(lawful.trace(lambda: lawful.sample("x", family.make())).show())
"""


@pytest.mark.slow
def test_texts_are_the_same_in_every_process(root):
    def run(seed):
        environment = os.environ | {"PYTHONHASHSEED": str(seed)}
        command = [sys.executable, "-c", SCRIPT.format(root=str(root))]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    first = run(1)
    assert first == run(2)
    assert " at 0x" not in first and "object" not in first
