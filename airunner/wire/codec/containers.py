"""The codec of reports on containers and their images."""

from google.protobuf.timestamp_pb2 import Timestamp

from airunner.model.reports import (
    ContainerCreated,
    ContainerRemoved,
    ImagePullEnded,
    ImagePullProgressed,
    ImagePullStarted,
)
from airunner.wire.codec.times import (
    decode_millis,
    decode_report_time,
    encode_instant,
    encode_millis,
)
from airunner.wire.job.v1 import job_pb2 as pb


def encode_container(
    report: ContainerCreated
    | ContainerRemoved
    | ImagePullStarted
    | ImagePullProgressed
    | ImagePullEnded,
    first: int,
) -> pb.JobEvent:
    match report:
        case ContainerCreated(container, image, created_at):
            created = pb.ContainerCreateEvent(
                container_id=container, image=image, created_at=encode_instant(created_at)
            )
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_CONTAINER_CREATE, container_create=created
            )
        case ContainerRemoved(container, removed_at):
            removed = pb.ContainerRemoveEvent(
                container_id=container, removed_at=encode_instant(removed_at)
            )
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_CONTAINER_REMOVE, container_remove=removed
            )
        case ImagePullStarted(image, started_at):
            started = pb.ImagePullStartEvent(image=image, started_at=encode_instant(started_at))
            return pb.JobEvent(
                sequence=first, event_type=pb.EVENT_TYPE_IMAGE_PULL_START, image_pull_start=started
            )
        case ImagePullProgressed(image, status, current, total):
            progress = pb.ImagePullProgressEvent(
                image=image, status=status, current_bytes=current, total_bytes=total
            )
            return pb.JobEvent(
                sequence=first,
                event_type=pb.EVENT_TYPE_IMAGE_PULL_PROGRESS,
                image_pull_progress=progress,
            )
        case ImagePullEnded(image, duration):
            ended = pb.ImagePullCompleteEvent(image=image, pull_duration=encode_millis(duration))
            return pb.JobEvent(
                sequence=first,
                event_type=pb.EVENT_TYPE_IMAGE_PULL_COMPLETE,
                image_pull_complete=ended,
            )


def decode_container_create(event: pb.JobEvent, otherwise: Timestamp) -> ContainerCreated:
    data = event.container_create
    created_at = decode_report_time(data.created_at, otherwise, "container_create.created_at")
    return ContainerCreated(data.container_id, data.image, created_at)


def decode_container_remove(event: pb.JobEvent, otherwise: Timestamp) -> ContainerRemoved:
    data = event.container_remove
    removed_at = decode_report_time(data.removed_at, otherwise, "container_remove.removed_at")
    return ContainerRemoved(data.container_id, removed_at)


def decode_pull_start(event: pb.JobEvent, otherwise: Timestamp) -> ImagePullStarted:
    data = event.image_pull_start
    return ImagePullStarted(
        data.image, decode_report_time(data.started_at, otherwise, "image_pull_start.started_at")
    )


def decode_pull_progress(event: pb.JobEvent, otherwise: Timestamp) -> ImagePullProgressed:
    data = event.image_pull_progress
    return ImagePullProgressed(data.image, data.status, data.current_bytes, data.total_bytes)


def decode_pull_complete(event: pb.JobEvent, otherwise: Timestamp) -> ImagePullEnded:
    data = event.image_pull_complete
    duration = decode_millis(data.pull_duration, "image_pull_complete.pull_duration")
    return ImagePullEnded(data.image, duration)
