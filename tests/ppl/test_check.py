"""The linter with data: a gallery of wrong programs, each found by its code with its site and line; right ones pass."""

import inspect

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, sample
from lawful.errors import UnsupportedProgramError
from lawful.inference.algorithms.advice import plan_findings, suited
from lawful.inspection.lint.check import check_program
from lawful.inspection.lint.prior_draws import rehearse

from . import gallery
from .gallery import GALLERY
from .programs import PROGRAMS

NORMAL = dist.Normal(0.0, 1.0)
WARNINGS = {"missing-plate", "unused-latent", "unrolled-loop", "float32-hazard", "blocked-site", "unseeded"}


def checked(wrong):
    with jax.enable_x64(wrong.x64):
        planned = plan_findings(wrong.program, (wrong.y,), wrong.algorithm) if wrong.algorithm else ()
        return [*check_program(wrong.program, wrong.y), *planned]


def marked(program):
    """The number of the line of a program that is wrong."""
    lines, first = inspect.getsourcelines(program)
    (place,) = [k for k, line in enumerate(lines) if line.endswith("# here\n")]
    return first + place


@pytest.mark.rest_slow
@pytest.mark.parametrize("wrong", GALLERY, ids=lambda wrong: f"{wrong.code} {wrong.program.__name__}")
def test_each_mistake_of_the_gallery_is_found_with_its_line(wrong):
    finding, *others = [f for f in checked(wrong) if f.code == wrong.code]
    assert not others and ".".join(finding.site) == wrong.site
    assert (finding.source.file, finding.source.line) == (inspect.getfile(wrong.program), marked(wrong.program))
    place = f"site '{wrong.site}'" if wrong.site else "program"
    assert finding.found and finding.remedy
    assert finding.level == ("warning" if wrong.code in WARNINGS else "error")
    assert str(finding).startswith(f"{finding.level} {wrong.code}: {place} ({finding.source}): {finding.found} Fix: ")


def test_every_code_of_the_linter_has_a_program_in_the_gallery():
    assert len(GALLERY) >= 25
    assert {wrong.code for wrong in GALLERY} == WARNINGS | {
        "name-clash", "observed-shape", "discrete-no-plan", "unsupported-site", "invalid-parameter", "nonfinite-start",
        "outside-support", "nan-data", "unread-argument",
    }  # fmt: skip


def test_a_name_clash_shows_both_lines():
    (finding,) = check_program(gallery.twice, 0.0)
    second = marked(gallery.twice)
    assert f":{second - 1}" in finding.found and f":{second}" in finding.found


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", [gallery.signed, gallery.untaken, gallery.idle, gallery.negative])
def test_a_form_finds_with_its_data_what_the_program_finds(program):
    assert lawful.trace(program, 0.5).check(0.5) == check_program(program, 0.5)


def test_a_form_without_inputs_needs_no_data_to_be_checked_whole():
    form = lawful.trace(lambda: sample("y", dist.Normal(0.0, sample("sd", NORMAL)), obs=1.0))
    assert [finding.code for finding in form.check()] == ["invalid-parameter"]


def test_a_gradient_that_is_no_number_names_the_term_the_choice_and_a_value():
    (finding,) = check_program(gallery.untaken, 0.0)
    assert "the gradient of its log density with respect to 'x' is NaN at " in finding.found
    assert "as at x = -" in finding.found and "It reads x." in finding.found and "jnp.where" in finding.remedy


def test_a_gradient_of_an_arm_that_does_not_run_is_no_finding():
    def guarded():
        x = sample("x", NORMAL)
        lawful.cond(x > 0, lambda: factor("f", -jnp.sqrt(x)), lambda: None)

    assert rehearse(lawful.trace(guarded), []) == ()


def test_a_finding_of_the_rehearsal_says_parameter_count_and_parents():
    (finding,) = [f for f in check_program(gallery.signed, 0.5) if f.level == "error"]
    assert finding.found.startswith("the parameter 'scale' of Normal is not positive at ")
    assert "of 32 draws from the prior. It reads sd." in finding.found
    (finding,) = (f for f in check_program(gallery.logarithm, 0.0) if f.code != "unread-argument")
    assert "its log density is NaN at " in finding.found and "It reads x." in finding.found


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["branches", "plates", "chain"])
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


def test_an_inference_that_cannot_run_says_which_site_it_cannot_move():
    (finding,) = plan_findings(gallery.counts, (1.0,), "random_walk")
    assert (finding.code, finding.level, finding.site) == ("discrete-no-plan", "error", ("k",))
    assert "random_walk has no move for it" in finding.found and "smc" in finding.remedy
    for method in ("importance", "smc", "mcmc"):
        assert plan_findings(gallery.counts, (1.0,), method) == ()
    with pytest.raises(lawful.LawfulError, match="algorithm 'magic': expected one of .*smc"):
        plan_findings(gallery.counts, (1.0,), "magic")


def test_a_site_without_a_plan_names_the_ways_out():
    (finding,) = plan_findings(gallery.flipped, (1.0,), "nuts")
    assert all(way in finding.remedy for way in ("enumerate", "bp", "gibbs", "smc", "mcmc"))
    for method in ("enumerate", "bp", "gibbs", "mcmc", "smc"):
        assert plan_findings(gallery.flipped, (1.0,), method) == ()


def test_a_sequence_suits_particles_gradients_suit_what_is_continuous_and_single_moves_the_rest():
    assert suited(lawful.trace(*[PROGRAMS["chain"][0], *PROGRAMS["chain"][1]])) == "smc"
    assert suited(lawful.trace(gallery.counts, 1.0)) == "mcmc"
    assert suited(lawful.trace(gallery.smooth, 1.0)) == "nuts"


def test_a_sequence_with_an_unknown_parameter_suits_chains_since_particles_would_never_renew_it():
    def walk(y):
        sd = sample("sd", dist.HalfNormal(1.0))

        def step(x, y):
            x = sample("x", dist.Normal(x, sd))
            sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        lawful.scan(step, 0.0, y)

    assert suited(lawful.trace(walk, jnp.zeros(3))) == "nuts"


def test_parameters_that_a_mask_drops_are_not_asked_for():
    """As those of the padding of a table of rows of different lengths."""

    def padded(y, scales, there):
        x = sample("x", NORMAL)
        with lawful.plate("row", 3), lawful.mask(there):
            sample("y", dist.Normal(x, scales), obs=y)

    y, scales, there = jnp.zeros(3), jnp.array([1.0, 0.0, 2.0]), jnp.array([True, False, True])
    found = rehearse(lawful.trace(padded, y, scales, there), [y, scales, there])
    assert not [f for f in found if f.code == "invalid-parameter"]
    wrong = rehearse(lawful.trace(padded, y, -scales, there), [y, -scales, there])
    assert [f.site for f in wrong if f.code == "invalid-parameter"] == [("y",)]
