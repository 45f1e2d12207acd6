"""Printing: statements of the grammar as Python text.

Law: the text needs only `HEADER` and `tables`; it uses no operation that NumPy numbers and traced JAX values do not
share.
"""

from __future__ import annotations

from collections.abc import Sequence

from .statements import (
    Assign,
    Block,
    Branch,
    Call,
    Loop,
    Plate,
    Repeat,
    Site,
    Statement,
    Switch,
    Table,
    Weighed,
    Weight,
)

HEADER = """\
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import bounded_loop, cond, deterministic, factor, mask, plate, sample, scale, scan, scope, switch


"""


def lines(statement: Statement) -> list[str]:
    """Write a statement.

    >>> from .statements import Variable
    >>> x, y = Variable("x", 2), Variable("y", 2)
    >>> lines(Site(y, "bernoulli", (x,), Table("y", "rows", (2, 2))))
    ['y = sample("y", dist.Bernoulli(probs=tables["y"][x, 1]))']
    """
    match statement:
        case Site():
            return [_site(statement)]
        case Weight():
            indices = [parent.index for parent in statement.parents]
            return [f'factor("{statement.name}", {_look_up(statement.table, indices)})']
        case Assign():
            return [f'{statement.variable.name} = deterministic("{statement.variable.name}", {_value(statement)})']
        case Branch():
            return _branch(statement)
        case Switch():
            return _switch(statement)
        case Repeat():
            return _repeat(statement)
        case Weighed():
            power = _look_up(statement.table, [parent.index for parent in statement.parents])
            argument = f"{power} == 1" if statement.how == "mask" else power
            return [f"with {statement.how}({argument}):", *indented(statement.statements)]
        case Plate():
            return [f'with plate("{statement.name}", {statement.size}):', *indented(statement.statements)]
        case Loop():
            return _loop(statement)
        case Call():
            return _call(statement)


def indented(statements: Sequence[Statement]) -> list[str]:
    """Write a body."""
    return [f"    {line}" for statement in statements for line in lines(statement)]


def tuple_text(names: Sequence[str], *, always: bool = False) -> str:
    """Write a tuple; one name stands alone unless `always`.

    >>> tuple_text(["x"]), tuple_text(["x"], always=True), tuple_text(["x", "y"])
    ('x', '(x,)', '(x, y)')
    """
    if len(names) == 1 and not always:
        return names[0]
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _look_up(table: Table, indices: Sequence[str]) -> str:
    return f'tables["{table.name}"]' + (f"[{', '.join(indices)}]" if indices else "")


def _site(site: Site) -> str:
    variable = site.variable
    indices = [":"] * site.each + [parent.index for parent in site.parents]
    if site.table is None:
        law = f"dist.DiscreteUniform({variable.low}, {variable.low + variable.card - 1})"
    elif site.family == "bernoulli":
        law = f"dist.Bernoulli(probs={_look_up(site.table, [*indices, '1'])})"
    else:
        law = f"dist.Categorical(probs={_look_up(site.table, indices)})"
    if site.observed is not None:
        return f'sample("{variable.name}", {law}, obs={site.observed})'
    return f'{variable.name} = sample("{variable.name}", {law})'


def _value(assign: Assign) -> str:
    terms = [f"({operand.index}).sum()" if operand.shape else operand.index for operand in assign.operands]
    if assign.table is not None:
        return _look_up(assign.table, terms)
    if assign.operation == "equal":
        return f"({' == '.join(terms)}).astype(int)"
    return f"({' + '.join(terms)}) % {assign.variable.card}"


def _function(name: str, parameter: str, block: Block) -> list[str]:
    return [f"def {name}({parameter}):", *indented(block.statements), f"    return {block.result.index}"]


def _branch(branch: Branch) -> list[str]:
    name = branch.variable.name
    return [
        *_function(f"{name}_then", "", branch.arms[0]),
        *_function(f"{name}_else", "", branch.arms[1]),
        f"{name} = cond({branch.test.name} == {branch.value}, {name}_then, {name}_else)",
    ]


def _switch(switch: Switch) -> list[str]:
    name, text = switch.variable.name, []
    arms = [f"{name}_arm{number}" for number in range(len(switch.arms))]
    for arm, block in zip(arms, switch.arms, strict=True):
        text += _function(arm, "", block)
    return [*text, f"{name} = switch(({switch.test.index}) % {len(arms)}, [{', '.join(arms)}])"]


def _repeat(repeat: Repeat) -> list[str]:
    name, state = repeat.variable.name, repeat.state.name
    return [
        f"def {name}_more({state}):",
        f'    return sample("{name}_coin", dist.Bernoulli(probs={_look_up(repeat.coin, [state, "1"])})) == 1',
        *_function(f"{name}_body", state, repeat.body),
        f"{name} = bounded_loop(",
        f'    {name}_more, {name}_body, {repeat.start.index}, max_steps={repeat.bound}, name="{name}"',
        ")",
    ]


def _loop(loop: Loop) -> list[str]:
    name = loop.name
    carry, ends = (tuple_text([variable.name for variable in group]) for group in (loop.carry, loop.ends))
    start = tuple_text([_look_up(x, []) if isinstance(x, Table) else x.index for x in loop.starts])
    following = tuple_text([variable.index for variable in loop.following])
    data = "None" if loop.data is None else _look_up(loop.data, [])
    several = len(loop.carry) > 1
    return [
        f"def {name}_step({'carry' if several else carry}, {name}_data):",
        *([f"    {carry} = carry"] if several else []),
        *indented(loop.statements),
        f"    return {following}, {loop.output.index}",
        f"{ends}, {loop.history.name} = scan({name}_step, {start}, {data}, length={loop.length})",
    ]


def _call(call: Call) -> list[str]:
    text = _function(call.name, call.parameter.name, call.body)
    for prefix, argument, result in zip("ab", call.arguments, call.results, strict=True):
        text += [f'with scope("{call.name}{prefix}"):', f"    {result.name} = {call.name}({argument.index})"]
    return text
