"""Whether a new version may become the head: what it costs the concepts that its parent knew."""

import math

from app.domain.evaluations import ConceptLoss, EvaluationResult, GateMetric, GateVerdict, PromotionGate


def judge_gate(gate: PromotionGate, result: EvaluationResult) -> GateVerdict:
    """Compare the last version of the line with its parent, on the concepts that were learned before it.

    Against the parent and not against the concept's best: otherwise a concept once forgotten would hold every later
    version, whatever it did.
    """
    matrix = result.self_retention if gate.metric is GateMetric.SELF_RETENTION else result.scores
    newest = result.versions[-1].version
    losses = [
        ConceptLoss(concept=concept.name, loss=_loss(matrix[-2][j], matrix[-1][j]))
        for j, concept in enumerate(result.concepts)
        if concept.learned_in != newest
    ]
    losses.sort(key=lambda each: -math.inf if each.loss is None else each.loss, reverse=True)
    return GateVerdict(
        metric=gate.metric,
        max_loss=gate.max_loss,
        passed=all(each.loss is None or each.loss <= gate.max_loss for each in losses),
        losses=tuple(losses),
    )


def _loss(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else before - now
