"""Planted faults in factor graphs: messages, counting numbers, exclusions, evidence, files, counts, blocks, trees."""

import contextlib
import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np

from lawful.inference.graphs.counts import factor, solving
from lawful.inference.graphs.exact import orders
from lawful.inference.graphs.formats import assembling
from lawful.inference.graphs.loopy import belief_forests, exchange, layouts, propagation, sweeping, through_tables
from lawful.inference.graphs.model import builder, graph, restriction
from lawful.inference.graphs.reading import graph_law, program_reader
from lawful.inference.kernels.jumps import program_proposal
from tests.mutants.patching import patched, rewritten

# The package gives the name to a function.
tree_proposal = importlib.import_module("lawful.inference.graphs.reading.tree_proposal")


def damping_weights_too_large():
    """The old message is added to the new one, which keeps its whole weight."""

    def make(original):
        def damped(self, new, old, damping):
            return through_tables.normalised(new + damping * jnp.where(jnp.isneginf(old), 0.0, old))

        return damped

    return patched(exchange.Logs, "damped", make)


def contracted_with_the_larger():
    """Two variables that become one have the states of whichever the other was contracted with."""
    return rewritten(orders, "_contracted", "max(logs[into] - logs[v], 0)", "0")


def receiver_included():
    """A variable sends a factor what the factor itself has sent, too."""

    def make(original):
        def incoming(net, totals, given):
            return [
                tuple(c.read(totals.scores(card)) for c, card in zip(s.columns, s.cardinalities, strict=True))
                for s in net.senders
            ]

        return incoming

    return patched(exchange, "incoming", make)


def first_state_in_other_arms():
    """A site that several arms of a branch draw has its first state wherever one of them does not run."""
    return rewritten(program_reader.Reader, "variable", "self.chosen[node.address].arms == 1", "True")


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
        def seen(count, families, evidence):
            return original(count, families, dict(list(evidence.items())[:-1]))

        return seen

    return patched(builder, "states_seen", make)


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
        def incoming(net, totals, given):
            found = original(net, totals, given)
            for k, tally in enumerate(net.tallies, len(net.blocks)):
                found[k] = (tally.columns[0].read(totals.scores(tally.cardinalities[0])), found[k][1])
            return found

        return incoming

    return patched(exchange, "incoming", make)


def tilt_not_undone():
    """Messages of the tilted members are given as those of the members."""

    def make(original):
        def told(problem, ratio):
            return original(problem, ratio - problem.tilted.theta[None])

        return told

    return patched(solving, "_told", make)


def tree_of_factors_as_a_block():
    """A block is drawn from a spanning tree of its factors: those that close a cycle are left out."""

    def make(original):
        def potentials(self, whole, states):
            found = original(self, whole, states)
            kept = {(limb.group, limb.factor) for limb in belief_forests.spanning_forest(self.structure, None)}
            tables = []
            for number, (group, own) in enumerate(zip(self.structure.groups, found.tables, strict=True)):
                inside = np.array([group.arity < 2 or (number, row) in kept for row in range(group.size)])
                tables.append(jnp.where(inside.reshape((-1, *[1] * group.arity)), own, 0.0))
            return found._replace(tables=tuple(tables))

        return potentials

    return patched(restriction.Restriction, "potentials", make)


def warm_start_inside_a_move():
    """Messages go on from what the moved sites were, and score the way back, too."""

    def beliefs(original):
        def following(part, forest, settings, current, arrays):
            now = past = part.graph(*arrays, *(current[c.name] for c in part.held))
            for choice, support in zip(part.choices, part.supports, strict=True):
                states, _ = graph_law.states_of(current[choice.name], support)
                past = past.observe({choice.name: states.reshape(choice.full_shape)})
            last = propagation.propagated(past, max_iters=3, tol=0.0)
            found = propagation.propagated(now, **{**settings, "init": last, "max_iters": 1, "tol": 0.0})
            return tree_proposal._on(forest, now, (found.variables, found.factors), wide=False)

        return following

    def scores(original):
        def back(self, block, program, inputs, here, old):
            stale = {name: dataclasses.replace(at, value=old[name].value) for name, at in here.items()}
            return original(self, block, program, inputs, stale, old)

        return back

    return _together(
        patched(tree_proposal, "_following", beliefs), patched(program_proposal.ProgramProposal, "_scored", scores)
    )


@contextlib.contextmanager
def _together(first, second):
    """Two patches of one fault; gives the counter of the first."""
    with first as reached, second:
        yield reached


def floor_left_out_of_the_density():
    """Draws have a share of uniform ones, and the density is that of the tree alone."""

    def make(original):
        def log_prob(self, value, *leaves):
            base = self.base
            if base.structure.family(belief_forests.COIN) is not None:
                numbers = graph.Potentials(*jax.tree.unflatten(base.tree, leaves))
                tree_alone = graph.graph_of(base.structure, numbers).observe({belief_forests.COIN: 1})
                leaves = jax.tree.leaves(tree_alone.potentials)
            return original(self, value, *leaves)

        return log_prob

    return patched(graph_law.SiteLaw, "log_prob", make)


def adjoint_of_fixed_counting():
    """The equation of the fixed point is taken to hold at counting numbers that never move."""

    def make(original):
        def settled(update, parameters, point):
            def held(p, x):
                return update((p[0], jax.lax.stop_gradient(p[1])), x)

            return original(held, parameters, point)

        return settled

    return patched(propagation, "settled", make)


def own_message_heard_in_turns():
    """A variable that sends in its turn repeats to a factor what that factor has sent."""

    def make(original):
        def heard(totals, card, rows, own):
            return original(totals, card, rows, jnp.where(jnp.isneginf(own), own, 0.0))

        return heard

    return patched(sweeping, "_heard", make)


def own_message_heard_in_cliques():
    """A member of a clique answers what it sent, not what it was sent."""

    def make(original):
        def sent(self, send, weights, values, kept):
            return original(self, send, weights, values, (jnp.swapaxes(kept[0], 1, 2),))

        return sent

    return patched(layouts.Squares, "sent", make)
