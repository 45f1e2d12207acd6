"""Log densities that stand in a sum with both signs are left out of it, and what was not finite is never hidden."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lawful
from lawful import factor, sample, scan
from lawful.backends.xla import emit
from lawful.distributions.law import law_of
from lawful.form import Det, Plate, Site, Var, walk
from lawful.form.builder import Block, LogProb
from lawful.form.liveness import without_dead_code
from lawful.form.operations.sums import Signed, signed, signs_of
from lawful.inference import propose
from lawful.inference.check.programs.doubled import doubled
from lawful.passes.add_plate import lift
from lawful.passes.simplify import simplified
from lawful.passes.simplify.cancel import cancelled
from tests.ppl.arithmetic import EDGES, numbers, run
from tests.ppl.families import FAMILIES

FLOAT = jnp.dtype("float64")
LAW, STANDARD = law_of(dist.Normal(0.0, 1.0))


def scalar():
    return Var((), FLOAT)


def standard(block):
    """The parameters of a standard normal."""
    return [block.constant(x) for x in STANDARD]


def labels(form):
    return [node.label for node in walk(form) if isinstance(node, Det)]


def densities(form):
    return [node for node in walk(form) if isinstance(node, Det) and isinstance(node.function, LogProb)]


def same(new, old, tolerance=1e-12):
    """Equal to rounding where the old value is finite, and as it was elsewhere."""
    np.testing.assert_array_equal(np.isfinite(new), np.isfinite(old))
    np.testing.assert_array_equal(np.where(np.isfinite(old), 0.0, new), np.where(np.isfinite(old), 0.0, old))
    np.testing.assert_allclose(
        np.where(np.isfinite(old), new, 0.0), np.where(np.isfinite(old), old, 0.0), atol=tolerance
    )


# ---- sums of densities and other terms

trees = st.recursive(
    st.integers(0, 4),
    lambda inner: st.tuples(st.sampled_from(["add", "subtract", "total", "signed", "negative"]), inner, inner),
    max_leaves=8,
)


def summed(tree):
    """Leaves 0, 1, 2 are log densities of the inputs, 3 and 4 are inputs themselves."""
    block, inputs = Block(), [scalar() for _ in range(5)]
    parameters = standard(block)
    leaves = [block.log_prob(LAW, x, parameters, label="log p") for x in inputs[:3]] + inputs[3:]

    def write(tree):
        if isinstance(tree, int):
            return leaves[tree]
        name, *parts = tree
        a, b = map(write, parts)
        if name == "total":
            return lawful.form.builder.total(block, [a, b, a])
        if name == "signed":
            return signed(block, (a, b), (b, a, b), "signed")
        if name == "negative":
            return block.det(lawful.form.builder.add, block.det(jnp.subtract, b, a, label="less"), a, label="plus")
        return block.det(getattr(jnp, name), a, b, label=name)

    return block.form(inputs, (write(tree), leaves[0]))


@pytest.mark.slow
@given(trees, st.lists(numbers, min_size=5, max_size=5))
def test_every_sum_is_what_it_was(tree, values):
    """To rounding where it was finite; where it was infinite or no number it still is."""
    form = summed(tree)
    for rewrite in (cancelled, simplified):
        same(run(rewrite(form), *values), run(form, *values))


@given(trees)
def test_no_density_stands_with_both_signs(tree):
    form = cancelled(summed(tree))
    made = {v for node in densities(form) for v in node.outs}
    for node in form.nodes:
        if isinstance(node.function, Signed) and any(v in made for v in node.ins):
            found = {sign: {v for v, s in zip(node.ins, node.function.signs) if s == sign} for sign in (1, -1)}
            assert not found[1] & found[-1] & made
    assert cancelled(form) is form or len(cancelled(form).nodes) == len(form.nodes)


@pytest.mark.parametrize("x", EDGES)
def test_a_sum_less_its_first_part_is_the_second(x):
    """The density of what is infinite is -inf, so that of what was cancelled is still looked at."""
    block, (a, b) = Block(), (scalar(), scalar())
    density = block.log_prob(LAW, a, standard(block), label="log p")
    both = block.det(jnp.add, density, b, label="sum")
    form = block.form((a, b), (block.det(jnp.subtract, both, density, label="rest"),))
    small = without_dead_code(cancelled(form))
    assert len(small.nodes) == 2
    for other in (0.25, -np.inf, np.nan):
        same(run(small, x, other), run(form, x, other))
    assert run(small, 1e8, 0.25) == [0.25] != run(form, 1e8, 0.25)  # rounding is gone too


@pytest.mark.parametrize(("first", "second"), [(-np.inf, -np.inf), (np.inf, 0.0), (np.nan, 0.0)])
def test_the_difference_of_two_impossible_states_is_no_number(first, second):
    """Neither other terms than densities nor two densities of one value, each computed by itself, cancel."""
    block, (a, b) = Block(), (scalar(), scalar())
    form = block.form(
        (a, b), (block.det(jnp.subtract, a, a, label="nothing?"), block.det(jnp.subtract, a, b, label="d"))
    )
    assert cancelled(form) is form
    same(run(cancelled(form), first, second), run(form, first, second))


def test_deep_and_long_sums_are_left_in_time():
    """Ten thousand terms, one after the other, and all at once."""
    block, inputs = Block(), [scalar() for _ in range(3)]
    value = inputs[0]
    for k in range(5_000):
        value = signed(block, (value, inputs[1]), (inputs[2],), f"sum {k}")
    many = signed(block, [inputs[0]] * 5_000, [inputs[1]] * 5_000, "all at once")
    form = block.form(inputs, (value, many))
    assert cancelled(form) is form


# ---- a draw and the law that drew it


def drawing(block, law, parameters, address):
    value = block.site((address,), law, parameters)
    return value, block.log_prob(law, value, parameters, label="log q")


def test_the_density_of_a_draw_is_dropped_where_nothing_else_reads_it():
    block, b = Block(), scalar()
    x, density = drawing(block, LAW, standard(block), "x")
    padded = signed(block, (density, b), (density,), "rest")
    form = block.form((b,), (x, padded))
    assert not densities(without_dead_code(simplified(form)))
    read = replace(form, outputs=(*form.outputs, density))  # then it is a witness of the sum
    small = without_dead_code(simplified(read))
    (node,) = densities(small)
    (rest,) = (n for n in small.nodes if isinstance(n, Det) and isinstance(n.function, Signed))
    assert rest.ins == (b, *node.outs)


def test_the_density_of_a_given_value_is_not():
    """The value is an input, or observed, or was drawn from another law, or with other parameters."""
    block, (a, b) = Block(), (scalar(), scalar())
    own = standard(block)
    x = block.site(("x",), LAW, own)
    seen = scalar()
    block.nodes.append(Site(("y",), LAW, tuple(own), seen, observed=a))
    terms = [
        block.log_prob(law, value, parameters, label="log p")
        for law, value, parameters in (
            (LAW, a, own),
            (LAW, seen, own),
            (law_of(dist.Laplace(0.0, 1.0))[0], x, own),
            (LAW, x, (b, *own[1:])),
        )
    ]
    outs = [signed(block, (term, b), (term,), "rest") for term in terms]
    small = without_dead_code(simplified(block.form((a, b), outs)))
    assert len(densities(small)) == 4


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"Delta"}))
def test_the_ratio_of_a_law_to_itself_is_one(name):
    """Nothing is left of a proposal that repeats the law of a site, whatever its family."""

    def model():
        return sample("x", FAMILIES[name].make())

    form = lawful.trace(propose(model)(model))
    small = without_dead_code(simplified(form))
    assert labels(form).count("log_ratio") == 1
    assert not {"log_ratio", "log_prob"} & set(labels(small))
    (value,), weight = emit(small)(jax.random.key(1))
    np.testing.assert_array_equal(value, emit(form)(jax.random.key(1))[0][0])
    assert weight == 0.0


def test_the_ratio_of_two_laws_stays():
    """Of two scales, and of two parameters that are equal at some states only."""

    def model():
        a = sample("a", dist.Normal(0.0, 1.0))
        return sample("x", dist.Normal(a, 1.0)), sample("z", dist.Gamma(2.0, 1.0))

    def proposal():
        sample("x", dist.Normal(0.0, 1.0))
        sample("z", dist.Gamma(2.0, 3.0))

    form = lawful.trace(propose(proposal)(model))
    small = without_dead_code(simplified(form))
    assert labels(small).count("log_ratio") == 2
    np.testing.assert_allclose(*(emit(f)(jax.random.key(1))[1] for f in (form, small)), rtol=1e-12)


def test_a_function_of_the_same_name_is_another_one():
    @jax.jit
    def log_ratio(own, proposed):
        return own - 2 * proposed

    form = lawful.trace(lambda x: log_ratio(x, x), 0.5)
    np.testing.assert_array_equal(run(simplified(form), 0.25), run(form, 0.25))


# ---- everywhere in a form


def padded_model(y):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        factor("f", -0.1 * (x - y) ** 2)
        return x, None

    b = sample("b", dist.Bernoulli(0.3))
    factor("start", lawful.cond(b == 1, lambda: sample("u", dist.Normal(0.0, 1.0)), lambda: 0.0))
    return scan(step, 0.0, y)[0]


def test_what_is_added_and_taken_away_again_is_gone_in_loops_branches_and_plates():
    y = jnp.array([0.5, -1.0])
    form = lawful.trace(padded_model, y)
    padded = doubled(form)
    assert len(densities(padded)) >= 4
    small = without_dead_code(simplified(padded))
    assert not densities(small)
    lifted = lift(padded, Plate("particle", 3), [False], consume_all=True).form
    assert densities(lifted) and not densities(without_dead_code(simplified(lifted)))
    for new, old in zip(emit(small)(jax.random.key(0), y), emit(form)(jax.random.key(0), y), strict=True):
        np.testing.assert_allclose(np.asarray(new), np.asarray(old), rtol=1e-12)


def test_loops_of_no_steps():
    form = doubled(lawful.trace(padded_model, jnp.zeros(0)))
    outputs = [emit(f)(jax.random.key(0), jnp.zeros(0)) for f in (form, simplified(form))]
    np.testing.assert_allclose(outputs[1][1], outputs[0][1], rtol=1e-12)


# ---- what counts as a sum


def test_operands_of_other_shapes_types_or_plates_are_no_terms():
    block, x = Block(), Var((3,), FLOAT)
    particles = Var((), FLOAT, (Plate("particle", 3),))
    block.det(jnp.add, x, scalar(), label="broadcast")
    block.det(jnp.add, scalar(), Var((), jnp.dtype("float32")), label="types")
    block.det(jnp.add, particles, particles, label="seen whole")
    block.det(jnp.multiply, x, x, label="product")
    assert [signs_of(node) for node in block.nodes] == [None] * 4
    block.det(jnp.subtract, particles, scalar(), label="each", plates=particles.plates)
    assert signs_of(block.nodes[-1]) == (1, -1)


@given(st.lists(st.tuples(st.sampled_from([1, -1]), numbers), min_size=1, max_size=5))
def test_a_signed_sum_is_the_sum_of_its_terms(terms):
    signs, values = zip(*terms, strict=True)
    (out,) = Signed(signs)(*(jnp.asarray(v) for v in values))
    with np.errstate(invalid="ignore"):
        exact = np.sum([s * v for s, v in terms])
    same(np.asarray(out), exact)
