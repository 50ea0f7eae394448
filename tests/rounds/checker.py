"""The checker of the crash test: invariants over the clients' records and nothing else.

Each check is a function from Sightings to complaints. A campaign is sound if no check complains.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from airunner.cli.exit_codes import OURS, exit_code
from airunner.model.job_events import JobFinished, JobLeased, JobReturned, event_kind
from airunner.model.jobs import AttemptEnd, JobId, JobState, Reason
from airunner.model.limits import ATTEMPTS_DEFAULT
from airunner.model.proof.chain import next_link
from airunner.model.proof.seal import NOTHING
from airunner.model.reports import Chunk, Output, Stream
from tests.promises import holds
from tests.rounds.observations import Sightings, View

Check = Callable[[Sightings], Iterator[str]]

_FAILURES: Final = (AttemptEnd.LAPSED, AttemptEnd.LOST)


def complaints(seen: Sightings) -> list[str]:
    """All complaints, each with the name of its check."""
    return [f"{check.__name__}: {wrong}" for check in CHECKS for wrong in check(seen)]


@holds("jobs/acknowledged-job-exists")
def nobody_was_told_what_must_never_be_said(seen: Sightings) -> Iterator[str]:
    yield from seen.alarms


@holds("jobs/acknowledged-job-exists")
def acknowledged_jobs_exist_and_have_ended(seen: Sightings) -> Iterator[str]:
    for id in seen.ids:
        if id not in seen.audits or not seen.audits[id].ends:
            yield f"{id} was acknowledged, and has no end"


@holds("jobs/final-state-stays")
def a_job_ends_once_and_last(seen: Sightings) -> Iterator[str]:
    for view in _views(seen):
        if len(view.ends) > 1 or (view.ends and not isinstance(view.entries[-1].body, JobFinished)):
            yield f"{view.who} saw {view.id} end, and go on"


@holds("logs/sequences-have-no-gap")
def sequences_are_without_gap_or_double(seen: Sightings) -> Iterator[str]:
    for view in _views(seen):
        numbers = [item.sequence for item in view.items]
        if numbers != list(range(view.start, view.start + len(numbers))):
            yield f"{view.who} saw {view.id} from {view.start} as {_shape(numbers)}"
    for exit in seen.exits:
        printed = [sequence for sequence, _, _ in exit.lines]
        if printed != list(range(1, len(printed) + 1)):
            yield f"`airunner {exit.command}` printed {exit.id} as {_shape(printed)}"


@holds("logs/watchers-are-independent", "logs/follower-misses-nothing")
def every_watcher_saw_the_same(seen: Sightings) -> Iterator[str]:
    for view in seen.views:
        whole = seen.audits.get(view.id)
        if whole is None:
            continue
        if view.items != whole.items[view.start - 1 :]:
            yield f"{view.who} saw another {view.id} than whoever came last"
    for exit in seen.exits:
        whole = seen.audits.get(exit.id)
        if exit.lines and whole and exit.lines != _printed(whole):
            yield f"`airunner {exit.command}` printed another {exit.id} than whoever came last saw"


@holds("logs/output-is-byte-for-byte")
def output_is_whole_and_in_order(seen: Sightings) -> Iterator[str]:
    """The attempt that finished has its whole output; any other attempt has a prefix of it."""
    for id, tag in seen.ids.items():
        if id not in seen.audits or not seen.audits[id].ends:
            continue
        wish, written = seen.wishes[tag], _written(seen.audits[id])
        end = seen.audits[id].ends[0]
        for attempt, data in written.items():
            if not wish.output(attempt).startswith(data):
                yield f"{id} ({tag}): attempt {attempt} did not write what is in its log"
        if end.outcome.reason is Reason.EXITED:
            last = seen.audits[id].entries[-1].attempt
            if written.get(last, b"") != wish.output(last):
                whole = len(wish.output(last))
                have = len(written.get(last, b""))
                yield f"{id} ({tag}): {have} of {whole} bytes of attempt {last}, which finished"
            if not end.outcome.log_complete:
                yield f"{id} ({tag}): its worker said that its log is not complete"


@holds("jobs/end-is-true")
def jobs_end_as_they_must(seen: Sightings) -> Iterator[str]:
    for id, tag in seen.ids.items():
        for end in seen.audits[id].ends if id in seen.audits else ():
            code, outcome = seen.wishes[tag].code, end.outcome
            failures = sum(
                isinstance(each.body, JobReturned) and each.body.ending in _FAILURES
                for each in seen.audits[id].entries
            )
            if outcome.reason is Reason.EXITED and outcome.exit_code != code:
                yield f"{id} ({tag}) exited with {outcome.exit_code}, not {code}"
            if outcome.reason is Reason.LOST and failures != ATTEMPTS_DEFAULT - 1:
                yield f"{id} ({tag}) was lost after {failures + 1} failures"
            if outcome.reason not in (Reason.EXITED, Reason.LOST, Reason.CANCELLED):
                yield f"{id} ({tag}) ended as {outcome.reason}: {outcome.error}"


@holds("jobs/cancelled-is-the-only-end")
def cancelled_is_the_only_end_of_what_was_cancelled(seen: Sightings) -> Iterator[str]:
    for id, view in seen.audits.items():
        cancelled = any(end.state is JobState.CANCELLED for end in view.ends)
        if cancelled and id not in seen.cancels:
            yield f"{id} was cancelled, and nobody asked for it"
        if id in seen.cancelled and not cancelled:
            yield f"the cancel of {id} was acknowledged, and it ended otherwise"


@holds("jobs/request-id-is-one-job")
def a_key_made_one_job(seen: Sightings) -> Iterator[str]:
    keyed: dict[str, set[JobId]] = defaultdict(set)
    made: dict[str, set[JobId]] = defaultdict(set)
    for each in seen.accepted:
        made[each.tag].add(each.id)
        if each.key:
            keyed[each.key].add(each.id)
    for key, ids in keyed.items():
        if len(ids) > 1:
            yield f"the key {key} made {len(ids)} jobs: {sorted(ids)}"
    for path in seen.marks.glob("*[!k]"):  # no locks
        for mark in seen.marked(JobId(path.name)):
            made[mark.tag].add(JobId(path.name))
    for tag, ids in made.items():
        if len(ids) > seen.asked[tag]:
            yield f"{tag} was asked for {seen.asked[tag]} times, and made {len(ids)} jobs"


@holds("jobs/one-worker-at-a-time")
def no_two_attempts_ran_at_once(seen: Sightings) -> Iterator[str]:
    """The jobs' own locks show no overlap of attempts, and no attempt that ran twice."""
    for path in seen.marks.glob("*[!k]"):
        begun = Counter[int]()
        for mark in seen.marked(JobId(path.name)):
            begun[mark.attempt] += mark.what == "begin"
            if mark.what == "overlap":
                yield f"{path.name}: attempt {mark.attempt} began while another one lived"
        for attempt, times in begun.items():
            if times > 1:
                yield f"{path.name}: attempt {attempt} began {times} times"


