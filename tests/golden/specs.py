"""Job specs of the golden data: the largest and oddest values that commit ea7f2a1 accepts.

Several of them may be refused by a later check at the edge: a token in a repository's URL, a
pattern of artifacts that can never match, a name of 256 bytes, a control character in a text.
"""

from airunner.spec import (
    Checkout,
    Container,
    JobSpec,
    Mount,
    ProcessType,
    Submodules,
    TerminalSize,
)
from airunner.steps import Step

CSI = "\u009b"  # the one-character form of ESC [, which a terminal obeys
ODD_TEXT = f"{CSI}31m\x1b[2J\r\n\t\u2028\u202e\ufeff\U0001f680e\u0301 \\x \x7f"
MONTH = 30 * 24 * 3600  # seconds, the longest timeout

REPOSITORIES = (
    "https://ghp_token@host.example/x.git",
    "https://host.example:8443/x.git?access_token=ghp_token#fragment",
    "http://oauth2@host.example/%0a/x",
    "ssh://git@[::1]:2222/x.git",
    "git@host.example:x.git",
    "host.example:x",
    "git://host.example/x",
    "file:///srv/golden/x.git",
    "/srv/golden/b\u00fcild.git",
    "https://host.example/" + "x" * 2_000,
)

PATTERNS = (
    ("./dist",),
    ("#x",),
    ("!x",),
    ("!./x", "!#x"),
    ("/",),
    ("   x   ",),
    ("a//b/./c",),
    ("[[:alpha:]]", "[", "[!", "x[a"),
    (f"x{CSI}y\n",),
    ("\\#x", "\\!x", "x\\ "),
    ("/srv/golden/absolute",),
    (".git/HEAD", ".git", "**/.git/**"),
    ("x" * 1_024,),
    tuple(f"*.{number}" for number in range(64)),
)

BRANCHES = (
    "b\u00fcild/\U0001f680",
    "refs/heads/main",
    "HEAD",
    "v1.0-rc.1+x",
    "b" * 256,
    "x@y",
    "x",
)


_SHELL_WORK = (
    JobSpec(script=f"echo {ODD_TEXT}\n"),
    JobSpec(script="  \n#!/bin/sh\n" + "echo a long line of a long script\n" * 4_000),
    JobSpec(script="echo", shell="bash -eu -o pipefail"),
    JobSpec(script="echo", shell="'/bin/my shell' -c " + "x" * 200),
    JobSpec(steps=()),
    JobSpec(steps=tuple(Step(run=f"echo {number}") for number in range(256)), shell="sh"),
    JobSpec(
        steps=(
            Step(run=f"echo {ODD_TEXT}", name="n" * 256),
            Step(run="\n\n  echo first line\necho second", name=""),
            Step(run="true", name="\U0001f680 \u0627\u0644", environment={"A": CSI, "PATH": ""}),
            Step(run="true", working_directory="a/./b//c", timeout_seconds=MONTH),
            Step(run="false", continue_on_error=True, timeout_seconds=1),
        ),
        environment={"A": "of the job"},
        working_directory="-",
    ),
    JobSpec(source="runs/17 \u00fc"),
    JobSpec(source="#x/!y/$HOME", steps=(Step(run="true"),)),
    JobSpec(source="s" * 1_024, command="true"),
)

_TEXTS = (
    JobSpec(command="true\n", args=("", "-", "--", CSI, ODD_TEXT)),
    JobSpec(command="-x"),
    JobSpec(command="c" * 4_096),
    JobSpec(command=f"/b\u00fcild/{CSI}", args=tuple(str(number) for number in range(1_024))),
    JobSpec(command="true", args=("a" * 131_072,)),
    JobSpec(command="true", name="n" * 256),
    JobSpec(command="true", name="\U0001f680 b\u00fcild \u05d0"),
    JobSpec(command="true", name=" "),
    JobSpec(command="true", owner="o" * 256),
    JobSpec(command="true", owner=ODD_TEXT),
    JobSpec(command="true", metadata={f"key {number}": "" for number in range(64)}),
    JobSpec(command="true", metadata={"k" * 8_000: "v" * 8_200, "": "", ODD_TEXT: ODD_TEXT}),
    JobSpec(
        command="true",
        environment={"A": ODD_TEXT, "_": "", "PATH": "/nowhere", "AIRUNNER_ATTEMPT": "9"},
    ),
    JobSpec(
        command="true", environment={f"VARIABLE_{number}": "v" * 200 for number in range(1_024)}
    ),
    JobSpec(command="true", environment={"LD_PRELOAD": "/srv/golden/x.so", "V": "v" * 250_000}),
    JobSpec(command="true", working_directory="./"),
    JobSpec(command="true", working_directory=f"a//{CSI}"),
    JobSpec(command="true", commit="ABCD"),
    JobSpec(command="true", commit="0f" * 32),
)

