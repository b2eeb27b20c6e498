"""Which versions an erasure touches, on random trees of versions, against the ancestry walked by hand."""

from random import Random
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.erasure import Member, affected, insist_on_refold
from app.domain.errors import InvalidInputError
from app.domain.strategies import STRATEGIES, MergeOptions, NaiveOptions

_SPACE = UUID(int=0)


def _id(*what: object) -> UUID:
    return uuid5(_SPACE, " ".join(map(str, what)))


@st.composite
def trees(draw: st.DrawFn) -> list[Member]:
    """Version 0 and up to 12 descendants, each of an earlier parent and of one of four concepts."""
    members = [Member(_id("version", 0), 0, None, None)]
    for number in range(1, draw(st.integers(1, 12)) + 1):
        parent = draw(st.sampled_from(members))
        concept = draw(st.integers(0, 3))
        members.append(Member(_id("version", number), number, parent.id, _id("concept", concept)))
    return members


def _line(members: list[Member], version_id: UUID) -> list[Member]:
    """The version and its ancestors but version 0, oldest first."""
    by_id = {member.id: member for member in members}
    line: list[Member] = []
    member: Member | None = by_id[version_id]
    while member is not None and member.parent_id is not None:
        line.insert(0, member)
        member = by_id[member.parent_id]
    return line


@given(members=trees(), shuffle=st.randoms(use_true_random=False))
def test_each_version_keeps_its_chain_but_for_the_concept(members: list[Member], shuffle: Random) -> None:
    concept_id = _id("concept", 0)
    given_order = shuffle.sample(members, len(members))
    holding = affected(given_order, concept_id)
    lines = {member.id: _line(members, member.id) for member in members}
    holds = {version_id for version_id, line in lines.items() if any(m.concept_id == concept_id for m in line)}
    assert set(holding.all()) == holds
    assert set(holding.gone) == {member.id for member in members if member.concept_id == concept_id}

    # What erasing makes: each in its turn, on top of its parent's stand-in.
    made: dict[UUID, UUID] = {}
    parents: dict[UUID, UUID | None] = {member.id: member.parent_id for member in members}
    for old in holding.remade:
        parent = parents[old]
        assert parent is not None
        new = _id("new", old)
        parents[new] = holding.stand_in(parent, made)
        assert parents[new] not in holds
        made[old] = new
    origin = {new: old for old, new in made.items()}
    for member in members:
        found: list[UUID] = []
        version_id: UUID | None = holding.stand_in(member.id, made)
        while version_id is not None and parents[version_id] is not None:
            found.insert(0, origin.get(version_id, version_id))
            version_id = parents[version_id]
        assert found == [m.id for m in lines[member.id] if m.concept_id != concept_id]


def test_only_what_keeps_the_concept_apart_can_be_folded_without_it() -> None:
    insist_on_refold([(3, MergeOptions()), (4, None)])
    with pytest.raises(InvalidInputError) as error:
        insist_on_refold([(2, MergeOptions()), (3, NaiveOptions()), (5, NaiveOptions())])
    assert [fault.field for fault in error.value.faults] == ["mode"]
    assert "3 (naive), 5 (naive)" in error.value.faults[0].message
    bound = {name for name, options in STRATEGIES.items() if not options.refolds}
    assert bound == {"naive", "self_replay", "ewc"} & STRATEGIES.keys()
