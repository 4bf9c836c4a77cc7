"""
Builds a page as a tree of elements. Text becomes markup only when the tree is written, and is escaped there.

So no value of a row and no name of a table can become markup, and no template engine has to be trusted for that.
"""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from migrator.runtime.wording import printable

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: str) -> Element:
    """Return an element. None among the children is left out; ``class_`` and ``aria_label`` are spelled as in HTML."""
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    made = Element(tag, {names[name]: text(value) for name, value in attributes.items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif child is not None and last is None:
            made.text = (made.text or "") + text(child)
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + text(child)
    return made


def text(words: str) -> str:
    """Return words with unprintable signs escaped, but for line breaks: markup can't hold all of them."""
    return "\n".join(map(printable, words.split("\n")))


def stylesheet(css: str) -> Element:
    """Return a style sheet. It is written as it is."""
    made = Element("style")
    made.text = css
    return made


def table(headings: Iterable[str], rows: Iterable[Element], label: str, kind: str = "") -> Element:
    """Return a table that scrolls in its own frame where the window is narrow; ``label`` names it."""
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    made = element("table", element("thead", head), element("tbody", *rows), class_=kind)
    return element("div", made, class_="frame", tabindex="0", role="region", aria_label=label)


def row(name: str | Element, *cells: str | Element, kind: str = "") -> Element:
    """Return a row of a table, which ``name`` is the heading of."""
    return element(
        "tr",
        element("th", name, scope="row"),
        *(element("td", cell) for cell in cells),
        **({"class_": kind} if kind else {}),
    )


def written(page: Element) -> str:
    """Return the page as HTML."""
    return "<!doctype html>\n" + tostring(page, encoding="unicode", method="html") + "\n"
