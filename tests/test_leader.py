"""Election: one leads, another takes over within the lease time, and never two at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.live.cluster import ClusterError, LeaseRecord
from ipa_rl.sidecar.leader import Campaign, Election, Elector

LEASE_S, RENEW_S, RETRY_S = 15.0, 10.0, 2.0


@dataclass
class Shared:
    """A record as an API server keeps it: written only where the version is still the expected one."""

    record: LeaseRecord | None = None
    version: int = 0
    down: bool = False

    def get(self) -> tuple[LeaseRecord, str] | None:
        self._check()
        return None if self.record is None else (self.record, str(self.version))

    def put(self, record: LeaseRecord, version: str | None) -> str | None:
        self._check()
        expected = None if self.record is None else str(self.version)
        if version != expected:
            return None
        self.record, self.version = record, self.version + 1
        return str(self.version)

    def _check(self) -> None:
        if self.down:
            raise ClusterError("connection refused")


@dataclass
class Clock:
    """True seconds; each candidate's own clock runs at its own rate from its own beginning."""

    true_s: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)

    def of(self, name: str) -> float:
        return 1000.0 * len(name) + self.true_s * self.rates.get(name, 1.0)


def elector(lock: Shared, clock: Clock, name: str) -> Elector:
    election = Election(identity=name, lease_s=LEASE_S, renew_s=RENEW_S, retry_s=RETRY_S)
    return Elector(lock, election, now=lambda: clock.of(name))


def test_the_first_to_write_the_record_leads_and_the_other_waits() -> None:
    lock, clock = Shared(), Clock()
    first, second = elector(lock, clock, "a"), elector(lock, clock, "bb")
    assert first.attempt()
    assert not second.attempt()
    assert first.leads()
    assert second.holder == "a"


def test_a_leader_that_renews_keeps_the_lease_for_ever() -> None:
    lock, clock = Shared(), Clock()
    first, second = elector(lock, clock, "a"), elector(lock, clock, "bb")
    for _ in range(100):
        assert first.attempt()
        assert not second.attempt()
        clock.true_s += RETRY_S
    assert lock.record is not None
    assert lock.record.transitions == 0


def test_another_leads_within_the_lease_time_and_one_try_after_the_leader_died() -> None:
    lock, clock = Shared(), Clock()
    first, second = elector(lock, clock, "a"), elector(lock, clock, "bb")
    first.attempt()
    second.attempt()
    died_s = clock.true_s
    while not second.attempt():
        clock.true_s += RETRY_S
    assert LEASE_S <= clock.true_s - died_s <= LEASE_S + RETRY_S
    assert not first.leads()
    assert lock.record is not None
    assert lock.record.transitions == 1


def test_a_released_lease_is_taken_at_once() -> None:
    lock, clock = Shared(), Clock()
    first, second = elector(lock, clock, "a"), elector(lock, clock, "bb")
    first.attempt()
    second.attempt()
    first.release()
    assert not first.leads()
    assert second.attempt()


def test_releasing_a_lease_that_another_took_leaves_it_alone() -> None:
    lock, clock = Shared(), Clock()
    first, second = elector(lock, clock, "a"), elector(lock, clock, "bb")
    first.attempt()
    second.attempt()
    clock.true_s += LEASE_S
    assert second.attempt()
    first.release()
    assert lock.record is not None
    assert lock.record.holder == "bb"


def test_a_leader_that_cannot_reach_the_server_stops_before_another_may_begin() -> None:
    lock, clock = Shared(), Clock()
    first = elector(lock, clock, "a")
    first.attempt()
    lock.down = True
    clock.true_s += RENEW_S - 0.1
    assert first.attempt()
    clock.true_s += 0.2
    assert not first.attempt()
    lock.down = False
    assert first.attempt()


def test_leading_for_a_while_yet_is_known_beforehand() -> None:
    lock, clock = Shared(), Clock()
    first = elector(lock, clock, "a")
    first.attempt()
    assert first.leads(for_s=RENEW_S - 1)
    assert not first.leads(for_s=RENEW_S + 1)


def test_times_written_by_a_clock_that_is_wrong_do_no_harm() -> None:
    long_ago = datetime.now(UTC) - timedelta(days=4000)
    lock, clock = Shared(LeaseRecord("dead", LEASE_S, long_ago, long_ago), 7), Clock()
    second = elector(lock, clock, "bb")
    assert not second.attempt()  # however old it looks, it was first seen just now
    clock.true_s += LEASE_S
    assert second.attempt()


def test_a_restarted_leader_of_the_same_name_goes_on() -> None:
    lock, clock = Shared(), Clock()
    elector(lock, clock, "a").attempt()
    assert elector(lock, clock, "a").attempt()
    assert lock.record is not None
    assert lock.record.transitions == 0


def test_two_that_write_at_the_same_moment_do_not_both_lead() -> None:
    lock, clock = Shared(), Clock()
    first, second = elector(lock, clock, "a"), elector(lock, clock, "bb")

    class Slow(Shared):
        """Another candidate comes between reading and writing."""

        def get(self) -> tuple[LeaseRecord, str] | None:
            found = lock.get()
            first.attempt()
            return found

        def put(self, record: LeaseRecord, version: str | None) -> str | None:
            return lock.put(record, version)

    second = Elector(
        Slow(),
        Election(identity="bb", lease_s=LEASE_S, renew_s=RENEW_S, retry_s=RETRY_S),
        now=lambda: clock.of("bb"),
    )
    assert not second.attempt()
    assert first.leads()


