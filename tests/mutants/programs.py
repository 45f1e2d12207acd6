"""Mutants of programs and chains: branches, scales and loops of the language, and what a chain keeps."""

import numpy as np

from lawful.distributions import law as laws
from lawful.inference.algorithms.choice import cases
from lawful.inference.graphs.reading import program_reader
from lawful.inference.plans.chains.chain_loop import ChainLoop
from lawful.inference.summing import control as summing_control
from lawful.language import control
from lawful.language import run_form as eager
from lawful.language.data import observed
from lawful.passes import checked_draws, thread_sites
from lawful.tracing import free_variables, number_arguments
from tests.mutants.patching import patched, rewritten


def branch_forgotten():
    """Enumeration runs the first arm of a branch, whatever its index."""

    def make(original):
        return lambda run, node, index, operands: original(run, node, np.zeros_like(index), operands)

    return patched(eager._Run, "branch", make)


def arm_of_an_arm_alone():
    """Where sums write branches out, an arm inside an arm counts without the arm around it."""
    return rewritten(summing_control, "_guard", "own & before[0] if before else own", "own")


def arm_of_an_arm_alone_in_graphs():
    """In the graph of a program, an arm inside an arm counts without the arm around it."""
    return rewritten(program_reader.Reader, "branch", "(a & b,)", "(b,)")


def choice_of_an_inner_arm_told():
    """A choice of an arm inside an arm counts as made wherever the outer arm runs."""
    return rewritten(thread_sites.Walk, "closed", "self.flags.get(p.address) or ", "")


def scaled_twice():
    """The scale of a choice is applied twice."""

    def make(original):
        return lambda law, value, parameters, mask, scale: original(
            law, value, parameters, mask, None if scale is None else scale * scale
        )

    return patched(observed, "correction", make)


def overflow_kept():
    """Runs that a bounded loop cuts off keep their weight."""
    return patched(control, "_cut", lambda original: lambda overflow: 0.0 * original(overflow * False))


def read_once():
    """What a program reads from outside is read at its first trace, and never again."""
    return patched(free_variables.Reading, "holds", lambda original: lambda self: True)


def draws_unchecked():
    """Choices are drawn from whatever their parameters are, and weigh nothing for it."""
    return patched(checked_draws, "_is_checked", lambda original: lambda *given: original(*given) and False)


def cases_without_probability():
    """A choice that Python reads is a number, and weighs nothing."""
    return patched(cases, "announce", lambda original: lambda message: None)


def scores_unchecked():
    """Values are scored and listed by whatever the parameters are."""
    return patched(laws, "_where_lawful", lambda original: lambda law, scores: (original(law, scores), scores)[1])


def integers_unbounded():
    """Integers among the arguments become inputs, whatever is computed of them."""
    return patched(number_arguments, "_stays", lambda original: lambda node, sized, roots: True)


def rejected_dropped():
    """A chain keeps the states that it moved to, and not those where it stayed."""

    def make(original):
        def parts(self, kept):
            early, late = (list(map(np.copy, part)) for part in original(self, kept))
            values, length = late[0], len(late[0])
            for chain in range(values.shape[1]):
                moved = np.flatnonzero(np.r_[True, values[1:, chain] != values[:-1, chain]])
                for array in late:
                    array[:, chain] = array[np.resize(moved, length), chain]
            return early, late

        return parts

    return patched(ChainLoop, "parts", make)
