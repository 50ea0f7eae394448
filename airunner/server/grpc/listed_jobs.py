"""Pages of jobs. A job takes LISTED_JOB_BYTES_MAX at most, so that the largest page fits a message.

A job that is too large is shortened in its message. All that is left is valid: a text is cut without a
mark, and `shortened` names its field.
"""

from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from heapq import nsmallest
from typing import Final, TypeVar

from google.protobuf.message import Message
from msgspec.structs import replace

from airunner.model.job_query import Page
from airunner.model.limits import LISTED_JOB_BYTES_MAX
from airunner.model.spec import JobSpec
from airunner.model.steps import Step
from airunner.server.fairness.time_slice import TimeSlice
from airunner.wire.codec.jobs import fill_job
from airunner.wire.job.v1 import job_pb2 as pb

M = TypeVar("M", bound=Message)

_TEXT_BYTES: Final = 384  # of a text of its own
_ITEM_BYTES: Final = 200  # of an argument, or of a value of metadata
_ITEMS_BYTES: Final = 512  # of all items of a field
_OVERHEAD_BYTES: Final = 8  # of an item, besides its bytes
_STEPS_BYTES: Final = 1_024  # of all steps after the first
_ATTEMPTS: Final = 4  # the newest
_ITEMS_MAX: Final = 2_000  # arguments, variables and steps of a job that are encoded all
_FEW_ITEMS: Final = 16  # of a job that has more


async def encode_page(page: Page) -> pb.ListJobsResponse:
    """Encode a page: jobs without the values of variables, and with shortened scripts and steps."""
    response = pb.ListJobsResponse(
        last_page=page.last_page, next_page_token="" if page.next is None else str(page.next)
    )
    turn = TimeSlice()
    for job in page.jobs:
        spec = _trimmed(job.spec)
        listed = job if spec is job.spec else replace(job, spec=spec)
        fill_job(message := response.jobs.add(), listed, with_values=False, whole=False)
        if message.ByteSize() > LISTED_JOB_BYTES_MAX or listed is not job:
            shorten_job(message, job.spec)
        await turn.rest()
    return response


def _trimmed(spec: JobSpec) -> JobSpec:
    """The spec; if it has very many items, a spec with few of them.

    To encode 40,000 variables of steps takes 30 ms.
    """
    steps = spec.steps or ()
    items = len(spec.args) + len(spec.environment)
    if items + sum(1 + len(step.environment) for step in steps) <= _ITEMS_MAX:
        return spec
    few = tuple(replace(step, environment=_few(step.environment)) for step in steps[:_FEW_ITEMS])
    return replace(
        spec,
        args=spec.args[:_FEW_ITEMS],
        environment=_few(spec.environment),
        steps=None if spec.steps is None else few,
    )


def _few(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: variables[name] for name in nsmallest(_FEW_ITEMS, variables)}


def shorten_job(job: pb.Job, whole: JobSpec) -> None:
    """Cuts the long fields of a job, and names those of its parameters in `shortened`.

    `whole` is the job's spec, of which the message may have few items already.
    """
    params = job.job_params
    container = params.container if params.HasField("container") else None
    shortened = {
        "repository": _cut_field(params, "repository"),
        "command": _cut_field(params, "command"),
        "working_directory": _cut_field(params, "working_directory"),
        "source": _cut_field(params, "source"),
        "args": _cut_texts(params.args) or len(params.args) < len(whole.args),
        "artifacts": _drop_texts(params.artifacts),
        "git_clone": params.HasField("git_clone") and _drop_texts(params.git_clone.sparse),
        "environment": _drop_pairs(params.environment)
        or len(params.environment) < len(whole.environment),
        "metadata": _drop_pairs(params.metadata),
        "container": container is not None and _shorten_container(container),
        "steps": whole.steps is not None and _shorten_steps(params.steps, whole.steps),
    }
    job.shortened.extend(name for name, cut in shortened.items() if cut)
    _cut_field(job, "submitter")
    _cut_field(job.result, "error_message")
    del job.attempts[:-_ATTEMPTS]


def _shorten_container(container: pb.ContainerConfig) -> bool:
    cut = [_cut_field(container, "image"), _cut_field(container, "runtime")]
    mounts = list(container.mounts)
    kept = _first([each.ByteSize() for each in mounts], _ITEMS_BYTES)
    del container.mounts[kept:]
    return any(cut) or kept < len(mounts)


def _shorten_steps(steps: pb.Steps, whole: Sequence[Step]) -> bool:
    cut = len(steps.steps) < len(whole)
    for step, own in zip(steps.steps, whole, strict=False):
        cut |= _cut_field(step, "working_directory")
        cut |= _drop_pairs(step.environment) or len(step.environment) < len(own.environment)
    sizes = [each.ByteSize() for each in steps.steps]
    kept = 1 + _first(sizes[1:], _STEPS_BYTES)
    del steps.steps[kept:]
    return cut or kept < len(sizes)


def _cut_field(message: M, name: str) -> bool:
    """Cuts a text. Returns whether it was too long."""
    text = getattr(message, name)
    if (cut := _cut(text, _TEXT_BYTES)) == text:
        return False
    setattr(message, name, cut)
    return True


def _cut_texts(texts: MutableSequence[str]) -> bool:
    """Cuts each text, and drops the texts after the first ones."""
    sizes = [len(text.encode()) for text in texts]
    kept = _first([min(size, _ITEM_BYTES) for size in sizes], _ITEMS_BYTES)
    del texts[kept:]
    for index, text in enumerate(texts):
        texts[index] = _cut(text, _ITEM_BYTES)
    return kept < len(sizes) or max(sizes, default=0) > _ITEM_BYTES


def _drop_texts(texts: MutableSequence[str]) -> bool:
    before = len(texts)
    del texts[_first([len(text.encode()) for text in texts], _ITEMS_BYTES) :]
    return len(texts) < before


def _drop_pairs(pairs: MutableMapping[str, str]) -> bool:
    keys = sorted(pairs)
    sizes = [len(key.encode()) + len(pairs[key].encode()) for key in keys]
    dropped = keys[_first(sizes, _ITEMS_BYTES) :]
    for key in dropped:
        del pairs[key]
    return bool(dropped)


def _first(sizes: Iterable[int], most: int) -> int:
    """The number of first items that take `most` bytes together."""
    count = 0
    for size in sizes:
        most -= size + _OVERHEAD_BYTES
        if most < 0:
            break
        count += 1
    return count


def _cut(text: str, size: int) -> str:
    """The beginning of a text, which ends with no part of a path that could mean another."""
    if len(text) * 4 <= size or len(data := text.encode()) <= size:
        return text
    return data[:size].decode(errors="ignore").rstrip("./")