_NUMBERS = (
    JobSpec(command="true", timeout_seconds=MONTH, grace_seconds=3_600),
    JobSpec(command="true", timeout_seconds=1, grace_seconds=0),
    JobSpec(command="true", attempts_max=100, output_bytes_max=1 << 40),
    JobSpec(command="true", attempts_max=1, output_bytes_max=1),
    JobSpec(
        command="true", process_type=ProcessType.PTY, terminal=TerminalSize(columns=1_000, rows=1)
    ),
    JobSpec(command="true", terminal=TerminalSize(columns=1, rows=1_000)),
    JobSpec(command="true", checkout=None, repository="https://host.example/x"),
    JobSpec(
        command="true",
        repository="https://host.example/x",
        checkout=Checkout(depth=0, single_branch=False, submodules=Submodules.RECURSIVE),
    ),
    JobSpec(command="true", checkout=Checkout(depth=2**31 - 1, submodules=Submodules.TOP)),
    JobSpec(
        command="true",
        container=Container(
            image=f"host.example/{CSI}@sha256:" + "0" * 64,
            runtime="r" * 1_024,
            mounts=tuple(
                Mount(source=f"../{number}", target="", read_only=number % 2 == 0)
                for number in range(64)
            ),
        ),
    ),
)

ODD: tuple[JobSpec, ...] = (
    *(JobSpec(command="true", repository=each) for each in REPOSITORIES),
    *(JobSpec(command="true", artifacts=each) for each in PATTERNS),
    *(JobSpec(command="true", branch=each) for each in BRANCHES),
    *_SHELL_WORK,
    *_TEXTS,
    *_NUMBERS,
)

QUEUES = ("q" * 128, "A.b/c:d-_e", "0", "gpu/a:1", "default..", "9//:")

RUNS: tuple[JobSpec, ...] = (  # jobs of the queue "runs", for a worker
    JobSpec(command="true"),
    JobSpec(command="echo", args=("b\u00fcild", CSI)),
    JobSpec(command="sh", args=("-c", "echo out; echo err >&2; exit 3")),
    JobSpec(command="no-such-command-anywhere"),
    JobSpec(script="echo $A | tee made\n", environment={"A": "value"}, artifacts=("made",)),
    JobSpec(script="true\n", artifacts=("./dist",)),
    JobSpec(script="echo never >dist\n", artifacts=("#x",)),
    JobSpec(script="echo never >x\n", artifacts=("!x",)),
    JobSpec(script="test -t 1 && stty size\n", process_type=ProcessType.PTY),
    JobSpec(
        steps=(
            Step(run="false", name="may fail", continue_on_error=True),
            Step(run="echo $A", environment={"A": "of the step"}),
            Step(run="exit 5"),
            Step(run="echo skipped"),
        )
    ),
    JobSpec(steps=()),
    JobSpec(script="kill -9 $$\n"),
    JobSpec(script="exec sleep 60\n", timeout_seconds=1, grace_seconds=0),
    JobSpec(command="true", container=Container(image="alpine")),
    JobSpec(script="echo a long line; echo another\n", output_bytes_max=12),
    JobSpec(command="true", working_directory="nowhere"),
    JobSpec(source="nowhere", command="true"),
    JobSpec(command="true", name="n" * 256, queue_timeout_seconds=MONTH),
)
