"""`airunner verify` on real jobs, and on a log that somebody has changed."""

import asyncio
import json
import signal
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from airunner.log.records import REPORTS
from airunner.log.sqlite.log import SqliteLog
from airunner.log.sqlite.rows import REPORT_COLUMNS, ReportRow, report_event, report_row
from airunner.log.sqlite.schema import connect
from airunner.model.facts import Event, OutputDropped, Reported
from airunner.model.jobs import JobId
from airunner.model.reports import Output
from airunner.server.replay import replay
from airunner.store.engine import Engine
from tests.promises import holds, promise
from tests.support.installation import Site

TALKING = ("--", "sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.2; done; echo err >&2; exit 4")


def stop(it: Site) -> Path:
    """End the server; the file that it leaves."""
    assert it.server
    it.server.signal(signal.SIGTERM)
    assert it.server.wait() == 0
    return it.folder / "jobs.db"


def changed(event: Event) -> Event:
    """The same with another last byte in its output, and the link that it had."""
    fact = event.fact
    assert isinstance(fact, Reported)
    assert isinstance(fact.report, Output)
    *before, last = fact.report.chunks
    last = replace(last, data=last.data[:-1] + bytes([last.data[-1] ^ 1]))
    return structs.replace(event, fact=structs.replace(fact, report=Output((*before, last))))


def tamper(path: Path) -> Event:
    """Change the second batch of output in a log, its row's checksum included; what it was."""
    connection = connect(path, write=True)
    rows: list[ReportRow] = connection.execute(  # type: ignore[assignment]  # apsw knows no columns
        f"SELECT {REPORT_COLUMNS} FROM reports WHERE kind = ? ORDER BY place", (REPORTS[Output],)
    ).fetchall()
    event = report_event(rows[1])
    row = report_row(changed(event))
    values = ", ".join("?" * len(row))
    connection.execute(f"REPLACE INTO reports({REPORT_COLUMNS}) VALUES ({values})", row)
    connection.close()
    return event


async def drop(path: Path, id: JobId) -> None:
    """Let retention take the output of a job."""
    log, engine = SqliteLog.open(path), Engine()
    await replay(log, engine)
    await log.append(engine.record([OutputDropped(id)], engine.now))
    await log.close()


def test_a_finished_job_is_proven_whole(shared: Site) -> None:
    id = shared.submit(*TALKING)
    assert shared.run("monitor", id).returncode == 4
    done = shared.run("verify", id)
    assert done.returncode == 0, done.stdout
    *_, end = shared.events(id)
    seal = end["seal"]
    assert isinstance(seal, dict)
    expected = f"whole: {end['sequence']} events, 10 bytes of output, sha256 {seal['digest']}\n"
    assert done.stdout.decode() == expected


def test_the_proof_can_be_had_as_json(shared: Site) -> None:
    id = shared.submit(*TALKING)
    shared.run("monitor", id)
    said = json.loads(shared.run("verify", id, "--json", check=True).stdout)
    *_, end = shared.events(id)
    assert (said["id"], said["verdict"], said["differs"]) == (id, "whole", None)
    assert said["seal"] == end["seal"]


def test_a_job_of_steps_with_an_artifact_is_proven_whole(shared: Site) -> None:
    id = shared.submit(
        *("--step", "echo one; echo two > two.txt", "--step", "echo three; exit 3"),
        *("--step", "echo never", "--artifact", "*.txt", "--"),
    )
    assert shared.run("monitor", id).returncode == 3
    done = shared.run("verify", id)
    assert done.returncode == 0, done.stdout
    kinds = [event["type"] for event in shared.events(id)]
    assert kinds.count("step_start") == kinds.count("step_end") == 2
    assert kinds[-2:] == ["artifact", "finished"]


def test_output_that_was_cut_is_told_apart(shared: Site) -> None:
    id = shared.submit("--output-bytes-max", "100", "--", "head", "-c", "5000", "/dev/zero")
    shared.run("monitor", id)
    done = shared.run("verify", id)
    assert done.returncode == 0
    assert b"0 more bytes were cut at a limit" in done.stdout


def test_a_job_that_runs_is_not_sealed_yet(shared: Site) -> None:
    id = shared.submit("--", "sh", "-c", "echo ready; exec sleep 600")
    shared.wait_for(id, "output")
    done = shared.run("verify", id)
    shared.run("cancel", id, check=True)
    assert done.returncode == 125
    assert done.stdout.startswith(b"not sealed yet: ")


@holds("logs/verify-finds-changes")
def test_a_changed_byte_is_found_though_its_row_was_made_to_fit(own: Site) -> None:
    own.start_worker()
    id = own.submit(*TALKING)
    own.run("monitor", id)
    event = tamper(stop(own))
    own.start_server()
    done = own.run("verify", id)
    assert done.returncode == 1
    assert done.stdout.decode().startswith(f"differs at sequence {event.first}: ")
    said = json.loads(own.run("verify", id, "--json").stdout)
    assert (said["verdict"], said["differs"]["first"]) == ("differs", event.first)


@promise(
    "logs/damaged-row-is-data-loss",
    "A reader of a damaged row gets DATA_LOSS. The server's log names the row, and no other caller "
    "is affected.",
)
def test_a_damaged_row_is_told_to_whoever_reads_it_and_to_the_servers_log(own: Site) -> None:
    own.start_worker()
    id = own.submit(*TALKING)
    own.run("monitor", id)
    path = stop(own)
    connection = connect(path, write=True)
    connection.execute("UPDATE reports SET at = at + 1 WHERE kind = ?", (REPORTS[Output],))
    connection.close()
    own.start_server()
    done = own.run("logs", id)
    assert done.returncode == 125
    assert b"what the server has of this job is damaged" in done.stderr
    done = own.run("verify", id)
    assert done.returncode == 1
    assert done.stdout.startswith(b"differs at sequence ")
    assert own.server
    damage = str(own.server.said("log_damaged")["error"])
    assert f"job {id}" in damage
    assert f"airunner log check {path}" in damage
    assert own.run("submit", "--", "echo", "on").stdout == b"on\n"


def test_output_that_retention_took_is_not_proven_and_all_else_is(own: Site) -> None:
    own.start_worker()
    id = own.submit(*TALKING)
    own.run("monitor", id)
    asyncio.run(drop(stop(own), JobId(id)))
    own.start_server()
    done = own.run("verify", id)
    assert done.returncode == 125
    assert done.stdout.startswith(b"not proven: retention has removed 10 bytes of output (sequence")
    said = json.loads(own.run("verify", id, "--json").stdout)
    assert (said["verdict"], said["dropped_bytes"]) == ("unproven", 10)


def test_a_log_that_its_worker_could_not_deliver_is_whole_as_it_is_stored(own: Site) -> None:
    worker = own.start_worker("--visibility-timeout", "2")
    id = own.submit("--attempts-max", "1", "--", "sh", "-c", "echo ready; exec sleep 600")
    own.wait_for(id, "output")
    worker.signal(signal.SIGKILL)
    worker.wait()
    assert own.run("monitor", id).returncode == 125
    done = own.run("verify", id)
    assert done.returncode == 0
    whole, remark = done.stdout.decode().splitlines()
    assert whole.startswith("whole: ")
    assert remark == "the stored log is incomplete: the worker could not deliver all of its reports"
