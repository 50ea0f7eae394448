"""The job file reader, job drafts and their merging."""

import json
from pathlib import Path

import pytest

from airunner.jobfile.draft import JobDraft, resolve_repository
from airunner.jobfile.error import JobFileError
from airunner.jobfile.reader import KEYS, parse_job_file, read_job_file
from airunner.model.spec import (
    Checkout,
    Container,
    JobSpec,
    Mount,
    ProcessType,
    Submodules,
    TerminalSize,
)
from airunner.model.steps import Step

HERE = Path("/nowhere")
CONFIGS = Path(__file__).parents[2] / "configs"

WHOLE = """\
command: make
name: nightly
artifacts: [dist/, "*.log"]
args: [test, -j, 4]
processType: pty
timeout: 10m
queueTimeout: 3600
gracePeriod: 30s
workingDirectory: src
environment: {CI: true, VERSION: 1.10}
metadata: {team: core}
repository: https://example.org/project.git
commit: 1234567
branch: main
owner: ann
queue: gpu
attemptsMax: 5
outputBytesMax: 10MiB
terminal: {columns: 120, rows: 40}
gitClone:
  enabled: true
  depth: 5
  singleBranch: false
  submodules: recursive
  lfs: true
  filter: blob:none
  sparse: [src, ./docs/]
container:
  enabled: true
  image: debian:12
  runtime: podman
  mounts:
    - {source: /cache, target: /var/cache, readOnly: true}
"""


def parse(text: str) -> JobDraft:
    return parse_job_file(text, "job.yaml", HERE)


def test_every_key_of_a_job_file_reaches_the_job() -> None:
    spec = parse(WHOLE).spec()
    assert (spec.command, spec.args) == ("make", ("test", "-j", "4"))
    assert (spec.name, spec.artifacts) == ("nightly", ("dist/", "*.log"))
    assert spec.process_type is ProcessType.PTY
    assert (spec.timeout_seconds, spec.queue_timeout_seconds, spec.grace_seconds) == (600, 3600, 30)
    assert spec.working_directory == "src"
    assert spec.metadata == {"team": "core"}
    assert spec.repository == "https://example.org/project.git"
    assert (spec.branch, spec.owner, spec.queue) == ("main", "ann", "gpu")
    assert (spec.attempts_max, spec.output_bytes_max) == (5, 10 * 1024 * 1024)
    assert spec.terminal == TerminalSize(columns=120, rows=40)
    assert spec.checkout == Checkout(
        depth=5,
        single_branch=False,
        submodules=Submodules.RECURSIVE,
        lfs=True,
        filter="blob:none",
        sparse=("src", "docs"),
    )
    mount = Mount(source="/cache", target="/var/cache", read_only=True)
    assert spec.container == Container(image="debian:12", runtime="podman", mounts=(mount,))


def test_text_is_what_the_file_says_letter_by_letter() -> None:
    spec = parse(WHOLE).spec()
    assert spec.commit == "1234567"
    assert spec.environment == {"CI": "true", "VERSION": "1.10"}


