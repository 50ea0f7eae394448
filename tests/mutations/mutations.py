"""Every rule that is broken on purpose: where, how, and which test has to notice.

A promise that can be broken without a test that fails is held by nobody. `make mutate` breaks
each in a copy of the project and runs its test there. The texts stand in the code exactly once;
when code that is named here changes, so does this list.
"""

from typing import Final

from tests.mutations.mutation import Mutation
from tests.mutations.of_archive import OF_ARCHIVE
from tests.mutations.of_artifacts import OF_ARTIFACTS
from tests.mutations.of_following import OF_FOLLOWING
from tests.mutations.of_results import OF_RESULTS
from tests.mutations.of_runs import OF_RUNS
from tests.mutations.of_sources import OF_SOURCES
from tests.mutations.of_steps import OF_STEPS
from tests.mutations.of_watching import OF_WATCHING

BROKER: Final = "tests/server/test_broker.py::"
CLIENT: Final = "tests/worker/session/test_session.py::"
SESSION: Final = "tests/server/workers/test_worker_session.py::"
SQLITE: Final = "tests/log/sqlite/test_sqlite_log.py::"
CRASHES: Final = "tests/log/sqlite/test_crash_points.py::"
WORKER: Final = "tests/worker/test_worker.py::"
SUPERVISOR: Final = "tests/worker/supervisor/test_supervisor.py::"
CHECKOUT: Final = "tests/worker/workspace/test_folders.py::"

ON_THE_SERVER: Final = (
    Mutation(
        name="a token that is not forgotten when its lease ends",
        promise="jobs/one-worker-at-a-time",
        file="airunner/store/table.py",
        old="            del self._tokens[job.lease.token]\n",
        new="",
        test=f"{BROKER}test_a_lease_lapses_on_time_and_the_next_worker_gets_the_job",
    ),
    Mutation(
        name="an answer before the log has what it says",
        promise="jobs/write-then-answer",
        file="airunner/server/outbox.py",
        old="        while self._durable < place:\n",
        new="        while False:\n",
        test=f"{BROKER}test_no_reply_leaves_before_the_log_has_what_it_says",
    ),
    Mutation(
        name="an acknowledgement of output before the log has it",
        promise="jobs/write-then-answer",
        file="airunner/server/workers/worker_session.py",
        old="            await self._broker.durable(self._replies[0][0])\n",
        new="",
        test=f"{SESSION}test_what_is_stored_is_acknowledged_only_once_it_is_durable",
    ),
    Mutation(
        name="events that count as durable although the log has failed",
        promise="jobs/write-then-answer",
        file="airunner/server/outbox.py",
        old="            self._durable = events[-1].place\n            self._parking",
        new="            self._parking",
        test=f"{BROKER}test_a_watcher_sees_everything_in_order_and_then_ends_by_itself",
    ),
    Mutation(
        name="a wake-up that goes with a sleeper who is cancelled",
        promise="jobs/waiting-sides-meet",
        file="airunner/server/parking_lot.py",
        old="                self.wake(spot.result(), 1)  # Called",
        new="                pass  # Called",
        test="tests/server/test_parking_lot.py::test_one_who_was_called_and_cannot_go_calls_the_next",
    ),
    Mutation(
        name="a job that wakes no worker",
        promise="jobs/waiting-sides-meet",
        file="airunner/server/broker.py",
        old="                self._idle.wake(job.spec.queue, 1)\n",
        new="                pass\n",
        test=f"{SESSION}test_credit_waits_for_a_job_to_come",
    ),
    Mutation(
        name="a deadline that comes sooner and arms no timer",
        promise="jobs/timeouts-are-on-time",
        file="airunner/server/broker.py",
        old="        if due != self._deadline:\n",
        new="        if False:\n",
        test=f"{BROKER}test_a_lease_lapses_on_time_and_the_next_worker_gets_the_job",
    ),
    Mutation(
        name="a batch that is stored twice",
        promise="logs/stored-once-in-order",
        file="airunner/store/report_intake.py",
        old="        elif last > sent:\n",
        new="        elif last > sent or last <= sent:\n",
        test=f"{SESSION}test_a_batch_that_is_sent_again_is_stored_once_and_acknowledged_twice",
    ),
    Mutation(
        name="a completion that overtakes its output",
        promise="logs/stored-once-in-order",
        file="airunner/store/queue.py",
        old="        if sent is not None and sent != job.sent:\n",
        new="        if sent is None:\n",
        test=f"{SESSION}test_a_completion_whose_batch_is_missing_is_rejected_until_it_has_come",
    ),
    Mutation(
        name="a resume that begins one chunk too early",
        promise="logs/sequences-have-no-gap",
        file="airunner/model/reports.py",
        old="            return Output(chunks[skip:], step)\n",
        new="            return Output(chunks[max(0, skip - 1) :], step)\n",
        test="tests/server/grpc/test_published_client.py::test_a_monitor_resumes_inside_a_batch",
    ),
    Mutation(
        name="a watcher who resumes at what it has seen",
        promise="logs/sequences-have-no-gap",
        file="airunner/log/memory.py",
        old='        at, end = bisect_right(events, after, key=attrgetter("last")), len(events)\n',
        new='        at, end = bisect_right(events, after - 1, key=attrgetter("last")), len(events)\n',
        test="tests/log/test_memory_log.py",
    ),
    Mutation(
        name="a seal without the last event",
        promise="logs/finished-log-is-sealed",
        file="airunner/store/engine.py",
        old="                digest=event.link,\n",
        new="                digest=before,\n",
        test="tests/model/proof/test_chain.py::test_a_job_is_sealed_by_its_end_and_every_event_has_its_link",
    ),
    Mutation(
        name="a chain that does not follow from the link before",
        promise="logs/finished-log-is-sealed",
        file="airunner/model/proof/chain.py",
        old="                digest = sha256(previous + _head(event, sequence, values))\n",
        new="                digest = sha256(_head(event, sequence, values))\n",
        test="tests/model/proof/test_chain.py::test_a_link_is_what_the_contract_says",
    ),
    Mutation(
        name="leases that are as old after a restart as before",
        promise="jobs/broken-connection-redelivers-nothing",
        file="airunner/server/broker.py",
        old='        """Keep the log and the time, until stop() or until either fails."""\n'
        "        self.decide(self.queue.resume(self.now()))\n",
        new="",
        test=f"{BROKER}test_a_restarted_server_gives_every_lease_its_whole_span_anew",
    ),
    Mutation(
        name="a clock that goes back with the wall clock",
        promise="jobs/time-moves-forward",
        file="airunner/server/clock.py",
        old="max(wall, floor or 0)",
        new="wall",
        test="tests/server/test_clock_and_ids.py::"
        "test_a_wall_clock_that_was_set_back_starts_where_the_log_ended",
    ),
    Mutation(
        name="a natural exit that wins over a cancel",
        promise="jobs/cancelled-is-the-only-end",
        file="airunner/store/queue.py",
        old="        if job.cancel_requested_at is not None:\n            outcome = _cancelled(outcome)\n",
        new="",
        test="tests/store/test_stories.py",
    ),
)

