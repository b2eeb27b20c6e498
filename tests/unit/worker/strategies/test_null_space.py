"""`null_space` on tiny pipelines: which tokens are protected, that they stay so, and where the new A's point."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from app.domain.strategies import (
    MergeOptions,
    NullSpaceOptions,
    OrthogonalMergeOptions,
    ReplayStart,
    SelfReplayOptions,
    StrategyOptions,
)
from tests.tiny_pipelines import tiny_base
from tests.tiny_sdxl import tiny_sdxl_base
from tests.unit.worker.adapters.oracle import random_adapter
from tests.unit.worker.strategies.contexts import a_context
from tests.unit.worker.training.helpers import ATTENTION, OPTIONS, Listener, a_task, file_of, same_weights, weights_of
from worker.adapters.accumulated import ChainLink, Update, added, applied
from worker.models.base import Base, TextInputs
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.null_space import NullSpace
from worker.strategies.orthogonal_merge import OrthogonalMerge
from worker.strategies.replay import replay
from worker.strategies.task_context import Shapes, TaskContext
from worker.strategies.token_basis import token_basis
from worker.training.concept_dataset import ConceptDataset
from worker.training.data import encode
from worker.training.loop import train

pytestmark = pytest.mark.slow

BASES: dict[str, Base] = {"sd": tiny_base(), "sdxl": tiny_sdxl_base()}
OLD = ("a photo of a zqb dog", "a photo of a zqc cup")
QUICK = OPTIONS.model_copy(update={"steps": 6, "learning_rate": 0.05})


@pytest.fixture(params=list(BASES))
def base(request: pytest.FixtureRequest) -> Base:
    return BASES[str(request.param)]


def shapes_of(base: Base) -> Shapes:
    projections = adapted_projections(base.denoiser, ATTENTION)
    return {name: projection_shape(projection) for name, projection in projections.items()}


def chain_of(base: Base, *prompts: str) -> tuple[ChainLink, ...]:
    adapters = [random_adapter(shapes_of(base), 2, 0.1, seed) for seed in range(len(prompts))]
    return tuple(ChainLink(NullSpaceOptions(), a, (prompt,)) for a, prompt in zip(adapters, prompts, strict=True))


def texts(base: Base, *prompts: str) -> TextInputs:
    inputs = base.text_inputs(list(prompts))
    assert inputs is not None
    return inputs


def test_text_inputs_are_what_enters_the_keys_and_values_of_cross_attention(base: Base) -> None:
    inputs, entered = texts(base, *OLD), dict[str, Tensor]()
    handles = [
        base.denoiser.get_submodule(path).register_forward_pre_hook(
            lambda _, given, path=path: entered.update({path: given[0]})
        )
        for path in shapes_of(base)
    ]
    for seed in range(2):
        latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            base.predict(latents, torch.tensor([30, 700]), base.encode_prompts(list(OLD)))
        same = {path for path, given in entered.items() if torch.equal(given, inputs.tokens)}
        assert same == inputs.modules
    for handle in handles:
        handle.remove()
    assert all(path.endswith((".attn2.to_k", ".attn2.to_v")) for path in inputs.modules)
    assert 0 < len(inputs.modules) < len(entered)


def test_words_are_told_from_padding(base: Base) -> None:
    words = [6 + 2, 3 + 2]
    assert texts(base, "a photo of a zqb dog", "a red cup").is_spoken.sum(dim=1).tolist() == words


def outputs(base: Base, update: Update, tokens: Tensor) -> dict[str, Tensor]:
    """What every text-fed projection makes of these tokens."""
    with applied(base.denoiser, update), torch.no_grad():
        paths = texts(base, "a").modules
        return {path: base.denoiser.get_submodule(path)(tokens) for path in sorted(paths)}


def largest_change(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    """Over all projections, the largest |after - before| of a token, by its |before|."""
    return max(float(((after[p] - before[p]).norm(dim=-1) / before[p].norm(dim=-1)).max()) for p in before)


BESIDE_REPLAY = SelfReplayOptions(
    start=ReplayStart.NULL_SPACE, latents_per_concept=1, neutral_latents=1, sampling_steps=1, replay_batch_size=1
)


@pytest.mark.parametrize("strategy", [NullSpaceOptions(), BESIDE_REPLAY], ids=lambda strategy: strategy.name)
def test_after_training_the_stored_prompts_keys_and_values_are_unchanged(base: Base, strategy: StrategyOptions) -> None:
    chain = chain_of(base, OLD[0])
    trained = train(base, a_task(QUICK, strategy, chain), Listener(), None)
    assert trained.notes["token_residual"] == 0
    parent = replay(chain).update
    updates = parent, added(parent, trained.adapter)
    old, new = (texts(base, prompt).tokens for prompt in (OLD[0], "a zqa cat"))
    assert largest_change(*(outputs(base, update, old) for update in updates)) < 1e-5
    assert largest_change(*(outputs(base, update, new) for update in updates)) > 1e-3
    assert all(trained.adapter.delta(name).any() for name in shapes_of(base))


def test_only_the_keys_and_values_of_texts_keep_their_a(base: Base) -> None:
    chain = chain_of(base, OLD[0])
    begun = NullSpace(NullSpaceOptions()).start(replay(chain), context_of(base, chain))
    trained = train(base, a_task(QUICK, NullSpaceOptions(), chain), Listener(), None)
    fed = texts(base, "a").modules
    assert begun.frozen_a == fed
    for name, factors in begun.factors.items():
        assert torch.equal(trained.adapter.modules[name].a, factors.a) is (name in fed)
        assert not factors.b.any()


def context_of(base: Base, chain: tuple[ChainLink, ...]) -> TaskContext:
    """That of the task that `train` makes of `a_task`."""
    task = a_task(QUICK, NullSpaceOptions(), chain)
    return replace(
        a_context(shapes_of(base), QUICK, base=base),
        generator=task.generator(),
        earlier_prompts=task.earlier_prompts(),
        concept_loss=ConceptDataset(base, encode(base, task, lambda: None)).loss,
        stream=task.generator,
    )


def test_a_points_where_the_loss_falls_less_what_the_tokens_span(base: Base) -> None:
    """Against numpy, with gradients by plain autograd."""
    chain = chain_of(base, OLD[0])
    begun = NullSpace(NullSpaceOptions(gradient_batches=2)).start(replay(chain), context_of(base, chain))
    fresh = context_of(base, chain).fresh_factors()
    tokens = texts(base, OLD[0]).tokens.double().flatten(0, 1).numpy()
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    _, values, vectors = np.linalg.svd(unit, full_matrices=False)
    m = vectors[values > 1e-5].T
    for name, gradient in plain_gradients(base, chain, 2).items():
        found = np.linalg.svd(gradient - gradient @ m @ m.T)[2][:2]
        a, drawn = begun.factors[name].a.double().numpy(), fresh[name].a.double().numpy()
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(drawn, axis=1), rtol=1e-5)
        cosines = np.abs((a / np.linalg.norm(a, axis=1, keepdims=True) * found).sum(axis=1))
        np.testing.assert_allclose(cosines, 1, atol=1e-3)
        assert np.linalg.norm(a @ m) < 1e-6 * np.linalg.norm(a)


def plain_gradients(base: Base, chain: tuple[ChainLink, ...], batches: int) -> dict[str, np.ndarray]:
    context, names = context_of(base, chain), sorted(texts(base, "a").modules)
    with applied(base.denoiser, replay(chain).update):
        weights = [base.denoiser.get_parameter(f"{name}.weight").requires_grad_() for name in names]
        generator = context.stream("gradients")
        loss = sum(context.concept_loss(QUICK.batch_size, generator) for _ in range(batches))
        assert isinstance(loss, Tensor)
        found = torch.autograd.grad(loss, weights)
    return {name: gradient.double().numpy() for name, gradient in zip(names, found, strict=True)}


def test_all_else_starts_as_orthogonal_merge(base: Base) -> None:
    chain = chain_of(base, *OLD)
    begun = NullSpace(NullSpaceOptions()).start(replay(chain), context_of(base, chain))
    turned = OrthogonalMerge(OrthogonalMergeOptions()).start(replay(chain), context_of(base, chain))
    for name in begun.factors.keys() - texts(base, "a").modules:
        assert torch.equal(begun.factors[name].a, turned.factors[name].a)


def test_the_first_task_is_that_of_merge() -> None:
    versions = [train(tiny_base(), a_task(strategy=s), Listener(), None) for s in (MergeOptions(), NullSpaceOptions())]
    assert file_of(versions[0]) == file_of(versions[1])
    assert versions[1].notes == {}


def test_where_no_text_fed_projection_is_adapted_it_is_orthogonal_merge() -> None:
    chain = chain_of(tiny_base(), OLD[0])
    versions = [
        train(tiny_base(), a_task(strategy=strategy, chain=chain, adapted_modules=("to_q",)), Listener(), None)
        for strategy in (OrthogonalMergeOptions(), NullSpaceOptions())
    ]
    assert file_of(versions[0]) == file_of(versions[1])


def test_an_interruption_changes_no_bit_and_the_base_is_as_it_was(base: Base) -> None:
    before, task = weights_of(base), a_task(OPTIONS, NullSpaceOptions(), chain_of(base, *OLD))
    hooks = Listener(checkpoint_at=frozenset({2}))
    expected = file_of(train(base, task, hooks, None))
    assert file_of(train(base, task, Listener(), hooks.checkpoints[2])) == expected
    assert same_weights(base, before)
    assert not any(parameter.requires_grad for parameter in base.denoiser.parameters())


def inputs_of(tokens: Tensor, spoken: int) -> TextInputs:
    return TextInputs(frozenset(), tokens, (torch.arange(tokens.shape[1]) < spoken).expand(tokens.shape[:2]))


def test_the_basis_spans_all_tokens_if_there_is_room_and_the_start_then_words_if_not() -> None:
    tokens = torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(0))
    # The start token of CLIP: the same in every prompt, and much longer than the others.
    tokens[:, 0] = 100 * tokens[0, 0]
    whole = token_basis(inputs_of(tokens, 3), 20)
    assert whole.q.shape == (30, 9)
    assert whole.residual == 0
    torch.testing.assert_close(whole.q.T @ whole.q, torch.eye(9, dtype=torch.float64))
    for room, protected in ((1, 1), (5, 3)):
        basis = token_basis(inputs_of(tokens, 3), room)
        assert basis.q.shape == (30, room)
        rest = tokens.double() - tokens.double() @ basis.q @ basis.q.T
        left = (rest.norm(dim=-1) / tokens.double().norm(dim=-1)).amax(dim=0)
        assert (left < 1e-6).tolist() == [position < protected for position in range(5)]
        assert basis.residual == pytest.approx(float(left.max()), rel=1e-4)
    assert token_basis(inputs_of(tokens, 3), 0).q.shape == (30, 0)


def test_what_finds_no_room_is_told() -> None:
    base = tiny_base()
    width = texts(base, OLD[0]).tokens.shape[-1]
    training = OPTIONS.model_copy(update={"rank": 20})
    notes = train(base, a_task(training, NullSpaceOptions(), chain_of(base, *OLD)), Listener(), None).notes
    assert notes["protected_directions"] == width - 20
    assert 0 < notes["token_residual"] <= 1
    assert notes["protected_projections"] == len(texts(base, "a").modules)