@holds("processes/none-outlives-its-job")
def no_process_outlives_its_job(seen: Sightings) -> Iterator[str]:
    for id in seen.lingering:
        yield f"{id} had ended, and a process of it lived"


@holds("jobs/end-is-true")
def what_finished_has_run(seen: Sightings) -> Iterator[str]:
    for id, view in seen.audits.items():
        marked = {(mark.what, mark.attempt) for mark in seen.marked(id)}
        taken = [each.attempt for each in view.entries if isinstance(each.body, JobLeased)]
        if taken != list(range(1, len(taken) + 1)):
            yield f"{id}: its attempts are numbered {taken}"
        for attempt in {attempt for what, attempt in marked if what == "begin"} - set(taken):
            yield f"{id}: attempt {attempt} ran, and its log does not know it"
        for end in view.ends:
            last = view.entries[-1].attempt
            if end.outcome.reason is Reason.EXITED and ("end", last) not in marked:
                yield f"{id}: attempt {last} is said to have exited, and did not come to its end"


@holds("processes/exit-code-is-the-commands")
def commands_exit_as_their_jobs_ended(seen: Sightings) -> Iterator[str]:
    for exit in seen.exits:
        view = seen.audits.get(exit.id)
        if view is None or not view.ends:
            continue
        code = exit_code(view.ends[0].state, view.ends[0].outcome)
        if exit.code != code:
            yield (
                f"`airunner {exit.command}` of {exit.id} exited with {exit.code}, not "
                f"{code}: {exit.errors!r}"
            )
        if exit.command == "submit" and exit.code != OURS and exit.output != _stdout(view):
            yield f"`airunner submit` of {exit.id} printed other output than its log has"


@holds("logs/finished-log-is-sealed")
def seals_hold(seen: Sightings) -> Iterator[str]:
    """The hash chain over the seen events equals the server's hash of each event and the seal."""
    for id, view in seen.audits.items():
        link, size = NOTHING, 0
        for entry in view.entries:
            link = next_link(link, entry)
            if link != entry.link:
                yield f"{id}: the chain breaks at {entry.first}"
                break
            if isinstance(entry.body, Output):
                size += entry.body.size
            if isinstance(entry.body, JobFinished):
                seal = entry.body.seal
                if seal is None or (seal.digest, seal.size, seal.count) != (link, size, entry.last):
                    yield f"{id}: its seal does not say what its log does"


def _views(seen: Sightings) -> Iterator[View]:
    yield from seen.views
    yield from seen.audits.values()


def _written(view: View) -> dict[int, bytes]:
    """The output of each attempt, both streams."""
    written: dict[int, list[bytes]] = defaultdict(list)
    for item in view.items:
        if isinstance(item.what, Chunk):
            written[item.attempt].append(item.what.data)
    return {attempt: b"".join(chunks) for attempt, chunks in written.items()}


def _stdout(view: View) -> bytes:
    chunks = [item.what for item in view.items if isinstance(item.what, Chunk)]
    return b"".join(chunk.data for chunk in chunks if chunk.stream is Stream.STDOUT)


def _printed(view: View) -> tuple[tuple[int, int, str], ...]:
    """The lines that `airunner monitor --json` prints for a stream of events."""
    return tuple(
        (sequence, entry.attempt, event_kind(entry.body))
        for entry in view.entries
        for sequence in range(entry.first, entry.last + 1)
    )


def _shape(numbers: list[int]) -> str:
    """The gaps and repetitions in a sequence of numbers that must be consecutive."""
    breaks = [f"{one} then {two}" for one, two in pairwise(numbers) if two != one + 1]
    return f"{numbers[:1]} ... {numbers[-1:]} with {', '.join(breaks[:3]) or 'no break'}"


CHECKS: Final[tuple[Check, ...]] = (
    nobody_was_told_what_must_never_be_said,
    acknowledged_jobs_exist_and_have_ended,
    a_job_ends_once_and_last,
    sequences_are_without_gap_or_double,
    every_watcher_saw_the_same,
    output_is_whole_and_in_order,
    jobs_end_as_they_must,
    cancelled_is_the_only_end_of_what_was_cancelled,
    a_key_made_one_job,
    no_two_attempts_ran_at_once,
    no_process_outlives_its_job,
    what_finished_has_run,
    commands_exit_as_their_jobs_ended,
    seals_hold,
)
