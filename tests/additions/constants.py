"""A new pass over forms: what is made of constants alone is computed once, before the program is compiled."""

from dataclasses import replace

from lawful.form import Det, Form, Node
from lawful.form.operations.equation import Equation
from lawful.form.operations.on_numpy import evaluate
from lawful.form.rewriting import with_subforms


def folded_constants(form: Form) -> Form:
    known, nodes = dict(form.constants), []
    for node in form.nodes:
        if is_pure(node) and known.keys() >= set(node.ins):
            values = evaluate(node.function, [known[v] for v in node.ins])
            known.update(zip(node.outs, values, strict=True))
        else:
            nodes.append(with_subforms(node, folded_constants))
    return replace(form, nodes=tuple(nodes), constants=tuple(known.items()))


def is_pure(node: Node) -> bool:
    operation = isinstance(node, Det) and isinstance(node.function, Equation) and not node.plates
    return operation and node.address is None and not node.function.acts and not node.function.draws
