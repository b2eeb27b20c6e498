"""Lineages and versions: numbers, parents, heads. Written without `app.db.histories`, whose queries it is to check."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import ErasedVersion, Lineage, Version
from app.domain.lineages import VersionStatus
from app.integrity.violations import Rule, Violation


@dataclass(frozen=True)
class Node:
    """A version's place."""

    id: UUID
    lineage_id: UUID
    number: int
    parent_id: UUID | None
    status: VersionStatus


@dataclass(frozen=True)
class LineagePlace:
    """A lineage's place."""

    id: UUID
    head_id: UUID | None
    fork_id: UUID | None
    next_number: int


@dataclass(frozen=True)
class Histories:
    """All lineages and versions at one moment, and the numbers that erased versions had."""

    lines: tuple[LineagePlace, ...]
    nodes: Mapping[UUID, Node]
    erased: frozenset[tuple[UUID, int]]

    @classmethod
    def read(cls, session: Session) -> "Histories":
        """As the transaction sees them."""
        lines = session.execute(
            select(Lineage.id, Lineage.head_version_id, Lineage.forked_from_version_id, Lineage.next_number)
        )
        nodes = session.execute(
            select(Version.id, Version.lineage_id, Version.number, Version.parent_id, Version.status)
        )
        erased = session.execute(select(ErasedVersion.lineage_id, ErasedVersion.number))
        return cls(
            lines=tuple(LineagePlace(*row) for row in lines),
            nodes={row[0]: Node(*row) for row in nodes},
            erased=frozenset((row[0], row[1]) for row in erased),
        )

    def shown(self) -> dict[UUID, list[Node]]:
        """The versions that each lineage shows: its own, and those that its fork leads up to."""
        own: dict[UUID, list[Node]] = {line.id: [] for line in self.lines}
        for node in self.nodes.values():
            own[node.lineage_id].append(node)
        return {
            line.id: own[line.id] + [node for node in self._up(line.fork_id) if node.lineage_id != line.id]
            for line in self.lines
        }

    def _up(self, version_id: UUID | None) -> Iterator[Node]:
        seen: set[UUID] = set()
        while version_id is not None and version_id not in seen:
            seen.add(version_id)
            yield self.nodes[version_id]
            version_id = self.nodes[version_id].parent_id


def history_violations(histories: Histories) -> Iterator[Violation]:
    """Numbers used twice, parents that lead nowhere or in a circle, heads outside their history."""
    shown = histories.shown()
    for line in histories.lines:
        yield from _numbers(line, shown[line.id], histories.erased)
        yield from _head(line, shown[line.id])
    for node in histories.nodes.values():
        yield from _parent(node, histories.nodes, shown[node.lineage_id])


def _numbers(line: LineagePlace, shown: list[Node], erased: frozenset[tuple[UUID, int]]) -> Iterator[Violation]:
    subject = f"lineage {line.id}"
    for number, count in Counter(node.number for node in shown).items():
        if count > 1:
            yield Violation(Rule.NUMBERS_UNIQUE, subject, f"{count} versions have number {number}")
        if (line.id, number) in erased:
            yield Violation(Rule.NUMBERS_UNIQUE, subject, f"number {number} was an erased version's")
        if number >= line.next_number:
            yield Violation(Rule.NUMBERS_UNIQUE, subject, f"number {number} would be given out again")


def _head(line: LineagePlace, shown: list[Node]) -> Iterator[Violation]:
    head = next((node for node in shown if node.id == line.head_id), None)
    if head is None:
        yield Violation(Rule.HEAD_REACHABLE, f"lineage {line.id}", f"its head {line.head_id} is not in its history")
    elif head.lineage_id == line.id and head.status is not VersionStatus.LIVE:
        # A branch may begin at what its original only holds; what it has made itself is live as a head.
        yield Violation(Rule.HEAD_REACHABLE, f"lineage {line.id}", f"its head, version {head.number}, is held")


def _parent(node: Node, nodes: Mapping[UUID, Node], shown: list[Node]) -> Iterator[Violation]:
    """A number grows from parent to child: that rules out every circle."""
    subject = f"version {node.number} of lineage {node.lineage_id}"
    if node.parent_id is None:
        if node.number != 0:
            yield Violation(Rule.PARENTS_FORM_DAG, subject, "it has no parent")
        return
    if nodes[node.parent_id].number >= node.number:
        yield Violation(Rule.PARENTS_FORM_DAG, subject, "its parent has no lower number")
    if node.parent_id not in {other.id for other in shown}:
        yield Violation(Rule.PARENTS_FORM_DAG, subject, "its parent is not in its lineage's history")
