"""No pickle is loaded, and a test in which one is fails."""

import io
import pickle
from datetime import timedelta

import pytest
import torch

from app.queue import make_celery


def test_a_pickle_is_noticed(no_pickle_is_loaded: list[str]) -> None:
    pickle.loads(pickle.dumps(timedelta(1)))  # noqa: S301
    assert no_pickle_is_loaded == ["datetime.timedelta"]
    no_pickle_is_loaded.clear()


def test_so_is_one_that_torch_loads(no_pickle_is_loaded: list[str]) -> None:
    data = io.BytesIO()
    torch.save({"when": timedelta(1)}, data)
    data.seek(0)
    torch.load(data, weights_only=False)
    assert "datetime.timedelta" in no_pickle_is_loaded
    no_pickle_is_loaded.clear()


def test_of_weights_only_torch_takes_no_class(no_pickle_is_loaded: list[str]) -> None:
    """Torch has an unpickler of its own there, which finds no class but those that it knows."""
    data = io.BytesIO()
    torch.save({"when": timedelta(1)}, data)
    data.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(data, weights_only=True)
    assert no_pickle_is_loaded == []


def test_celery_takes_json_alone() -> None:
    conf = make_celery("memory://").conf
    assert (conf.task_serializer, conf.result_serializer) == ("json", "json")
    assert list(conf.accept_content) == ["json"]
