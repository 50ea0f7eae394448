"""The pages of docs/ that are generated, each with the function that makes its text."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.docs.limit_page import limit_page
from tests.docs.markers import ROOT
from tests.docs.promise_page import promise_page

PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    ROOT / "docs" / "limits.md": limit_page,
    ROOT / "docs" / "promises.md": promise_page,
}
