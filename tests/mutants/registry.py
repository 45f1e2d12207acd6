"""Registry: every planted fault, what must find it, and whether it is a fault at all.

A fault is found by a row of the law, by a small check, or by the test that says so itself: `@pytest.mark.kills("40")`.

Law: a mutant counts as killed when its patched code ran and its check did not pass; an equivalent mutant and the clean
code must pass.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lawful.inference.check import Report
from lawful.inference.check.statistics.claims import SUITE
from tests.mutants import (
    conditional,
    gradients,
    growth,
    kernels,
    maps,
    messages,
    orders,
    populations,
    processes,
    programs,
    proportions,
    proposals,
    randomness,
    rewrites,
    scans,
    selections,
    small_checks,
)
from tests.mutants.checks import Reported, RowCheck, Tested, tests_that_kill


def _rows(name: str, programs: int = 12) -> RowCheck:
    return RowCheck(name, programs)


MH, NESTED = _rows("mh single site"), _rows("mh single site, nested branches")
IMPORTANCE, MULTINOMIAL = _rows("importance: collapse . push_evidence . spawn"), _rows("smc multinomial")
SYSTEMATIC, ADAPTIVE = _rows("smc systematic"), _rows("smc systematic adaptive, N = 2")
ADAPTIVE_3, ENUMERATE = _rows("smc systematic adaptive, N = 3", 24), _rows("enumerate", 40)
GIBBS, BAGS = _rows("gibbs"), _rows("bag gibbs")
AIMED, BACKWARD = _rows("particle gibbs, ancestors sampled"), _rows("particle gibbs, backward")
PSEUDO_MARGINAL = _rows("pseudo-marginal")
RESAMPLE_MOVE = _rows("resample-move: reflect at every step of a loop")
WALK = Reported("random walk from exact draws", "1", small_checks.walk_keeps_exact_draws)
FLOW = Reported("integrator on two parts of a whole", "0b", small_checks.leapfrogs_lead_back)
HAMILTONIAN = Reported("hmc from exact draws", "1", small_checks.hamiltonian_moves_keep_exact_draws)
ORBITS = Reported("points of finite orbits", "0", small_checks.points_of_orbits_have_their_weights)
BOUNDS = Reported("Jacobian of dependent bounds", "0b", small_checks.jacobian_of_dependent_bounds)
ESS = Reported("ESS is its definition", "0b", small_checks.ess_is_its_definition)
LADDER = Reported("residual of the next temperature", "0b", small_checks.ladder_solves_its_equation)
MILLION = Reported("ten million equal weights", "0b", small_checks.equal_weights_give_the_identity)
LANES = Reported("lanes are independent", "0b", small_checks.lanes_are_independent)
TAIL = Reported("rare items of a categorical site", "2", small_checks.rare_items_get_their_share)
CHAINS = Reported("chains of a coin", "3", small_checks.chains_have_the_posterior)
DIFFER = Reported("no two chains are alike", "0b", small_checks.chains_are_independent)
EDITS = Reported("1,000 edits against score differences", "0b", small_checks.edits_are_score_differences)


@dataclass(frozen=True)
class Mutant:
    """A planted fault.

    Attributes:
        id: its number in the list of the validation document.
        description: the fault in words.
        patch: makes the context in which the fault is there; entering gives a counter of its calls.
        own: the row or the small check that must find it; none where a test is marked with it.
        equivalent: why no check of expectations can see it; empty for a fault.
    """

    id: str
    description: str
    patch: Callable[[], Any]
    own: RowCheck | Reported | None = None
    equivalent: str = ""

    @property
    def check(self) -> RowCheck | Reported | Tested:
        """What must find it."""
        return self.own or tests_that_kill()[self.id]


MUTANTS = (
    Mutant("1", "Jacobian missing at a bounded site", maps.jacobian_missing, WALK),
    Mutant("2", "Jacobian of the inverse map", maps.jacobian_inverted, WALK),
    Mutant("3", "dependent bound without its factor", maps.dependent_bound_forgotten, BOUNDS),
    Mutant("4", "proposal ratio forgotten", kernels.proposal_forgotten, MH),
    Mutant("5", "proposal ratio inverted", kernels.proposal_inverted, MH),
    Mutant("6", "acceptance capped before the proposal ratio", kernels.capped_too_early, MH),
    Mutant("7", "always accept", kernels.always_accept, MH),
    Mutant("8", "wrong temperature, 1.02", kernels.tempered, MH),
    Mutant("9", "slack 0.05 in the acceptance", kernels.slack, MH),
    Mutant("10", "rejected states dropped from the chain", programs.rejected_dropped, CHAINS),
    Mutant("11", "one key for proposal and acceptance", randomness.one_key, WALK),
    Mutant("12", "same random numbers in every chain", randomness.one_draw_for_all_chains, DIFFER),
    Mutant("13", "Gibbs with stale conditionals", scans.stale, GIBBS),
    Mutant("13b", "Gibbs draws parts at once that read each other", scans.all_at_once, GIBBS),
    Mutant("14", "Gibbs draws the marginal instead of the conditional", scans.marginal, GIBBS),
    Mutant("15", "order of the scan depends on the state", scans.order_by_state, GIBBS),
    Mutant("16", "systematic resampling with a fixed offset", populations.fixed_offset, SYSTEMATIC),
    Mutant("17", "ancestor index off by one", populations.off_by_one, SYSTEMATIC),
    Mutant("18", "residual remainder drawn uniformly", populations.uniform_remainder, _rows("smc residual")),
    Mutant("19", "resampling by arg max", populations.arg_max, MULTINOMIAL),
    Mutant("20", "resampling with uniform weights", populations.uniform_weights, MULTINOMIAL),
    Mutant("21", "ancestors computed, not applied", populations.not_applied, SYSTEMATIC),
    Mutant("22", "weights not reset after systematic resampling", populations.kept_weights, SYSTEMATIC),
    Mutant(
        "22b", "old weights kept in place after multinomial resampling", populations.kept_weights, MULTINOMIAL,
        equivalent="the slots of multinomial resampling are exchangeable and independent of the old weights of others",
    ),
    Mutant("22c", "weights permuted with the ancestors and kept", populations.permuted_weights, MULTINOMIAL),
    Mutant("23", "weights reset although not resampled", populations.reset_anyway, ADAPTIVE_3),
    Mutant("24", "evidence increment ignores incoming weights", populations.incoming_ignored, ADAPTIVE),
    Mutant("25", "evidence not divided by N at each step", populations.not_divided, SYSTEMATIC),
    Mutant("25b", "no 1/N when weights are reset", populations.reset_to_n, _rows("resample systematic")),
    Mutant("25c", "no 1/N at the end", populations.not_divided, IMPORTANCE),
    Mutant("26", "largest instead of mean weight", populations.largest_weight, SYSTEMATIC),
    Mutant("27", "zero weights left out of the mean", populations.zeros_left_out, SYSTEMATIC),
    Mutant("28", "final weights ignored", populations.any_particle, IMPORTANCE),
    Mutant("29", "observation of the step before", populations.step_before, SYSTEMATIC),
    Mutant("29b", "weight computed from the state before the move", populations.old_state, SYSTEMATIC),
    Mutant("30", "next temperature solved in the wrong direction", populations.wrong_direction, LADDER),
    Mutant("31", "effective sample size by the largest share", populations.wrong_size, ESS),
    Mutant("32", "reference of conditional SMC not kept", conditional.reference_lost, _rows("particle gibbs")),
    Mutant("33", "ancestor sampling without the transition", conditional.ancestors_by_weight, AIMED),
    Mutant("34", "backward simulation by filter weights", conditional.backward_by_weight, BACKWARD),
    Mutant("35", "adaptation goes on during the draws", gradients.tuning_goes_on),
    Mutant("36", "leapfrog without its last half step", gradients.half_step_missing, FLOW),
    Mutant("36b", "momentum not negated at the end of the flow", gradients.momentum_not_negated, FLOW),
    Mutant("36c", "momentum not refreshed", gradients.momentum_not_refreshed, HAMILTONIAN),
    Mutant("37", "biased-progressive choice of the point inverted", gradients.progressive_choice_wrong, ORBITS),
    Mutant("38", "weights of old and new message do not sum to one", messages.damping_weights_too_large),
    Mutant("39", "message includes the receiver's own", messages.receiver_included),
    Mutant("39b", "exclusion counted as a floor", messages.floor_for_zero),
    Mutant("39c", "counting number applied twice", messages.counting_twice),
    Mutant("39d", "evidence ignored on some variables", messages.evidence_of_one_name),
    Mutant("39e", "axes of a table in a file in the wrong order", messages.first_variable_fastest),
    Mutant("39f", "a spanning tree of factors as a Gibbs block", messages.tree_of_factors_as_a_block),
    Mutant("39g", "warm start inside MH", messages.warm_start_inside_a_move),
    Mutant("39h", "floor of a proposal not in its density", messages.floor_left_out_of_the_density),
    Mutant("39i", "adjoint of counting numbers left out", messages.adjoint_of_fixed_counting),
    Mutant("39j", "own message heard in turns", messages.own_message_heard_in_turns),
    Mutant("39k", "own message heard in cliques", messages.own_message_heard_in_cliques),
    Mutant("39l", "a bound on tables counts too many states", messages.contracted_with_the_larger),
    Mutant("40", "count off by one", messages.count_off_by_one),
    Mutant("40b", "tilt not undone", messages.tilt_not_undone),
    Mutant("40c", "a member's own message in what its count hears", messages.member_hears_itself),
    Mutant("40d", "label of one member leaks into the count", proportions.label_leaks),
    Mutant("40e", "proportion of the bag as the target of its members", proportions.proportion_as_target),
    Mutant("40f", "own message kept in the posterior of EM", proportions.own_message_kept),
    Mutant("40g", "labels of validation rows shown", proportions.validation_labels_shown),
    Mutant("40h", "labels of rows in the classifier's fit", proportions.labels_of_rows_in_the_fit),
    Mutant("40i", "counts of held-out bags shown to the fits", proportions.held_out_counts_shown),
    Mutant("40j", "a bag's own count in its fold", proportions.own_count_in_its_fold),
    Mutant("40k", "own bag kept in scores of the count process", proportions.own_bag_kept_in_the_scores),
    Mutant("40l", "own bag kept in scores of the bag process", proportions.own_sum_kept_in_the_scores),
    Mutant("40m", "prior left out of the slope", proportions.prior_left_out_of_the_slope),
    Mutant("40n", "neighbours redrawn at once", proportions.neighbours_redrawn_at_once, BAGS),
    Mutant("40o", "half of what is known of a count", proportions.half_of_what_is_known_of_a_count, BAGS),
    Mutant("40p", "gain of an exchange with the wrong sign", proportions.exchanges_that_lose),
    Mutant("40q", "bound by the worst labels of bags", proportions.worst_labels_in_the_bound),
    Mutant("40r", "radius too small", proportions.radius_too_small),
    Mutant("40s", "base rate of the other class in the agreement", proportions.base_rate_of_the_other_class),
    Mutant("40t", "calibrated by counts that the fit has read", proportions.calibrated_on_seen_scores),
    Mutant("40u", "residuals of counts that the fit has read", proportions.residuals_of_the_fit),
    Mutant("40v", "bags that share rows in different folds", proportions.bags_that_share_rows_parted),
    Mutant("41", "enumeration forgets a branch", programs.branch_forgotten, ENUMERATE),
    Mutant("41b", "scale of a choice applied twice", programs.scaled_twice),
    Mutant("41c", "first state of a site where another arm draws it", messages.first_state_in_other_arms),
    Mutant("41d", "arm in an arm without the outer one, in sums", programs.arm_of_an_arm_alone),
    Mutant("41e", "arm in an arm without the outer one", programs.arm_of_an_arm_alone_in_graphs),
    Mutant("41f", "choice of an inner arm told as made", programs.choice_of_an_inner_arm_told),
    Mutant("42", "gate of experts not normalised", growth.gate_not_normalised),
    Mutant("42b", "covariates of the experts in the gate", growth.expert_covariates_in_the_gate),
    Mutant("42c", "covariates of the gate in another order", growth.gate_covariates_in_another_order),
    Mutant("42d", "determinant of an integral over normals forgotten", growth.determinant_forgotten),
    Mutant("42e", "normals of a step without what comes after it", growth.later_steps_forgotten),
    Mutant("42f", "determinant of an integral over a loop forgotten", growth.chain_determinant_forgotten),
    Mutant("42g", "covariances along steps not kept symmetric", growth.covariance_not_kept_symmetric),
    Mutant("42h", "determinant of a step forgotten where it is given those before", growth.volume_of_a_step_forgotten),
    Mutant("42i", "data before a loop counted in its first step", growth.data_before_a_loop_in_its_first_step),
    Mutant("42j", "scores of a cluster not summed", growth.clusters_not_summed),
    Mutant("43", "likelihood dropped", kernels.likelihood_dropped, MH),
    Mutant("44", "weights added up in single precision", populations.single_precision_sums, MILLION),
    Mutant("45", "children of the redrawn site not scored again", kernels.children_forgotten, MH),
    Mutant("46", "trans-dimensional move without n / n'", kernels.counts_forgotten, NESTED),
    Mutant("47", "n / n' counts parts that do not run", kernels.inactive_counted, NESTED),
    Mutant("48", "update does not subtract the old density", maps.old_density_kept, EDITS),
    Mutant("49", "update over a branch compares with the arm that did not run", maps.inactive_arm, NESTED),
    Mutant("50", "one draw for all lanes of a mapped site", randomness.one_draw_for_all_lanes, LANES),
    Mutant("51", "default categorical sampler in single precision", randomness.gumbel, TAIL),
    Mutant("52", "kernel that never moves", kernels.never_accept, MH),
    Mutant("53", "pseudo-marginal estimate of the state made anew", conditional.estimated_anew, PSEUDO_MARGINAL),
    Mutant("54", "moves between steps target the next measure", populations.next_measure, RESAMPLE_MOVE),
    Mutant("55", "overflow of a bounded loop kept", programs.overflow_kept),
    Mutant("56", "one uniform for all strata", randomness.one_uniform_for_all_strata),
    Mutant("57", "operations on other operands merged", rewrites.operands_ignored, _rows("simplify . double")),
    Mutant("58", "densities that cancel not looked at", rewrites.witnesses_ignored),
    Mutant("59", "proposal weight forgotten", proposals.weight_forgotten, _rows("propose")),
    Mutant("59b", "proposal weight forgotten in a filter", proposals.weight_forgotten, _rows("guided smc")),
    Mutant("59c", "elements of a mixture in one order alone", proposals.one_order_alone, _rows("start from a mixture")),
    Mutant("59e", "weight of a guide without its own density", proposals.guide_unweighed, _rows("start from a guide")),
    Mutant("59f", "draws of a guide held still in its gradient", proposals.draws_held_still),
    Mutant("59g", "a score's own draw in its baseline", proposals.own_draw_in_the_baseline),
    Mutant("59h", "masses of finite sites held still in a gradient", proposals.masses_held_still),
    Mutant("59i", "Jacobian left out of a guide that is a program", proposals.program_without_jacobian),
    Mutant("59j", "elements of a batch counted once", proposals.batch_counted_once),
    Mutant("59k", "scale of heavier tails left out of their density", proposals.scale_of_tails_left_out),
    Mutant("59l", "cells of a grid with all of the mass", proposals.cells_with_all_the_mass),
    Mutant("59m", "modes that a guide does not reach unseen", proposals.modes_unseen),
    Mutant("59n", "scale of a site that is partly centred by its share", maps.scale_by_the_share),
    Mutant("59o", "Jacobian left out where shares are learned", maps.shares_without_jacobian),
    Mutant("59p", "what Python reads without its probability", programs.cases_without_probability),
    Mutant("59q", "chains from the draws of a guide that stay there", proposals.chains_that_stay),
    Mutant(
        "59d",
        "another element scored on the way back of a redraw",
        proposals.another_element_scored,
        _rows("redraw of one element by a program"),
    ),
    Mutant("60", "what a program reads is read once", programs.read_once),
    Mutant("60b", "integers leave the range of their type", programs.integers_unbounded),
    Mutant("60c", "several objects kept divided by P(keep) once", selections.divided_once),
    Mutant("60d", "orders among objects kept and rejected forgotten", selections.orders_forgotten),
    Mutant("60e", "objects expected, kept or not, in the law of those kept", selections.all_expected),
    Mutant("60f", "a density in place of a ratio of densities", orders.density_alone),
    Mutant("60g", "choices of arms that did not run are scored", orders.arms_unchecked),
    Mutant("60h", "the mass of a partial state is not taken back", orders.guesses_kept),
    Mutant("60i", "sites of other groups count as drawn", orders.all_drawn),
    Mutant("60k", "Matern's kernel differentiated by rule at distance 0", processes.kink_by_rule),
    Mutant("60l", "an operator on one argument alone in lags", processes.operator_on_one_argument),
    Mutant("61", "data outside of a plate forgotten", rewrites.outside_forgotten, _rows("log marginals of elements")),
    Mutant("66", "draws from no law weigh nothing", programs.draws_unchecked),
    Mutant("66b", "values of what is no law are scored", programs.scores_unchecked),
    Mutant("67", "Jacobian of coordinates in what is maximised", maps.jacobian_in_the_maximum),
    Mutant("67b", "shares of states in a step of EM not those of the point before", growth.shares_at_the_new_point),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant; `id` is "clean" for the library as it is."""

    id: str
    check: str
    tier: str
    report: Report
    reached: int
    seconds: float
    equivalent: bool = False
    seeds: int = 1
    alarms: int = 0

    @property
    def verdict(self) -> str:
        """Killed, survived or not reached; for the clean code passed or alarm."""
        if self.id == "clean":
            return "passed" if not self.alarms else "alarm" if self.seeds == 1 else f"{self.alarms} alarms"
        if not self.reached:
            return "not reached"
        if self.equivalent and self.report.passed:
            return "equivalent"
        return "survived" if self.report.status in ("passed", "inconclusive") else "killed"

    @property
    def error(self) -> float:
        """Largest error of the measure, or of pi K."""
        return max(self.report.measure_error or 0.0, self.report.tv or 0.0)

    def record(self) -> dict[str, Any]:
        """The outcome as JSON."""
        report = self.report
        shown = {"error": self.error, "evidence_ratio": report.evidence_ratio, "paths": report.paths}
        shown = {name: x if x is None or math.isfinite(x) else str(x) for name, x in shown.items()}
        shown |= {"p_value": report.p_value, "n_used": report.n_used, "seeds": self.seeds, "alarms": self.alarms}
        return {
            "id": self.id, "check": self.check, "tier": self.tier, "verdict": self.verdict, "reached": self.reached,
            "instances": report.instances, "seconds": round(self.seconds, 2), **shown,
        }  # fmt: skip

    def __str__(self) -> str:
        """One line of the table."""
        ratio = "" if self.report.evidence_ratio is None else f"Z x {self.report.evidence_ratio:.4g}"
        shown = f"p {self.report.p_value:.0e}" if self.report.p_value is not None else f"{self.error:.1e}"
        head = f"{self.id:<6} {self.check:<52} {self.tier:<3}"
        return f"{head} {shown:>9}  {ratio:<12} {self.seconds:>6.1f}  {self.verdict}"


