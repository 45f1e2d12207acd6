"""A program whose sites are drawn from a proposal has the measure of the program, and wrong proposals are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError

import lawful
from lawful import cond, deterministic, factor, handlers, inference, plate, sample, scan, scope
from lawful.errors import LawfulError
from lawful.inference import propose, propose_each
from lawful.inference.check import compare, enumerate_measure, preserves
from tests.inference.programs import (
    Y,
    branch_in_the_body,
    chain,
    constant_per_particle,
    observe,
    plain,
    plate_in_the_body,
    weighed_before_and_after,
)

TOLERANCE = 1e-12


def coin(name, p):
    return sample(name, dist.Bernoulli(p))


def looks_ahead(z, y):
    """A step's proposal: the carry and the observation."""
    coin("z", jnp.where(y == 1, 0.8, 0.3) - 0.1 * z)


def both_at_the_top(y):
    theta = sample("theta", dist.Categorical(jnp.array([0.2, 0.2, 0.6])))
    return theta


def knows_the_parameter(z, y, *, theta):
    coin("z", 0.2 + 0.2 * theta + 0.1 * y)


def before(y):
    coin("theta", 0.7)


def after(y, *, theta):
    coin("late", 0.5 + 0.2 * theta)


def pair(total, y):
    with plate("pair", 2):
        coin("z", jnp.stack([0.6, 0.3 + 0.2 * y]))


def in_one_arm(z, y):
    coin("extra", 0.6)


CASES = {
    "a step": (plain, looks_ahead),
    "a site before the loop": (constant_per_particle, both_at_the_top),
    "a step that knows an earlier choice": (constant_per_particle, knows_the_parameter),
    "several programs": (constant_per_particle, [both_at_the_top, knows_the_parameter]),
    "before and after a loop": (weighed_before_and_after, [before, after, looks_ahead]),
    "a plate": (plate_in_the_body, pair),
    "one arm of a branch": (branch_in_the_body, in_one_arm),
    "a mapping": (constant_per_particle, {"theta": both_at_the_top, ("z",): knows_the_parameter}),
}


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("case", CASES)
def test_a_proposed_program_has_the_measure_of_the_program(case):
    program, proposal = CASES[case]
    proposed = enumerate_measure(propose(proposal)(program), Y)
    assert compare(proposed, enumerate_measure(program, Y)).error < TOLERANCE


@pytest.mark.tier0
@pytest.mark.parametrize("case", CASES)
def test_the_traced_program_has_the_measure_of_the_program(case):
    program, proposal = CASES[case]
    form = lawful.trace(propose(proposal)(program), Y)
    assert {site.address for site in form.sites()} == {site.address for site in lawful.trace(program, Y).sites()}
    assert compare(enumerate_measure(form, Y), enumerate_measure(program, Y)).error < TOLERANCE


def tilted(address, prior):
    """A law with other probabilities on the same values."""
    if isinstance(prior, dist.CategoricalProbs | dist.CategoricalLogits):
        size = prior.logits.shape[-1]
        return dist.Categorical(jnp.arange(1.0, size + 1) / (size * (size + 1) / 2))
    return dist.Bernoulli(0.3) if isinstance(prior, dist.BernoulliProbs | dist.BernoulliLogits) else None


def small(y):
    a = coin("a", 0.3)
    b = sample("b", dist.Categorical(jnp.array([0.5, 0.2, 0.3])))
    factor("f", -0.5 * a * b)
    return a + b


@pytest.mark.tier0
def test_a_form_is_proposed_for_like_a_program():
    assert preserves(propose_each(tilted), small, 1.0).passed
    assert preserves(propose(lambda y: coin("a", 0.5)), small, 1.0).passed


@pytest.mark.tier0
def test_a_program_that_is_called_twice_is_proposed_for_by_scope():
    def twice():
        for name in ("left", "right"):
            with scope(name):
                factor("f", 0.3 * coin("x", 0.4))

    def proposal():
        with scope("right"):
            coin("x", 0.7)

    proposed = enumerate_measure(propose(proposal)(twice))
    assert compare(proposed, enumerate_measure(twice)).error < TOLERANCE


