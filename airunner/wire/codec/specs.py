"""The codec of job specifications.

A field that a client of the published contract leaves at zero means the default. A decoded
JobSpec has validated itself.
"""

from collections.abc import Mapping, Sequence

from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.jobs import RequestId
from airunner.model.repositories import redacted
from airunner.model.spec import (
    DEFAULT_QUEUE,
    Checkout,
    Container,
    JobSpec,
    Mount,
    Submodules,
    TerminalSize,
)
from airunner.wire.codec.enums import PROCESS_TYPES
from airunner.wire.codec.steps import decode_steps, encode_steps, shortened
from airunner.wire.job.v1 import job_pb2 as pb

_CHECKOUT, _TERMINAL = Checkout(), TerminalSize()  # the defaults of an unset message
_SUBMODULES = {
    "": Submodules.NONE,
    "none": Submodules.NONE,
    "false": Submodules.NONE,
    "true": Submodules.TOP,
    "recursive": Submodules.RECURSIVE,
}


def encode_new_job(spec: JobSpec, request: RequestId) -> pb.EnqueueJobRequest:
    """Encode the request for a new job, so that an older server reads it too."""
    message = pb.EnqueueJobRequest(
        request_id=request, queue=spec.queue, job_params=encode_spec(spec)
    )
    mark_whole_history(message.job_params, spec)
    return message


def mark_whole_history(params: pb.JobParams, spec: JobSpec) -> None:
    """Encode the whole history as a depth of -1: the first servers and workers read 0 as 1."""
    if spec.checkout and not spec.checkout.depth:
        params.git_clone.depth = -1


def encode_spec(spec: JobSpec, *, with_values: bool = True, whole: bool = True) -> pb.JobParams:
    """Encode a spec without its queue, which is a field of the enclosing message.

    Without values, the environment has the names of variables only. Not `whole`: scripts and
    steps are shortened as in a list of jobs.

    Omits a default terminal, and a default checkout without a repository: most jobs have these. A
    repository always has its checkout, because a worker of the published contract reads it.
    """
    params = pb.JobParams(
        repository=spec.repository if with_values else redacted(spec.repository),
        commit=spec.commit,
        branch=spec.branch,
        environment={
            name: value if with_values else "" for name, value in spec.environment.items()
        },
        metadata=spec.metadata,
        owner=spec.owner,
        command=spec.command,
        args=spec.args,
        process_type=PROCESS_TYPES.encode(spec.process_type),
        timeout_seconds=spec.timeout_seconds,
        working_directory=spec.working_directory,
        container=None if spec.container is None else _encode_container(spec.container),
        git_clone=None if _has_default_checkout(spec) else _encode_checkout(spec.checkout),
        queue_timeout_seconds=spec.queue_timeout_seconds,
        attempts_max=spec.attempts_max,
        terminal=None if spec.terminal == _TERMINAL else _encode_terminal(spec.terminal),
        output_bytes_max=spec.output_bytes_max,
        grace_seconds=spec.grace_seconds,
    )
    # An empty value takes protobuf as long to set as any other value.
    if spec.name:
        params.name = spec.name
    if spec.source:
        params.source = spec.source
    if spec.merge_stderr:
        params.merge_stderr = True
    if spec.strict:
        params.strict = True
    if spec.artifacts_on_cancel:
        params.artifacts_on_cancel = True
    if spec.artifacts:
        params.artifacts.extend(spec.artifacts)
    if not spec.command:
        _fill_shell_work(params, spec, with_values=with_values, whole=whole)
    return params


