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
from lawful.inference import Limits
from lawful.inference.findings.findings import Finding
from lawful.inference.results.collect import from_chains, from_population
from lawful.inference.results.report import page as report_page
from lawful.inference.results.report import plots as report_plots
from lawful.inference.results.report.checks import check_rows
from lawful.inference.results.report.predicted import predicted_plot
from lawful.inference.results.report.report import first_screen, write_diagnostics, write_report
from lawful.inference.results.variable_order import leading_elements, leading_first

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
    headings = ("Model", "Variables", "Predictions", "Checks", "Plots", "Evidence", "Plan", "Settings",
                "Times, versions, device", "Identity", "To repeat the run")  # fmt: skip
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
    assert not failed.ok and text.index("Not ok: DIVERGENT, LOW_ESS, HIGH_RHAT") < text.index("Model")
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
    assert "density, trace" in text and "ranks" not in text


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


@pytest.mark.slow
def test_many_variables_are_cut_and_counted(tmp_path):
    draws = np.random.default_rng(2).normal(size=(2, 50, 300))
    wide = from_chains({"x": draws[..., :150], "z": draws})
    write_report(wide, tmp_path / "report.html", plots=())
    text = read((tmp_path / "report.html").read_text()).text
    assert "x[149]" in text and "z[49]" in text and "z[50]" not in text and "and 250 more" in text
    page = (tmp_path / "report.html").read_text()
    assert page.index("x[11]") < page.index("<summary>188 more</summary>") < page.index("x[12]")  # the rest is folded
    screen = read(first_screen(wide)).text
    assert "x[11]" in screen and "x[12]" not in screen and "and 438 more" in screen


def test_parameters_stand_before_their_many_effects():
    draws = np.random.default_rng(2).normal(size=(2, 50, 30))
    result = from_chains({"effect": draws, "mean": draws[..., 0], "sd": draws[..., 1:3]})
    assert list(leading_first(result)) == ["mean", "sd", "effect"]
    assert [label for label, _ in leading_elements(result, 6)] == ["mean", "sd[0]", "sd[1]"]
    assert [label for label, _ in leading_elements(from_chains({"x": draws}), 2)] == ["x[0]", "x[1]"]


def regression(x, y):
    slope = lawful.sample("slope", dist.Normal(0.0, 10.0))
    with lawful.plate("row", 30):
        lawful.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def flags(x, y):
    slope = lawful.sample("slope", dist.Normal(0.0, 10.0))
    with lawful.plate("row", 30):
        lawful.sample("y", dist.Bernoulli(logits=slope * x), obs=y)


def scalar(x, y):
    lawful.sample("y", dist.Poisson(jnp.exp(lawful.sample("rate", dist.Normal(0.0, 1.0)))), obs=y[0])


def steps(x, y):
    def step(level, y):
        level = lawful.sample("level", dist.Normal(level, 1.0))
        return level, lawful.sample("y", dist.Poisson(jnp.exp(level)), obs=y)

    lawful.scan(step, 0.0, y)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("model", "title"),
    [
        (regression, r"y: observed \(dots\), predicted intervals of 50 % and 90 % \(\d+ of 30 inside 90 %\)"),
        (flags, "y: shares of ones"),
        (scalar, "y: predicted"),
        (steps, "y: "),
    ],
)
def test_predictions_stand_beside_the_data(model, title):
    x = np.linspace(-2.0, 2.0, 30)
    y = (x > 0).astype(float if model is regression else int)
    figure = predicted_plot(inference.importance(model, particles=200, runs=2)(jax.random.key(0), x, y))
    (axes,) = figure.axes
    assert re.match(title, axes.get_title(loc="left"))
    assert np.isin(axes.lines[-1].get_ydata() if model is regression else y, [0, 1]).all()


def test_what_cannot_be_predicted_has_no_plot_of_predictions():
    assert predicted_plot(from_chains({"x": np.zeros((2, 5))})) is None


def test_the_page_has_no_verdict_beside_that_of_the_checks(tmp_path):
    """Chains that are autocorrelated fail tests of uniform ranks at any size; what is judged stands in the checks."""
    steps = np.random.default_rng(0).normal(size=(4, 2000))
    for draw in range(1, 2000):
        steps[:, draw] = 0.8 * steps[:, draw - 1] + 0.6 * steps[:, draw]
    good = from_chains({"x": steps})
    good.report(tmp_path / "report.html")
    assert good.ok and "p=" not in read((tmp_path / "report.html").read_text()).text
    assert not {"plot_rank", "plot_rank_dist"} & set(dir(report_plots))


def test_a_check_of_a_filter_names_its_last_state_and_fails_alone():
    def walk(y):
        sd = lawful.sample("sd", dist.HalfNormal(1.0))

        def step(x, y):
            x = lawful.sample("x", dist.Normal(x, sd))
            lawful.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        lawful.scan(step, 0.0, y)

    y = jnp.asarray(np.cumsum(np.random.default_rng(0).normal(size=40)))
    result = inference.smc(walk, particles=200, runs=4)(jax.random.key(0), y)
    rows = {row.name: row for row in check_rows(result)}
    assert [row.name for row in rows.values() if not row.ok][0] == "different values that draws are worth, the fewest"
    assert rows["different values that draws are worth, the fewest"].value.endswith("(sd)")
    assert rows["effective size of the last weights, the smallest"].ok
    assert rows["r-hat over runs, the largest"].value.endswith(("(sd)", "(x[39])"))


def test_diagnostics_are_strict_json(result, tmp_path):
    write_diagnostics(result, tmp_path / "d.json")
    told = json.loads((tmp_path / "d.json").read_text(), parse_constant=pytest.fail)
    assert told["ok"] == result.ok and {"name", "value", "limit", "ok"} == set(told["checks"][0])


def test_drawing_leaves_no_figure_open(result):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    predictions, plot = report_plots.pictures(result)
    assert (predictions.name, plot.name) == ("predictions", "posterior")
    assert plot.png.startswith(b"\x89PNG") and pyplot.get_fignums() == before


def test_without_jinja_a_report_says_what_to_install_and_a_notebook_shows_text(result, monkeypatch, tmp_path):
    report_page._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(LawfulError, match=r"needs jinja2. Fix: pip install 'lawful\[report\]'"):
        result.report(tmp_path / "report.html", plots=())
    assert result._repr_html_() is None
