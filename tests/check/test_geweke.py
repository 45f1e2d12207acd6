"""Choices and data in turn keep their joint law, for lawful kernels alone."""

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import geweke
from tests.check.test_invariance import WALK, Y, chain, positive, switch
from tests.mutants import kernels as kernel_mutants
from tests.mutants import maps
from tests.tiers import rest_slow

pytestmark = pytest.mark.tier3
CYCLE = kernels.cycle(kernels.mh(), WALK)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("model", "kernel", "form"),
    rest_slow([(positive, WALK, "exact_rank"), (chain, CYCLE, "two_sample"), (switch, kernels.mh(), "exact_rank")], 2),
    ids=["reversible", "cycle in a loop", "branches"],
)
def test_a_lawful_kernel_passes(model, kernel, form):
    report = geweke(model, kernel, Y, n=2_000)
    assert report.passed, report
    assert report.level == "end_to_end" and repr(form) in report.repro
    assert report.alpha_spent == 1e-6 / 512 and report.detects(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("form", rest_slow(["two_sample", "exact_rank"]))
@pytest.mark.parametrize(
    "fault", rest_slow([maps.jacobian_missing, kernel_mutants.always_accept]), ids=lambda f: f.__name__
)
def test_a_planted_fault_fails(fault, form):
    with fault() as reached:
        report = geweke(positive, WALK, Y, form=form, n=2_000)
    assert report.status == "failed" and reached.count, report


@pytest.mark.slow
def test_the_data_are_among_the_statistics_and_others_can_be_added():
    def spread(values):
        return values["y"][0] - values["y"][1]

    report = geweke(positive, WALK, Y, n=500, statistics={"spread": spread})
    assert report.passed
    fewer = geweke(positive, WALK, Y, n=500)
    count = [int(r.remarks.split()[0]) for r in (report, fewer)]
    assert count[0] > count[1]


def test_data_that_decide_about_choices_are_refused_by_name():
    def lagged(y):
        before = lawful.sample("y", dist.Normal(0.0, 1.0), obs=y)
        lawful.sample("x", dist.Normal(before, 1.0))

    with pytest.raises(UnsupportedProgramError, match=r"site 'x' .* depends on the data 'y'"):
        geweke(lagged, WALK, 0.3)


def test_what_a_kernel_does_not_claim_is_not_used():
    with pytest.raises(LawfulError, match="does not claim to be reversible"):
        geweke(chain, CYCLE, Y, form="exact_rank")
    with pytest.raises(LawfulError, match="form in exact_rank, two_sample"):
        geweke(positive, WALK, Y, form="z")
    with pytest.raises(LawfulError, match="steps of at least 1"):
        geweke(positive, WALK, Y, steps=0)


def test_an_observation_in_one_arm_has_no_joint_law():
    def arms(y):
        b = lawful.sample("b", dist.Bernoulli(0.4))
        lawful.cond(b == 1, lambda: lawful.sample("y", dist.Normal(3.0, 1.0), obs=y), lambda: 0.0)

    with pytest.raises(UnsupportedProgramError, match=r"site 'y' .* observed in one arm"):
        geweke(arms, kernels.mh(), jnp.array(0.3))
