"""What the builder of the site does beside its own work; mkdocs.yml names this file."""

import logging
import os
import re
from pathlib import Path
from typing import Final, Protocol, TypeAlias

LOG: Final = logging.getLogger("mkdocs.hooks.site")
LINK: Final = re.compile(r"\[(?P<text>[^\]\n]*(?:\n[^\]\n]+)?)\]\((?P<path>\.\./[^)#\s]+)(?:#[^)\s]*)?\)")

Entry: TypeAlias = "str | dict[str, Entry] | list[Entry]"
"""A page, a page or a list of pages with a title, or a list."""


class Config(Protocol):
    """What is used here of the builder's configuration."""

    nav: Entry
    docs_dir: str
    config_file_path: str


class File(Protocol):
    """The file of a page."""

    src_uri: str


class Page(Protocol):
    """A page of the site."""

    file: File


def on_config(config: Config) -> Config:
    """Put the pages of a folder in place of an entry that ends with a slash."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def _expanded(entry: Entry, docs: Path) -> Entry:
    """Return an entry of the navigation with every folder in it replaced by its pages, the overview first."""
    if isinstance(entry, list):
        return [_expanded(one, docs) for one in entry]
    if isinstance(entry, dict):
        return {title: _expanded(content, docs) for title, content in entry.items()}
    if not entry.endswith("/"):
        return entry
    pages = sorted((docs / entry).glob("*.md"), key=lambda page: (page.stem != "README", page.stem))
    return [page.relative_to(docs).as_posix() for page in pages]


def on_page_markdown(markdown: str, page: Page, config: Config, **_: object) -> str:
    """Name files of the repository that are not part of the site, where a page links to them."""
    root = Path(config.config_file_path).parent
    here = Path(config.docs_dir, page.file.src_uri).parent

    def named(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(here / link["path"]))
        if target.is_relative_to(config.docs_dir):
            return link[0]
        if not target.exists():
            LOG.warning("%s links to %s, which isn't there", page.file.src_uri, link["path"])
        path = target.relative_to(root).as_posix()
        return f"`{path}`" if link["text"].strip("`") == path else f"{link['text']} (`{path}`)"

    return LINK.sub(named, markdown)
