"""Who owns a client id (rules OW1-OW4), and what a room does about structs under somebody else's (R9)."""

from __future__ import annotations

from time import monotonic

from tests.unit.world import DOCUMENT, Author, text_of, until, world

from raffia.crdt.update import read_update
from raffia.rooms.inbound.client_owners import GUARD_S, ClientOwners
from raffia.types import Access, Grant
from raffia.wire.awareness import write_entry
from raffia.wire.lib0 import write_buf, write_varuint

ANA, BO, CY = (Grant(Access.EDIT, user=name) for name in ("ana", "bo", "zoë 🦊"))
NOBODY = Grant(Access.EDIT)


def owners(present: dict[int, str] | None = None, max_ids: int = 10) -> ClientOwners:
    by_id = present or {}
    return ClientOwners(by_id.get, lambda user: user in by_id.values(), lambda: 0.0, max_ids)


def presence(client: int, clock: int = 1) -> bytes:
    return b"\x01" + write_buf(write_varuint(1) + write_entry(client, clock, b'{"x":1}'))


# -- the table ---------------------------------------------------------------------------------------------------


def test_ow1_the_first_struct_makes_the_owner() -> None:
    table = owners()
    table.wrote(7, 0, "ana")
    table.wrote(7, 3, "bo")
    assert table.owner(7) == "ana"


def test_ow1_who_goes_on_under_a_used_id_does_not_own_it() -> None:
    table = owners()
    table.wrote(7, 5, "bo")
    assert table.owner(7) is None


def test_ow1_presence_says_whose_an_id_is_before_anything_was_written() -> None:
    table = owners({7: "ana"})
    table.wrote(7, 0, "bo")
    assert table.owner(7) == "ana"


def test_ow1_anonymous_sessions_own_nothing() -> None:
    table = owners()
    table.wrote(7, 0, None)
    assert table.owner(7) is None
    assert not table.is_foreign(7, "bo")


def test_ow2_an_id_is_guarded_while_its_user_is_here() -> None:
    table = owners()
    table.wrote(7, 0, "ana")
    assert not table.is_foreign(7, "bo")
    table.joined("ana")
    table.joined("ana")
    assert table.is_foreign(7, "bo")
    assert table.is_foreign(7, None)
    assert not table.is_foreign(7, "ana")
    assert not table.left("ana")
    assert table.is_foreign(7, "bo")
    assert table.left("ana")
    assert table.is_foreign(7, "bo")  # for a while
    table.clock = lambda: GUARD_S
    assert not table.is_foreign(7, "bo")


def test_ow2_presence_through_another_replica_guards_too() -> None:
    present = {9: "ana"}
    table = owners(present)
    table.wrote(7, 0, "ana")
    assert table.is_foreign(7, "bo")
    present.clear()
    assert not table.is_foreign(7, "bo")


def test_ow3_only_new_structs_under_guarded_ids_are_cut_out() -> None:
    ana, bo = Author(7), Author(8)
    first = ana.type("é")
    bo.hear([first])
    bo.type("🦊")
    both = bo.doc.get_update()
    table = owners()
    table.wrote(7, 0, "ana")
    table.joined("ana")
    split = table.split(both, read_update(both), {}, "bo")
    assert split is not None
    assert split.needs == [(7, 0)]
    assert split.owners == {"ana"}
    assert [section.client for section in read_update(split.parked).sections] == [7]
    assert split.free is not None
    assert [section.client for section in read_update(split.free).sections] == [8]
    assert table.split(both, read_update(both), {7: 1}, "bo") is None  # known: nothing new under it


def test_ow4_what_is_remembered_is_bounded() -> None:
    table = owners(max_ids=2)
    for client in (1, 2):
        table.wrote(client, 0, "ana")
    assert table.owner(1) == "ana"  # used: 2 is the older one now
    table.wrote(3, 0, "ana")
    assert [table.owner(client) for client in (1, 2, 3)] == ["ana", None, "ana"]


def test_ow4_nobody_is_pushed_out_by_the_ids_of_another() -> None:
    table = ClientOwners({}.get, lambda user: False, lambda: 0.0, max_ids=6, max_ids_of_user=3)
    table.wrote(1, 0, "ana")
    for client in range(10, 30):
        table.wrote(client, 0, "bo")
    assert table.owner(1) == "ana"
    assert [client for client in range(10, 30) if table.owner(client)] == [27, 28, 29]


def test_ow4_who_writes_all_the_time_is_not_forgotten() -> None:
    table = owners(max_ids=4)
    table.wrote(1, 0, "ana")
    for number in range(20):
        table.wrote(10 + number, 0, f"user {number} é")
        table.wrote(1, number + 1, "ana")
    assert table.owner(1) == "ana"
    assert [client for client in range(10, 30) if table.owner(client)] == [27, 28, 29]


# -- the room ----------------------------------------------------------------------------------------------------


