"""The linter: each mistake of a gallery is found with its line, and right programs have no finding."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, plate, sample, scan

from .programs import PROGRAMS

NORMAL = dist.Normal(0.0, 1.0)


def codes(model, *args):
    return [(finding.code, ".".join(finding.site)) for finding in lawful.trace(model, *args).check()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_right_program_has_no_error(name):
    form = lawful.trace(PROGRAMS[name][0], *PROGRAMS[name][1])
    assert not [finding for finding in form.check() if finding.level == "error"]


def test_a_finding_says_where_and_what_to_do():
    (finding,) = lawful.trace(lambda: sample("x", dist.Normal(jnp.zeros(3), 1.0))).check()
    assert (finding.code, finding.level, finding.site) == ("missing-plate", "warning", ("x",))
    assert finding.source.file == __file__ and finding.source.line > 0
    assert str(finding).startswith("warning missing-plate: site 'x' (") and "Fix: put the site under plate" in str(
        finding
    )
    assert "axis -1 (size 3) of batch shape (3,)" in finding.found


@pytest.mark.slow
def test_a_batch_axis_without_a_plate_is_found():
    def half():
        with plate("a", 2, dim=-2):
            sample("x", dist.Normal(jnp.zeros((2, 3)), 1.0))

    assert codes(half) == [("missing-plate", "x")]
    assert codes(lambda: jax.vmap(lambda _: sample("x", NORMAL))(jnp.zeros(3))) == [("missing-plate", "x")]
    assert codes(lambda: scan(lambda c, _: (c, sample("x", dist.Normal(jnp.zeros(2), 1.0))), 0.0, length=2)) == [
        ("missing-plate", "x")
    ]


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "distribution",
    [
        NORMAL,
        dist.Normal(jnp.zeros(3), 1.0).to_event(1),
        dist.MultivariateNormal(np.zeros(2), scale_tril=np.eye(2)),
        dist.Dirichlet(jnp.ones(3)),
    ],
)
def test_axes_of_the_value_need_no_plate(distribution):
    assert codes(lambda: sample("x", distribution)) == []


def test_a_choice_that_nothing_observed_depends_on_is_found():
    def model(y):
        mu = sample("mu", NORMAL)
        sample("idle", dist.Normal(mu, 1.0))
        sample("next", dist.Normal(sample("sigma", dist.HalfNormal(1.0)), 1.0))
        sample("y", dist.Normal(mu, 1.0), obs=y)

    assert codes(model, 0.0) == [("unused-latent", "idle"), ("unused-latent", "sigma"), ("unused-latent", "next")]


@pytest.mark.slow
def test_a_path_through_a_loop_a_branch_or_a_factor_counts():
    def model():
        b = sample("b", dist.Bernoulli(0.5))
        last, _ = scan(lambda x, _: (sample("x", dist.Normal(x, 1.0)), None), sample("start", NORMAL), length=2)
        jax.lax.cond(b == 1, lambda: factor("f", last), lambda: None)

    assert codes(model) == []


def test_a_program_without_observations_is_a_prior_and_uses_all():
    assert codes(lambda: (sample("x", NORMAL), sample("y", NORMAL))) == []


@pytest.mark.slow
def test_many_equal_sites_of_one_line_that_no_loop_can_hold_are_found_once():
    def model(n, regular=False):
        values = [jnp.zeros(())]
        for i in range(n):
            values.append(sample(f"x{i}", dist.Normal(0.0 if regular else sum(values), 1.0)))

    assert codes(model, 50) == codes(model, 60, True) == []
    (finding,) = lawful.trace(model, 60).check()
    assert (
        finding.code == "unrolled-loop" and "60 equal sites Normal" in finding.found and "lawful.scan" in finding.remedy
    )
    assert "about 1.5 to 2.4 s" in finding.found


def test_single_numbers_as_arguments_are_looked_at_in_32_bits():
    def model(p, y):
        sample("y", dist.Bernoulli(p), obs=y)

    near = 1 - 1e-9
    with jax.enable_x64(False):
        for y in (1, jnp.array(1), np.float32(1)):
            assert [f.code for f in lawful.check_program(model, 0.5, y)] == []
        (finding,) = lawful.check_program(model, np.array(near), 1)
        assert finding.code == "float32-hazard" and "1 - 1e-09" in finding.found


@pytest.mark.slow
def test_large_sums_and_large_integers_in_32_bits_are_found():
    def many(n):
        with plate("a", 2):
            scan(lambda c, _: (c, c), 0.0, length=1) if n < 0 else sample("x", NORMAL)
        scan(lambda c, _: (c, sample("z", dist.Normal(jnp.zeros(2000), 1.0).to_event(1))), 0.0, length=n)

    stamps = np.array([1.7e9, 1.7e9 + 1], np.float32)

    def times():
        with plate("a", 2):
            sample("t", dist.Normal(0.0, 1.0), obs=stamps)

    assert codes(many, 600) == []
    with jax.enable_x64(False):
        assert codes(many, 500) == []
        assert codes(many, 600) == [("float32-hazard", "z")]
        assert codes(times) == [("float32-hazard", "t")]
        assert "1700000" in lawful.trace(times).check()[0].found
