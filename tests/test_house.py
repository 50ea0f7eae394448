"""The rules of the house, read off the source: a rule that nothing checks is a wish.

ARCHITECTURE.md has the reasons. Each rule reads every module and names the line that breaks it.
"""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tokenize import COMMENT, tokenize

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "airunner"
COMPARISON = PACKAGE / "bench" / "comparison"  # a program of its own, in no wheel

# An import points down, or stays in its own folder; folders of one height are strangers.
HEIGHT = {
    "": 0,
    "model": 1,
    "system": 2,
    "store": 2,
    "jobfile": 3,
    "blobs": 3,
    "log": 4,
    "wire": 4,
    "server": 5,
    "worker": 5,
    "bench": 6,
    "cli": 7,
    "bench/comparison": 8,
}
PURE = ("", "model", "store")
IMPURE = {
    "apsw",
    "asyncio",
    "grpc",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "structlog",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
SUPERVISOR = (  # fork, so stay small
    "cgroup",
    "cgroup_tree",
    "loop",
    "main",
    "protocol",
    "shim",
    "shims",
    "spawn",
    "subreaper_tree",
)
GRPC = PACKAGE / "server" / "grpc"
MODULES_MAX = 15  # in a folder; cli/commands has one file a command
# Names that point instead of naming: pronouns, and participles other than nouns of the field.
POINTING_NAMES = {
    "it",
    "its",
    "ours",
    "mine",
    "theirs",
    "these",
    "those",
    "this",
    "that",
    "what",
    "who",
}
PARTICIPLE = re.compile(r"\w+(?:ing|ed)")
NOUNS = {"logging", "setting"}
POINTING_WORDS = re.compile(r"\b(?:what|whatever|who|whoever|whom|whose)\b", re.IGNORECASE)
WORDS_MIN = 60  # of prose in a module, below which one word would decide
POINTING_PER_1000_MAX = 8  # in the prose of a module
POINTING_PER_1000_IN_ALL_MAX = 4  # in that of the whole package
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
# As regular expressions that do not match themselves.
FORBIDDEN_MARKS = (r"TOD[O]", r"FIXM[E]", r"XX[X]")
FORBIDDEN_WORDS = (
    r"/wor[k]/",
    r"/roo[t]/",
    r"pyp[i]\.org",
    r"pythonhoste[d]",
    r"npmj[s]\.org",
    r"docker\.i[o]",
)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules(folder: Path = PACKAGE) -> Iterator[Path]:
    """Every module that somebody wrote; generated ones are not."""
    for path in sorted(folder.rglob("*.py")):
        if PACKAGE / "wire" / "job" not in path.parents:
            yield path


def folder(path: Path) -> str:
    """The folder of airunner that contains a module; "" is the package itself."""
    if COMPARISON in path.parents:
        return "bench/comparison"
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def folder_of(name: str) -> str:
    """The folder of airunner that contains a module, by the module's dotted name."""
    if within(name, "airunner.bench.comparison"):
        return "bench/comparison"
    part = name.split(".")[1]
    return part if (PACKAGE / part).is_dir() else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the dotted name of everything that a module imports, wherever it does so."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the dotted name of everything that a module calls."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def breaches(
    finds: Callable[[Path], Iterator[tuple[int, str]]],
    breaks: Callable[[str], bool],
    paths: Iterator[Path],
) -> list[str]:
    """Each place where something that a module does breaks a rule."""
    return [
        f"{where(path, line)}: {what}"
        for path in paths
        for line, what in finds(path)
        if breaks(what)
    ]


def within(name: str, *packages: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in packages)


def test_every_folder_has_its_height() -> None:
    folders = {folder(path) for path in modules()}
    assert folders <= set(HEIGHT)


def test_imports_point_down_and_never_sideways() -> None:
    wrong = []
    for path in modules():
        mine = folder(path)
        for line, name in imports(path):
            if not name.startswith("airunner."):
                continue
            theirs = folder_of(name)
            if theirs != mine and HEIGHT[theirs] >= HEIGHT[mine]:
                wrong.append(f"{where(path, line)}: {mine} imports {name}")
    assert not wrong


def test_the_store_and_the_model_know_no_clock_no_network_no_disk_and_no_dice() -> None:
    pure = (path for path in modules() if folder(path) in PURE)
    assert not breaches(imports, lambda name: within(name, *IMPURE), pure)


def test_protobuf_goes_no_further_in_than_the_wire_and_the_servicers_that_use_it() -> None:
    inside = (path for path in modules() if folder(path) != "wire" and GRPC not in path.parents)
    outside = ("google", "airunner.wire.job", "grpc_reflection", "grpc_health")
    assert not breaches(imports, lambda name: within(name, *outside), inside)


def test_the_server_outside_its_grpc_port_knows_no_grpc() -> None:
    deciding = (path for path in modules(PACKAGE / "server") if GRPC not in path.parents)
    outside = ("grpc", "google", "airunner.wire")
    assert not breaches(imports, lambda name: within(name, *outside), deciding)


def test_json_is_made_of_the_model_alone() -> None:
    """An HTTP gateway and the command line print the same JSON, with neither of them below it."""
    own = modules(PACKAGE / "wire" / "json")
    below = ("airunner.model", "airunner.wire.json")
    assert not breaches(
        imports, lambda name: within(name, "airunner", "google") and not within(name, *below), own
    )


def test_the_supervisor_needs_nothing_but_the_standard_library() -> None:
    """The supervisor forks, so it starts small: no threads, no event loop, no dependency."""
    small = (path for path in modules(PACKAGE / "worker" / "supervisor") if path.stem in SUPERVISOR)
    heavy = ("asyncio", "threading", "concurrent", "grpc", "google", "structlog", "airunner.wire")
    assert not breaches(imports, lambda name: within(name, *heavy), small)


def test_only_the_command_line_reads_the_environment() -> None:
    inside = (path for path in modules() if folder(path) not in {"cli", "bench/comparison"})

    def reads(path: Path) -> Iterator[tuple[int, str]]:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute):
                yield node.lineno, ast.unparse(node)
        yield from imports(path)

    variables = ("os.environ", "os.environb", "os.getenv", "os.getenvb")
    assert not breaches(reads, lambda name: within(name, *variables), inside)


