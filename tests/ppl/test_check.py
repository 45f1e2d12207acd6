"""The linter with data: a gallery of wrong programs, each found by its code with its site and line; right ones pass."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, plate, sample, scan
from lawful.check import check_program
from lawful.errors import UnsupportedProgramError
from lawful.inference.advice import plan_findings, suited
from lawful.rehearsal import rehearse

from .programs import PROGRAMS

NORMAL = dist.Normal(0.0, 1.0)


def twice(y):
    sample("x", NORMAL)
    sample("x", NORMAL)


def column(y):
    with plate("row", 3):
        sample("y", NORMAL, obs=y[:, None])


def negative(y):
    sample("y", dist.Gamma(2.0, 1.0), obs=y)


def flat(y):
    sample("y", dist.Normal(sample("x", NORMAL), y), obs=1.0)


def signed(y):
    sample("y", dist.Normal(0.0, sample("sd", NORMAL)), obs=y)


def probability(y):
    scan(lambda c, y: (c, sample("y", dist.Bernoulli(2 * sample("p", dist.Beta(1.0, 1.0))), obs=y)), 0.0, y)


def matrix(y):
    rho = sample("rho", dist.Uniform(1.0, 2.0))
    sample("y", dist.MultivariateNormal(jnp.zeros(2), jnp.array([[1.0, 0.0], [0.0, -1.0]]) * rho), obs=y)


def logarithm(y):
    factor("f", jnp.log(sample("x", NORMAL)))


def infinite(y):
    factor("f", jnp.exp(800.0 + sample("x", dist.HalfNormal(1.0))))


def impossible(y):
    x = sample("x", NORMAL)
    factor("f", jnp.where(x > 50, 0.0, -jnp.inf))


def idle(y):
    sample("idle", NORMAL)
    sample("y", dist.Normal(sample("x", NORMAL), 1.0), obs=y)


def bare(y):
    sample("y", dist.Normal(sample("x", dist.Normal(jnp.zeros(3), 1.0)).sum(), 1.0), obs=y)


GALLERY = [
    (twice, 0.0, "name-clash", "x"),
    (column, np.zeros(3), "observed-shape", "y"),
    (negative, -1.0, "outside-support", "y"),
    (negative, np.nan, "nan-data", "y"),
    (flat, 0.0, "invalid-parameter", "y"),
    (signed, 0.5, "invalid-parameter", "y"),
    (probability, np.array([0, 1]), "invalid-parameter", "y"),
    (matrix, np.zeros(2), "invalid-parameter", "y"),
    (logarithm, 0.0, "nonfinite-start", "f"),
    (infinite, 0.0, "nonfinite-start", "f"),
    (impossible, 0.0, "nonfinite-start", "f"),
    (idle, 0.0, "unused-latent", "idle"),
    (bare, 0.0, "missing-plate", "x"),
]


@pytest.mark.parametrize(("program", "y", "code", "site"), GALLERY, ids=lambda v: getattr(v, "__name__", ""))
def test_each_mistake_of_the_gallery_is_found_with_its_line(program, y, code, site):
    found = [f for f in check_program(program, y) if f.code == code]
    assert [".".join(f.site) for f in found] == [site]
    first = program.__code__.co_firstlineno
    assert found[0].source.file == __file__ and first < found[0].source.line < first + 6
    assert found[0].found and found[0].remedy and str(found[0]).startswith(f"{found[0].level} {code}: site '{site}' (")


def test_a_finding_of_the_rehearsal_says_parameter_count_and_parents():
    (finding,) = [f for f in check_program(signed, 0.5) if f.level == "error"]
    assert finding.found.startswith("the parameter 'scale' of Normal is not positive at ")
    assert "of 32 draws from the prior. It reads sd." in finding.found
    (finding,) = check_program(logarithm, 0.0)
    assert "its log density is NaN at " in finding.found and "It reads x." in finding.found


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["plates", "chain", "branches"])
def test_a_right_program_has_no_error(name):
    program, args = PROGRAMS[name]
    assert [finding for finding in check_program(program, *args) if finding.level == "error"] == []


def test_a_value_of_an_arm_that_does_not_run_is_no_finding():
    def guarded():
        x = sample("x", NORMAL)
        lawful.cond(x > 0, lambda: sample("y", dist.Normal(0.0, x)), lambda: 0.0)

    assert rehearse(lawful.trace(guarded), []) == ()


def test_what_cannot_be_traced_is_an_error():
    with pytest.raises(UnsupportedProgramError):
        check_program(lambda: sample("x", NORMAL) if sample("b", NORMAL) > 0 else 0.0)


def counts(y):
    k = sample("k", dist.Poisson(3.0))
    sample("y", dist.Normal(k, 1.0), obs=y)


def test_an_inference_that_cannot_run_says_which_site_it_cannot_move():
    (finding,) = plan_findings(counts, (1.0,), "random_walk")
    assert (finding.code, finding.level, finding.site) == ("discrete-no-plan", "error", ("k",))
    assert "random_walk has no move for it" in finding.found and "smc" in finding.remedy
    for method in ("importance", "smc", "mcmc"):
        assert plan_findings(counts, (1.0,), method) == ()
    with pytest.raises(lawful.LawfulError, match="algorithm 'nuts': expected one of importance, smc"):
        plan_findings(counts, (1.0,), "nuts")


def test_a_sequence_suits_particles_and_another_program_chains():
    assert suited(lawful.trace(*[PROGRAMS["chain"][0], *PROGRAMS["chain"][1]])) == "smc"
    assert suited(lawful.trace(counts, 1.0)) == "mcmc"
