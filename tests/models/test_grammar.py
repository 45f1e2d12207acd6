"""Parsing has the probabilities of the inside algorithm, sentence by sentence and tree by tree."""

import numpy as np
import pytest

from lawful import inference
from lawful.errors import LawfulError
from lawful.models import dynamic, grammar

RULES = {
    "S": [(0.6, ["N", "V"]), (0.4, ["S", "and", "S"])],
    "N": [(0.5, ["dogs"]), (0.3, ["cats"]), (0.2, ["N", "with", "N"])],
    "V": [(0.7, ["bark"]), (0.3, ["see", "N"])],
}
SENTENCES = [
    "dogs bark",
    "cats see dogs with cats",
    "dogs with cats with dogs bark",
    "dogs bark and cats bark and dogs see cats",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_evidence_of_a_parse_is_the_probability_of_the_sentence(sentence):
    words = sentence.split()
    exact = inference.enumerate(grammar.parse, mode="eager")(RULES, words)
    assert np.exp(exact.log_evidence) == pytest.approx(dynamic.sentence_probability(RULES, words), rel=1e-12)
    assert all(dynamic.words_of(run.value) == words for run in exact.traces)


def test_an_ambiguous_sentence_has_all_its_trees():
    rules = {"S": [(0.25, ["S", "S"]), (0.75, ["a"])]}
    for n, trees in enumerate((1, 1, 2, 5, 14), start=1):
        exact = inference.enumerate(grammar.parse, mode="eager")(rules, ["a"] * n)
        assert len(exact.traces) == trees


def test_a_sentence_that_cannot_be_said_is_impossible():
    assert inference.enumerate(grammar.parse, mode="eager")(RULES, ["bark", "dogs"]).log_evidence == -np.inf


def test_an_empty_rule_is_refused():
    with pytest.raises(LawfulError, match="no parts"):
        grammar.parse({"S": [(1.0, [])]}, ["a"])
