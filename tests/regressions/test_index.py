"""The index of regressions: each known failure has a test that `make test` runs, here or in the file of its subject.

Law: no entry can be renamed, go, or become slow as a whole without this file saying so.
"""

import importlib

import pytest

HERE = "tests/regressions"
INDEX: dict[str, tuple[str, ...]] = {
    "15.1 an identity change moves no weight": (
        f"{HERE}/test_r01_identity_change.py::test_an_identity_change_leaves_the_evidence_of_200_000_particles",
        f"{HERE}/test_r01_identity_change.py::test_a_filter_in_which_nothing_changes_adds_nothing_to_its_evidence",
        f"{HERE}/test_r01_identity_change.py::test_a_move_to_the_same_value_leaves_the_log_density",
    ),
    "15.1 a change of s from 1 to 2 is unbiased": (
        f"{HERE}/test_r01_identity_change.py::test_a_change_of_the_scale_is_properly_weighted",
        f"{HERE}/test_r01_identity_change.py::test_a_filter_that_changes_the_scale_is_unbiased",
    ),
    "15.2 weights of an update over a branch, there and back, one address or two": (
        f"{HERE}/test_r02_branch_flip.py::test_the_scores_of_both_traces_differ_by_the_weight",
        f"{HERE}/test_r02_branch_flip.py::test_a_move_over_a_branch_weighs_the_difference_of_the_scores",
        "tests/inference/kernels/test_incremental.py::"
        "test_the_change_that_a_move_carries_is_the_difference_of_the_scores",
    ),
    "15.2 tier 0 on a finite copy": (
        f"{HERE}/test_r02_branch_flip.py::test_a_finite_copy_keeps_its_posterior_exactly",
        f"{HERE}/test_r02_branch_flip.py::test_moves_in_a_population_of_a_finite_copy_keep_its_measure_exactly",
    ),
    "15.2 the posterior of the selector": (
        f"{HERE}/test_r02_branch_flip.py::test_the_posterior_of_the_selector_is_the_exact_one",
    ),
    "15.3 nested plates of (3, 4) give 12 draws": (
        f"{HERE}/test_r03_one_draw_per_lane.py::test_nested_plates_and_maps_of_3_by_4_give_12_distinct_draws",
        f"{HERE}/test_r03_one_draw_per_lane.py::test_an_eager_run_of_nested_plates_gives_12_distinct_draws",
        f"{HERE}/test_r03_one_draw_per_lane.py::test_particles_and_chains_share_no_draw_either",
    ),
    "15.3 lanes are independent (D5)": (
        "tests/differential/test_continuous.py::"
        "test_d5_elements_of_a_plate_and_lanes_of_a_map_never_share_their_randomness",
        "tests/faults/test_f31_vmap_over_a_site.py::test_f31_lanes_are_independent_also_nested",
    ),
    "15.4 (a) the tail of a million rare items": (
        f"{HERE}/test_r04_rare_items.py::test_a_tail_of_a_million_rare_items_has_its_mass",
        f"{HERE}/test_r04_rare_items.py::test_a_tail_that_lacks_two_fifths_of_its_mass_would_be_found",
    ),
    "15.4 (b) the implied probability of every item": (
        f"{HERE}/test_r04_rare_items.py::test_the_implied_probability_of_every_item_is_right",
    ),
    "15.4 (c) no module calls the default sampler": (
        f"{HERE}/test_r04_rare_items.py::test_no_module_uses_the_biased_sampler",
    ),
    "15.5 one NaN weight, all of them, or no weight, in every resampler": (
        "tests/inference/numerics/test_resampling_faults.py::"
        "test_weights_without_a_finite_positive_sum_leave_the_population_untouched",
        "tests/inference/numerics/test_resampling_faults.py::test_a_faulty_lane_leaves_the_others_bit_identical",
        "tests/faults/test_f02_nan_weights.py::test_f02_an_error_names_the_step_and_the_site",
        "tests/faults/test_f03_infinite_weights.py::test_f03_the_error_names_site_and_step_under_every_policy",
        "tests/faults/test_f04_dead_population.py::test_f04_a_dead_population_is_resampled_by_the_identity",
    ),
    "15.6 equal weights give the identity, up to ten million": (
        f"{HERE}/test_r06_ten_million_particles.py::test_equal_log_weights_give_each_particle_one_offspring",
        "tests/inference/numerics/test_resampling_float32.py::test_equal_weights_give_the_identity",
    ),
    "15.6 systematic counts are within one": (
        f"{HERE}/test_r06_ten_million_particles.py::test_systematic_counts_of_random_weights_are_within_one",
        "tests/inference/numerics/test_resampling_float32.py::"
        "test_systematic_counts_are_within_one_of_the_expected_counts",
    ),
    "15.6 the mean count of a group": (
        f"{HERE}/test_r06_ten_million_particles.py::test_the_mean_count_of_a_group_is_its_share",
        "tests/inference/numerics/test_resampling_float32.py::test_group_counts_are_unbiased_in_two_words",
    ),
    "15.7 a state that flips at exponential times": (
        f"{HERE}/test_r07_known_failures.py::"
        "test_the_evidence_of_a_program_whose_particles_die_counts_the_dead",
        f"{HERE}/test_r07_known_failures.py::test_a_finite_program_whose_particles_die_keeps_its_measure_exactly",
    ),
    "15.7 adaptive resampling with the incoming weights": (
        f"{HERE}/test_r07_known_failures.py::"
        "test_an_adaptive_filter_of_three_hidden_states_has_its_exact_evidence",
    ),
    "15.7 the solver of adaptive tempering": (
        "tests/inference/test_ladders.py::test_an_interior_temperature_leaves_the_wanted_effective_size",
        "tests/inference/test_ladders.py::test_a_ladder_ends_at_exactly_one",
    ),
    "15.7 temperature 0 with a zero likelihood": (
        "tests/faults/test_f05_zero_power_of_zero.py::test_f05_the_product_itself",
        "tests/faults/test_f05_zero_power_of_zero.py::test_f05_at_temperature_zero_the_target_is_the_prior",
        "tests/faults/test_f05_zero_power_of_zero.py::test_f05_a_run_that_starts_there_gives_the_truncated_posterior",
    ),
    "15.7 a chain that is started at zero density": (
        "tests/faults/test_f06_no_finite_start.py::"
        "test_f06_the_sites_without_density_are_named_with_the_values_at_them",
        "tests/faults/test_f35_chain_that_cannot_move.py::test_f35_a_start_without_density_is_row_6",
        "tests/faults/test_f35_chain_that_cannot_move.py::test_f35_a_chain_that_never_moves_is_flagged",
    ),
    "15.7 the sum of two draws": (
        "tests/faults/test_f15_key_reuse.py::test_f15_the_sum_of_two_draws_has_variance_two",
    ),
    "15.7 an observation of shape (3, 1)": (
        "tests/faults/test_f09_observed_shape.py::"
        "test_f09_a_column_for_a_vector_is_refused_and_the_message_says_what_it_would_do",
    ),
    "15.7 different sites per branch; sites in jit, while and checkpoint": (
        f"{HERE}/test_r07_known_failures.py::test_a_site_in_a_construct_is_simulated",
        f"{HERE}/test_r07_known_failures.py::test_a_site_in_a_construct_is_scored",
        f"{HERE}/test_r07_known_failures.py::test_a_site_in_a_construct_is_moved",
        f"{HERE}/test_r07_known_failures.py::test_a_site_in_a_while_loop_is_simulated_and_else_a_named_error",
        "tests/faults/test_f33_sites_in_jax_constructs.py::"
        "test_f33_the_density_is_that_of_the_program_without_the_construct",
    ),
}  # fmt: skip