IN_THE_LOG: Final = (
    Mutation(
        name="an append that is answered before it is committed",
        promise="jobs/acknowledged-job-exists",
        file="airunner/log/sqlite/log.py",
        old="        await _on(self._writing, self._append, events)\n",
        new="        self._writing.submit(self._append, events)\n",
        test=f"{SQLITE}test_an_append_to_a_full_disk_leaves_nothing_and_may_be_tried_again",
    ),
    Mutation(
        name="an fsync that is skipped",
        promise="jobs/acknowledged-job-exists",
        file="airunner/log/sqlite/writer.py",
        old='        connection.execute(f"PRAGMA synchronous={fsync.value.upper()}")\n',
        new='        connection.execute("PRAGMA synchronous=OFF")\n',
        test=f"{CRASHES}test_every_answer_waits_until_all_that_was_written_for_it_is_synced",
    ),
    Mutation(
        name="a transaction that is left open",
        promise="jobs/acknowledged-job-exists",
        file="airunner/log/sqlite/writer.py",
        old='        connection.execute("COMMIT")\n',
        new="        pass\n",
        test=f"{SQLITE}test_an_append_that_was_answered_is_on_disk_while_the_log_is_open",
    ),
    Mutation(
        name="a full disk that leaves half an append",
        promise="log-file/full-append-leaves-nothing",
        file="airunner/log/sqlite/writer.py",
        old="            connection.executemany(_ADD_REPORTS, batch.reports)\n",
        new=(
            "            for row in batch.reports:\n"
            "                connection.execute(_ADD_REPORTS, row)\n"
            '                connection.execute("COMMIT; BEGIN IMMEDIATE")\n'
        ),
        test=f"{SQLITE}test_an_append_to_a_full_disk_leaves_nothing_and_may_be_tried_again",
    ),
    Mutation(
        name="a log that goes on after its disk has failed",
        promise="jobs/write-then-answer",
        file="airunner/log/sqlite/writer.py",
        old="                self._failure = error\n                raise\n            self._checkpoint_at",
        new="                raise\n            self._checkpoint_at",
        test=f"{SQLITE}test_a_log_that_has_failed_once_takes_nothing_more",
    ),
    Mutation(
        name="a checksum of a row that nobody compares",
        promise="log-file/checksums-on-every-read",
        file="airunner/log/sqlite/rows.py",
        old="        if _report_crc(*row[:-1]) != crc:\n",
        new="        if False:\n",
        test=f"{SQLITE}test_no_column_of_a_row_can_change_and_be_believed",
    ),
    Mutation(
        name="a scan of the write-ahead log that stops at the first bad frame",
        promise="log-file/damage-is-not-a-torn-tail",
        file="airunner/log/sqlite/wal.py",
        old="        if bad is None:\n            bad = frame\n",
        new="        if bad is None:\n            bad = frame\n            break\n",
        test="tests/log/sqlite/test_wal.py::"
        "test_a_flip_in_any_transaction_but_the_last_is_found_and_named",
    ),
    Mutation(
        name="a second server on the same file",
        promise="log-file/one-server-per-log",
        file="airunner/log/sqlite/lock.py",
        old="        if not try_lock(self._file):\n",
        new="        if not try_lock(self._file, shared=True):\n",
        test="tests/log/sqlite/test_lock.py::test_a_second_process_is_refused_and_told_who_has_it",
    ),
    Mutation(
        name="a page of the durable log that begins at what was seen",
        promise="logs/sequences-have-no-gap",
        file="airunner/log/sqlite/reader.py",
        old='    f"SELECT {REPORT_COLUMNS} FROM reports WHERE job = ? AND last > ? "',
        new='    f"SELECT {REPORT_COLUMNS} FROM reports WHERE job = ? AND last >= ? "',
        test=f"{SQLITE}TestSqliteLogReadFromDisk::test_a_job_is_read_on_from_any_sequence_with_the_whole_batch",
    ),
    Mutation(
        name="a start that does not know how far the reports had come",
        promise="logs/stored-once-in-order",
        file="airunner/log/sqlite/replay.py",
        old="        fact=Tallied(JobId(job), sent, *sizes),\n",
        new="        fact=Tallied(JobId(job), 0, *sizes),\n",
        test=f"{SQLITE}TestSqliteLog::"
        "test_a_replay_knows_how_far_the_reports_of_each_attempt_have_come",
    ),
)

