"""Users and workers do anything in any order; after each move the rows must be what the model says."""

import random
from collections import Counter
from collections.abc import Callable
from typing import ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.domain.jobs import JobKind
from tests.integration.histories import rows
from tests.integration.histories.hands import Hand
from tests.integration.histories.looks import Looks
from tests.integration.histories.model import Model
from tests.integration.histories.place import Place
from tests.integration.histories.users import MOST_CONCEPTS, MOST_LINEAGES, Picked, Users
from tests.integration.histories.workers import Workers

Move = Callable[[random.Random], None]


class Histories(RuleBasedStateMachine):
    """The model and the product side by side. The test sets what histories have in common, and reads the tally.

    Moves are drawn by weight, by a seed that Hypothesis gives: by itself it plays one rule over and over, where a
    history that tells something needs many in turn.
    """

    place: ClassVar[Place]
    hands: ClassVar[list[Hand]]
    tally: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        for hand in self.hands:
            hand.give_up()
        self.place.clear()
        self.moves = 0
        self.model = Model(self.place.settings.max_failures)
        self.users = Users(self.place, self.model, self.tally)
        self.workers = Workers(self.place, self.model, self.tally, self.hands)

    @initialize(taught=st.integers(0, 3))
    def begin(self, taught: int) -> None:
        """Two users; a lineage of the first has learned so much."""
        user = self.users.add_user()
        self.users.add_user()
        for _ in range(taught):
            self.users.submit_training(Picked(user, self.model.lineages[0], self.users.add_concept(user), 0))
            self.workers.take_and_finish((JobKind.TRAIN,))

    @rule(seed=st.integers(0, 2**64 - 1))
    def move(self, seed: int) -> None:
        """One of those that are possible."""
        self.moves += 1
        # Hypothesis likes to give one seed many times.
        draw = random.Random(f"{seed} {self.moves}")
        moves = self._moves()
        chosen = draw.choices(list(moves), list(moves.values()))[0]
        note(chosen.__name__)
        self.tally[f"move {chosen.__name__}"] += 1
        chosen(draw)

    def _moves(self) -> dict[Move, int]:
        """What could be done now, and how often it is to be."""
        users, model = self.users, self.model
        moves: dict[Move, int] = {Looks(users).look: 3, users.generate: 4, users.train: 8, users.branch: 2}
        if any(version.number > 0 for version in model.there()):
            moves |= {users.roll_back: 3, users.promote: 4, users.erase: 5}
            moves |= {users.delete_lineage: 2, users.delete_concept: 2}
        if model.jobs:
            moves[users.cancel] = 4
        if model.generations:
            moves[users.delete_generation] = 2
        return moves | self._more_of_everything() | self._moves_of_workers()

    def _more_of_everything(self) -> dict[Move, int]:
        users, model = self.users, self.model
        moves: dict[Move, int] = {}
        if len(model.users) < 3:
            moves[users.new_user] = 1
        if model.there_users() and len(model.concepts) < MOST_CONCEPTS:
            moves[users.new_concept] = 3
        if model.there_users() and len(model.lineages) < MOST_LINEAGES:
            moves[users.new_lineage] = 1
        if len(model.there_users()) > 2:
            moves[users.delete_user] = 1
        return moves

    def _moves_of_workers(self) -> dict[Move, int]:
        workers, model = self.workers, self.model
        moves: dict[Move, int] = {}
        if workers.idle() and model.claimable():
            moves |= {workers.claim: 12, workers.work_off: 8}
        if workers.busy():
            moves |= {workers.go_on: 14, workers.beat: 5, workers.fail: 4}
        if workers.running():
            moves[workers.expire] = 4
        if any(job.is_late for job in model.jobs):
            moves[workers.sweep] = 3
        if any(job.waits for job in model.jobs if job.is_unfinished()):
            moves[workers.ripen] = 5
        if model.is_to_be_purged():
            moves[workers.collect] = 3
        return moves

    @invariant()
    def rows_are_as_in_the_model(self) -> None:
        """Every row of these users; there is nobody else whose could have changed."""
        rows.compare(self.place, self.model)

    def teardown(self) -> None:
        """Everybody leaves, and nothing of them is left."""
        for hand in self.workers.busy():
            self.workers.finish(hand)
        for user in self.model.there_users():
            self.users.remove(user)
        for _ in range(2):  # What is running goes with its lease.
            for job in self.workers.running():
                self.place.expire(job.id)
            self.place.sweeper.tend()
            self.place.sweeper.collect()
        rows.insist_on_nothing(self.place, self.model)
        self._count()

    def _count(self) -> None:
        self.tally["histories"] += 1
        self.tally["versions"] += len(self.model.versions)
        self.tally["branches"] += sum(lineage.fork is not None for lineage in self.model.lineages)
        for job in self.model.jobs:
            self.tally[f"{job.kind.value} jobs {job.status.value}"] += 1
