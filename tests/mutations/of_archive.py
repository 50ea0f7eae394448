"""Rules of the archive, of blob stores and of what is repaired of them, broken on purpose."""

from typing import Final

from tests.mutations.mutation import Mutation

ARCHIVE: Final = "airunner/server/artifacts.py"
CORE: Final = "tests/server/test_artifacts.py::"
BLOBS: Final = "tests/blobs/test_blobs.py::"

OF_ARCHIVE: Final = (
    Mutation(
        name="an upload that is answered before the log has it",
        promise="results/acknowledged-artifact-survives",
        file=ARCHIVE,
        old="            await self._broker.durably(None)\n",
        new="",
        test=f"{CORE}test_an_answer_comes_when_the_log_has_it",
    ),
    Mutation(
        name="an artifact that is kept twice because its answer was lost",
        promise="results/upload-survives-server-death",
        file=ARCHIVE,
        old="            if again and artifact in await self.list(job.id):\n",
        new="            if False:\n",
        test=f"{CORE}test_what_is_said_again_is_kept_once",
    ),
    Mutation(
        name="bytes that stay when their lease has ended on the way",
        promise="results/bytes-before-facts",
        file=ARCHIVE,
        old="                self._depot.discard(id, attempt, artifact)\n",
        new="                pass\n",
        test=f"{CORE}test_a_lease_that_ends_while_the_bytes_come_keeps_none_of_them",
    ),
    Mutation(
        name="bytes that go though a fact still names them",
        promise="results/bytes-before-facts",
        file=ARCHIVE,
        old="            if new and self._naming[name] == 1:",
        new="            if self._naming[name] == 1:",
        test=f"{CORE}test_what_another_fact_names_stays_though_its_double_is_refused",
    ),
    Mutation(
        name="bytes of an attempt that outlive its return",
        promise="results/bytes-before-facts",
        file=ARCHIVE,
        old="                blob store.drop(id, attempt)\n",
        new="                pass\n",
        test=f"{CORE}test_what_an_attempt_has_left_goes_with_it",
    ),
    Mutation(
        name="a transfer that may be silent for ever",
        promise="results/transfers-are-bounded",
        file=ARCHIVE,
        old="        async with asyncio.timeout(TRANSFER_SILENT_SECONDS_MAX):\n",
        new="        async with asyncio.timeout(None):\n",
        test=f"{CORE}test_one_whose_bytes_do_not_come_ends_in_a_minute_and_leaves_nothing",
    ),
    Mutation(
        name="as many transfers at once as anybody likes",
        promise="results/transfers-are-bounded",
        file=ARCHIVE,
        old="                async with turns:\n                    yield\n",
        new="                yield\n",
        test=f"{CORE}test_so_many_at_once_and_the_next_ones_get_their_turn",
    ),
    Mutation(
        name="a file with another digest that is kept",
        promise="results/acknowledged-artifact-survives",
        file="airunner/blobs/blobs.py",
        old="        if not self.matches:\n",
        new="        if False:\n",
        test=f"{BLOBS}TestFolderBlobs::test_bytes_that_are_not_those_that_were_said_are_not_kept",
    ),
    Mutation(
        name="a file on its way that a start leaves there",
        promise="results/bytes-before-facts",
        file="airunner/blobs/folder.py",
        old="        _move_to_trash(folder, PARTIAL)\n        (folder / PARTIAL).mkdir(0o700)\n",
        new="",
        test=f"{BLOBS}test_a_start_removes_what_was_on_its_way_and_what_no_job_has",
    ),
    Mutation(
        name="a file that was changed on disk, passed on",
        promise="results/artifact-or-data-loss",
        file="airunner/blobs/folder.py",
        old="                if at == artifact.size and digest",
        new="                if at < 0 and digest",
        test=f"{BLOBS}test_a_file_that_is_not_what_was_kept_is_not_passed_on_as_if_it_were",
    ),
    Mutation(
        name="memory that counts what is kept alone",
        promise="results/transfers-are-bounded",
        file="airunner/blobs/memory.py",
        old="        if self.size + artifact.size > self._size_max:\n",
        new="        if artifact.size > self._size_max:\n",
        test=f"{BLOBS}test_memory_is_bounded_with_what_is_on_its_way",
    ),
    Mutation(
        name="a download that begins anew behind what it had",
        promise="results/fetch-is-whole-or-nothing",
        file="airunner/wire/client/artifacts_client.py",
        old="aclosing(self._fetch(id, artifact, at)) as",
        new="aclosing(self._fetch(id, artifact, offset)) as",
        test="tests/server/grpc/test_artifacts.py::"
        "test_a_lost_connection_costs_a_download_nothing_that_had_come",
    ),
    Mutation(
        name="a salvage that takes along what was changed",
        promise="results/artifacts-follow-their-log",
        file="airunner/log/sqlite/repair/salvage.py",
        old="        copied = copy(path, wanted, files, digest=True)\n",
        new="        copied = copy(path, wanted, files, digest=False)\n",
        test="tests/log/sqlite/repair/test_artifacts.py::test_a_salvage_takes_along_what_is_as_it_was_kept",
    ),
)
