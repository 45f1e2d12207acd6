"""A probabilistic grammar that has to say a given sentence: parsing as inference.

Law: the evidence of `parse` is the probability of the sentence by the inside algorithm
(`lawful.models.dynamic.sentence_probability`), and its posterior that of the trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import lawful
from lawful.errors import LawfulError

from .dynamic import Rules, choice

__all__ = ["parse"]


def parse(rules: Rules, sentence: Sequence[str], symbol: str = "S") -> tuple[Any, ...]:
    """Derive a tree whose words are a sentence; runs with `mode="eager"`.

    Words are compared as they come, from left to right, and a rule that opens more parts than words are left is cut
    off at once, so every run ends, also where a rule begins with its own symbol.

    Args:
        rules: symbol to (probability, parts) of each of its rules; a part that has no rules is a word. No rule is
            empty.
        sentence: the words.
        symbol: where to start.

    Returns: the tree, `(symbol, part, ...)`, words being leaves.

    >>> from lawful import inference
    >>> rules = {"S": [(0.25, ["S", "S"]), (0.75, ["a"])]}
    >>> exact = inference.enumerate(parse, mode="eager")(rules, ["a", "a", "a"])
    >>> bool(abs(np.exp(exact.log_evidence) - 2 * 0.25**2 * 0.75**3) < 1e-15), len(exact.traces)
    (True, 2)
    """
    if any(not parts for options in rules.values() for _, parts in options):
        raise LawfulError("parse: a rule has no parts, so a sentence has derivations without end. Fix: remove it.")
    tree, place = _derive(rules, tuple(sentence), symbol, 0, 0)
    _require("end", place == len(sentence))
    return tree


def _derive(rules: Rules, words: tuple[str, ...], symbol: str, place: int, waiting: int) -> tuple[Any, int]:
    """Derive a symbol from a place on, where so many parts wait to the right; return the tree and the next place."""
    options = rules[symbol]
    rule = 0
    if len(options) > 1:
        rule = int(lawful.sample(symbol, choice(tuple(probability for probability, _ in options))))
    parts = options[rule][1]
    _require(f"{symbol}.room", place + len(parts) + waiting <= len(words))
    tree: list[Any] = []
    for i, part in enumerate(parts):
        rest = waiting + len(parts) - i - 1
        if part in rules:
            with lawful.scope(str(i)):
                below, place = _derive(rules, words, part, place, rest)
            tree.append(below)
        else:
            _require(f"{symbol}.word{i}", place < len(words) and words[place] == part)
            tree.append(part)
            place += 1
    return (symbol, *tree), place


def _require(name: str, holds: bool) -> None:
    lawful.factor(name, 0.0 if holds else -np.inf)
