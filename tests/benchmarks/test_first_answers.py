"""First answers: a fresh process tells its parts, and an answer that is ok."""

from benchmarks.first_answers import AIMS, PARTS, PROGRAMS, main, measured


def test_a_fresh_process_tells_its_parts():
    found = measured("schools")
    assert found["ok"] and found["tried"] == ["guide, grid: ok"]
    assert sum(found[part] for part in ("imports", "plan", "run", "table")) <= found["all"] < 120


def test_the_table_has_a_line_for_each_program(monkeypatch, capsys):
    run = {"ok": True, "tried": ["guide: ok"], **dict.fromkeys(PARTS, 1.0)}
    monkeypatch.setattr("benchmarks.first_answers.measured", lambda name: run)
    assert main(["--runs", "1"]) == 0 and len(capsys.readouterr().out.splitlines()) == 1 + len(PROGRAMS) == 1 + len(
        AIMS
    )
    run["ok"] = False
    assert main(["level"]) == 1 and " NO " in capsys.readouterr().out
