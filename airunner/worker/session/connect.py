"""The connection of a worker's session over gRPC."""

from airunner.model.protocol.channel import Channel
from airunner.model.protocol.worker_protocol import FromServer, FromWorker
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.work_channel import WorkChannel


async def connect(endpoint: Endpoint) -> Channel[FromWorker, FromServer]:
    """Opens a stream to a server on a connection of its own; cancelling a receive() closes it.

    The stream connects with its first message. The first receive() raises ChannelClosed if no
    server answers, and the server's Refused if it refuses this worker. A token file is read anew.
    """
    return WorkChannel(endpoint)
