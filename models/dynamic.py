"""Dynamic programs: models whose number of choices has no bound, in plain Python.

Law: each ends with probability one, and has an exact answer beside it to check an inference by. They run under
`mode="eager"`; a traced program needs a bound (`lawful.bounded_loop`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.errors import LawfulError

__all__ = [
    "derivation",
    "dirichlet_process",
    "geometric",
    "random_function",
    "random_list",
    "sentence_probability",
    "words_of",
]

type Rules = Mapping[str, Sequence[tuple[float, Sequence[str]]]]


def geometric(success: Any) -> int:
    """Count failures before the first success, by recursion: P(n) = (1 - success)^n success.

    Args: success: probability of success, above 0.

    >>> import numpy as np
    >>> from lawful import inference
    >>> exact = inference.enumerate(geometric, unexplored=1e-9)(0.5)
    >>> [round(exact.marginal("return")[n], 6) for n in range(3)]
    [0.5, 0.25, 0.125]
    """
    if lawful.sample("success", coin(success)) == 1:
        return 0
    with lawful.scope("again"):
        return 1 + geometric(success)


def random_list(more: Any, item: Callable[[], Any]) -> list[Any]:
    """Make a list of random length: a coin says whether one more item follows, drawn by a program.

    Args:
        more: probability that one more item follows, below 1; the length n has probability more^n (1 - more).
        item: the program of an item.

    >>> import jax
    >>> from lawful import handlers
    >>> words = lambda: random_list(0.5, lambda: int(lawful.sample("letter", dist.Bernoulli(0.5))))
    >>> isinstance(handlers.seed(words, jax.random.key(0))(), list)
    True
    """
    items: list[Any] = []
    while True:
        with lawful.scope(f"item{len(items)}"):
            if lawful.sample("more", coin(more)) == 0:
                return items
            items.append(item())


def dirichlet_process(concentration: Any, base: Callable[[], Any]) -> Callable[[str], Any]:
    """Draw a random distribution from a Dirichlet process: a program that returns a program.

    Sticks are broken, and atoms drawn, only as far as somebody looks, so the distribution has no truncation.

    Args:
        concentration: how evenly the mass is spread; two draws are one atom with probability 1 / (1 + concentration).
        base: the program of an atom.

    Returns: a program that draws an atom from the random distribution; each call needs its own name.

    >>> import jax
    >>> from lawful import handlers
    >>> def draws():
    ...     draw = dirichlet_process(1.0, lambda: lawful.sample("mean", dist.Normal(0.0, 1.0)))
    ...     return draw("first"), draw("second")
    >>> len(handlers.seed(draws, jax.random.key(0))())
    2
    """
    length = lawful.mem(lambda index: lawful.sample("stick", stick(concentration)))
    atom = lawful.mem(lambda index: base())

    return functools.partial(_draw, length, atom)


def _draw(length: Callable[[int], Any], atom: Callable[[int], Any], name: str) -> Any:
    """Find the stick at a uniform place, and return its atom."""
    place, rest, index = float(lawful.sample(name, unit())), 1.0, 0
    while True:
        rest *= 1.0 - float(length(index))
        if place < 1.0 - rest:
            return atom(index)
        index += 1


def random_function(value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Draw a random function: its values at different arguments are independent, and drawn when they are asked for.

    Args: value: the program of the value at an argument.

    >>> import jax
    >>> from lawful import handlers
    >>> def program():
    ...     level = lawful.sample("level", dist.Normal(0.0, 1.0))
    ...     f = random_function(lambda x: lawful.sample("f", dist.Normal(level, 0.1)))
    ...     return f(3) == f(3), f(3) == f(4)
    >>> [bool(same) for same in handlers.seed(program, jax.random.key(0))()]
    [True, False]
    """
    return lawful.mem(value)