AT_THE_WORKER: Final = (
    Mutation(
        name="a lapsed lease whose tree lives on",
        promise="jobs/worker-stops-first",
        file="airunner/worker/session/held_lease.py",
        old="        self.stop.ask(StopReason.LOST, at_once=True)\n",
        new="",
        test=f"{WORKER}test_a_lapsed_lease_kills_the_tree_and_writes_nothing_after",
    ),
    Mutation(
        name="a lease that counts from its answer",
        promise="jobs/worker-stops-first",
        file="airunner/worker/session/session.py",
        old="                held_lease.renewed(self._renewed_at)\n        for token in lost:\n",
        new="                held_lease.renewed(self._loop.time())\n        for token in lost:\n",
        test=f"{CLIENT}test_a_lease_holds_for_its_span_since_the_acknowledged_renewal_was_sent",
    ),
    Mutation(
        name="a lapsed lease for which more is said",
        promise="jobs/worker-stops-first",
        file="airunner/worker/session/held_lease.py",
        old="        if self.is_over or self._retry or self._loop.time() >= self.until:\n",
        new="        if self._retry:\n",
        test="tests/worker/test_orphans.py::test_what_belongs_to_no_lease_any_more_is_set_aside_and_nothing_is_said",
    ),
    Mutation(
        name="a spool that forgets before the acknowledgement",
        promise="logs/stored-once-in-order",
        file="airunner/worker/session/held_lease.py",
        old="                self._sent = first + sum(map(count_sequences, reports)) - 1\n",
        new="                self._sent = first + sum(map(count_sequences, reports)) - 1\n"
        "                self._spool.forget(self._sent)\n",
        test=f"{CLIENT}test_what_the_server_has_not_stored_is_sent_again_and_nothing_else",
    ),
    Mutation(
        name="a spool whose damage is passed on",
        promise="logs/log-trouble-fails-no-command",
        file="airunner/worker/spool/segments.py",
        old="        if crc != crc32(view[body : body + size], crc32(view[at : at + _HEAD.size])):\n",
        new="        if False:\n",
        test="tests/worker/spool/test_spool.py::"
        "test_any_flipped_bit_is_damage_and_what_is_before_it_is_read",
    ),
    Mutation(
        name="a dead attempt that is given back while its processes live",
        promise="jobs/next-worker-delivers-spool",
        file="airunner/worker/session/held_lease.py",
        old="            orphan.when_processes_gone(lambda: self.end(AttemptEnd.LOST))\n",
        new="            self.end(AttemptEnd.LOST)\n",
        test="tests/worker/test_orphans.py::"
        "test_nothing_is_given_up_while_a_process_of_a_dead_attempt_may_live",
    ),
    Mutation(
        name="a log that lacks something and says nothing of it",
        promise="logs/log-trouble-fails-no-command",
        file="airunner/worker/session/held_lease.py",
        old="            self.verdict = replace(self.verdict, log_complete=False)\n",
        new="            pass\n",
        test="tests/worker/test_orphans.py::"
        "test_a_log_that_cannot_be_read_back_ends_there_and_its_job_as_it_did",
    ),
    Mutation(
        name="a cancel that stops nothing",
        promise="jobs/cancelled-is-the-only-end",
        file="airunner/worker/attempt/stage_run.py",
        old="            await process.terminate(self._spec.grace_seconds)\n            killer.cancel()\n",
        new="            killer.cancel()\n",
        test=f"{WORKER}test_a_cancel_is_confirmed_when_no_process_is_left",
    ),
    Mutation(
        name="a shim that serves again though it had to kill",
        promise="processes/nothing-left-for-the-next-job",
        file="airunner/worker/supervisor/shim.py",
        old="        if alone and not self._exiting and self._tree.reusable:\n",
        new="        if alone and self._tree.reusable:\n",
        test=f"{SUPERVISOR}test_a_shim_that_had_to_kill_goes_and_its_leaf_with_it",
    ),
    Mutation(
        name="a control group that serves again with a job's groups in it",
        promise="processes/nothing-left-for-the-next-job",
        file="airunner/worker/supervisor/shim.py",
        old="        if alone and not self._exiting and self._tree.reusable:\n",
        new="        if alone and not self._exiting:\n",
        test=f"{SUPERVISOR}test_a_leaf_in_which_a_job_has_made_groups_is_not_used_again",
    ),
    Mutation(
        name="a shim that does not see its supervisor die",
        promise="processes/none-outlives-worker-or-supervisor",
        file="airunner/worker/supervisor/shim.py",
        old="            self._loop.watch(self._lifeline, self._supervisor_died)\n",
        new="",
        test=f"{SUPERVISOR}test_no_process_survives_the_death_of_the_supervisor",
    ),
    Mutation(
        name="a killed shim whose tree nobody kills",
        promise="processes/none-outlives-its-job",
        file="airunner/worker/supervisor/shims.py",
        old="                    self._orphaned_trees.append(entry)\n",
        new="                    self._finish(entry)\n",
        test=f"{SUPERVISOR}test_a_job_whose_shim_is_killed_dies_with_it",
    ),
    Mutation(
        name="a workspace that serves again whatever was done to it",
        promise="processes/nothing-left-for-the-next-job",
        file="airunner/worker/workspace/folders.py",
        old="        elif self._fingerprint.same() and _unlink_all(self._scripts):\n",
        new="        elif _unlink_all(self._scripts):\n",
        test=f"{CHECKOUT}test_a_workspace_that_a_job_has_touched_does_not_serve_again",
    ),
    Mutation(
        name="a dead connection that nobody notices for a minute",
        promise="logs/dead-connection-is-noticed",
        file="airunner/wire/client/endpoint.py",
        old='        ("grpc.http2.ping_timeout_ms", timeout),  # the default is a minute\n',
        new="",
        test="tests/end/test_half_open.py::"
        "test_a_monitor_whose_connection_died_without_a_word_finds_out_and_misses_nothing",
    ),
)

MUTATIONS: Final = (
    *ON_THE_SERVER,
    *IN_THE_LOG,
    *AT_THE_WORKER,
    *OF_STEPS,
    *OF_ARTIFACTS,
    *OF_ARCHIVE,
    *OF_SOURCES,
    *OF_RESULTS,
    *OF_RUNS,
    *OF_WATCHING,
    *OF_FOLLOWING,
)