def decode_spec(params: pb.JobParams, queue: str) -> JobSpec:
    """Decode a spec. InvalidRequest names the field that breaks a rule."""
    return JobSpec(
        command=params.command,
        args=_tuple(params.args),
        queue=queue or DEFAULT_QUEUE,
        repository=params.repository,
        commit=params.commit,
        branch=params.branch,
        checkout=_decode_checkout(params),
        working_directory=params.working_directory,
        environment=_dict(params.environment),
        metadata=_dict(params.metadata),
        owner=params.owner,
        process_type=PROCESS_TYPES.decode(params.process_type, "process_type"),
        terminal=_decode_terminal(params.terminal) if params.HasField("terminal") else _TERMINAL,
        container=_decode_container(params.container) if params.HasField("container") else None,
        timeout_seconds=params.timeout_seconds,
        queue_timeout_seconds=params.queue_timeout_seconds,
        grace_seconds=(
            params.grace_seconds
            if params.HasField("grace_seconds")
            else limits.GRACE_SECONDS_DEFAULT
        ),
        attempts_max=params.attempts_max or limits.ATTEMPTS_DEFAULT,
        output_bytes_max=params.output_bytes_max or limits.OUTPUT_BYTES_DEFAULT,
        name=params.name,
        script=params.script,
        shell=params.shell,
        steps=decode_steps(params.steps) if params.HasField("steps") else None,
        source=params.source,
        artifacts=_tuple(params.artifacts),
        merge_stderr=params.merge_stderr,
        strict=params.strict,
        artifacts_on_cancel=params.artifacts_on_cancel,
    )


def _dict(values: Mapping[str, str]) -> dict[str, str]:
    return dict(values) if values else {}  # protobuf copies an empty map more slowly than it tests


def _tuple(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values) if values else ()  # as in _dict()


def _fill_shell_work(
    params: pb.JobParams, spec: JobSpec, *, with_values: bool, whole: bool
) -> None:
    """Encode the script or the steps, and the shell; a job with a command has none of them."""
    params.script, params.shell = shortened(spec.script, whole=whole), spec.shell
    if spec.steps is not None:
        params.steps.CopyFrom(encode_steps(spec.steps, with_values=with_values, whole=whole))


def _has_default_checkout(spec: JobSpec) -> bool:
    return not spec.repository and spec.checkout == _CHECKOUT


def _encode_checkout(checkout: Checkout | None) -> pb.GitCloneConfig:
    if checkout is None:
        return pb.GitCloneConfig(enabled=False)
    return pb.GitCloneConfig(
        enabled=True,
        depth=checkout.depth,
        single_branch=checkout.single_branch,
        submodules=checkout.submodules,
        lfs=checkout.lfs,
        filter=checkout.filter,
        sparse=checkout.sparse,
    )


def _decode_checkout(params: pb.JobParams) -> Checkout | None:
    """Decode the checkout; None without a git_clone that is enabled: nothing is cloned.

    A job without a repository has the default checkout, which encode_spec() omits.
    """
    config = params.git_clone
    if not params.HasField("git_clone") and not params.repository:
        return _CHECKOUT
    if not config.enabled:
        return None
    if config.submodules not in _SUBMODULES:
        raise InvalidRequest(
            "git_clone.submodules", f"{config.submodules!r} is not one of none, true, recursive"
        )
    return Checkout(
        depth=max(0, config.depth),  # 0 and below: the whole history
        single_branch=config.single_branch,
        submodules=_SUBMODULES[config.submodules],
        lfs=config.lfs,
        filter=config.filter,
        sparse=_tuple(config.sparse),
    )


def _encode_terminal(size: TerminalSize) -> pb.TerminalSize:
    return pb.TerminalSize(columns=size.columns, rows=size.rows)


def _decode_terminal(size: pb.TerminalSize) -> TerminalSize:
    return TerminalSize(columns=size.columns or _TERMINAL.columns, rows=size.rows or _TERMINAL.rows)


def _encode_container(container: Container) -> pb.ContainerConfig:
    return pb.ContainerConfig(
        enabled=True,
        image=container.image,
        runtime=container.runtime,
        mounts=[
            pb.ContainerMount(source=each.source, target=each.target, read_only=each.read_only)
            for each in container.mounts
        ],
    )


def _decode_container(config: pb.ContainerConfig) -> Container | None:
    if not config.enabled:
        return None
    if not config.image:
        raise InvalidRequest("container.image", "is empty: name an image, or leave container out")
    mounts = (
        Mount(source=each.source, target=each.target, read_only=each.read_only)
        for each in config.mounts
    )
    return Container(image=config.image, runtime=config.runtime, mounts=tuple(mounts))