def cases_of(file):
    """The tests of a file that `make test` runs at least once."""
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    found = {name: value for name, value in vars(module).items() if name.startswith("test_") and callable(value)}
    shared = marks(module)
    return {f"{file}::{name}" for name, test in found.items() if all(map(leaves_some, [*shared, *marks(test)]))}


def marks(owner):
    found = getattr(owner, "pytestmark", [])
    return found if isinstance(found, list) else [found]


def leaves_some(mark):
    """Whether some case of a test is left that is not slow."""
    if mark.name != "parametrize":
        return mark.name != "slow"
    return any("slow" not in [mark.name for mark in getattr(case, "marks", ())] for case in mark.args[1])


@pytest.mark.parametrize("case", INDEX)
def test_every_known_failure_has_a_test_that_is_run(case):
    for name in INDEX[case]:
        assert name in cases_of(name.split("::")[0])


def test_every_test_of_this_folder_belongs_to_a_known_failure(root):
    listed = {name for names in INDEX.values() for name in names}
    here = {name for file in (root / HERE).glob("test_r*.py") for name in cases_of(f"{HERE}/{file.name}")}
    assert here and here <= listed, sorted(here - listed)


def test_a_test_that_is_always_slow_does_not_count():
    slow, quick = pytest.mark.slow.mark, pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.slow)]).mark
    assert not leaves_some(slow) and leaves_some(quick)
    assert not leaves_some(pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.slow)]).mark)
