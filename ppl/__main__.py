"""The command line: `python -m lawful run FILE.py:model` and `python -m lawful check FILE.py:model`.

Exit codes of `run`: 0 the result is ok, 1 the inference failed, 2 the program or its data cannot be used, 3 the result
is there and not ok. Exit codes of `check`: 0 no error was found, 1 errors (with --strict also warnings), 2 the program
or its data cannot be used.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OK, FAILED, UNUSABLE, NOT_OK = range(4)
USUAL = {"particles": 1000, "runs": 4, "warmup": 1000}  # where a method has such a setting
NUMBERS = {
    "particles": "particles of methods that have them (default: 1000)",
    "runs": "independent runs of these (default: 4)",
    "chains": "chains of Markov chains (default: 4)",
    "warmup": "steps before the first draw (default: 1000)",
    "draws": "draws a chain (default: 1000)",
    "thin": "steps a draw (default: 1)",
}
NEEDED = ("netCDF4", "jinja2", "matplotlib")  # by what `run` writes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    options = _parser().parse_args(arguments)
    import jax

    if options.x64:
        jax.config.update("jax_enable_x64", True)
    return options.command(options, list(sys.argv[1:] if arguments is None else arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lawful", description="Probabilistic programs and inference.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="infer, and write posterior, diagnostics, plots and report")
    check = commands.add_parser("check", help="look for likely mistakes, without an inference")
    for command in (run, check):
        command.add_argument("program", metavar="FILE.py:NAME", help="the program; module:NAME works as well")
        command.add_argument(
            "--data", metavar="FILE", help="JSON: the program's arguments by name or in order; CSV: a column each"
        )
        command.add_argument("--x64", action="store_true", help="compute in 64 bits")
    run.add_argument("--out", metavar="FOLDER", default="out", help="where to write (default: out)")
    run.add_argument(
        "--algorithm",
        "--method",
        dest="algorithm",
        metavar="NAME",
        help="a method of lawful.inference, as smc or mcmc, one that FILE.py registers, or nuts (default: what suits "
        "the program)",
    )
    run.add_argument(
        "--enumerate",
        metavar="NAMES",
        nargs="?",
        const="all",
        help="finite sites to sum out: names with commas between them, or all (default: what suits the program)",
    )
    run.add_argument("--seed", type=int, default=0, help="seed of the run (default: 0)")
    for name, what in NUMBERS.items():
        run.add_argument(f"--{name}", type=int, help=what)
    run.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="any other setting of the method, as --set resample_below=0.8 or --set 'kernel=random_walk(0.5)'",
    )
    run.set_defaults(command=_run)
    check.add_argument("--algorithm", metavar="NAME", help="can this inference move every site? smc, nuts, ...")
    check.add_argument("--json", action="store_true", help="write the findings as JSON")
    check.add_argument("--strict", action="store_true", help="count warnings as errors")
    check.set_defaults(command=_check)
    return parser


def _complain(error: Exception) -> None:
    """Tell what went wrong; an error that is not ours comes with the place where it arose."""
    from lawful.errors import LawfulError

    if isinstance(error, LawfulError | OSError):
        print(f"lawful: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)


def _run(options: argparse.Namespace, words: list[str]) -> int:
    from dataclasses import replace

    from lawful import trace
    from lawful.command_line import load_program, read_arguments
    from lawful.inference.algorithms.advice import suited
    from lawful.inference.results.report.plots import pictures
    from lawful.inference.results.report.report import write_diagnostics

    try:
        _require()
        program = load_program(options.program)
        args = read_arguments(program, options.data)
        algorithm = options.algorithm or suited(trace(program, *args))
        plan = _plan(program, algorithm, options)
        out = Path(options.out)
        out.mkdir(parents=True, exist_ok=True)
    except Exception as error:
        _complain(error)
        return UNUSABLE
    try:
        text = plan.plan(*args)
        print(text, flush=True)
        result = plan(options.seed, *args)
        result = replace(result, run={**result.run, "program": options.program})
        result.save(out / "posterior.nc")
    except Exception as error:
        _complain(error)
        return FAILED
    plots = pictures(result)
    for plot in plots:
        (out / f"{plot.name}.png").write_bytes(plot.png)
    write_diagnostics(result, out / "diagnostics.json")
    result.report(out / "report.html", plan=text, command=f"python -m lawful {shlex.join(words)}", plots=plots)
    print(result)
    names = ("report.html", "posterior.nc", "diagnostics.json", *(f"{plot.name}.png" for plot in plots))
    print(f"written: {', '.join(str(out / name) for name in names)}")
    return OK if result.ok else NOT_OK


def _require() -> None:
    """Refuse to begin what could not be written in the end."""
    from importlib.util import find_spec

    from lawful.errors import LawfulError

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise LawfulError(
            f"run writes posterior, plots and report, which needs {', '.join(missing)}. Fix: "
            "pip install 'lawful[report]'.",
            missing=tuple(missing),
        )


def _plan(program: Any, algorithm: str, options: argparse.Namespace) -> Any:
    from dataclasses import fields

    from lawful import inference
    from lawful.command_line import read_setting
    from lawful.errors import LawfulError
    from lawful.inference.registered import all_methods, method_of

    kind = method_of("mcmc" if algorithm == "nuts" else algorithm)
    if kind is None or kind.sums:
        drawing = ", ".join(name for name, known in all_methods().items() if not known.sums)
        raise LawfulError(f"algorithm '{algorithm}': expected nuts or one of {drawing}.", method=algorithm)
    has = {f.name for f in fields(kind)}
    usual = {name: value for name, value in USUAL.items() if name in has}
    given = {name: getattr(options, name) for name in NUMBERS if getattr(options, name) is not None}
    if options.enumerate is not None:
        given["enumerate"] = "all" if options.enumerate == "all" else options.enumerate.split(",")
    if options.algorithm == "nuts":
        given["kernel"] = inference.kernels.nuts()
    given |= dict(read_setting(text, vars(inference.kernels)) for text in options.set)
    if not given.keys() <= has:
        raise LawfulError(
            f"{kind.name} has no setting {', '.join(sorted(given.keys() - has))}; it has {', '.join(sorted(has))}.",
            method=kind.name,
        )
    return kind(**{"on_fault": "flag", **usual, **given}).on(program)


def _check(options: argparse.Namespace, words: list[str]) -> int:
    from lawful.command_line import load_program, read_arguments
    from lawful.inspection.lint.check import check_program

    try:
        program = load_program(options.program)
        args = read_arguments(program, options.data)
        found = list(check_program(program, *args))
        if options.algorithm and not any(finding.level == "error" for finding in found):
            from lawful.inference.algorithms.advice import plan_findings

            found += plan_findings(program, args, options.algorithm)
    except Exception as error:
        _complain(error)
        return UNUSABLE
    if options.json:
        print(json.dumps([_record(finding) for finding in found], indent=2))
    else:
        for finding in found:
            print(finding)
        errors = sum(finding.level == "error" for finding in found)
        print(f"{_counted(errors, 'error')}, {_counted(len(found) - errors, 'warning')}")
    failing = found if options.strict else [finding for finding in found if finding.level == "error"]
    return FAILED if failing else OK


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _record(finding: Any) -> dict[str, Any]:
    return {
        "code": finding.code, "level": finding.level, "site": ".".join(map(str, finding.site)),
        "file": finding.source.file, "line": finding.source.line, "found": finding.found, "remedy": finding.remedy,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
