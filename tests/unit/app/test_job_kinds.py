"""What is known of a kind of job agrees: its traits, what it is given, what it results in, where it waits."""

from itertools import combinations
from typing import get_args

import pytest

from app.domain.base import Value
from app.domain.jobs import (
    NEXT_VERSION_KINDS,
    QUEUES,
    TRAITS,
    JobKind,
    JobParams,
    JobResult,
    NewVersionParams,
)
from app.settings import Settings


def test_every_kind_has_traits() -> None:
    assert set(TRAITS) == set(JobKind)


def test_every_kind_is_given_params_of_its_own() -> None:
    union, _ = get_args(JobParams)
    by_kind = {params.model_fields["kind"].default: params for params in get_args(union)}
    assert by_kind == {kind: kind.traits.params for kind in JobKind}
    assert all(get_args(params.model_fields["kind"].annotation) == (kind,) for kind, params in by_kind.items())


def test_every_result_is_some_kind_s() -> None:
    assert {kind.traits.result for kind in JobKind} == set(get_args(JobResult))


@pytest.mark.parametrize(("one", "other"), combinations(get_args(JobResult), 2))
def test_a_stored_result_is_read_as_what_it_was(one: type[Value], other: type[Value]) -> None:
    """Results carry no discriminator, and unknown fields are refused: their fields alone tell them apart."""
    fits = _required(one) <= other.model_fields.keys() and _required(other) <= one.model_fields.keys()
    assert not fits


def _required(result: type[Value]) -> set[str]:
    return {name for name, field in result.model_fields.items() if field.is_required()}


@pytest.mark.parametrize("kind", JobKind)
def test_a_kind_waits_in_a_queue_that_all_workers_take_unless_told_otherwise(kind: JobKind) -> None:
    assert kind.queue.queue is kind.queue
    assert kind.queue in QUEUES
    assert kind.queue in Settings().worker_kinds


def test_what_publishes_the_next_version_says_what_that_will_have_learned() -> None:
    assert {kind.traits.params for kind in NEXT_VERSION_KINDS} == set(get_args(NewVersionParams))


@pytest.mark.parametrize("kind", JobKind)
def test_only_a_version_on_top_of_the_head_can_be_held_by_a_gate(kind: JobKind) -> None:
    assert kind in NEXT_VERSION_KINDS or not kind.traits.is_gated
