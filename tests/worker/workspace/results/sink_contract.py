"""The contract of ArtifactSink, for each implementation.

class TestMySink(SinkContract):
    def play(self, folder, scene) -> None: ...  runs a scene with a sink and a list of stored files
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from airunner.model.artifacts import Artifact
from airunner.worker.workspace.workspace import ArtifactSink, NotStored
from tests.promises import holds

Kept = Mapping[str, tuple[bytes, bool]]  # of each path, the bytes, and whether it can be executed
Tell = Callable[[], Awaitable[Kept]]
Scene = Callable[[ArtifactSink, Tell], Awaitable[None]]


def artifact(path: str, data: bytes, *, executable: bool = False) -> Artifact:
    digest = hashlib.sha256(data).hexdigest()
    return Artifact(path=path, size=len(data), sha256=digest, executable=executable)


class SinkContract:
    def play(self, folder: Path, scene: Scene) -> None:
        """Runs a scene in its own event loop."""
        raise NotImplementedError

    async def put(self, sink: ArtifactSink, said: Artifact, data: bytes, folder: Path) -> None:
        path = folder / os.urandom(4).hex()
        path.write_bytes(data)
        with path.open("rb") as file:
            await sink.put(said, file)

    @pytest.mark.parametrize(
        "path",
        [
            "a",
            "dist/shop.tar",
            "a b/ü/☃",
            "line\nbreak",
            "-rf",
            "d/" * 40 + "x",
            ".hidden/.x",
            "x" * 255,
        ],
    )
    def test_a_file_is_kept_as_it_is_whatever_it_is_called(self, tmp_path: Path, path: str) -> None:
        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            await self.put(sink, artifact(path, b"data"), b"data", tmp_path)
            assert await kept() == {path: (b"data", False)}

        self.play(tmp_path, scene)

    @pytest.mark.parametrize("size", [0, 1, 256 * 1024, 3 * 1024 * 1024 + 1])
    def test_a_file_of_any_size_is_kept_whole(self, tmp_path: Path, size: int) -> None:
        data = os.urandom(size)

        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            await self.put(sink, artifact("file", data), data, tmp_path)
            assert await kept() == {"file": (data, False)}

        self.play(tmp_path, scene)

    def test_a_program_stays_one(self, tmp_path: Path) -> None:
        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            await self.put(sink, artifact("bin/x", b"#!", executable=True), b"#!", tmp_path)
            assert await kept() == {"bin/x": (b"#!", True)}

        self.play(tmp_path, scene)

    def test_of_a_path_that_comes_twice_the_last_file_counts(self, tmp_path: Path) -> None:
        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            for data in (b"first", b"second"):
                await self.put(sink, artifact("x", data), data, tmp_path)
            assert await kept() == {"x": (b"second", False)}

        self.play(tmp_path, scene)

    @holds("results/artifacts-follow-patterns")
    @pytest.mark.parametrize("data", [b"other", b"sho", b""])
    def test_what_is_not_what_was_said_is_not_kept_and_the_next_one_is(
        self, tmp_path: Path, data: bytes
    ) -> None:
        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            with pytest.raises(NotStored, match="d/x"):
                await self.put(sink, artifact("d/x", b"short"), data, tmp_path)
            assert await kept() == {}
            await self.put(sink, artifact("d/x", b"short"), b"short", tmp_path)
            assert await kept() == {"d/x": (b"short", False)}

        self.play(tmp_path, scene)

    def test_what_was_written_behind_the_artifact_is_none_of_it(self, tmp_path: Path) -> None:
        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            await self.put(sink, artifact("x", b"short"), b"short and more", tmp_path)
            assert await kept() == {"x": (b"short", False)}

        self.play(tmp_path, scene)

    @holds("results/artifacts-follow-patterns")
    def test_a_put_that_is_cancelled_keeps_the_file_whole_or_not_at_all(
        self, tmp_path: Path
    ) -> None:
        data = os.urandom(4 * 1024 * 1024)

        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            for turns in range(6):
                async with asyncio.TaskGroup() as tasks:
                    putting = tasks.create_task(self.put(sink, artifact("x", data), data, tmp_path))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    putting.cancel()
                with suppress(asyncio.CancelledError):
                    await putting
                assert await kept() in ({}, {"x": (data, False)})
            await self.put(sink, artifact("y", b"next"), b"next", tmp_path)
            assert (await kept())["y"] == (b"next", False)

        self.play(tmp_path, scene)

    def test_a_link_is_kept_as_a_link_or_not_at_all(self, tmp_path: Path) -> None:
        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            assert await sink.link("a/link", "to nowhere") in (True, False)
            assert await kept() == {}

        self.play(tmp_path, scene)

    def test_an_empty_folder_is_no_file(self, tmp_path: Path) -> None:
        async def scene(sink: ArtifactSink, kept: Tell) -> None:
            await sink.folder("a/b")
            assert await kept() == {}

        self.play(tmp_path, scene)
