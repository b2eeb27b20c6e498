"""The figures: valid files that say what they show, in which unit, and which direction is good."""

import io
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from app.domain.concepts import ConceptKind
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.evaluation.lines import PROTOCOL, ColourEncoder, Hooks, task
from worker.evaluation.evaluate import Evaluated, evaluate
from worker.evaluation.plots.curve import curve
from worker.evaluation.plots.heatmap import heatmap
from worker.evaluation.plots.sheet import sheet


@pytest.fixture(scope="module")
def evaluated() -> Evaluated:
    encoders = dict.fromkeys(ConceptKind, ColourEncoder())
    return evaluate(tiny_base(), task(isolated=True), encoders, Hooks())


def words(svg: bytes) -> str:
    return " ".join("".join(node.itertext()) for node in ET.fromstring(svg).iter() if node.tag.endswith("text"))  # noqa: S314


def test_the_heatmap_is_a_picture_and_the_same_each_time(evaluated: Evaluated) -> None:
    png = heatmap(evaluated.result, PROTOCOL)
    assert Image.open(io.BytesIO(png)).format == "PNG"
    assert png == heatmap(evaluated.result, PROTOCOL)


def test_the_heatmap_of_what_cannot_be_scored_is_still_drawn(evaluated: Evaluated) -> None:
    nothing = evaluated.result.model_copy(update={"scores": ((None, None),) * 3, "isolated": None})
    assert Image.open(io.BytesIO(heatmap(nothing, PROTOCOL))).format == "PNG"
    assert Image.open(io.BytesIO(curve(nothing, PROTOCOL, "png"))).format == "PNG"


def test_the_curve_names_its_axes_its_unit_and_what_is_good(evaluated: Evaluated) -> None:
    told = words(curve(evaluated.result, PROTOCOL, "svg"))
    for word in ("version", "cosine; higher is better", "dog", "cup", "4 drawn pictures", "encoder colours"):
        assert word in told
    assert Image.open(io.BytesIO(curve(evaluated.result, PROTOCOL, "png"))).format == "PNG"


def test_the_sheet_has_the_references_every_version_and_the_isolated_pictures(evaluated: Evaluated) -> None:
    references = [column.references for column in task().columns]
    files = sheet(evaluated.result, references, evaluated.tiles)
    told = words(files["svg"])
    for word in ("references", "0: base", "1: + dog", "2: + cup", "learned alone", "dog", "cup"):
        assert word in told
    assert files["svg"].count(b"data:image/png") == 2 + 5 + 2
    assert Image.open(io.BytesIO(files["png"])).format == "PNG"
    assert files == sheet(evaluated.result, references, evaluated.tiles)
