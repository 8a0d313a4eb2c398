"""Check that every link between the built pages leads somewhere: python docs/_check_links.py DIR"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors and the links of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name in ("id", "name"):
                self.anchors.add(value)
            elif (tag, name) in (("a", "href"), ("img", "src"), ("link", "href")):
                self.links.append(value)


def broken(folder: Path) -> list[str]:
    """Links to files or anchors that do not exist, as sentences."""
    pages = {path.resolve(): Page(path) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            where = path.relative_to(folder.resolve())
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                found.append(f"{where}: no file for {link!r}")
            elif parts.fragment and target in pages:
                known = pages[target].anchors
                found += (
                    [] if unquote(parts.fragment) in known else [f"{where}: no place: {link!r}"]
                )
    return sorted(set(found))


if __name__ == "__main__":
    errors = broken(Path(sys.argv[1]))
    print("\n".join(errors) or "all links between pages lead somewhere")
    sys.exit(bool(errors))