def test_json_is_a_job_file_too() -> None:
    draft = parse('{"command": "make", "args": ["test"], "timeout": 5}')
    assert (draft.command, draft.args, draft.timeout) == ("make", ("test",), 5)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_with_two_letters_swapped_is_an_error_that_names_the_right_one(key: str) -> None:
    at = next(at for at in range(len(key) - 1, 0, -1) if key[at] != key[at - 1])
    wrong = key[: at - 1] + key[at] + key[at - 1] + key[at + 1 :]
    with pytest.raises(JobFileError) as caught:
        parse(f"command: make\n{wrong}: x\n")
    assert str(caught.value) == (f"job.yaml:2: the file has no key {wrong!r}: did you mean {key}?")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("command: x\nworking_directory: y", "job.yaml:2: the file has no key 'working_directory'"),
        ("command: x\nzzz: 1", "job.yaml:2: the file has no key 'zzz'; it may have command, args"),
        ("command: x\ncommand: y", "job.yaml:2: the key command appears twice (first on line 1)"),
        ("command: x\nargs: oops", "job.yaml:2: args must be a list"),
        ("command: x\nargs:\n  - a\n  - [b]", "job.yaml:4: an item of args must be text"),
        ("command: x\ntimeout: soon", "job.yaml:2: timeout: 'soon' is not a duration"),
        ("command: x\noutputBytesMax: lots", "job.yaml:2: outputBytesMax: 'lots' is not a size"),
        ("command: x\nattemptsMax: 1.5", "job.yaml:2: attemptsMax must be a whole number"),
        ("command: x\nprocessType: tube", "job.yaml:2: processType is 'tube', but must be one of"),
        ("command: x\ngitClone: {depht: 1}", "'depht': did you mean depth?"),
        ("command: x\ngitClone:\n  enabled: 7", "job.yaml:3: enabled must be true or false"),
        ("command: x\ngitClone: [1]", "job.yaml:2: gitClone must be keys and values"),
        ("command: x\nenvironment:\n  A: {b: c}", "job.yaml:3: environment.A must be text"),
        ("command: x\ncontainer: {}", "job.yaml:2: container needs an image"),
        ("command: x\n<<: {agrs: [a]}", "job.yaml:2: the file has no key 'agrs': did you mean"),
        ("command: x\n<<: text", "job.yaml:2: << must name a mapping, as in `<<: *base`"),
        ("command: x\n<<: [{}, text]", "job.yaml:2: << must name a mapping"),
        ("command: x\n<<: {}\n<<: {}", "job.yaml:3: the key << appears twice"),
        ("command: x\nenvironment: &a\n  <<: *a", "job.yaml:3: this mapping merges itself"),
        ("command: x\ngitClone: {x-a: 1}", "job.yaml:2: gitClone has no key 'x-a'"),
        ("x-a: 1\nx-a: 2", "job.yaml:2: the key x-a appears twice (first on line 1)"),
        ("command: x\ntimeout:\ntimeout: 5", "job.yaml:3: the key timeout appears twice"),
        ("command: x\nargs: [a, ]\nartifacts: [~]", "job.yaml:3: an item of artifacts must be"),
        ("steps: [{name: x, run: }]", "job.yaml:1: step 1: has no `run`"),
        ("command: [x\n", "job.yaml:2: this is not YAML"),
        ("command: \x01", "job.yaml: this is not YAML"),
        ("- x", "job.yaml:1: the file must be keys and values"),
        ("", "job.yaml is empty"),
        ("command: x\nrepository: ./nothing", "job.yaml:2: repository: there is no folder"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(JobFileError) as caught:
        parse(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("command: x\ntimeout: 40d", "job.yaml:2: timeout: 3456000 is not within"),
        ("command: x\nterminal:\n  rows: 0", "job.yaml:3: rows: 0 is not within"),
        ("command: x\ngitClone:\n  depth: -1", "job.yaml:3: depth: -1 is not within"),
        ("command: x\nworkingDirectory: /etc", "job.yaml:2: workingDirectory: is not a path below"),
        ("command: x\nenvironment: {1A: b}", "job.yaml:2: environment: '1A' is not a variable"),
        ("command: x\nshell: bash", "job.yaml:2: shell: means nothing to a command"),
        ("command: x\nscript: y", "job.yaml:2: script: there is a command already"),
        ("script: x\nsteps: [y]", "job.yaml:2: steps: there is a script already"),
        ("script: x\nargs: [y]", "job.yaml:2: args: belong to a command, and there is none"),
        ("queue: q\nscript: ''", "job.yaml:2: script: is empty: fill it in, or leave it out"),
        ("source: ../x", "job.yaml:1: source: is not a path below the worker's folder of sources"),
        (
            "source: x\nbranch: y",
            "job.yaml:2: branch: is of a repository, and the job has a source",
        ),
        ("command: x\nartifacts: [../x]", "job.yaml:2: artifacts: '../x' is not a pattern"),
        ("queue: q", "there is nothing to run: name a command after --"),
    ],
)
def test_a_rule_that_the_job_breaks_is_told_with_the_line_of_its_key(
    text: str, sentence: str
) -> None:
    with pytest.raises(JobFileError) as caught:
        parse(text).spec()
    assert sentence in str(caught.value)


def test_an_alias_that_contains_itself_is_refused() -> None:
    with pytest.raises(JobFileError, match="must be text"):
        parse("command: x\nenvironment: &a\n  A: *a\n")


