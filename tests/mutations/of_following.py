"""Rules of logs by line, and of whoever follows all jobs."""

from typing import Final

from tests.mutations.mutation import Mutation

AUDIENCE: Final = "tests/server/test_watchers.py::"
MEMORY: Final = "tests/log/test_memory_log.py"
RECENT: Final = "tests/log/sqlite/test_recent.py::"
SQLITE: Final = "tests/log/sqlite/test_sqlite_log.py::"
FOLLOW_ALL: Final = "tests/server/grpc/test_follow_all.py::"
LINES: Final = "tests/cli/render/test_line_splitter.py::"

OF_FOLLOWING: Final = (
    Mutation(
        name="an append that wakes nobody who follows all jobs",
        promise="logs/follower-misses-nothing",
        file="airunner/server/watchers.py",
        old="        self._news.wake(_ALL)\n",
        new="",
        test=f"{AUDIENCE}test_a_follower_is_told_of_every_job_in_one_order_as_it_comes",
    ),
    Mutation(
        name="a follower that parks though something has come while it read",
        promise="logs/follower-misses-nothing",
        file="airunner/server/watchers.py",
        old="            if self._end <= after:\n",
        new="            if True:\n",
        test=f"{AUDIENCE}test_what_has_come_while_a_follower_read_is_told_at_once",
    ),
    Mutation(
        name="jobs that keep their old place in the order of the memory log",
        promise="logs/follower-misses-nothing",
        file="airunner/log/memory.py",
        old="                    self._jobs[fact.id] = known = self._jobs.pop(fact.id, None) or []\n",
        new="                    known = self._jobs.setdefault(fact.id, [])\n",
        test=MEMORY,
    ),
    Mutation(
        name="a window that tells of all jobs though it has lost some",
        promise="logs/follower-misses-nothing",
        file="airunner/log/sqlite/recent.py",
        old="            self._whole = max(self._whole or event.place, event.place)\n",
        new="",
        test=f"{RECENT}test_of_all_jobs_it_says_nothing_of_what_it_does_not_have_whole",
    ),
    Mutation(
        name="a page of all jobs that goes on behind what it has of one table",
        promise="logs/follower-misses-nothing",
        file="airunner/log/sqlite/reader.py",
        old="    return Page([event for event in events if key(event) <= through], through)\n",
        new="    return Page(events, key(events[-1]))\n",
        test=f"{SQLITE}test_nor_does_what_is_read_of_all_jobs",
    ),
    Mutation(
        name="a follower that goes on in another log",
        promise="logs/follower-misses-nothing",
        file="airunner/server/grpc/events.py",
        old='request.log not in {"", audience.log} or ',
        new="",
        test=f"{FOLLOW_ALL}test_what_cannot_be_followed_is_refused",
    ),
    Mutation(
        name="a follower of all jobs that begins from now on after each lost connection",
        promise="logs/follower-misses-nothing",
        file="airunner/wire/client/follow.py",
        old="                    position, log = batch.position, batch.log\n",
        new="",
        test=f"{FOLLOW_ALL}test_a_follower_of_all_jobs_goes_on_over_a_restart_and_misses_nothing",
    ),
    Mutation(
        name="lines of two steps in one",
        promise="logs/lines-are-whole",
        file="airunner/cli/render/line_splitter.py",
        old="                if step != self._step:\n",
        new="                if False:\n",
        test=f"{LINES}test_what_another_step_writes_does_not_glue_on",
    ),
    Mutation(
        name="a newline behind a carriage return that is a line of its own",
        promise="logs/lines-are-whole",
        file="airunner/cli/render/line_splitter.py",
        old="        if not (bare and self._returned):",
        new="        if True:",
        test=f"{LINES}test_lines_are_the_same_however_they_were_read",
    ),
)