def test_a_drawn_value_comes_from_the_proposal_and_its_log_weight_is_the_log_ratio():
    def model():
        return sample("x", dist.Normal(0.0, 1.0))

    proposed = propose(lambda: sample("x", dist.Normal(5.0, 0.1)))(model)
    record = handlers.trace(handlers.seed(proposed, jax.random.key(0)))()
    x = record.choices["x",]
    assert abs(x - 5) < 1
    np.testing.assert_allclose(record.log_density, dist.Normal(0.0, 1.0).log_prob(x), rtol=1e-12)
    record_of = lawful.trace(proposed)
    assert [node.address for node in record_of.nodes if hasattr(node, "role")] == [("x", "proposal")]


def test_a_proposal_sees_named_values_too():
    def model():
        level = deterministic("level", 0.2 + 0.5 * coin("a", 0.5))
        coin("b", level)

    def proposal(*, level):
        coin("b", 1 - level)

    assert compare(enumerate_measure(propose(proposal)(model)), enumerate_measure(model)).error < TOLERANCE


def test_a_proposal_in_a_loop_asks_for_arguments_of_the_program_by_name():
    def model(y, scales):
        def step(x, y):
            x = sample("x", dist.Normal(0.9 * x, scales["step"]))
            sample("y", dist.Normal(x, 1.0), obs=y)
            return x, x

        return scan(step, 0.0, y)[1]

    def ahead(x, y, *, scales):
        sample("x", dist.Normal(0.45 * x + 0.5 * y, scales["guess"]))

    y, scales = jnp.array([0.5, -1.0]), {"step": 1.0, "guess": 0.8}
    values = {"x": jnp.array([0.3, -0.2])}
    found, known = (lawful.trace(f, y, scales).log_density(values, y, scales) for f in (propose(ahead)(model), model))
    np.testing.assert_allclose(found, known, rtol=1e-13)


def test_an_eager_run_is_guided_too():
    exact = float(np.log(enumerate_measure(plain, Y).total()))
    plan = inference.importance(plain, particles=20, proposal=looks_ahead, mode="eager")
    assert abs(plan(jax.random.key(0), Y).log_evidence[0] - exact) < 0.5


# ---- what is refused


def two_coins(y):
    a = coin("a", 0.3)
    sample("seen", dist.Bernoulli(0.2 + 0.5 * a), obs=y)
    x = sample("x", dist.Normal(a, 1.0))
    return sample("u", dist.Uniform(0.0, 1.0)) + x


def draws(name, law):
    def proposal(y):
        sample(name, law)

    return proposal


def weighs(y):
    coin("a", 0.5)
    factor("more", 1.0)


def loops(y):
    scan(lambda carry, _: (carry, coin("a", 0.5)), 0, None, length=2)


