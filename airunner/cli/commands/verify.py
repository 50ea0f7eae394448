"""`airunner verify`: proves by its seal that a job's log is whole."""

from typing import TYPE_CHECKING, Final

from airunner.cli.client_command import run_client
from airunner.cli.client_settings import settings
from airunner.cli.exit_codes import DIFFERS, OURS
from airunner.cli.options import CaCert, JobArgument, Json, Server, Token, TokenFile

if TYPE_CHECKING:
    from airunner.model.jobs import Job, Sequence
    from airunner.model.proof.proof import Verdict
    from airunner.wire.client.jobs_client import JobsClient

_GAPS_SHOWN: Final = 3


def verify(
    id: JobArgument,
    as_json: Json = False,
    server: Server = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_cert: CaCert = None,
) -> None:
    """Prove that a job's log is whole, or name the first event that differs.

    At the end of a job its log is sealed with a digest over every event and every byte of output.
    The command reads the whole log and computes the digest again. Exit codes: 0: the log is whole;
    1: it differs; 125: nothing is proven, since the job has not ended or retention has removed
    output.

    [bold]Example[/bold]   airunner verify "$id"
    """
    run_client(
        settings(server, token, token_file, ca_cert), lambda jobs: _verify(jobs, id, as_json)
    )


async def _verify(jobs: "JobsClient", id: str, as_json: bool) -> int:
    from contextlib import aclosing

    from airunner.cli.render.streams import note, say
    from airunner.cli.render.terminal_text import json_line
    from airunner.model.errors import DataLoss
    from airunner.model.jobs import JobId
    from airunner.model.proof.proof import Differs, LogVerifier, Whole
    from airunner.wire.client.follow import follow
    from airunner.wire.json.verdicts import verdict_json

    proof = LogVerifier()
    stream = follow(
        jobs,
        JobId(id),
        stop_at_tail=True,
        lost=lambda refusal: note(f"{refusal}; trying again"),
    )
    async with aclosing(stream) as events:
        try:
            async for event in events:
                proof.add(event)
        except DataLoss as loss:
            proof.add_unreadable(str(loss))
    job, _ = await jobs.get(
        JobId(id)
    )  # after the stream: retention spares output that is being read
    verdict = proof.verdict(job.output_bytes)
    if as_json:
        say(json_line(verdict_json(job, verdict)))
    else:
        for line in verdict_prose(job, verdict):
            say(line)
    if isinstance(verdict, Whole):
        return 0
    return DIFFERS if isinstance(verdict, Differs) else OURS


def verdict_prose(job: "Job", verdict: "Verdict") -> list[str]:
    """The verdict for people, a line for each finding."""
    from airunner.model.proof.proof import Differs, Unproven, Unsealed, Whole

    match verdict:
        case Unsealed(last):
            return [
                f"not sealed yet: the job has not ended; its {last:,} events so far are unchanged"
            ]
        case Differs(first, last, why):
            return [f"differs at {_sequences(first, last)}: {why}"]
        case Unproven(seal, size, dropped):
            gaps = ", ".join(_sequences(*each) for each in dropped[:_GAPS_SHOWN])
            more = ", ..." if len(dropped) > _GAPS_SHOWN else ""
            found = f"not proven: retention has removed {size:,} bytes of output ({gaps}{more}); "
            found += f"the rest of {seal.count:,} events is unchanged"
        case Whole(seal):
            found = f"whole: {seal.count:,} events, {seal.size:,} bytes of output"
    lines = [f"{found}, sha256 {seal.digest.hex()}"]
    if seal.cut:
        lines.append(f"{seal.cut:,} more bytes were cut at a limit when they were written")
    if job.outcome and not job.outcome.log_complete:
        lines.append(
            "the stored log is incomplete: the worker could not deliver all of its reports"
        )
    return lines


def _sequences(first: "Sequence", last: "Sequence") -> str:
    return f"sequence {first}" if first == last else f"sequences {first} to {last}"
