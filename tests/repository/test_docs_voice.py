"""The voice of the documentation and of the messages: plain English in the present tense, one word for one thing."""

import re
from pathlib import Path

import pytest
from own_scripts import all_messages

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
)

SYNONYMS = {
    r"error codes?|exit status|return codes?|status codes?": "exit code",
    r"pre-?flight checks?|pre-flight": "preflight",
    r"checksums?|hash sums?": "digest",
    r"destinations?|target side": "target",
    r"source side|origin database": "source",
    r"validat(?:e|es|ed|ing|ion|ions)": "verify (compare afterwards) or check (beforehand)",
    r"dangling \w+|orphaned (?:rows?|records?)|orphan rows?": "orphan",
    r"phases?(?! Sync)": "stage",
    r"config files?|configuration files?|files? of rules|rule files?": "rules file",
    r"upserts?": "merge, as `keep` does",
    r"command.line (?:options?|parameters?|arguments?)": "flag",
    r"data ?bases? records?|tuples?": "row",
    r"synchroni[sz](?:e|es|ed|ing|ation)": "migrate",
    r"(?<![\w-])Postgres(?!$| extensions?\b| image\b| sequence\b)": "PostgreSQL",
    r"abort(?:s|ed|ing)?": "end, refuse or stop",
    r"conflicting rows?|pre-?existing rows?": "existing rows",
    r"black-?lists?|white-?lists?": "exclude",
    r"(?<!--)dry-run": "dry run (the flag is `--dry-run`)",
    r"thread pool|process pool": "worker pool",
}
"""Words for something that has another name in docs/glossary.md, with that name."""

EMPTY = r"simply|please|obviously|of course|basically|utili[sz]e[sd]?|leverag\w+|in order to|seamless(?:ly)?|blazing\w*"
"""Words that say nothing, or less than they seem to."""

FUTURE = r"will|shall|won't(?! do\b)"
"""The tense of promises; a page says what happens."""


def words(text: str) -> str:
    """Return a page's own words: without blocks, code, generated parts, links' addresses and quotations."""
    text = re.sub(r"<!-- generated: .*?<!-- end -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`|\"[^\"\n]*\"", "", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def found(pattern: str, text: str) -> list[str]:
    """Return what a pattern of whole words finds, whatever the case."""
    return re.findall(rf"(?<!\w)(?:{pattern})\b", text, re.IGNORECASE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_one_word_for_one_thing(page: Path) -> None:
    """And says what happens, in the present tense, without words that say nothing."""
    text = words(page.read_text(encoding="utf-8"))
    assert {word: term for pattern, term in SYNONYMS.items() for word in found(pattern, text)} == {}
    assert found(EMPTY, text) == []
    assert found(FUTURE, text) == []


def test_messages_have_one_word_for_one_thing() -> None:
    """What the program says is said in the words of its pages."""
    for message in all_messages():
        text = words(message.text)
        assert {word: term for pattern, term in SYNONYMS.items() for word in found(pattern, text)} == {}, message
        assert found(EMPTY, text) == [], message


def test_the_glossary_uses_its_own_words() -> None:
    """No synonym is a term of the glossary."""
    terms = re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(terms) > len(SYNONYMS)
    assert [term for term in terms for pattern in SYNONYMS if found(pattern, term)] == []
