"""Check: all that the linter knows of a program with its arguments, before any inference.

Law: a finding never changes a program. Errors that tracing raises are findings too, so that one look shows them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ...errors import DuplicateSiteError, LawfulError, ObservationError, ParameterError
from ...form import Form
from ...form.arguments.arrays import split_arguments
from ...form.arguments.calls import positional
from ...messages import Source
from ...passes.rolling.unrolled_sites import UnrolledWarning
from ...tracing.trace import trace
from .form_rules import LintFinding, check_form
from .observed_data import checked_data
from .precision import argument_findings
from .prior_draws import rehearse
from .scales import checked_scales
from .unread_inputs import unread_arguments

FOUND = (DuplicateSiteError, ObservationError, ParameterError)


def check_program(program: Callable[..., Any] | Form, *args: Any, **named: Any) -> tuple[LintFinding, ...]:
    """Return the findings of a program with its data: of its text, its data, and of 32 draws from its prior.

    The codes are those of the form itself, missing-plate, unused-latent, unrolled-loop, float32-hazard, blocked-site
    and unseeded, and unread-argument, name-clash, observed-shape, outside-support, nan-data, invalid-parameter and
    nonfinite-start.

    Args:
        program: a program or a Form.
        args: its arguments, data among them.
        named: arguments by name.

    Raises: LawfulError where the program cannot be traced for another reason.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     lawful.sample("y", dist.Gamma(2.0, 1.0), obs=y)
    >>> print(check_program(model, -1.0)[0])
    error outside-support: site 'y' (...): the observation -1.0 at index () lies outside ... Fix: correct the datum...
    """
    args = positional(program, args, named)
    try:
        form = trace(program, *args)
    except FOUND as error:
        return (finding_of(error),)
    found, inputs = [*check_form(form), *argument_findings(form, args)], split_arguments(args)[0]
    try:
        checked_scales(form, inputs)
        checked_data(form, inputs)
    except FOUND as error:
        return (finding_of(error), *found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnrolledWarning)  # it is a finding
        return (*found, *unread_arguments(form, program, args), *rehearse(form, inputs))


def check(form: Form, *args: Any) -> tuple[LintFinding, ...]:
    """Return the findings of the linter, as `Form.check`.

    Args:
        form: the form.
        args: the arguments that the form was traced on, data among them; without them only what the form itself
            shows is found, unless it takes none.
    """
    return check_program(form, *args) if args or not form.inputs else check_form(form)


def finding_of(error: LawfulError) -> LintFinding:
    """Read an error as a finding."""
    fields = error.fields
    if isinstance(error, DuplicateSiteError):
        code = "name-clash"
    elif isinstance(error, ParameterError):
        code = "invalid-parameter"
    else:
        code = "observed-shape" if "expected" in fields else "outside-support" if "value" in fields else "nan-data"
    return found_error(code, error)


def found_error(code: str, error: LawfulError) -> LintFinding:
    """Make a finding of a code from the message of an error."""
    found, _, remedy = str(error).partition("Fix: ")
    site, source = error.fields.get("site") or (), error.fields.get("source") or error.fields.get("second")
    found = found.partition("): ")[2] or found.partition(": ")[2] or found  # the place is told by the finding itself
    return LintFinding(code, "error", tuple(site), source or Source("<unknown>", 0), " ".join(found.split()), remedy)
