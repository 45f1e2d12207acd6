"""The dynamic programs have the laws that they state: by enumeration, and by closed forms."""

import math

import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.check import enumerate_measure
from lawful.models import dynamic


def distribution(program, *args, share=1e-7):
    exact = inference.enumerate(program, unexplored=share)(*args)
    found = {}
    for run, p in zip(exact.traces, np.exp(exact.log_weights), strict=True):
        key = tuple(run.value) if isinstance(run.value, list) else run.value
        found[key] = found.get(key, 0.0) + p
    return found


@pytest.mark.parametrize("success", [0.3, 0.8])
def test_the_recursion_is_geometric(success):
    found = distribution(dynamic.geometric, success)
    for n in range(5):
        assert found[n] == pytest.approx((1 - success) ** n * success, rel=1e-12)


def test_the_length_of_a_random_list_is_geometric_and_its_items_are_independent():
    def letters():
        return dynamic.random_list(0.25, lambda: int(lawful.sample("letter", dynamic.coin(0.3))))

    found = distribution(letters, share=1e-3)
    assert found[()] == pytest.approx(0.75, rel=1e-12)
    assert found[(1, 0)] == pytest.approx(0.25**2 * 0.75 * 0.3 * 0.7, rel=1e-12)


def test_draws_of_a_dirichlet_process_share_an_atom_as_often_as_they_should():
    """With sticks fixed at one half, atom k has the mass 2^-(k + 1)."""

    def halves():
        draw = dynamic.dirichlet_process(1.0, lambda: object())
        return draw("a") is draw("b")

    sticks = lawful.handlers.substitute(halves, {f"stick({k})": 0.5 for k in range(60)})
    grid = (np.arange(8) + 0.5) / 8
    same = sum(lawful.handlers.substitute(sticks, {"a": a, "b": b})() for a in grid for b in grid)
    cells = [4, 2, 1, 1]  # of the eight midpoints in the cells of the atoms; the last has the only one beyond 7/8
    assert same == sum(cell**2 for cell in cells)


def test_a_random_function_is_a_function():
    def program():
        f = dynamic.random_function(lambda x: int(lawful.sample("f", dynamic.coin(0.25))))
        return f(1), f(2), f(1)

    measure = enumerate_measure(program).marginal(lambda trace: trace.output)
    expected = {(0, 0, 0): 9 / 16, (0, 1, 0): 3 / 16, (1, 0, 1): 3 / 16, (1, 1, 1): 1 / 16}
    assert dict(measure) == pytest.approx(expected, rel=1e-12)


RULES = {
    "S": [(0.8, ["N", "V"]), (0.2, ["S", "and", "S"])],
    "N": [(0.5, ["dogs"]), (0.5, ["cats"])],
    "V": [(0.7, ["bark"]), (0.3, ["see", "N"])],
}


def test_the_inside_algorithm_gives_the_probabilities_of_sentences():
    found = {}
    for tree, p in distribution(lambda: dynamic.derivation(RULES), share=0.15).items():
        words = " ".join(dynamic.words_of(tree))
        found[words] = found.get(words, 0.0) + p
    for sentence in ("dogs bark", "cats see dogs", "dogs bark and cats bark"):
        assert found[sentence] == pytest.approx(dynamic.sentence_probability(RULES, sentence.split()), rel=1e-12)
    assert dynamic.sentence_probability(RULES, ["bark", "dogs"]) == 0


def test_an_ambiguous_sentence_sums_its_trees():
    rules = {"S": [(0.25, ["S", "S"]), (0.75, ["a"])]}
    for n, trees in enumerate((1, 1, 2, 5, 14), start=1):
        expected = trees * 0.25 ** (n - 1) * 0.75**n
        assert dynamic.sentence_probability(rules, ["a"] * n) == pytest.approx(expected, rel=1e-12)


def test_rules_with_endless_derivations_are_refused():
    with pytest.raises(LawfulError, match="'S' has the rule"):
        dynamic.sentence_probability({"S": [(0.5, ["S"]), (0.5, ["a"])]}, ["a"])


def test_stick_lengths_have_the_concentration():
    record = lawful.handlers.trace(lawful.handlers.seed(_one_draw, lawful_key()))()
    (stick,) = [a for a in record.choices if a[0].startswith("stick(0)")]
    score = float(record.log_probs[stick])
    value = float(record.choices[stick])
    assert score == pytest.approx(math.log(3.0) + 2.0 * math.log1p(-value), rel=1e-9)


def _one_draw():
    return dynamic.dirichlet_process(3.0, lambda: lawful.sample("atom", dist.Normal(0.0, 1.0)))("x")


def lawful_key():
    import jax

    return jax.random.key(5)