REFUSED = {
    "a name that is no site": (draws("aa", dist.Bernoulli(0.5)), "draws 'aa', but no such site .*'a'"),
    "an observed site": (draws("seen", dist.Bernoulli(0.5)), "'seen' .* is observed"),
    "another kind of value": (draws("a", dist.Normal(0.0, 1.0)), "values of type int.., and the proposal Normal"),
    "another shape": (draws("x", dist.Normal(jnp.zeros(2), 1.0)), r"shape \(\), and the proposal Normal draws \(2,\)"),
    "a smaller support": (draws("x", dist.Gamma(1.0, 1.0)), r"Gamma cannot reach all values of Normal"),
    "a smaller interval": (draws("u", dist.Uniform(0.0, 0.5)), r"its support is \[0, 0.5\], that of the site \[0, 1\]"),
    "a point": (draws("x", dist.Delta(0.0)), "it is a point mass"),
    "probability zero": (draws("a", dist.Bernoulli(probs=0.0)), "gives probability zero to 1"),
    "a factor in it": (weighs, "a proposal program has a factor or an observation, 'more'"),
    "a loop in it": (loops, "inside a loop or a branch of its own"),
    "an earlier choice that is none": (lambda y, *, b: coin("a", 0.5), "could not be called.* 'b'"),
    "two for one site": ([draws("a", dist.Bernoulli(0.5)), draws("a", dist.Bernoulli(0.4))], "and by 'proposal'"),
    "a missed site": ({("a", "x"): draws("a", dist.Bernoulli(0.5))}, "does not draw 'x'"),
    "a site outside its key": ({"a": lambda y: (coin("a", 0.5), coin("b", 0.5))}, "draws 'b', which is not in its key"),
    "a mapping for no site": ({"aa": draws("aa", dist.Bernoulli(0.5))}, "is for 'aa', but no such site"),
    "an error of its own": (lambda y: coin("a", 1 / 0), "division by zero"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_proposal_is_refused_and_the_reason_is_told(case):
    proposal, message = REFUSED[case]
    with pytest.raises(LawfulError, match=message):
        lawful.trace(propose(proposal)(two_coins), 1)


def test_a_draw_that_the_program_does_not_use_is_refused():
    def proposal(y):
        coin("a", 0.5)
        coin("extra", 0.5)

    with pytest.raises(LawfulError, match="draws 'extra', which the program does not have at that place.*'a', 'seen'"):
        lawful.trace(propose(proposal)(two_coins), 1)


def test_a_proposal_that_serves_two_arms_is_refused():
    def model():
        b = coin("b", 0.5)
        return cond(b == 1, lambda: coin("x", 0.2), lambda: coin("w", 0.3))

    def proposal():
        coin("x", 0.5)
        coin("w", 0.5)

    with pytest.raises(LawfulError, match="'w' .* stands in another branch .* a proposal program of its own"):
        lawful.trace(propose(proposal)(model))
    apart = propose([lambda: coin("x", 0.5), lambda: coin("w", 0.5)])(model)
    assert compare(enumerate_measure(lawful.trace(apart)), enumerate_measure(model)).error < TOLERANCE


def test_a_loop_that_does_not_tell_its_step_asks_for_the_loop_of_the_language():
    def model(y):
        def step(z, y):
            z = chain(z)
            observe(z, y)
            return z, None

        return jax.lax.scan(step, 0, y)[0]

    with pytest.raises(LawfulError, match="lawful.scan"):
        lawful.trace(propose(looks_ahead)(model), Y)


def one_normal(y):
    x = sample("x", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(x, 1.0), obs=y)


def walk(y):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    return scan(step, 0.0, y)


def window(y):
    sample("x", dist.Uniform(y - 0.2, y + 0.2))


def window_of_a_step(x, y):
    sample("x", dist.Uniform(y - 0.2, y + 0.2))


ENTRIES = {
    "propose": lambda y: lawful.trace(propose(window)(one_normal), y),
    "a form": lambda y: propose(window)(lawful.trace(one_normal, y)),
    "importance": lambda y: inference.importance(one_normal, particles=20, proposal=window)(0, y),
    "eager": lambda y: inference.importance(one_normal, particles=20, proposal=window, mode="eager")(0, y),
    "smc": lambda y: inference.smc(walk, particles=20, proposal=window_of_a_step)(0, jnp.array([y, y])),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_window_is_no_proposal_for_what_has_no_bounds(entry):
    """It lost a part of the mass, log Z -1.56 in `importance`, and every result was ok."""
    with pytest.raises(LawfulError, match=r"'x' \(.*Uniform cannot reach.*its support is .*\[-inf, inf\].*Fix"):
        ENTRIES[entry](0.5)


def up_to(bound):
    """Propose for a uniform choice up to the scale, from one up to another bound."""

    def proposal(*, scale):
        sample("u", dist.Uniform(0.0, bound(scale)))

    return proposal


def below_a_scale():
    scale = sample("scale", dist.Gamma(2.0, 1.0))
    sample("u", dist.Uniform(0.0, scale))


@pytest.mark.rest_slow
@pytest.mark.parametrize("mode", ["staged", "eager"])
@pytest.mark.parametrize("bound", [lambda s: s * (1 + 1e-15), lambda s: jnp.maximum(s, 3.0)])
def test_a_bound_that_only_the_run_knows_is_accepted_where_the_run_finds_it_wide_enough(bound, mode):
    found = inference.importance(below_a_scale, particles=20, runs=2, proposal=up_to(bound), mode=mode)(0)
    assert np.isfinite(found.log_evidence).all()


@pytest.mark.rest_slow
@pytest.mark.parametrize(("mode", "message"), [("staged", "a weight is NaN.*the support of the proposal of 'u'"),
                                               ("eager", "Uniform cannot reach all values")])  # fmt: skip
@pytest.mark.parametrize("bound", [lambda s: 0.9 * s, lambda s: 3.0])
def test_and_where_it_is_too_narrow_the_run_says_so(bound, mode, message):
    with pytest.raises(LawfulError, match=message):
        inference.importance(below_a_scale, particles=40, runs=2, proposal=up_to(bound), mode=mode)(0)


def test_no_proposal_is_an_error():
    with pytest.raises(LawfulError, match="got none"):
        propose([])
    with pytest.raises((LawfulError, TypeCheckError), match="proposal"):  # types are checked first while tests run
        inference.propose([3])
