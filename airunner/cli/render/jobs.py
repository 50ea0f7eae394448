"""Jobs for people: a line of a table for each job in a list, prose for a single job."""

from collections.abc import Sequence
from typing import Final

from airunner.cli.render.outcomes import outcome_phrase
from airunner.cli.render.table import aligned, cropped, fitted
from airunner.cli.render.terminal_text import TerminalText, coloured
from airunner.cli.render.work import script_prose, steps_prose, work_line
from airunner.model.jobs import Instant, Job, JobState, PastAttempt
from airunner.model.repositories import redacted
from airunner.model.spec import JobSpec
from airunner.model.units import show_count, show_duration, show_size
from airunner.model.wait_reason import WaitReason
from airunner.wire.json.times import show_instant

_COLOURS: Final = {
    JobState.SCHEDULED: "33",
    JobState.RUNNING: "36",
    JobState.COMPLETED: "32",
    JobState.FAILED: "31",
    JobState.CANCELLED: "35",
}
_HEADINGS: Final = ("ID", "STATE", "QUEUE", "TRY", "EXIT", "AGE", "TOOK", "NAME", "COMMAND")
# A row that is never printed. It keeps the columns of all pages of a list in line.
_TYPICAL: Final = ("", JobState.SCHEDULED.value, "default", "", "", "59m59s", "59m59s", "", "")
_SPARE: Final = tuple(map(_HEADINGS.index, ("TRY", "AGE", "TOOK", "QUEUE", "EXIT", "NAME")))
_NAME: Final = _HEADINGS.index("NAME")
_NAME_CELLS: Final = 30
_WORK_CHARS: Final = 200


# Tables


def job_table(
    jobs: Sequence[Job],
    now: Instant,
    *,
    colour: bool,
    headings: bool,
    width: int | None = None,
) -> list[str]:
    """A line for each job, of at most `width` cells."""
    rows = [_TYPICAL, _HEADINGS, *(_row(job, now) for job in jobs)]
    lines = aligned(rows) if width is None else fitted(rows, width, _spare(jobs))
    lines = lines[1 if headings else 2 :]
    if not colour:
        return lines
    first = len(lines) - len(jobs)
    return [
        line if index < first else _coloured(line, jobs[index - first].state)
        for index, line in enumerate(lines)
    ]


def _row(job: Job, now: Instant) -> tuple[str, ...]:
    code = job.outcome.exit_code if job.outcome else None
    took = (job.finished_at or now) - (job.leased_at or job.created_at)
    if job.outcome and job.outcome.started_at is not None and job.outcome.ended_at is not None:
        took = job.outcome.ended_at - job.outcome.started_at
    return (
        job.id,
        job.state.value,
        job.spec.queue,
        str(job.attempt),
        "-" if code is None else str(code),
        show_duration(now - job.created_at),
        "-" if job.state is JobState.SCHEDULED else show_duration(took),
        cropped(job.spec.name, _NAME_CELLS) or "-",
        work_line(job.spec)[:_WORK_CHARS],
    )


def _spare(jobs: Sequence[Job]) -> Sequence[int]:
    """The columns to drop in a narrow terminal, the least needed first.

    The NAME column is the first if no job has a name.
    """
    named = any(job.spec.name for job in jobs)
    return _SPARE if named else (_NAME, *(each for each in _SPARE if each != _NAME))


def _coloured(line: str, state: JobState) -> str:
    before, word, after = line.partition(state.value)
    shown = coloured(word, _COLOURS[state]) if word else ""
    return TerminalText(f"{before}{shown}{after}")  # aligned() has escaped the line


# Prose


def job_prose(job: Job, waiting: WaitReason | None) -> list[str]:
    """A single job: a line for each property that it has."""
    spec, outcome = job.spec, job.outcome
    state = job.state.value
    if outcome is not None and job.state is not JobState.COMPLETED:
        state += f": it {outcome_phrase(job.state, outcome)}"
    elif waiting is not None:
        state += f": {waiting.explanation}"
    elif job.cancel_requested_at is not None and not job.state.final:
        state += ", being cancelled"
    rows: list[tuple[str, str | None]] = [
        ("job", job.id),
        ("name", spec.name),
        ("state", state),
        (
            "exit code",
            None if outcome is None or outcome.exit_code is None else str(outcome.exit_code),
        ),
        _work(spec),
        ("shell", spec.shell),
        ("queue", spec.queue),
        ("source", spec.source),
        ("repository", redacted(spec.repository)),
        ("branch", spec.branch),
        ("commit", spec.commit),
        ("directory", spec.working_directory),
        ("owner", spec.owner),
        ("submitter", job.submitter),
        ("retry of", job.retry_of),
        ("request", job.request),
        ("created", show_instant(job.created_at)),
        ("started", show_instant(outcome.started_at if outcome else job.leased_at)),
        ("finished", show_instant(job.finished_at)),
        ("output", show_size(job.output_bytes) if job.output_bytes else None),
        ("cut", show_size(job.output_bytes_cut) if job.output_bytes_cut else None),
        ("artifacts", _artifacts(job)),
    ]
    rows += [(f"env {key}", value) for key, value in spec.environment.items()]
    rows += [(f"meta {key}", value) for key, value in spec.metadata.items()]
    rows += [(f"attempt {each.number}", _attempt(each)) for each in job.attempts]
    if job.lease:
        rows.append((f"attempt {job.attempt}", f"running, by {job.lease.worker}"))
    lines = aligned([(label, text) for label, text in rows if text])
    if spec.script:
        lines += ["", *script_prose(spec.script)]
    if steps := steps_prose(job):
        lines += ["", *steps]
    return lines


def _work(spec: JobSpec) -> tuple[str, str | None]:
    """The row about the job's work. A script and steps are printed below the rows instead."""
    if spec.command:
        return "command", work_line(spec)
    if spec.script or spec.steps:
        return "", None
    return "steps", "none" if spec.steps == () else work_line(spec)


def _artifacts(job: Job) -> str | None:
    """The number and size of stored artifacts; before any is stored, the job's patterns."""
    if not job.artifacts:
        return " ".join(job.spec.artifacts) or None
    return f"{show_count(job.artifacts, 'file')}, {show_size(job.artifact_bytes)}"


def _attempt(attempt: PastAttempt) -> str:
    took = show_duration(attempt.ended_at - attempt.leased_at)
    return f"{attempt.ending.value} after {took}, by {attempt.worker}"
