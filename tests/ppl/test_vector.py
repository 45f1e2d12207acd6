"""The picture of a Form as SVG: the graph of its dependences, laid out without overlaps; names stay text."""

import itertools
from xml.etree import ElementTree

import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, plate, sample
from lawful.form.dependence import dependence
from lawful.inspection.drawing.graph_text import drawable
from lawful.inspection.drawing.svg import WIDEST, layout

from .programs import PROGRAMS
from .test_draw import crossing, everything

NORMAL = dist.Normal(0.0, 1.0)
SVG = "{http://www.w3.org/2000/svg}"


def many():
    for i in range(60):
        sample(f"x{i}", NORMAL)


MODELS = {**PROGRAMS, "everything": (everything, (np.zeros(2),)), "crossing": (crossing, ()), "many": (many, ())}


def apart(one, other):
    wide = abs(one.x - other.x) >= (one.width + other.width) / 2 - 1e-9
    return wide or abs(one.y - other.y) >= (one.height + other.height) / 2 - 1e-9


def encloses(outer, inner):
    wide = abs(outer.x - inner.x) <= (outer.width - inner.width) / 2 + 1e-9
    return wide and abs(outer.y - inner.y) <= (outer.height - inner.height) / 2 + 1e-9


@pytest.mark.parametrize("name", MODELS)
def test_no_two_vertices_overlap_and_a_box_holds_its_own_vertices_alone(name):
    found = dependence(lawful.trace(MODELS[name][0], *MODELS[name][1]), named=True)
    boxed = drawable(found)
    placed = layout(found, {address: (50.0 + 7 * k, 30.0) for k, address in enumerate(found.vertices)})
    vertices = {address: placed.places[address] for address in found.vertices}
    boxes = {box: place for box, place in placed.places.items() if box not in vertices}
    for one, other in itertools.combinations(vertices.values(), 2):
        assert apart(one, other)
    for box, outline in boxes.items():
        for address, vertex in found.vertices.items():
            inside = any(own.key == box.key and own == box for own in vertex.boxes if boxed(own))
            assert (encloses if inside else apart)(outline, vertices[address])
    whole = placed.places.values()
    assert all(0 <= p.x - p.width / 2 and p.x + p.width / 2 <= placed.width + 1e-9 for p in whole)
    assert all(0 <= p.y - p.height / 2 and p.y + p.height / 2 <= placed.height + 1e-9 for p in whole)
    assert name != "many" or placed.width < 2 * WIDEST


@pytest.mark.parametrize("name", ["straight", "plates", "chain", "scopes", "branches"])
def test_causes_stand_above_effects(name):
    """Where no box is both read by a vertex outside and reads it."""
    found = dependence(lawful.trace(PROGRAMS[name][0], *PROGRAMS[name][1]), named=True)
    placed = layout(found, dict.fromkeys(found.vertices, (50.0, 30.0)))
    for (tail, head), carried in found.edges.items():
        assert carried or placed.places[tail].y < placed.places[head].y


@pytest.mark.parametrize("name", MODELS)
def test_the_picture_is_well_formed_and_has_every_vertex_and_every_arrow_once(name):
    form = lawful.trace(MODELS[name][0], *MODELS[name][1])
    found = dependence(form, named=True)
    root = ElementTree.fromstring(form.to_svg())
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert sorted(titles) == sorted(vertex.name for vertex in found.vertices.values())
    assert len(list(root.iter(f"{SVG}path"))) == len(list(root.iter(f"{SVG}polygon"))) == len(found.edges)


def test_kinds_of_vertices_look_different():
    root = ElementTree.fromstring(lawful.trace(everything, np.zeros(2)).to_svg())
    shapes = {group.find(f"{SVG}title").text: group[1] for group in root.iter(f"{SVG}g")}
    assert shapes["mu"].attrib["fill"] == "#fff" and shapes["y"].attrib["fill"] == "#d5d5d5"
    assert "stroke-dasharray" in shapes["twice"].attrib and "stroke-dasharray" not in shapes["mu"].attrib
    assert shapes["soft"].tag == f"{SVG}rect" and shapes["mu"].tag == f"{SVG}ellipse"
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {"school × 2", "loop of 3", "soft"} <= set(texts)


def test_names_are_text_and_long_ones_are_cut_where_they_are_drawn():
    def model():
        with plate("a<b", 2):
            sample("<script>x</script>", NORMAL)
        sample("y" * 80, NORMAL)
        factor('"&', 0.0)

    text = lawful.trace(model).to_svg()
    root = ElementTree.fromstring(text)
    assert "<script" not in text and "&lt;script&gt;" in text
    drawn = [span.text for span in root.iter(f"{SVG}tspan")]
    assert max(map(len, drawn)) == 30 and "y" * 80 in [title.text for title in root.iter(f"{SVG}title")]


def test_equal_forms_give_equal_pictures():
    one, other = (lawful.trace(lambda y: everything(y), np.zeros(2)) for _ in range(2))
    assert one is not other and one.to_svg() == other.to_svg()