MERGED = """\
x-base: &base
  environment: &variables {A: base, B: base}
  timeout: 5
x-other: &other {timeout: 6, queue: gpu, branch: b}
<<: [*base, *other]
branch:
steps:
  - run: make
    environment:
      <<: *variables
      B: own
  - &test {run: make test, timeout: 1m}
  - <<: *test
    name: again
"""


def test_merge_keys_add_pairs_that_the_mapping_does_not_have() -> None:
    spec = parse(MERGED).spec()
    assert (spec.timeout_seconds, spec.queue, spec.branch) == (5, "gpu", "")
    assert spec.environment == {"A": "base", "B": "base"}
    assert spec.steps == (
        Step(run="make", environment={"A": "base", "B": "own"}),
        Step(run="make test", timeout_seconds=60),
        Step(run="make test", timeout_seconds=60, name="again"),
    )


def test_a_merged_value_that_is_wrong_is_told_with_its_own_line() -> None:
    with pytest.raises(JobFileError, match=r"^job.yaml:2: timeout: 'soon' is not a duration"):
        parse("x-a: &a\n  timeout: soon\ncommand: x\n<<: *a\n")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_without_a_value_is_a_key_that_is_not_there(key: str) -> None:
    text = "steps: []" if key in ("command", "args", "script", "source", "shell") else "command: x"
    for empty in ("", " ~", " null"):
        assert parse(f"{text}\n{key}:{empty}\n").spec() == parse(text).spec()


def test_a_key_without_a_value_is_not_there_at_any_depth() -> None:
    text = """\
command: x
environment: {A: , B: b}
metadata: {a: null, b: b}
gitClone: {depth: , submodules: }
terminal: {rows: }
container:
"""
    spec = parse(text).spec()
    assert (spec.environment, spec.metadata) == ({"B": "b"}, {"b": "b"})
    assert (spec.checkout, spec.terminal, spec.container) == (Checkout(), TerminalSize(), None)
    steps = parse("steps: [{run: x, name: , environment: {A: }, timeout: ~}]").spec().steps
    assert steps == (Step(run="x"),)


def test_keys_for_other_programs_are_ignored() -> None:
    assert parse("x-a: {b: [c]}\nx-: 1\ncommand: x").spec() == JobSpec(command="x")


