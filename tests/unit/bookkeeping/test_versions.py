"""Versions of both sides: what differs, in words, and what to do."""

from migrator.bookkeeping.tools import VersionTable, recognised
from migrator.bookkeeping.versions import VersionsDiffer, difference


def _kind(name: str, columns: str) -> VersionTable:
    kind = recognised(name, columns.split())
    assert kind is not None
    return kind


DJANGO = _kind("django_migrations", "id app name applied")
ALEMBIC = _kind("alembic_version", "version_num")


def _differing(kind: VersionTable, source: str, target: str) -> VersionsDiffer:
    found = difference("t", kind, frozenset(source.split()), set(target.split()))
    assert found is not None
    return found


def test_equal_versions_are_no_difference() -> None:
    """Neither is a source without versions: nothing stands anywhere."""
    assert difference("t", DJANGO, frozenset({"a"}), {"a"}) is None
    assert difference("t", DJANGO, frozenset(), {"a"}) is None


def test_the_side_that_is_behind_is_upgraded() -> None:
    """The step names it."""
    assert "Upgrade the target's tables" in _differing(DJANGO, "a b", "a").next_step
    assert "Upgrade the source" in _differing(DJANGO, "a", "a b").next_step
    assert "Bring both sides" in _differing(DJANGO, "a", "b").next_step
    assert "Bring both sides" in _differing(ALEMBIC, "a", "b").next_step


def test_both_sides_are_told() -> None:
    """Many versions are counted, and the last of them shown."""
    reason = _differing(DJANGO, "a b c d e f g", "h").reason
    assert "only the source has 7 versions, the last of them c, d, e, f, g; only the target has h" in reason


def test_a_target_without_versions() -> None:
    """The tool's own command marks them, or the rule carries the rows."""
    found = _differing(ALEMBIC, "a", "")
    assert "the target records no version" in found.reason
    assert "(alembic stamp REVISION)" in found.next_step
    assert '[tables."t"] exclude = false' in found.next_step


def test_chains_for_each_database() -> None:
    """Alembic's revisions don't tell whether they are of one chain: the step says what to do if they aren't."""
    assert _differing(ALEMBIC, "27d8", "91e2").next_step.endswith("--exclude t says so.")
    assert "--exclude" not in _differing(DJANGO, "a b", "a").next_step
