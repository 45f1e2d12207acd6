"""Mutants of populations: how weights are averaged, reset and pushed forward, and how a step weighs its particles."""

from dataclasses import replace
from unittest import mock

import jax
import jax.numpy as jnp

from lawful.form import Det
from lawful.form.builder import Block
from lawful.inference.laws import multinomial_resampling as picks
from lawful.inference.laws import picks as laws
from lawful.inference.laws import systematic_resampling as strata
from lawful.inference.representations.population import equal_log_weight, mean_weights, take
from lawful.inference.transformers import resample as transformers
from lawful.inference.transformers import temperatures as ladders
from lawful.inference.transformers import through_loop as steps
from tests.mutants.patching import patched

# ---- resampling schemes


def fixed_offset():
    """The one uniform of systematic resampling is 1/2."""

    def make(original):
        return lambda uniform, weights, m: jnp.full_like(
            original(uniform, weights, m), 1 << (strata.fraction_bits(weights, m) - 1)
        )

    return patched(strata, "uniform_units", make)


def off_by_one():
    """Every offspring comes from the neighbour of its ancestor."""

    def make(original):
        return lambda expected, ends, m: (original(expected, ends, m) + 1) % ends.shape[0]

    return patched(strata, "_ancestors", make)


def uniform_remainder():
    """Residual resampling draws what is left after the whole shares uniformly."""

    def make(original):
        def whole_shares(weights, m):
            whole, rest, usable = original(weights, m)
            return whole, jnp.ones_like(rest), usable

        return whole_shares

    return patched(picks, "_whole_shares", make)


def arg_max():
    """Every offspring comes from the heaviest particle."""

    def make(original):
        return lambda weights: original((jnp.arange(weights.shape[0]) == jnp.argmax(weights)) * 1.0)

    return patched(picks, "integer_masses", make)


def uniform_weights():
    """The ancestors are drawn as if all weights were equal."""

    def make(original):
        return lambda weights: original(jnp.ones_like(weights))

    return patched(picks, "integer_masses", make)


# ---- what resampling does with values and weights


def _offspring(change):
    """Patch `offspring`: `change(block, parents, left)` gives what is left otherwise."""

    def make(original):
        def offspring(block, population, draw, distinct, parents):
            return change(block, parents, original(block, population, draw, distinct, parents))

        return offspring

    return patched(transformers, "offspring", make)


def not_applied():
    """Ancestors are drawn, and the particles stay where they are."""
    return _offspring(lambda block, parents, left: replace(left, values=parents.values))


def _of_mean_one(weight):
    """Log weights, on the scale on which the population carries them: their weights have mean one, or are all zero."""
    mean = jnp.mean(weight)
    return jnp.log(weight / jnp.where(mean > 0, mean, 1.0))


def kept_weights():
    """The old weights stay in their slots."""

    def change(block, parents, left):
        weight = parents.weight
        log_weight = block.det(_of_mean_one, weight, label="log", adds=weight.plates)
        return replace(left, weight=weight, log_weight=log_weight)

    return _offspring(change)


def permuted_weights():
    """The old weights follow the ancestors."""

    def change(block, parents, left):
        plates = parents.weight.plates
        log_weight = block.det(_of_mean_one, parents.weight, label="log", adds=plates)
        weight, log_weight = (
            block.det(take, x, left.ancestors, label="gather", adds=plates) for x in (parents.weight, log_weight)
        )
        return replace(left, weight=weight, log_weight=log_weight)

    return _offspring(change)


def reset_to_n():
    """The weights are reset to N times what they should be."""

    def change(block, parents, left):
        adds = parents.weight.plates
        return replace(
            left,
            weight=block.det(lambda w: w * w.shape[0], left.weight, label="N w", adds=adds),
            log_weight=block.det(
                lambda lw: lw + jnp.log(1.0 * lw.shape[0]), left.log_weight, label="log N w", adds=adds
            ),
        )

    return _offspring(change)


def reset_anyway():
    """Adaptive resampling resets the weights also where it has not resampled."""

    def make(original):
        def resample(population, draw, when, *rest, **options):
            after = original(population, draw, when, *rest, **options)
            if when is None:
                return after
            zeros, ones = equal_log_weight(after.block, after.plate)
            return replace(after, log_weight=zeros, weight=ones)

        return resample

    return patched(transformers, "resampled", make)


# ---- the evidence


def _mean(change):
    """Patch `mean_weights`: `change(log_weight, (weight, logs, log_mean, ess))` gives other results."""
    return patched(transformers, "mean_weights", lambda original: lambda lw: change(lw, original(lw)))


def not_divided():
    """The evidence takes the sum of the weights for their mean."""
    return _mean(lambda lw, out: (*out[:2], out[2] + jnp.log(1.0 * lw.shape[0]), out[3]))


def largest_weight():
    """The evidence takes the largest weight for the mean."""
    return _mean(lambda lw, out: (*out[:2], jnp.max(lw), out[3]))


