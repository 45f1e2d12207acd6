"""Sequential: a program that pauses after each step of its loop.

Meaning: the program, run to its end. Law: finish . advance = finish.
"""

from __future__ import annotations

from dataclasses import dataclass

from lawful.analysis import has_weight, is_random
from lawful.form import Form, Loop, Node, Var

from ..check.contracts import Contract
from ..transformer import Transformer


@dataclass(frozen=True)
class Sequential:
    """A Form cut at a loop: what comes before, the loop, what comes after.

    Attributes:
        form: the whole form.
        prefix: its outputs are the values in `live`.
        live: the values of the form that the loop or the suffix reads.
        loop: the loop whose steps are the pauses, or None where the program has none.
        suffix: its inputs are `suffix_reads`, its outputs those of the form.
    """

    form: Form
    prefix: Form
    live: tuple[Var, ...]
    loop: Loop | None
    suffix: Form
    suffix_reads: tuple[Var, ...]


def sequential(form: Form) -> Sequential:
    """Cut a form at its first loop that holds observations or factors, else at its first loop with random sites."""
    loops = {i: node for i, node in enumerate(form.nodes) if isinstance(node, Loop) and node.length > 0}
    weighted = [i for i, loop in loops.items() if has_weight(loop.body)]
    random = [i for i, loop in loops.items() if is_random(loop)]
    cut = next(iter(weighted or random), None)
    before = form.nodes if cut is None else form.nodes[:cut]
    loop = None if cut is None else loops[cut]
    after: tuple[Node, ...] = () if cut is None else form.nodes[cut + 1 :]
    made = {v for node in before for v in node.outs} | set(form.inputs)
    reads = [v for node in after for v in node.ins] + list(form.outputs)
    wanted = dict.fromkeys([*(loop.ins if loop is not None else ()), *reads])
    constants = {v for v, _ in form.constants}
    live = tuple(v for v in wanted if v in made or v in constants)
    loop_outs = set(loop.outs) if loop is not None else set()
    suffix_reads = tuple(v for v in dict.fromkeys(reads) if v in loop_outs or v in set(live))
    prefix = Form(form.inputs, tuple(before), live, form.constants)
    suffix_constants = tuple((v, a) for v, a in form.constants if v not in set(live))
    suffix = Form(suffix_reads, after, form.outputs, suffix_constants)
    return Sequential(form, prefix, live, loop, suffix, suffix_reads)


Suspend = Transformer("suspend", sequential, Contract("preserves_measure", parametric=True))
