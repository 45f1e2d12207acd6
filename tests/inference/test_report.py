"""The report: one file, the verdict first, everything from a model shown as text, nothing from elsewhere."""

import html.parser
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import Limits, report_page, report_plots
from lawful.inference.collect import from_chains, from_population
from lawful.inference.findings import Finding
from lawful.inference.report import first_screen, write_diagnostics, write_report
from lawful.inference.report_checks import check_rows

MARKUP = "<b>x"


def hostile(y):
    with lawful.plate("<i>p", 2):
        x = lawful.sample(MARKUP, dist.Normal(0.0, 1.0))
    lawful.sample("y", dist.Normal(x.sum(), 1.0), obs=y)


class Reader(html.parser.HTMLParser):
    """Collects tags, links and text outside styles."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text, self.quiet = [], [], "", False

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.quiet = tag == "style"
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset")]

    def handle_endtag(self, tag):
        self.quiet = False

    def handle_data(self, data):
        self.text += "" if self.quiet else data


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.fixture(scope="module")
def result():
    return inference.importance(hostile, particles=400, runs=2)(jax.random.key(0), jnp.array(0.5))


@pytest.fixture(scope="module")
def page(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    result.report(path, plan="<u>plan", command="lawful 'run' <s>")
    return path.read_text()


def test_the_page_opens_without_anything_from_elsewhere(page):
    reader = read(page)
    assert reader.links and all(link.startswith("data:image/png;base64,") for link in reader.links)
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(\w+:)?//", page) and "@import" not in page and "url(" not in page
    assert not {"script", "link", "iframe"} & set(reader.tags)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "") and len(page) < 2_000_000


def test_a_site_whose_name_is_markup_is_shown_as_text(page, result):
    for text in (page, result._repr_html_()):
        reader = read(text)
        assert MARKUP in reader.text and not {"b>x", "i", "u", "s"} & set(reader.tags)
        assert "<b>x" not in text and "<i>p" not in text
    assert "<u>plan" in read(page).text and "lawful 'run' <s>" in read(page).text


def test_the_page_has_every_section(page, result):
    text = read(page).text
    headings = ("Variables", "Model", "Plan", "Checks", "Plots", "Evidence", "Settings", "Times, versions, device",
                "Identity", "To repeat the run")  # fmt: skip
    places = [text.index(f"{heading}") for heading in headings]
    assert places == sorted(places)
    assert "<svg" in page and f"{result.log_evidence_pooled:.4f}" in text
    assert jax.__version__ in text and "compilation" in text and "fingerprint of the data" in text
    assert "effective size of the last weights, the smallest" in text and "at least 40" in text


def test_the_page_says_whether_a_repeated_run_has_the_same_bits(page, tmp_path):
    assert f"bit for bit, with JAX {jax.__version__} on the same kind of device (cpu) in 64 bits" in read(page).text
    elsewhere = Finding("RESUMED_ELSEWHERE", "JAX 0.1, now 0.2: draws equal those of one run in law, not in bits.")
    from_chains({"x": np.arange(10.0).reshape(1, 10)}, found=(elsewhere,)).report(tmp_path / "report.html")
    text = read((tmp_path / "report.html").read_text()).text
    assert "in law, not bit for bit" in text and "The same key gives" not in text


def test_the_verdict_of_a_failed_run_stands_first_with_its_remedy(tmp_path):
    drift = np.cumsum(np.random.default_rng(0).normal(size=(2, 60)), axis=1)
    failed = from_chains({"x": drift}, stats={"diverging": np.ones((2, 60), bool)})
    failed.report(tmp_path / "report.html")
    text = read((tmp_path / "report.html").read_text()).text
    assert not failed.ok and text.index("Not ok: DIVERGENT, LOW_ESS, HIGH_RHAT") < text.index("Variables")
    for remedy in ("reparameterise the model or take smaller steps", "run longer, or use a better kernel"):
        assert text.index(remedy) < text.index("Variables")
    screen = read(failed._repr_html_()).text
    assert screen.lstrip().startswith("Not ok: DIVERGENT") and "reparameterise" in screen
    assert [row.name for row in check_rows(failed) if not row.ok] == [
        "divergent transitions", "r-hat, the largest", "bulk effective size, the smallest",
        "tail effective size, the smallest", "draws a chain",
    ]  # fmt: skip


def test_one_chain_has_a_page_without_a_comparison_of_chains(tmp_path):
    from_chains({"x": np.random.default_rng(4).normal(size=(1, 100))}).report(tmp_path / "report.html")
    text = read((tmp_path / "report.html").read_text()).text
    assert "Densities and traces" in text and "Ranks" not in text


def test_checks_that_pass_are_shown_with_their_limits():
    good = from_chains({"x": np.random.default_rng(1).normal(size=(4, 1000))}, limits=Limits(r_hat=1.05))
    rows = {row.name: row for row in check_rows(good)}
    assert good.ok and all(row.ok for row in rows.values())
    assert rows["r-hat, the largest"].limit == "at most 1.05" and rows["r-hat, the largest"].value.endswith("(x)")
    assert rows["bulk effective size, the smallest"].limit == "at least 225"


def test_a_result_without_a_living_run_has_a_page_too(tmp_path):
    values = {"x": np.zeros((2, 10))}
    none = np.full((2, 10), -np.inf)
    gone = from_population(values, none, np.full(2, -np.inf), draws=values, dead_at=np.zeros(2, int))
    gone.report(tmp_path / "report.html")
    text = read((tmp_path / "report.html").read_text()).text
    assert "Not ok: DEAD" in text and "There is no draw to show." in text and "does not know its program" in text


def test_many_variables_are_cut_and_counted(tmp_path):
    draws = np.random.default_rng(2).normal(size=(2, 50, 300))
    wide = from_chains({"x": draws[..., :150], "z": draws})
    write_report(wide, tmp_path / "report.html", plots=())
    text = read((tmp_path / "report.html").read_text()).text
    assert "x[149]" in text and "z[49]" in text and "z[50]" not in text and "and 250 more" in text
    screen = read(first_screen(wide)).text
    assert "x[7]" in screen and "x[8]" not in screen and "and 442 more" in screen


def test_diagnostics_are_strict_json(result, tmp_path):
    write_diagnostics(result, tmp_path / "d.json")
    told = json.loads((tmp_path / "d.json").read_text(), parse_constant=pytest.fail)
    assert told["ok"] == result.ok and {"name", "value", "limit", "ok"} == set(told["checks"][0])


def test_drawing_leaves_no_figure_open(result):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    (plot,) = report_plots.pictures(result)
    assert plot.name == "posterior" and plot.png.startswith(b"\x89PNG") and pyplot.get_fignums() == before


def test_without_jinja_a_report_says_what_to_install_and_a_notebook_shows_text(result, monkeypatch, tmp_path):
    report_page._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(LawfulError, match=r"needs jinja2. Fix: pip install 'lawful\[report\]'"):
        result.report(tmp_path / "report.html", plots=())
    assert result._repr_html_() is None