def run(mutant: Mutant) -> Outcome:
    """Plant a fault and run its check."""
    start, check = time.perf_counter(), mutant.check
    tier = check.tier  # imports a test, which would keep the fault for good under the names that it imports
    with mutant.patch() as reached:
        report = check.run()
    seconds = time.perf_counter() - start
    return Outcome(mutant.id, check.name, tier, report, reached.count, seconds, bool(mutant.equivalent))


SEEDS = 200
# The checks that can raise a false alarm: each takes a number that is mixed into its key.
STATISTICAL = (
    small_checks.walk_keeps_exact_draws,
    small_checks.hamiltonian_moves_keep_exact_draws,
    small_checks.choices_and_data_keep_their_law,
    small_checks.evidence_of_a_filter_is_unbiased,
    small_checks.exact_draws_are_calibrated,
    small_checks.rare_items_get_their_share,
    small_checks.chains_have_the_posterior,
)


def clean_checks() -> list[RowCheck | Reported | Tested]:
    """The checks that some mutant is found by, each once."""
    return list(dict.fromkeys(mutant.check for mutant in MUTANTS))


def run_clean(check: RowCheck | Reported | Tested) -> Outcome:
    """Run a check on the library as it is."""
    start = time.perf_counter()
    report = check.run()
    seconds = time.perf_counter() - start
    return Outcome("clean", check.name, check.tier, report, 1, seconds, alarms=not report.passed)


def run_seeds(check: Callable[[int], Report]) -> Outcome:
    """Run a statistical check on the library as it is, with fresh seeds; the report is that of the least p-value.

    They look at the rate that a suite claims for the check once, so they are no claims of a suite.
    """
    start = time.perf_counter()
    apart = SUITE.set(None)
    try:
        reports = [check(seed) for seed in range(SEEDS)]
    finally:
        SUITE.reset(apart)
    least = min(reports, key=lambda report: report.p_value)
    alarms, seconds = sum(not report.passed for report in reports), time.perf_counter() - start
    name = f"{check.__name__.replace('_', ' ')}, {SEEDS} seeds"
    tier = str(check.__doc__).split()[1].rstrip(":")
    return Outcome("clean", name, tier, least, 1, seconds, seeds=SEEDS, alarms=alarms)
