"""What is wrong with a file, one fault for each kind: how often it was seen, and the first example."""

from dataclasses import dataclass, field

from app.domain.errors import Fault, InvalidAdapterError

_MAX_KINDS = 10
_MAX_NAME = 160


@dataclass
class Faults:
    """Faults as they are found. Two are of one kind if they are added under the same `kind`.

    `headline` is what the whole error says first; without one it is that the `subject` does not fit.
    """

    headline: str | None = None
    subject: str = "adapter"
    _kinds: dict[str, list[Fault]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, name: str, message: str) -> None:
        """Note that `name`, a tensor's or a field's, is wrong; `message` says why, without the name."""
        self._kinds.setdefault(kind, []).append(Fault(field=_shortened(name), message=_shortened(message)))
        # Two are enough to know the first by name.
        self._kinds[kind] = sorted(self._kinds[kind], key=lambda fault: fault.field)[:1]
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def __bool__(self) -> bool:
        return bool(self._counts)

    def insist_on_none(self) -> None:
        """Raise if there are any.

        Raises:
            InvalidAdapterError: there are; under 4 KB, however many there are.
        """
        if not self:
            return
        listed = sorted((self._of_kind(kind) for kind in self._counts), key=lambda fault: fault.field)
        if len(listed) > _MAX_KINDS:
            more = Fault(field="file", message=f"{len(listed) - _MAX_KINDS} more kinds of faults")
            listed = [*listed[:_MAX_KINDS], more]
        count = sum(self._counts.values())
        places = "1 place" if count == 1 else f"{count:,} places"
        raise InvalidAdapterError(self.headline or f"The {self.subject} does not fit, in {places}.", tuple(listed))

    def _of_kind(self, kind: str) -> Fault:
        first, count = self._kinds[kind][0], self._counts[kind]
        if count == 1:
            return first
        return Fault(field=first.field, message=f"{first.message} ({count:,} of this kind; this is the first)")


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"
