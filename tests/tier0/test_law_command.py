"""`python -m lawful.inference.check`: a line for each row, and an exit code that tells whether laws hold."""

import dataclasses

import pytest

from lawful.inference.check import __main__ as command
from lawful.inference.check.rows.law import identity_verdicts
from lawful.inference.check.rows.rows import IDENTITIES

pytestmark = pytest.mark.tier0


@pytest.mark.slow
def test_the_chosen_rows_are_printed_and_the_exit_code_is_zero(capsys):
    assert command.main(["nested branches", "random walk"]) == 0
    heading, nested, walk, total = capsys.readouterr().out.splitlines()
    assert heading.startswith("row")
    assert nested.startswith("mh single site, nested branches") and nested.endswith("passed")
    assert walk.startswith("mh random walk (density identities)") and walk.endswith("passed")
    assert total.startswith("2 programs, largest error ")


@pytest.mark.slow
def test_every_identity_has_a_line_with_its_error(capsys):
    """Also those that compare probabilities and no measure."""
    names = [row.name for row in IDENTITIES]
    assert command.main(names) == 0
    lines = capsys.readouterr().out.splitlines()[1:-1]
    assert [line.split(" (density")[0] for line in lines] == names
    assert all(float(line.split()[-3]) < 1.0 and line.endswith("passed") for line in lines)


def test_a_law_that_does_not_hold_is_told_by_the_exit_code(capsys, monkeypatch):
    def broken(parts):
        for verdict in identity_verdicts(parts):
            report = dataclasses.replace(verdict.report, status="failed", measure_error=0.5, remarks="flux asymmetric")
            yield dataclasses.replace(verdict, report=report)

    monkeypatch.setattr(command, "identity_verdicts", broken)
    assert command.main(["random walk"]) == 1
    printed = capsys.readouterr()
    assert "failed" in printed.out and "largest error 5.0e-01" in printed.out
    assert "flux asymmetric" in printed.err


def test_a_name_of_no_row_is_an_error(capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["nested branches", "slice"])
    assert caught.value.code == 2
    assert "no row has 'slice' in its name. Fix: give a part of one of these: " in capsys.readouterr().err
