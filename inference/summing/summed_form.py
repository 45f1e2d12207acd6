"""Summed form: its named finite sites are replaced by factors, and drawn back from their exact conditional.

Law: the measure on the outputs is the program's. What depends on a summed site is computed for all its values at once:
the values are a plate, terms become tables by these plates, and eliminating the tables leaves one factor. The sites
that draw the values back come last, so a form whose outputs do not read them is the marginal.
"""

from __future__ import annotations

from collections.abc import Collection

from lawful.addresses import Address
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Det, Form, Node, Site, Var, walk
from lawful.form.builder import renamed
from lawful.form.liveness import without_dead_code
from lawful.passes.thread_sites import score

from .records import Frame, Job
from .tables import MAX_TABLE, Conflict, NotChain, Picks
from .values import picked, picked_choice
from .walk import Walk


def summed_form(
    form: Form,
    wanted: Collection[Address],
    cap: int | None = None,
    few: int | None = None,
    by_step: bool = False,
) -> Form:
    """Sum sites out of a form, and draw them back where its outputs read them.

    Args:
        form: the form.
        wanted: addresses of the sites.
        cap: largest number of entries of a table; None for 4 million.
        few: most values that elements which meet may have together; None for as many as a table has.
        by_step: whether the steps of a loop get the log density of their data given those before, each as its factors.

    Raises:
        PathLimitError: a table is larger than the cap.
        UnsupportedProgramError: a site decides whether another one exists that is not summed; with `by_step`, a loop
            has to be written out.
    """
    cap = MAX_TABLE if cap is None else cap
    job = Job(frozenset(wanted), cap, cap if few is None else min(cap, few), by_step)
    while True:
        job.names.clear()
        try:
            return without_dead_code(_scope(form, job), keep_sites=True)
        except NotChain as error:
            assert error.loop not in job.unrolled, "each attempt writes out one loop more"
            job.unrolled[error.loop] = error.why
        except Conflict as error:
            summand = error.summand
            if summand.loop is not None:
                assert summand.loop not in job.unrolled, "each attempt writes out one loop more"
                job.unrolled[summand.loop] = error.why
            elif summand.address in job.together:
                raise UnsupportedProgramError(
                    f"site '{summand.name}' cannot be summed: {error.why}. Fix: leave it out of enumerate=[...].",
                    site=summand.address,
                ) from error
            else:
                job.together[summand.address] = error.why


def _scope(form: Form, job: Job) -> Form:
    """Sum the sites of a form, or of a body whose sites do not reach beyond it."""
    scope = Walk(job, _scope)
    block = scope.block
    block.constants.extend(form.constants)
    own = {v: v for v in (*form.inputs, *(v for v, _ in form.constants))}
    live, need = scope.live(form, (), every=False)
    frame = Frame(dict(own), None, None, need)
    scope.nodes(form, frame, live)
    scope.finish()
    picks: Picks = {}
    for step in reversed(scope.pool.steps):
        step.draw(block, picks, scope.pool)
    drawn = dict(own)
    for node in form.nodes:
        _draw(node, scope, frame, live, picks, drawn)
    outputs = [drawn[v] for v in form.outputs]
    return block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)


def _draw(node: Node, scope: Walk, frame: Frame, live: set[Node], picks: Picks, drawn: dict[Var, Var]) -> None:
    """Give the results of a node in a run whose summed sites have been drawn."""
    block = scope.block
    known = {v: frame.env.get(v) for v in node.outs}
    plain = {v: x for v, x in known.items() if isinstance(x, Var) and not x.plates}
    if node in live and len(plain) == len(node.outs):
        drawn |= plain
    elif isinstance(node, Site) and node.observed is not None:
        drawn[node.out] = drawn[node.observed]
    elif node in live and isinstance(node, Site):
        (found,) = (f for f in scope.sites if f.address == node.address)
        drawn[node.out] = picked(scope, block, found, picks)
    elif isinstance(node, Det | Site) or node not in live:
        block.nodes.append(renamed(node, drawn))
    else:
        ins = tuple(dict.fromkeys(node.ins))
        alone = score(Form(ins, (node,), node.outs))
        chosen = [picked_choice(scope, block, c, picks) for c in alone.choices]
        outputs = alone.spliced(block, [*(drawn[v] for v in ins), *chosen])
        drawn |= dict(zip(node.outs, outputs.own, strict=True))
        drawn |= plain


def refuse_plates(form: Form) -> None:
    """Refuse a form that an algorithm has already given plates."""
    for node in walk(form):
        if getattr(node, "plates", ()):
            raise LawfulError(
                "marginalise: the form has the plates of an algorithm (particles or chains). Fix: sum the program "
                "first, as in marginalise() >> spawn(n)."
            )