def test_nothing_is_a_global_that_changes() -> None:
    wrong = [
        where(path, node.lineno)
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Global)
    ]
    assert not wrong


def test_every_task_belongs_to_a_group() -> None:
    loose = ("asyncio.create_task", "asyncio.ensure_future", "loop.create_task")
    assert not breaches(calls, lambda name: name.endswith(loose), modules())


def test_a_module_is_one_noun_and_not_a_long_one() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    long = {where(path, n): n for path, n in lengths.items() if n > MODULE_LINES_MAX}
    assert not long


def test_a_folder_holds_at_most_fifteen_modules() -> None:
    counts = Counter(path.parent for path in modules() if path.stem != "__init__")
    del counts[PACKAGE / "cli" / "commands"]
    assert not {str(path.relative_to(ROOT)): n for path, n in counts.items() if n > MODULES_MAX}


def test_a_module_is_named_by_a_noun() -> None:
    last_words = {path: path.stem.rpartition("_")[2] for path in modules()}
    assert not [
        where(path, 1)
        for path, word in last_words.items()
        if word in POINTING_NAMES or (PARTICIPLE.fullmatch(word) and word not in NOUNS)
    ]


def prose(path: Path) -> str:
    """The docstrings and comments of a module."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    said = [
        ast.get_docstring(node) or "" for node in ast.walk(tree(path)) if isinstance(node, kinds)
    ]
    with path.open("rb") as file:
        said += [each.string for each in tokenize(file.readline) if each.type == COMMENT]
    return " ".join(said)


def test_prose_names_things_and_does_not_point_at_them() -> None:
    """A ceiling for relative pronouns: h11 and trio have 2 per 1,000 words, websockets 0.4."""
    counts = {
        path: (len(POINTING_WORDS.findall(text)), len(text.split()))
        for path in modules()
        for text in [prose(path)]
    }
    assert not {
        where(path, 1): round(1000 * pointing / words, 1)
        for path, (pointing, words) in counts.items()
        if words >= WORDS_MIN and 1000 * pointing > POINTING_PER_1000_MAX * words
    }
    pointing, words = map(sum, zip(*counts.values(), strict=True))
    assert 1000 * pointing <= POINTING_PER_1000_IN_ALL_MAX * words


def test_a_function_fits_a_screen() -> None:
    """Below its signature: that of a command lists its flags, and is a table."""
    long = [
        f"{where(path, node.lineno)}: {node.name}"
        for path in [*modules(), *modules(ROOT / "tests")]
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.body[0].lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


def test_every_module_says_what_it_is() -> None:
    silent = [
        where(path, 1)
        for path in modules()
        if tree(path).body and ast.get_docstring(tree(path)) is None
    ]
    assert not silent


def test_tests_mock_nothing() -> None:
    mocks = ("unittest.mock", "mock", "pytest_mock")
    assert not breaches(imports, lambda name: within(name, *mocks), modules(ROOT / "tests"))


def test_tests_wait_for_things_to_happen_and_never_for_time_to_pass() -> None:
    slept = breaches(calls, lambda name: name == "time.sleep", modules(ROOT / "tests"))
    for path in modules(ROOT / "tests"):
        for node in ast.walk(tree(path)):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "asyncio.sleep"
                and ast.unparse(node.args[0]) != "0"  # only lets others run
                and not virtual(path)
            ):
                slept.append(where(path, node.lineno))
    assert not slept


def virtual(path: Path) -> bool:
    """Whether the module runs in virtual time, or says that it does, where a sleep takes none."""
    if "virtual time" in (ast.get_docstring(tree(path)) or ""):
        return True
    return any(name.startswith("tests.support.loop.") for _, name in imports(path))


def project_files() -> list[Path]:
    """Every file of the project, as git knows them; outside a checkout, what ships with it."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return [*modules(), *modules(ROOT / "tests"), *ROOT.glob("*.md")]
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


@pytest.mark.parametrize("word", FORBIDDEN_WORDS)
def test_the_project_names_no_machine_and_no_registry(word: str) -> None:
    files = (path for path in project_files() if path.name != "LICENSE")
    texts = ((path, path.read_bytes()) for path in files)
    assert not [path for path, text in texts if re.search(word.encode(), text)]


@pytest.mark.parametrize("mark", FORBIDDEN_MARKS)
def test_nothing_is_left_for_later(mark: str) -> None:
    paths = [*modules(), *modules(ROOT / "tests")]
    assert not [path for path in paths if re.search(mark, path.read_text(encoding="utf-8"))]
