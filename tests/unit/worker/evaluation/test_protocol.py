"""What the shipped base is evaluated with, and what an option changes."""

from pathlib import Path

import pytest

from app.domain.base_models import BaseModelManifest
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.evaluations import Alignment, EvaluationOptions, EvaluationProtocol
from worker.evaluation.colours import BACKGROUNDS
from worker.evaluation.encoders.encoder_registry import load_encoder

ICONS = BaseModelManifest.model_validate_json(Path("base_models/icons-64/palimpsest.json").read_bytes())


@pytest.mark.parametrize("kind", ConceptKind)
def test_the_embedded_base_draws_sixteen_pictures_a_cell_on_backgrounds_that_can_be_told(kind: ConceptKind) -> None:
    protocol = ICONS.evaluation
    assert protocol.pictures_per_cell(kind) == 16
    assert protocol.alignment is Alignment.BACKGROUND
    for template in protocol.templates(kind):
        assert template.endswith(" background")
        assert template.split()[-2] in BACKGROUNDS
    assert load_encoder(protocol.encoders.of(kind)).name == protocol.encoders.of(kind)


def test_what_strategies_may_replay_is_no_prompt_of_the_evaluation() -> None:
    """Else a strategy that rehearses would be scored on what it has rehearsed."""
    taught = [
        TaughtConcept(name="rex", kind=ConceptKind.OBJECT, class_noun="dog", token="zvx"),
        TaughtConcept(name="ink", kind=ConceptKind.STYLE, class_noun=None, token="quf"),
    ]
    asked = {prompt for concept in taught for prompt in ICONS.evaluation.prompts(concept)}
    assert not asked & {*ICONS.neutral_prompts, *(concept.instance_prompt() for concept in taught)}
    assert "a photo of zvx dog on a white background" in asked
    assert "quf style image of a mushroom on a white background" in asked


def test_options_change_what_they_say_and_nothing_else() -> None:
    protocol = EvaluationProtocol()
    changed = protocol.overridden(EvaluationOptions(steps=3, seed=9))
    assert (changed.steps, changed.seed) == (3, 9)
    assert changed.model_copy(update={"steps": protocol.steps, "seed": protocol.seed}) == protocol
    assert protocol.overridden(EvaluationOptions()) == protocol
