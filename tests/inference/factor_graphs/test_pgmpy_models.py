"""Models of pgmpy: read by what they have, so a stand-in with as much serves; pgmpy itself where it is there."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lawful.errors import LawfulError, MalformedFileError
from lawful.inference.graphs import FactorGraph, eliminated
from lawful.inference.graphs.formats.pgmpy_models import from_bif
from tests.inference.factor_graphs.written_graphs import joint


class Table(SimpleNamespace):
    """A factor as pgmpy has it; it may be a node of a factor graph."""

    __hash__ = object.__hash__

    def __init__(self, variables, values, states=None):
        super().__init__(variables=list(variables), values=np.asarray(values), state_names=states or {})


class Model:
    def __init__(self, nodes, tables, name):
        self.nodes = lambda: nodes
        setattr(self, name, lambda: tables)


SPRINKLER = {"rain": ["no", "yes"], "wet": ["dry", "damp", "soaked"]}
RAIN = Table(["rain"], [0.8, 0.2], {"rain": SPRINKLER["rain"]})
WET = Table(["wet", "rain"], [[0.9, 0.1], [0.1, 0.3], [0.0, 0.6]], SPRINKLER)


def test_a_table_of_a_variable_has_it_on_the_last_axis_here():
    graph = FactorGraph.from_pgmpy(Model(["wet", "rain"], [WET, RAIN], "get_cpds"))
    expected = WET.values * RAIN.values
    np.testing.assert_allclose(np.exp(joint(graph)), expected, rtol=1e-15)
    assert [f.states for f in graph.structure.families] == [tuple(SPRINKLER["wet"]), tuple(SPRINKLER["rain"])]
    assert [graph.factor_name(k, 0) for k in range(2)] == ["p(rain)", "p(wet)"]
    assert graph.observe({"wet": "soaked"}).evidence["wet"].tolist() == 2
    assert graph.to_uai().split()[:9] == "BAYES 2 3 2 2 2 1 0 1".split()
    assert float(eliminated(graph).log_z) == pytest.approx(0.0, abs=1e-15)


def test_tables_of_a_markov_network_keep_their_axes():
    pair = Table(["wet", "rain"], 1 + np.arange(6).reshape(3, 2), SPRINKLER)
    graph = FactorGraph.from_pgmpy(Model(["rain", "wet"], [pair, RAIN], "get_factors"))
    np.testing.assert_allclose(np.exp(joint(graph)), (pair.values * RAIN.values).T, rtol=1e-15)
    assert graph.to_uai().startswith("MARKOV")
    assert graph.factor_name(1, 0) == "factor 0"


def test_the_tables_of_a_factor_graph_are_nodes_and_no_variables():
    model = Model(["wet", RAIN, "rain", "phi_wet_rain"], [WET, RAIN], "get_factors")
    model.get_factor_nodes = lambda: [RAIN, "phi_wet_rain"]
    graph = FactorGraph.from_pgmpy(model)
    assert [f.name for f in graph.structure.families] == ["wet", "rain"]
    np.testing.assert_allclose(np.exp(joint(graph)), WET.values * RAIN.values, rtol=1e-15)


def test_states_that_are_only_numbered_have_no_names_and_others_are_texts():
    tables = [Table(["a"], [1, 2]), Table(["b"], [1, 2, 3], {"b": [0, 1, 2]}), Table([7], [1, 2], {7: [1, True]})]
    graph = FactorGraph.from_pgmpy(Model(["a", "b", 7], tables, "get_factors"))
    assert [(f.name, f.states) for f in graph.structure.families] == [("a", None), ("b", None), ("7", ("1", "True"))]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (object(), "expected a BayesianNetwork, MarkovNetwork or FactorGraph of pgmpy, got object"),
        (Model(["x"], [SimpleNamespace(variable="x", std=1.0)], "get_cpds"), "discrete tables.*got SimpleNamespace"),
        (Model(["rain", "wind"], [RAIN], "get_cpds"), "'wind' stands in no table, so its states are not known. Fix"),
        (Model(["wet"], [WET], "get_cpds"), "'rain' is no node of the model"),
        (Model(["rain"], [Table(["rain"], [0.5, -0.5])], "get_cpds"), "finite and not negative"),
        (Model(["rain"], [Table(["rain"], [0.5, np.nan])], "get_cpds"), "finite and not negative"),
        (
            Model(["rain"], [RAIN, Table(["rain"], [1, 1], {"rain": ["yes", "no"]})], "get_factors"),
            "list the states of 'rain' differently: .'no', 'yes'. and .'yes', 'no'.. Fix",
        ),
    ],
)
def test_what_is_no_discrete_model_is_refused(model, message):
    with pytest.raises(MalformedFileError, match=message):
        FactorGraph.from_pgmpy(model)


def test_a_file_needs_pgmpy_and_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pgmpy.readwrite", None)
    monkeypatch.setitem(sys.modules, "pgmpy", None)
    with pytest.raises(LawfulError, match=r"pip install 'lawful\[pgmpy\]'"):
        FactorGraph.from_bif(tmp_path / "asia.bif")


@pytest.mark.parametrize(
    ("name", "reader"), [("a.bif", "BIFReader"), ("a.XML", "XMLBIFReader"), ("a.xmlbif", "XMLBIFReader"),
                         ("a.xdsl", "XDSLReader")]
)  # fmt: skip
def test_the_ending_tells_the_formats_apart(name, reader, tmp_path, monkeypatch):
    model = Model(["rain"], [RAIN], "get_cpds")
    module = SimpleNamespace(**{reader: lambda path: SimpleNamespace(get_model=lambda: model)})
    monkeypatch.setitem(sys.modules, "pgmpy", SimpleNamespace(readwrite=module))
    monkeypatch.setitem(sys.modules, "pgmpy.readwrite", module)
    (tmp_path / name).write_text("a network")
    assert from_bif(tmp_path / name)["rain"].family.states == ("no", "yes")
    with pytest.raises(MalformedFileError, match="there is no such file"):
        from_bif(tmp_path / f"other{name}")


def test_what_its_parsers_say_comes_with_the_name_of_the_file(tmp_path, monkeypatch):
    module = SimpleNamespace(BIFReader=fails)
    monkeypatch.setitem(sys.modules, "pgmpy", SimpleNamespace(readwrite=module))
    monkeypatch.setitem(sys.modules, "pgmpy.readwrite", module)
    (tmp_path / "a.bif").write_text("nothing")
    with pytest.raises(MalformedFileError, match="a.bif: pgmpy cannot read it as BIF: KeyError: 'variable'"):
        from_bif(tmp_path / "a.bif")


def fails(path):
    raise KeyError("variable")


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(LawfulError, match=r"ends in .bif, .xmlbif, .xml, .xdsl, got '.net'"):
        from_bif(tmp_path / "a.net")


# pgmpy itself, where it is installed


@pytest.fixture(scope="module")
def pgmpy():
    return pytest.importorskip("pgmpy", reason="needs the extra pgmpy")


def network():
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    model = DiscreteBayesianNetwork([("rain", "wet"), ("sprinkler", "wet")])
    model.add_cpds(
        TabularCPD("rain", 2, [[0.8], [0.2]], state_names={"rain": ["no", "yes"]}),
        TabularCPD("sprinkler", 2, [[0.6], [0.4]], state_names={"sprinkler": ["off", "on"]}),
        TabularCPD("wet", 3, [[0.9, 0.2, 0.3, 0.0], [0.1, 0.3, 0.3, 0.1], [0.0, 0.5, 0.4, 0.9]],
                   ["rain", "sprinkler"], [2, 2],
                   state_names={"wet": ["dry", "damp", "soaked"], "rain": ["no", "yes"], "sprinkler": ["off", "on"]}),
    )  # fmt: skip
    return model


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of its own modules, on one another
@pytest.mark.parametrize("kind", ["bayesian", "markov", "factor graph"])
def test_a_model_of_pgmpy_has_its_marginals(pgmpy, kind):
    from pgmpy.inference import VariableElimination

    model = network()
    if kind != "bayesian":
        model = model.to_markov_model()
    given = model.to_factor_graph() if kind == "factor graph" else model
    found = eliminated(FactorGraph.from_pgmpy(given).observe({"wet": "damp"}))
    expected = VariableElimination(model).query(["rain"], evidence={"wet": "damp"}, show_progress=False)
    weights = expected.values / expected.values.sum()  # those of a Markov network come without a normaliser
    np.testing.assert_allclose(found.beliefs["rain"], weights, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("ending", "writer"), [("bif", "BIFWriter"), ("xmlbif", "XMLBIFWriter")])
def test_a_file_that_pgmpy_wrote_has_the_measure_of_its_model(pgmpy, ending, writer, tmp_path):
    import pgmpy.readwrite

    path = tmp_path / f"network.{ending}"
    written = getattr(pgmpy.readwrite, writer)(network())
    written.write(str(path))
    graph, expected = FactorGraph.from_bif(path), FactorGraph.from_pgmpy(network())
    assert {f.name: f.states for f in graph.structure.families} == {
        f.name: f.states for f in expected.structure.families
    }
    for name, p in eliminated(expected).beliefs.items():
        np.testing.assert_allclose(eliminated(graph).beliefs[name], p, rtol=0, atol=1e-14)
