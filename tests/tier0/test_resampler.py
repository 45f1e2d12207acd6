"""The check of resampling schemes: every scheme of the library passes, and every planted fault is found."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from lawful.errors import LawfulError
from lawful.inference.check import BATTERY, resampler
from lawful.inference.laws.resampling_schemes import SCHEMES

pytestmark = pytest.mark.tier0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_every_scheme_keeps_its_law_for_equal_and_other_numbers_of_offspring(name):
    report = resampler(name, sizes=(1, 2, 3, 4), offspring=(3,)).raise_if_failed()
    assert report.measure_error < 1e-12
    assert report.instances > 3 * len(BATTERY)


def broken(name, push=lambda ancestors, n: ancestors, enumerate=None):
    """A scheme whose ancestors are changed in both of its functions, or in its draws only."""
    sound = SCHEMES[name]

    def listed(weights, m):
        ancestors, log_masses = sound.enumerate(weights, m)
        return push(ancestors, len(weights)) if enumerate is None else ancestors, log_masses

    return replace(sound, push=lambda u, w, m: push(sound.push(u, w, m), len(w)), enumerate=listed)


def shifted(ancestors, n):
    """The neighbour of each ancestor."""
    return (ancestors + 1) % n


@pytest.mark.parametrize("name", ["systematic", "multinomial"])
def test_a_scheme_that_is_off_by_one_fails(name):
    report = resampler(broken(name, shifted), sizes=(3,), offspring=(3,))
    assert report.status == "failed"
    assert report.measure_error > 0.1
    assert "weight zero" in report.remarks


def test_a_draw_that_differs_from_a_sound_enumeration_fails():
    report = resampler(broken("systematic", shifted, enumerate="sound"), sizes=(3,), offspring=(3,))
    assert report.status == "failed"
    assert "breakpoints" in report.worst[0] or "probability of counts" in report.worst[0]


def test_a_fixed_offset_is_found_at_the_breakpoints():
    sound = SCHEMES["systematic"]
    fixed = replace(sound, push=lambda u, w, m: sound.push(jnp.full_like(u, 1 << 63), w, m))
    report = resampler(fixed, sizes=(3,), offspring=(3,))
    assert report.status == "failed"


def test_a_scheme_is_held_to_the_bounds_that_it_claims():
    """Multinomial counts have the right means, and are not within one of them."""
    sound = SCHEMES["multinomial"]
    one_point = replace(SCHEMES["systematic"], enumerate=sound.enumerate)
    report = resampler(one_point, weights={"thirds": [1.0, 1.0, 1.0]}, offspring=(3,), scheme="systematic")
    assert report.status == "failed"
    assert "not within 1" in report.remarks


def test_a_scheme_of_another_name_is_refused_until_it_says_what_it_claims_to_be():
    renamed = replace(SCHEMES["systematic"], name="mine")
    report = resampler(renamed, sizes=(2,), offspring=(2,))
    assert report.status == "refused"
    assert "systematic" in report.remarks
    assert resampler(renamed, sizes=(2,), offspring=(2,), scheme="systematic").passed


def test_a_dead_population_that_is_touched_fails():
    sound = SCHEMES["systematic"]

    def touched(u, weights, m):
        return jnp.where(jnp.sum(weights) > 0, sound.push(u, weights, m), 0)

    report = resampler(replace(sound, push=touched), sizes=(2,), offspring=(2,))
    assert report.status == "failed"
    assert "without weight" in report.remarks


def test_no_weights_of_the_wanted_size_is_an_error():
    with pytest.raises(LawfulError, match="sizes"):
        resampler("systematic", sizes=(7,))