def test_a_deleted_record_is_written_again() -> None:
    lock, clock = Shared(), Clock()
    first = elector(lock, clock, "a")
    first.attempt()
    lock.record = None
    assert first.attempt()


events = st.lists(
    st.tuples(
        st.sampled_from(["a", "bb", "ccc"]),
        st.sampled_from(["attempt", "attempt", "attempt", "release", "restart", "down", "up"]),
        st.floats(0.0, 6.0),
    ),
    max_size=80,
)
rates = st.floats(0.85, 1.2)


@given(events, rates, rates, rates)
@settings(max_examples=300)
def test_there_are_never_two_leaders(
    happened: list[tuple[str, str, float]], one: float, two: float, three: float
) -> None:
    """Whatever the order, pauses, crashes and outages, with clocks that run up to 1.4 times as fast."""
    lock, clock = Shared(), Clock(rates={"a": one, "bb": two, "ccc": three})
    electors = {name: elector(lock, clock, name) for name in ("a", "bb", "ccc")}
    for name, event, pause_s in happened:
        clock.true_s += pause_s
        if event == "restart":
            electors[name] = elector(lock, clock, name)
        elif event == "release":
            electors[name].release()
        elif event == "attempt":
            electors[name].attempt()
        else:
            lock.down = event == "down"
        assert sum(each.leads() for each in electors.values()) <= 1


def test_a_campaign_survives_an_answer_that_nobody_expected() -> None:
    class Odd(Shared):
        """Its first answer makes no sense."""

        def get(self) -> tuple[LeaseRecord, str] | None:
            if self.version == 0:
                self.version = 1
                raise TypeError("not a record")
            return super().get()

    campaign = Campaign(Elector(Odd(), Election(identity="a", lease_s=1.5, renew_s=1.0, retry_s=0.02)))
    campaign.start()
    deadline_s = time.monotonic() + 5.0
    while not campaign.elector.leads():
        assert time.monotonic() < deadline_s
    campaign.stop()


def test_a_campaign_leads_until_it_is_stopped_and_releases_then() -> None:
    lock = Shared()
    campaign = Campaign(Elector(lock, Election(identity="a", lease_s=1.5, renew_s=1.0, retry_s=0.02)))
    campaign.start()
    while not campaign.elector.leads():
        pass
    campaign.stop()
    assert not campaign.elector.leads()
    assert lock.record is not None
    assert lock.record.holder == ""


def test_a_copy_whose_loop_is_stuck_gives_the_lease_up_and_the_standby_leads() -> None:
    lock, turns = Shared(), threading.Event()
    turns.set()
    stuck = Campaign(
        Elector(lock, Election(identity="a", lease_s=1.5, renew_s=1.0, retry_s=0.02)), turns.is_set
    )
    standby = Campaign(Elector(lock, Election(identity="b", lease_s=1.5, renew_s=1.0, retry_s=0.02)))
    stuck.start()
    until(stuck.elector.leads)
    standby.start()
    turns.clear()
    until(standby.elector.leads)
    assert not stuck.elector.leads()

    standby.stop()
    turns.set()  # it turns again, and may lead again
    until(stuck.elector.leads)
    stuck.stop()


def test_a_stuck_copy_takes_no_lease_however_free_it_is_and_disturbs_nobody() -> None:
    lock, clock = Shared(), Clock()
    other = elector(lock, clock, "b")
    stuck = Campaign(elector(lock, clock, "a"), lambda: False)
    stuck._turn()
    assert lock.record is None
    assert other.attempt()
    for _ in range(3):
        stuck._turn()
    assert other.attempt()


def test_a_lease_that_could_not_be_released_is_released_at_the_next_try() -> None:
    lock, clock = Shared(), Clock()
    alive = [True]
    campaign = Campaign(elector(lock, clock, "a"), lambda: alive[0])
    campaign._turn()
    alive[0], lock.down = False, True
    campaign._turn()
    assert not campaign.elector.leads()
    lock.down = False
    campaign._turn()
    assert lock.record is not None
    assert lock.record.holder == ""


def test_who_leads_one_pipeline_of_a_fleet_leads_all_of_them() -> None:
    first, second, clock = Shared(), Shared(), Clock()
    copies = []
    for name in ("a", "b"):
        leading, following = (Campaign(elector(lock, clock, name)) for lock in (first, second))
        following.follows = leading.elector
        copies.append((leading, following))
    (a, a_too), (b, b_too) = copies
    b_too._turn()
    assert second.record is None  # nobody leads the first one yet
    for one in (a, b, b_too, a_too):
        one._turn()
    assert [one.elector.leads() for one in (a, a_too, b, b_too)] == [True, True, False, False]
    a.elector.release()  # and what follows it is given up with it
    for one in (a_too, b, b_too):
        one._turn()
    assert second.record is not None
    assert second.record.holder == "b"
    assert [one.elector.leads() for one in (a_too, b, b_too)] == [False, True, True]


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10.0
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
