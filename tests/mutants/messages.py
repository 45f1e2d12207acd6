"""Planted faults in factor graphs: messages, counting numbers, exclusions, evidence, files and counts."""

import jax.numpy as jnp
import numpy as np

from lawful.inference.factor_graphs import assembling, exchange, graph, messages, propagation
from lawful.inference.numerics.counts import factor, solving
from tests.mutants.patching import patched


def damping_weights_too_large():
    """The old message is added to the new one, which keeps its whole weight."""

    def make(original):
        def damped(self, new, old, damping):
            return messages.normalised(new + damping * jnp.where(jnp.isneginf(old), 0.0, old))

        return damped

    return patched(exchange.Logs, "damped", make)


def receiver_included():
    """A variable sends a factor what the factor itself has sent, too."""

    def make(original):
        def incoming(net, totals, given, k):
            block = net.blocks[k]
            columns = zip(block.columns, block.cardinalities, strict=True)
            return tuple(column.read(totals.scores(card)) for column, card in columns)

        return incoming

    return patched(exchange, "incoming", make)


def floor_for_zero():
    """A state that is excluded gets the score -10."""

    def make(original):
        def scores_of(net, potentials, counting):
            floor = [[jnp.maximum(x, -10.0) for x in part] for part in potentials]
            return original(net, graph.Potentials(*map(tuple, floor)), counting)

        return scores_of

    return patched(propagation, "scores_of", make)


def counting_twice():
    """Messages count with the square of their factor's counting number."""

    def make(original):
        def totals_of(net, scores, given, hard):
            return original(net, scores._replace(counting=tuple(c * c for c in scores.counting)), given, hard)

        return totals_of

    return patched(exchange, "totals_of", make)


def evidence_of_one_name():
    """Evidence on the variables that were observed last is left out."""

    def make(original):
        def allowed(unary, evidence):
            return original(unary, dict(list(evidence.items())[:-1]))

        return allowed

    return patched(graph, "with_evidence", make)


def first_variable_fastest():
    """Tables of a file are read with their first variable fastest."""

    def make(original):
        def add_group(target, name, scopes, shape, places, where, factors):
            turned = where.reshape((len(where), *shape[::-1]))
            turned = np.transpose(turned, (0, *range(len(shape), 0, -1))).reshape(where.shape)
            return original(target, name, scopes, shape, places, turned, factors)

        return add_group

    return patched(assembling, "_add_group", make)


def count_off_by_one():
    """The potential of a count is that of the count before it."""

    def make(original):
        def rows(*given):
            found = original(*given)
            return found._replace(g=jnp.roll(found.g, 1, axis=1))

        return rows

    return patched(factor, "rows", make)


def member_hears_itself():
    """A member's own message is among what its count hears of it."""

    def make(original):
        def incoming(net, totals, given, k):
            found = original(net, totals, given, k)
            if k < len(net.blocks):
                return found
            tally = net.tallies[k - len(net.blocks)]
            return (tally.columns[0].read(totals.scores(tally.cardinalities[0])), found[1])

        return incoming

    return patched(exchange, "incoming", make)


def tilt_not_undone():
    """Messages of the tilted members are given as those of the members."""

    def make(original):
        def told(problem, ratio):
            return original(problem, ratio - problem.tilted.theta[None])

        return told

    return patched(solving, "_told", make)