async def test_r9_a_struct_under_a_present_users_id_silences_nobody() -> None:
    """The attack of the 11-byte update: a huge GC struct under the victim's id, before the victim has written."""
    async with world() as w:
        victim, attacker = await w.yws(ANA), await w.yws(BO)
        victim.send(presence(7))
        attacker.update(bytes([1, 1, 7, 0, 0, 0xFF, 0xFF, 0xFF, 0x3F, 0]))
        await w.flushed()
        room = w.hub.rooms[DOCUMENT]
        assert room.document.clocks == {}
        assert w.metrics.parked_updates == 1
        victim.update(Author(7).type("I am heard é"))
        await w.flushed()
        assert text_of(room.document.merged()) == "I am heard é"
        assert room.document.clocks == {7: 12}


async def test_r9_the_owner_is_asked_and_his_own_structs_settle_it() -> None:
    async with world() as w:
        victim, helper = await w.yws(ANA), await w.yws(BO)
        victim.send(presence(7))
        await w.flushed()
        victim.transport.take()
        update = Author(7).type("recovered é")
        helper.update(update)  # what bo has heard of ana by another way
        await w.flushed()
        assert b"\x00\x00" in [payload[:2] for payload in victim.transport.take()]  # a step 1 of ours
        assert helper.updates() == []  # not durable: not acknowledged
        victim.step2(update)
        await w.flushed()
        assert helper.transport.take()[-1] == b"\x00\x02" + write_buf(update)
        assert w.metrics.waiting_updates == w.metrics.waiting_bytes == 0


async def test_r9_when_the_owner_leaves_it_goes_on() -> None:
    async with world() as w:
        victim, helper = await w.yws(ANA), await w.yws(BO)
        victim.send(presence(7))
        update = Author(7).type("the only copy é")
        helper.update(update)
        await w.flushed()
        room = w.hub.rooms[DOCUMENT]
        assert room.document.clocks == {}
        victim.connection.closed(1001)
        await w.flushed()
        room.tick(monotonic())
        assert room.document.clocks == {}  # he may be back in a moment
        room._intake.owners.clock = lambda: monotonic() + GUARD_S + 1
        room.tick(monotonic())
        await w.flushed()
        assert text_of(room.document.merged()) == "the only copy é"
        assert helper.transport.take()[-1] == b"\x00\x02" + write_buf(update)


async def test_r9_who_is_away_for_a_moment_is_not_silenced() -> None:
    async with world() as w:
        author = Author(7)
        victim, attacker = await w.yws(ANA), await w.yws(BO)
        victim.send(presence(7))
        victim.update(author.type("before "))
        await w.flushed()
        victim.connection.closed(1006)
        attacker.update(bytes([1, 1, 7, 7, 0, 0xFF, 0xFF, 0xFF, 0x3F, 0]))  # a huge GC struct behind what she wrote
        await w.flushed()
        again = await w.yws(ANA)
        again.send(presence(7, 2))
        again.update(author.type("after é"))
        await w.flushed()
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "before after é"


async def test_r9_the_rest_of_the_update_goes_on_at_once() -> None:
    async with world() as w:
        victim, other = await w.yws(ANA), await w.yws(CY)
        victim.send(presence(7))
        mine, foreign = Author(9), Author(7)
        foreign.type("parked")
        mine.doc.get("m", type=type(mine.text))
        mine.hear([foreign.doc.get_update()])
        mine.doc.get("own", type=type(mine.text)).insert(0, "mine é")
        other.step2(mine.doc.get_update())
        await until(lambda: 9 in w.hub.rooms[DOCUMENT].document.clocks)
        assert 7 not in w.hub.rooms[DOCUMENT].document.clocks


async def test_r9_offline_work_under_an_older_id_of_the_same_person_syncs() -> None:
    async with world() as w:
        first = await w.yws(ANA)
        first.send(presence(7))
        first.update(Author(7).type("a"))
        again = await w.yws(ANA)
        old = Author(8)
        again.step2(old.doc.get_update())
        again.update(old.type("offline é"))
        await w.flushed()
        assert set(w.hub.rooms[DOCUMENT].document.clocks) == {7, 8}
        assert w.metrics.parked_updates == 0


async def test_r9_without_users_nothing_is_parked() -> None:
    async with world() as w:
        one, two = await w.yws(NOBODY), await w.yws(NOBODY)
        one.send(presence(7))
        two.update(Author(7).type("é"))
        await w.flushed()
        assert w.hub.rooms[DOCUMENT].document.clocks == {7: 1}
        assert w.metrics.parked_updates == 0


async def test_r9_what_is_parked_goes_with_its_session() -> None:
    async with world() as w:
        victim, attacker = await w.yws(ANA), await w.yws(BO)
        victim.send(presence(7))
        attacker.update(Author(7).type("x"))
        await w.flushed()
        assert w.metrics.waiting_updates == 1
        attacker.connection.closed(1001)
        victim.connection.closed(1001)
        await w.flushed()
        assert w.hub.rooms[DOCUMENT].document.clocks == {}
        assert w.metrics.waiting_updates == w.metrics.waiting_bytes == 0