def zeros_left_out():
    """The mean is that of the particles whose weight is positive."""

    def change(log_weight, out):
        alive = jnp.maximum(jnp.sum(log_weight > -jnp.inf), 1)
        return *out[:2], out[2] + jnp.log(log_weight.shape[0] / alive), out[3]

    return _mean(change)


def incoming_ignored():
    """The evidence of a step is the plain mean of the new factors; the weights before the step do not enter it."""

    def make(original):
        def push(population, nonfinite="error"):
            own = getattr(population.trail, "own_log_weight", None)
            if own is None:
                return original(population, nonfinite)
            factor = Block.factor

            def wrong(block, address, term):
                factor(block, address, block.det(lambda lw: mean_weights(lw)[2], own, label="log mean"))

            with mock.patch.object(Block, "factor", wrong):
                return original(population, nonfinite)

        return push

    class _Both:
        """Two patches: the step leaves its own factor for the push."""

        def __enter__(self):
            self.step = mock.patch.object(steps.Step, "advance", _noting(steps.Step.advance))
            self.push = patched(transformers, "push_evidence", make)
            self.step.__enter__()
            return self.push.__enter__()

        def __exit__(self, *error):
            self.push.__exit__(*error)
            self.step.__exit__(*error)

    return _Both()


def _noting(advance):
    def noting(step, population):
        after = advance(step, population)
        if step.body.weighted:
            before = population.log_weight
            after.trail.own_log_weight = after.block.det(
                _difference, after.log_weight, before, label="own", adds=before.plates
            )
        return after

    return noting


def _difference(after, before):
    return jnp.where(before > -jnp.inf, after - before, -jnp.inf)


def old_state():
    """The weight of a step is computed from the state before the move."""

    def make(original):
        return lambda step, population: original(replace(step, body=_weighing_the_old(step)), population)

    return patched(steps.Step, "advance", make)


def _weighing_the_old(step):
    """Compute the log weight of a body a second time, with the state that came in where the new state was read."""
    body = step.body.form
    came_in = step.loop.split(body.inputs)[1]
    states = zip(body.outputs[: len(came_in)], came_in, strict=True)
    old = {new: came for new, came in states if (new.shape, new.plates) == (came.shape, came.plates)}
    again = []
    for node in body.nodes:
        if isinstance(node, Det) and any(v in old for v in node.ins):
            outs = tuple(v.like() for v in node.outs)
            again.append(replace(node, ins=tuple(old.get(v, v) for v in node.ins), outs=outs, address=None))
            old |= {v: o for v, o in zip(node.outs, outs, strict=True) if v not in old}
    last = old.get(body.outputs[-1], body.outputs[-1]) if step.body.weighted else body.outputs[-1]
    late = replace(body, nodes=(*body.nodes, *again), outputs=(*body.outputs[:-1], last))
    return replace(step.body, form=late)


def wrong_size():
    """The effective sample size is one over the largest share."""
    return _mean(lambda lw, out: (*out[:3], 1 / jnp.max(jnp.exp(lw - jax.nn.logsumexp(lw)))))


def step_before():
    """Every step reads the observation of the step before."""

    def make(original):
        def loop(self, body, length, shared, start, xs, reverse):
            rolled = [self.det(lambda x: jnp.roll(x, 1, 0), x, label="roll") for x in xs]
            return original(self, body, length, shared, start, rolled, reverse)

        return loop

    return patched(Block, "loop", make)


def next_measure():
    """Moves at a pause have the program up to the next one as their target."""

    def make(original):
        def until(cut, position, loop):
            form = original(cut, position, loop)
            *before, last = form.nodes
            now = last.constants[0]
            later = now.like()
            shift = Det(lambda i: (i + 1,), (now,), (later,), "later")
            return replace(form, nodes=(*before, shift, replace(last, constants=(later, *last.constants[1:]))))

        return until

    return patched(steps, "until", make)


def wrong_direction():
    """The solver of the next temperature weighs by the inverse of the likelihood."""

    def make(original):
        return lambda log_weight, slope, power, fraction: original(log_weight, -slope, power, fraction)

    return patched(ladders, "next_increase", make)


def single_precision_sums():
    """Expected offspring are added up in single precision."""

    def make(original):
        def expected(weights, m):
            exact, bits = original(weights, m), strata.fraction_bits(weights, m)
            sums = jnp.cumsum((weights / jnp.sum(weights)).astype(jnp.float32)) * m
            whole = jnp.floor(sums)
            fraction = ((sums - whole) * 2.0**bits).astype(exact.fraction.dtype)
            return exact._replace(whole=whole.astype(exact.whole.dtype), fraction=fraction)

        return expected

    return patched(strata, "expected_offspring", make)


def any_particle():
    """The final pick ignores the weights."""

    def make(original):
        return lambda law, weights: jnp.full(law.size, -jnp.log(1.0 * law.size))

    return patched(laws.PickLaw, "log_masses", make)
