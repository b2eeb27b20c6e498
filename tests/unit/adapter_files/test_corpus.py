"""Each file of the corpus is imported as what it means, or is refused in words, shortly."""

import numpy as np
import pytest

from app.domain.errors import InvalidAdapterError
from tests.adapter_corpus import Case, corpus
from tests.tiny_pipelines import tiny_base
from worker.adapters.imported import import_adapter

CASES = {case.name: case for case in corpus()}
_MAX_ERROR_BYTES = 4000


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_it_means_what_it_says_or_is_refused(name: str) -> None:
    case = CASES[name]
    if case.error is not None:
        insist_on_error(case)
        return
    found = import_adapter(case.data, tiny_base().denoiser, case.options)
    assert found.adapter.modules.keys() == case.updates.keys()
    assert found.scales
    for path, wanted in case.updates.items():
        np.testing.assert_allclose(found.adapter.delta(path), wanted, rtol=1e-5, atol=case.tolerance)


def insist_on_error(case: Case) -> None:
    with pytest.raises(InvalidAdapterError) as refused:
        import_adapter(case.data, tiny_base().denoiser, case.options)
    faults = refused.value.faults
    said = refused.value.detail + " ".join(f"{fault.field}: {fault.message}" for fault in faults)
    assert case.error is not None
    assert case.error in said
    assert len(said.encode()) + 40 * len(faults) < _MAX_ERROR_BYTES