def test_aliases_that_stand_for_billions_of_pairs_are_refused() -> None:
    lines = ["x-0: &a0 {environment: {A: b}, timeout: 5}"]
    lines += [f"x-{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 20)]
    with pytest.raises(JobFileError, match=r"MERGED_PAIRS_MAX \(100000\) pairs"):
        parse("\n".join([*lines, "<<: *a19", "command: x"]))
    deep = ["x-0: &a0 {timeout: 5}", *(f"x-{n}: &a{n} {{<<: *a{n - 1}}}" for n in range(1, 5000))]
    with pytest.raises(JobFileError, match="aliases are nested too deeply"):
        parse("\n".join([*deep, "<<: *a4999", "command: x"]))


STEPS = """\
shell: bash -eu
steps:
  - make
  - name: test
    run: |
      make test
      make lint
    environment: {CI: true, VERSION: 1.10}
    workingDirectory: src
    timeout: 10m
    continueOnError: yes
  - 5
"""


def test_steps_are_texts_or_say_how_they_are_run() -> None:
    spec = parse(STEPS).spec()
    tests = Step(
        name="test",
        run="make test\nmake lint\n",
        environment={"CI": "true", "VERSION": "1.10"},
        working_directory="src",
        timeout_seconds=600,
        continue_on_error=True,
    )
    assert spec.steps == (Step(run="make"), tests, Step(run="5"))
    assert spec.shell == "bash -eu"


def test_no_steps_are_steps_too() -> None:
    assert parse("steps: []").spec().steps == ()
    assert parse("source: runs/7").spec().steps is None
    assert parse("source: runs/7/").spec().source == "runs/7"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("steps: make", "job.yaml:1: steps: must be a list of shell commands"),
        ("steps:\n  test: {run: x}", "job.yaml:2: steps: must be a list of shell commands"),
        ("steps:\n  - x\n  -", "job.yaml:3: step 2: must be a shell command, or a step"),
        ("steps:\n  - [x]", "job.yaml:2: step 1: must be a shell command, or a step"),
        ("steps:\n  - x\n  - ' '", "job.yaml:3: step 2: run: is empty: say what to run"),
        ("steps:\n  - name: x\n    timeout: 1", "job.yaml:2: step 1: has no `run`"),
        ("steps:\n  - run: x\n    timeout: soon", "job.yaml:3: step 1: timeout: 'soon' is not"),
        ("steps:\n  - run: x\n    timeout: 40d", "job.yaml:3: step 1: timeout: 3456000 is not"),
        ("steps:\n  - run: x\n    name: [y]", "job.yaml:3: step 1: name: must be text"),
        (
            "steps:\n  - run: x\n\n    run: y",
            "job.yaml:4: the key run appears twice (first on line",
        ),
        ("steps:\n  - run: x\n    working_directory: y", "did you mean workingDirectory?"),
        ("steps:\n  - run: x\n    tiemout: 1", "job.yaml:3: a step has no key 'tiemout': did you"),
        (
            "steps:\n  - run: x\n    workingDirectory: /y",
            "job.yaml:3: step 1: workingDirectory: is",
        ),
        ("steps:\n  - run: x\n    continueOnError: 7", "step 1: continueOnError: must be true or"),
        ("steps:\n  - run: x\n    environment: {A: [b]}", "step 1: environment.A: must be text"),
        (
            "steps:\n  - run: x\n    environment:\n      1A: b",
            "job.yaml:3: step 1: environment: '1A'",
        ),
        ("steps: &a [*a]", "job.yaml:1: step 1: must be a shell command"),
        (
            "steps:\n  - &a {run: x, environment: *a}",
            "step 1: environment.environment: must be text",
        ),
    ],
)
def test_a_mistake_in_a_step_is_one_sentence_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(JobFileError) as caught:
        parse(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_json_library_writes_is_read_letter_by_letter() -> None:
    script = "echo '\N{GRINNING FACE}\t\\ \u2028é'\n"
    for ascii_only in (True, False):
        said = json.dumps({"script": script}, indent="\t", ensure_ascii=ascii_only)
        assert parse(said).script == script
    assert parse("{script: 'a\tb', queue: q}").script == "a\tb"


def test_a_json_file_with_a_mistake_in_it_is_told_so() -> None:
    with pytest.raises(JobFileError, match=r"^job\.json:2: this is not JSON: expected"):
        parse_job_file('{"command": "x"\n "args": []}', "job.json", HERE)


def test_half_a_character_is_a_mistake() -> None:
    with pytest.raises(JobFileError, match=r"job\.yaml:1: script has an unpaired surrogate"):
        parse('{"script": "\\ud83d"}')


def test_a_script_of_a_megabyte_is_read(tmp_path: Path) -> None:
    script = "".join(f"echo 'line {number} of many'\n" for number in range(45_000))
    assert len(script) > 1_000_000
    (tmp_path / "job.json").write_text(json.dumps({"script": script}))
    assert read_job_file(tmp_path / "job.json").spec().script == script


@pytest.mark.parametrize(
    ("flags", "file", "spec"),
    [
        (
            JobDraft(script="new"),
            "command: a\nargs: [b]\nqueue: q",
            JobSpec(script="new", queue="q", strict=True),
        ),
        (JobDraft(script="new"), "steps: [a]\nshell: sh", JobSpec(script="new", shell="sh")),
        (JobDraft(command="new"), "script: a\nshell: sh", JobSpec(command="new")),
        (
            JobDraft(steps=(Step(run="new"),)),
            "command: a",
            JobSpec(steps=(Step(run="new"),), strict=True),
        ),
        (JobDraft(script="new", strict=False), "strict: true", JobSpec(script="new")),
        (JobDraft(script="new", shell="sh"), "strict: true", JobSpec(script="new", shell="sh")),
        (JobDraft(command="new"), "script: a\nstrict: true", JobSpec(command="new")),
        (JobDraft(strict=True), "source: s", JobSpec(source="s", strict=True)),
        (JobDraft(steps=()), "source: s\nscript: a", JobSpec(steps=(), source="s", strict=True)),
        (
            JobDraft(source="s"),
            "script: a\nrepository: https://h/p\nbranch: b\ngitClone: {depth: 5}",
            JobSpec(script="a", source="s", strict=True),
        ),
        (
            JobDraft(repository="https://h/p"),
            "script: a\nsource: s",
            JobSpec(script="a", repository="https://h/p", strict=True),
        ),
        (
            JobDraft(repository="https://h/p"),
            "script: a\nrepository: https://h/q\nbranch: b",
            JobSpec(script="a", repository="https://h/p", branch="b", strict=True),
        ),
        (
            JobDraft(artifacts=("new",)),
            "script: a\nartifacts: [b]",
            JobSpec(script="a", artifacts=("new",), strict=True),
        ),
    ],
)
def test_what_runs_and_where_is_said_by_the_flags_or_by_the_file(
    flags: JobDraft, file: str, spec: JobSpec
) -> None:
    assert flags.with_defaults(parse(file)).spec() == spec


def test_flags_win_over_the_file_and_maps_are_merged() -> None:
    flags = JobDraft(queue="cpu", environment={"CI": "no", "NEW": "1"})
    spec = flags.with_defaults(parse(WHOLE)).spec()
    assert spec.queue == "cpu"
    assert spec.environment == {"CI": "no", "VERSION": "1.10", "NEW": "1"}
    assert spec.timeout_seconds == 600


def test_another_command_does_not_inherit_the_files_arguments() -> None:
    spec = JobDraft(command="true").with_defaults(parse(WHOLE)).spec()
    assert (spec.command, spec.args) == ("true", ())


def test_a_section_for_cloning_means_to_clone_unless_it_says_otherwise() -> None:
    assert parse("command: x\ngitClone: {depth: 0}").spec().checkout == Checkout(depth=0)
    assert parse("command: x\ngitClone: {enabled: false}").spec().checkout is None


def test_a_mistake_in_a_flag_is_told_with_the_name_of_the_flag() -> None:
    flags = JobDraft(command="x", timeout=10**9, origins={"timeout_seconds": "--timeout"})
    with pytest.raises(JobFileError, match=r"^--timeout: 1000000000 is not within"):
        flags.spec()


def test_a_local_repository_becomes_an_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    assert resolve_repository("project", tmp_path) == str(tmp_path / "project")
    assert resolve_repository("./project", tmp_path) == str(tmp_path / "project")


@pytest.mark.parametrize("address", ["https://h/p", "git@host:p.git", "ssh://u@h/p", "file:///p"])
def test_a_remote_repository_stays_as_it_is(address: str, tmp_path: Path) -> None:
    assert resolve_repository(address, tmp_path) == address


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"cannot read the job file .*: No such file"):
        read_job_file(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xff\xff")
    with pytest.raises(JobFileError, match="is not UTF-8 text"):
        read_job_file(tmp_path / "bytes.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.[jy][sa]*")), ids=lambda path: path.name)
