"""The options `--store`, `--fsync` and `--free-bytes-min` as storage options, and their errors."""

from airunner.cli.client_settings import expand_home
from airunner.cli.exit_codes import USAGE, CommandFailed
from airunner.log.log import Fsync
from airunner.log.storage import (
    OpenStorage,
    StorageOptions,
    StorageRefused,
    backend_of,
    location_of,
    open_storage,
)
from airunner.store.retention import Retention


def storage_options(store: str, fsync: str | None, free_bytes_min: int) -> StorageOptions:
    """The storage that the options name. Raises CommandFailed if there is none such."""
    url = _expanded(store)
    try:
        backend = backend_of(url)
    except StorageRefused as refused:
        raise CommandFailed(f"--store: {refused}", USAGE) from None
    if fsync is not None and not backend.syncs:
        raise CommandFailed(
            f"--fsync: {store} has nothing to sync; leave it out, or use --store sqlite:PATH", USAGE
        )
    if fsync is not None and fsync not in list(Fsync):
        raise CommandFailed(f"--fsync: {fsync!r} is not {' or '.join(Fsync)}", USAGE)
    return StorageOptions(log=url, fsync=Fsync(fsync or Fsync.FULL), free_bytes_min=free_bytes_min)


def default_retention(options: StorageOptions) -> Retention:
    """The bounds of such a storage if no option says otherwise."""
    return backend_of(options.log).retention


async def opened(options: StorageOptions, retention: Retention) -> OpenStorage:
    """The open storage. Raises CommandFailed, in one sentence, if it cannot be opened."""
    try:
        return await open_storage(options, retention)
    except StorageRefused as refused:
        raise CommandFailed(str(refused)) from None


def _expanded(url: str) -> str:
    """The URL with a leading `~` of its path as the user's home."""
    location = location_of(url)
    if not location.startswith("~"):
        return url
    return f"{url.removesuffix(location)}{expand_home(location)}"
