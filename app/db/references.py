"""What hangs on a row, derived from the tables' foreign keys: a new table or column needs no mention here."""

from collections.abc import Collection, Iterator
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, ForeignKey, Select, or_, select, union_all
from sqlalchemy import Table as CoreTable

from app.db.evaluation_tables import Evaluation
from app.db.tables import STANDS_ON, Concept, Generation, Job, Lineage, StoredObject, Table, User, Version

Ids = Collection[UUID] | Select[UUID]
WorkedOn = type[User] | type[Lineage] | type[Concept] | type[Version] | type[Generation] | type[Evaluation]
Rows = tuple[CoreTable, ColumnElement[bool]]
"""Some rows of a table: those for which the condition holds."""


def works_on_it(table: WorkedOn) -> ColumnElement[bool]:
    """Whether a job works on the row of `table` in the same query."""
    to_table = [foreign.parent == foreign.column for foreign in _keys(core(Job), core(table))]
    to_job = [foreign.parent == foreign.column for foreign in _keys(core(table), core(Job))]
    return or_(*to_table, *to_job)


def works_on(table: WorkedOn, ids: Ids) -> ColumnElement[bool]:
    """Whether a job works on one of these rows."""
    to_table = [foreign.parent.in_(ids) for foreign in _keys(core(Job), core(table))]
    to_job = [Job.id.in_(select(foreign.parent).where(table.id.in_(ids))) for foreign in _keys(core(table), core(Job))]
    return or_(*to_table, *to_job)


def removed_with(rows: Rows) -> Iterator[Rows]:
    """These rows, and all that Postgres removes along with them; rows of one table may come in several parts."""
    yield rows
    table, condition = rows
    for foreign in _keys_to(table):
        if foreign.ondelete == "CASCADE":
            gone = select(foreign.column).where(condition)
            yield from removed_with((foreign.parent.table, foreign.parent.in_(gone)))


def objects_named_by(parts: Collection[Rows]) -> CompoundSelect[UUID]:
    """The objects that these rows name."""
    return union_all(
        *(
            select(foreign.parent).where(foreign.parent.is_not(None), condition)
            for table, condition in parts
            for foreign in _keys(table, core(StoredObject))
        )
    )


def all_named_objects() -> CompoundSelect[UUID]:
    """The objects that any row names."""
    keys = _keys_to(core(StoredObject))
    return union_all(*(select(foreign.parent).where(foreign.parent.is_not(None)) for foreign in keys))


def core(table: type[Table]) -> CoreTable:
    """The table as SQLAlchemy's core has it."""
    assert isinstance(table.__table__, CoreTable)
    return table.__table__


def _keys(source: CoreTable, target: CoreTable) -> list[ForeignKey]:
    """The foreign keys of one table to another, in the order of their names; without what a job only stands on."""
    keys = [foreign for foreign in source.foreign_keys if foreign.column.table is target]
    return sorted(
        (foreign for foreign in keys if foreign.parent.info != STANDS_ON), key=lambda foreign: foreign.parent.name
    )


def _keys_to(target: CoreTable) -> list[ForeignKey]:
    return [foreign for source in Table.metadata.tables.values() for foreign in _keys(source, target)]
