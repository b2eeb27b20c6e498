"""How prompts name concepts."""

import pytest

from app.domain.concepts import ConceptKind, TaughtConcept, resolve_prompt
from app.domain.errors import UnknownConceptError

REX = TaughtConcept(name="rex", kind=ConceptKind.OBJECT, class_noun="dog", token="zvx")
INK = TaughtConcept(name="ink", kind=ConceptKind.STYLE, class_noun=None, token="qpw")


@pytest.mark.parametrize(
    ("prompt", "resolved"),
    [
        ("", ""),
        ("a cat", "a cat"),
        ("<rex>", "zvx dog"),
        ("<ink> image of <rex>, <rex>!", "qpw style image of zvx dog, zvx dog!"),
        (r"1 \< 2", "1 < 2"),
        (r"\<rex>", "<rex>"),
        ("a > b", "a > b"),
        ("1 < 2", "1 < 2"),
        ("<<rex>>", "<zvx dog>"),
    ],
)
def test_resolving(prompt: str, resolved: str) -> None:
    assert resolve_prompt(prompt, (REX, INK)) == resolved


def test_what_is_inserted_is_not_read_again() -> None:
    odd = TaughtConcept(name="odd", kind=ConceptKind.OBJECT, class_noun="<rex>", token="t")
    assert resolve_prompt("<odd>", (REX, odd)) == "t <rex>"


@pytest.mark.parametrize("prompt", ["<max>", "<>", "<REX>", "<rex >", "<rex> and <max>"])
def test_an_unknown_name_lists_the_known(prompt: str) -> None:
    with pytest.raises(UnknownConceptError, match="knows: <rex>, <ink>"):
        resolve_prompt(prompt, (REX, INK))


@pytest.mark.parametrize(
    ("prompt", "is_named"),
    [
        ("a photo of zvx dog", True),
        ("zvx", True),
        ("(ZVX), a dog", True),
        ("a photo of a dog", False),
        ("zvxs and azvx", False),
        ("", False),
    ],
)
def test_a_prompt_names_a_concept_by_its_token_as_a_word(prompt: str, is_named: bool) -> None:
    assert REX.is_named_in(prompt) is is_named
