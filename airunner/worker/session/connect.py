"""A worker's session over gRPC."""

from airunner.model.protocol.channel import Channel
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.work_channel import WorkChannel


async def connect(endpoint: Endpoint) -> Channel[FromWorker, FromServer]:
    """A new stream to a server, on a connection of its own; to cancel a receive() closes it.

    It connects with the first message: that nobody answers shows as ChannelClosed, and
    that the server refuses this worker as its Refused, at the first receive(). A token
    that comes from a file is read anew.
    """
    return WorkChannel(endpoint)