def test_every_example_is_a_job(path: Path) -> None:
    assert isinstance(read_job_file(path).spec(), JobSpec)


@pytest.mark.parametrize(
    ("given", "entries"),
    [
        ("[a//b/., ./c]", ("a/b", "c")),
        ("['*.md', ./c]", ("*.md", "/c")),
        ("[/src]", ("/src",)),
        ("['#x', a]", ("#x", "a")),
        ("[]", ()),
    ],
)
def test_entries_of_a_sparse_checkout_are_folders_or_else_patterns(
    given: str, entries: tuple[str, ...]
) -> None:
    checkout = parse(f"command: x\ngitClone:\n  sparse: {given}\n").spec().checkout
    assert checkout
    assert checkout.sparse == entries


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("[.]", "'.' is the whole repository: leave sparse out"),
        ("[a, ./.]", "'./.' is the whole repository"),
        ("['!a']", "excludes from an empty selection"),
        ("['#x', /a]", "is a comment"),
        ("[a, --x]", "'--x' looks like an option: write '/--x'"),
        ("[../x]", "is not a folder or a pattern in the repository"),
    ],
)
def test_entries_that_select_nothing_are_refused_with_their_line(given: str, why: str) -> None:
    with pytest.raises(JobFileError, match=r"job.yaml:3: sparse: ") as refused:
        parse(f"command: x\ngitClone:\n  sparse: {given}\n").spec()
    assert why in str(refused.value)
