"""Generate docs/limits.md and docs/promises.md: `python -m tests.docs`, or `make docs`."""

from tests.docs.markers import ROOT
from tests.docs.pages import PAGES

if __name__ == "__main__":
    for path, text in PAGES.items():
        path.write_text(text(), encoding="utf-8")
        print(path.relative_to(ROOT))
