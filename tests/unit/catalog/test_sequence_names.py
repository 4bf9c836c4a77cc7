"""Names and code of sequences: which column they point to."""

import pytest

from migrator.catalog.sequence_names import NumberColumn, assigned, called, columns_named, likely_column

LONG_TABLE = "a_table_of_which_the_name_goes_on_until_it_is_far_too_long"
LONG_COLUMN = "a_column_of_which_the_name_goes_on_as_well"


def _columns(*names: str) -> list[NumberColumn]:
    pairs = [name.split(".") for name in names]
    return [NumberColumn(1, table, column, sole_key=column == "id") for table, column in pairs]


def _found(sequence: str, *names: str) -> list[str]:
    return [f"{column.table}.{column.column}" for column in columns_named(sequence, _columns(*names))]


NAMED = {
    "role_id_seq": "role.id",
    "ROLE_ID_SEQ": "Role.id",
    "role_seq": "role.id",
    "seq_role": "role.id",
    # What PostgreSQL 15 calls the sequence of a serial column of these names.
    "a_table_of_which_the_name_goe_a_column_of_which_the_name_go_seq": f"{LONG_TABLE}.{LONG_COLUMN}",
    f"{LONG_TABLE[:56]}_id_seq": f"{LONG_TABLE}.id",
    "device_inbox_sequence": "device_inbox.stream_id",
    "pushers_sequence": "pushers.id",
    "state_group_id_seq": "state_groups.id",
    "event_auth_chain_id": "event_auth_chains.chain_id",
    "application_services_txn_id_seq": "application_services_txns.txn_id",
}


@pytest.mark.parametrize("sequence", NAMED)
def test_a_name_points_to_a_column(sequence: str) -> None:
    """Others that are similar aren't meant."""
    meant = NAMED[sequence]
    others = ["others.id", "role_x.role", "device_inbox.ts", "pushers.ts"]
    assert _found(sequence, *others, meant, "event_auth_chain_links.origin_chain_id") == [meant]


def test_a_name_that_points_to_nothing_or_to_several() -> None:
    """Words alone don't decide between two columns; whole names do, for both."""
    assert _found("invoice_numbers", "invoices.id") == []
    assert _found("users_n_sequence", "user.n", "users.n") == []
    assert _found("logs_sequence", "logs.user_id", "logs.group_id", "logs.ts") == []
    assert _found("a_b_c_seq", "a_b.c", "a.b_c") == ["a_b.c", "a.b_c"]


def test_the_likely_column_has_the_fewest_other_words() -> None:
    """It is only a guess, and there is none where two columns are as likely."""
    columns = _columns("events.stream_ordering", "event_push_actions.stream_ordering", "ex_outlier_stream.event")
    likely = likely_column("events_stream_seq", columns)
    assert likely is not None
    assert likely.table == "events"
    assert likely_column("device_sequence", _columns("device_a.n", "device_b.n")) is None
    assert likely_column("seq", columns) is None


def test_calls_in_code() -> None:
    """Names are returned as they are written; a call whose name is computed isn't found."""
    assert called("nextval(('s'::text)::regclass) + NEXTVAL ('public.\"It''s\"')") == ["s", 'public."It\'s"']
    assert called("nextval(TG_TABLE_NAME || '_seq'), nextval('no name at all')") == []


def test_assignments_in_triggers() -> None:
    """Every usual spelling of PL/pgSQL."""
    code = """BEGIN
      NEW.id := nextval('a'); new."Other Id" = coalesce(new.x, nextval('b'));
      SELECT nextval('c') INTO STRICT NEW.third; PERFORM nextval('d'); RETURN NEW;
    END"""
    assert sorted(assigned(code)) == [("Other Id", "b"), ("id", "a"), ("third", "c")]