def derivation(rules: Rules, symbol: str = "S") -> tuple[Any, ...]:
    """Derive a tree from a probabilistic context-free grammar: `(symbol, part, ...)`, words being leaves.

    Args:
        rules: symbol to (probability, parts) of each of its rules; a part that has no rules is a word.
        symbol: where to start.

    >>> import jax
    >>> from lawful import handlers
    >>> rules = {"S": [(0.7, ["N", "V"]), (0.3, ["S", "and", "S"])], "N": [(1.0, ["dogs"])], "V": [(1.0, ["bark"])]}
    >>> tree = handlers.seed(derivation, jax.random.key(1))(rules)
    >>> words_of(tree)[:2]
    ['dogs', 'bark']
    """
    options = rules[symbol]
    rule = 0
    if len(options) > 1:
        rule = int(lawful.sample(symbol, choice(tuple(probability for probability, _ in options))))
    parts: list[Any] = []
    for place, part in enumerate(options[rule][1]):
        if part in rules:
            with lawful.scope(str(place)):
                parts.append(derivation(rules, part))
        else:
            parts.append(part)
    return symbol, *parts


def words_of(tree: Any) -> list[str]:
    """Read the words of a derivation from left to right.

    >>> words_of(("S", ("N", "dogs"), ("V", "bark")))
    ['dogs', 'bark']
    """
    if isinstance(tree, str):
        return [tree]
    return [word for part in tree[1:] for word in words_of(part)]


def sentence_probability(rules: Rules, words: Sequence[str], symbol: str = "S") -> float:
    """Sum the probabilities of all derivations of a sentence: the inside algorithm (Baker 1979).

    Rules whose parts are empty, or a single symbol that has rules, are refused: with them a sentence may have
    derivations without end.

    >>> rules = {"S": [(0.25, ["S", "S"]), (0.75, ["a"])]}
    >>> sentence_probability(rules, ["a", "a", "a"]) == 2 * 0.25**2 * 0.75**3
    True
    """
    for name, options in rules.items():
        for _, parts in options:
            if not parts or (len(parts) == 1 and parts[0] in rules):
                raise LawfulError(f"sentence_probability: '{name}' has the rule {list(parts)}, empty or a bare symbol.")

    @functools.cache
    def inside(part: str, start: int, end: int) -> float:
        if part not in rules:
            return float(end == start + 1 and words[start] == part)
        return sum(p * sequence(tuple(parts), start, end) for p, parts in rules[part])

    @functools.cache
    def sequence(parts: tuple[str, ...], start: int, end: int) -> float:
        if len(parts) > end - start:
            return 0.0
        if len(parts) == 1:
            return inside(parts[0], start, end)
        cuts = range(start + 1, end - len(parts) + 2)
        return sum(inside(parts[0], start, cut) * sequence(parts[1:], cut, end) for cut in cuts)

    return inside(symbol, 0, len(words))


# A distribution costs more to make than to draw from, so those whose parameters are plain numbers are made once.


def coin(probability: Any) -> dist.Distribution:
    """Make a coin."""
    return _made(dist.Bernoulli, probability)


def choice(probabilities: tuple[float, ...]) -> dist.Distribution:
    """Make a choice among a few."""
    return _made(_categorical, *probabilities)


def stick(concentration: Any) -> dist.Distribution:
    """Make the law of the length of a stick, as a fraction of what is left."""
    return _made(dist.Beta, 1.0, concentration)


def unit() -> dist.Distribution:
    """Make the uniform law on the unit interval."""
    return _made(dist.Uniform, 0.0, 1.0)


def _categorical(*probabilities: float) -> dist.Distribution:
    return dist.Categorical(np.array(probabilities))


def _made(kind: Callable[..., dist.Distribution], *parameters: Any) -> dist.Distribution:
    if all(isinstance(parameter, float) for parameter in parameters):
        return _kept(kind, parameters, bool(jax.config.read("jax_enable_x64")))
    return kind(*parameters)


@functools.lru_cache(maxsize=256)
def _kept(kind: Callable[..., dist.Distribution], parameters: tuple[float, ...], x64: bool) -> dist.Distribution:
    return kind(*parameters)
