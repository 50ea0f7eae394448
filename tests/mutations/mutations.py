"""The core's rules, each broken on purpose, and the test that must notice.

A promise that can be broken without a failing test is held by no test. `make mutate` breaks one
rule after the other in a copy of the project and runs its test there. The list has the rules of the
core whose loss would break a promise: state and fence of jobs, the order of log and answers, the
file of the log, seals, leases, spools, process trees, and the order of bytes and facts. Rules about
options, sources and display have tests and no mutation.
"""

from typing import Final

from tests.mutations.mutation import Mutation

STORE: Final = "airunner.store"
SERVER: Final = "airunner.server"
SQLITE: Final = "airunner.log.sqlite"
PROOF: Final = "airunner.model.proof"
SESSION: Final = "airunner.worker.session"
SUPERVISOR: Final = "airunner.worker.supervisor"

STORIES: Final = "tests/store/test_stories.py::test_story"
BROKER_TEST: Final = "tests/server/test_broker.py::"
STREAM_TEST: Final = "tests/server/workers/test_worker_session.py::"
LOG_TEST: Final = "tests/log/sqlite/test_sqlite_log.py::"
WORKER_TEST: Final = "tests/worker/test_worker.py::"
SESSION_TEST: Final = "tests/worker/session/test_session.py::"
ORPHAN_TEST: Final = "tests/worker/test_orphans.py::"
SUPERVISOR_TEST: Final = "tests/worker/supervisor/test_supervisor.py::"
ARTIFACT_TEST: Final = "tests/server/test_artifacts.py::"

OF_THE_STORE: Final = (
    Mutation(
        name="the token of an ended lease opens its job",
        promise="jobs/one-worker-at-a-time",
        at=f"{STORE}.table:Table._take",
        old="del self._tokens[job.lease.token]",
        test=f"{BROKER_TEST}test_a_lease_lapses_on_time_and_the_next_worker_gets_the_job",
    ),
    Mutation(
        name="the newest job of a queue is leased first",
        promise="jobs/first-in-first-out",
        at=f"{STORE}.job_index:JobIndex.first",
        old="first = line[0]",
        new="first = line[-1]",
        test=f"{STORIES}[queues]",
    ),
    Mutation(
        name="a release counts as a failure",
        promise="jobs/no-blame-no-failure",
        at=f"{STORE}.queue:Queue._end_attempt",
        old="ending is not AttemptEnd.RELEASED",
        new="True",
        test=f"{STORIES}[release]",
    ),
    Mutation(
        name="results of steps take any memory",
        promise="server/memory-is-bounded",
        at=f"{STORE}.eviction:make_outcome_room",
        old="table.bulk_bytes + size - keep.spec_bytes_max if size else 0",
        new="0",
        test=f"{STORIES}[full_of_results]",
    ),
    Mutation(
        name="a job may be leased without end",
        promise="logs/log-of-a-job-is-bounded",
        at=f"{STORE}.queue:Queue._end_attempt",
        old="job.attempt >= self.retention.leases_per_job",
        new="False",
        test=f"{STORIES}[log_limits]",
    ),
    Mutation(
        name="a job may have any number of reports",
        promise="logs/log-of-a-job-is-bounded",
        at=f"{STORE}.report_intake:ReportRoom.take",
        old="self._reports > allowed",
        new="False",
        test=f"{STORIES}[log_limits]",
    ),
    Mutation(
        name="a job may have any number of pieces of output",
        promise="logs/log-of-a-job-is-bounded",
        at=f"{STORE}.report_intake:ReportRoom.fit",
        old="index >= self._sequences",
        new="False",
        test=f"{STORIES}[log_limits_output]",
    ),
    Mutation(
        name="the exit of a command wins over a cancel",
        promise="jobs/cancelled-is-the-only-end",
        at=f"{STORE}.queue:Queue.finish",
        old="outcome = _cancelled(outcome)",
        test=f"{STORIES}[cancel]",
    ),
    Mutation(
        name="a completion overtakes its output",
        promise="logs/stored-once-in-order",
        at=f"{STORE}.queue:Queue.finish",
        old="sent != job.sent",
        new="False",
        test=f"{STREAM_TEST}test_a_completion_whose_batch_is_missing_is_rejected_until_it_has_come",
    ),
    Mutation(
        name="a batch that is sent twice is stored twice",
        promise="logs/stored-once-in-order",
        at=f"{STORE}.report_intake:unseen",
        old="not first",
        new="not first or last <= sent",
        test=f"{STREAM_TEST}test_a_batch_that_is_sent_again_is_stored_once_and_acknowledged_twice",
    ),
    Mutation(
        name="an ended lease finds room for an artifact",
        promise="results/artifacts-are-fenced",
        at=f"{STORE}.eviction:make_artifact_room",
        old="table.held_by(token)",
        new="table.ended_by(token) or table.held_by(token)",
        test="tests/store/test_artifacts.py::test_room_may_be_asked_for_before_a_byte_has_come",
    ),
)

OF_THE_SERVER: Final = (
    Mutation(
        name="an answer leaves before the log has it",
        promise="jobs/write-then-answer",
        at=f"{SERVER}.outbox:Outbox.durable",
        old="self._durable < place",
        new="False",
        test=f"{BROKER_TEST}test_no_reply_leaves_before_the_log_has_what_it_says",
    ),
    Mutation(
        name="output is acknowledged before the log has it",
        promise="jobs/write-then-answer",
        at=f"{SERVER}.workers.worker_session:Session._write",
        old="await self._broker.durable(...)",
        test=f"{STREAM_TEST}test_what_is_stored_is_acknowledged_only_once_it_is_durable",
    ),
    Mutation(
        name="events that found a full log are dropped",
        promise="server/full-log-loses-nothing",
        at=f"{SERVER}.outbox:Outbox._append",
        old="continue",
        new="return True",
        test="tests/server/test_full_log.py::"
        "test_a_full_log_refuses_everybody_until_it_takes_what_it_was_given",
    ),
    Mutation(
        name="a wake-up is lost with a task that is cancelled",
        promise="jobs/waiting-sides-meet",
        at=f"{SERVER}.parking_lot:ParkingLot.park",
        old="self.wake(...)",
        new="None",
        test="tests/server/test_parking_lot.py::test_one_who_was_called_and_cannot_go_calls_the_next",
    ),
    Mutation(
        name="an earlier deadline arms no timer",
        promise="jobs/timeouts-are-on-time",
        at=f"{SERVER}.broker:Broker._rearm",
        old="due != self._deadline",
        new="False",
        test=f"{BROKER_TEST}test_a_lease_lapses_on_time_and_the_next_worker_gets_the_job",
    ),
    Mutation(
        name="a lease is as old after a restart as before",
        promise="jobs/broken-connection-redelivers-nothing",
        at=f"{SERVER}.broker:Broker.run",
        old="self.decide(self.engine.queue.resume(...))",
        new="None",
        test=f"{BROKER_TEST}test_a_restarted_server_gives_every_lease_its_whole_span_anew",
    ),
    Mutation(
        name="the clock goes back with the wall clock",
        promise="jobs/time-moves-forward",
        at="airunner.system.clock:LoopClock.__init__",
        old="max(wall, ...)",
        new="wall",
        test="tests/server/test_clock_and_ids.py::"
        "test_a_wall_clock_that_was_set_back_starts_where_the_log_ended",
    ),
    Mutation(
        name="a lease that was lost in transit stays with its worker",
        promise="jobs/undelivered-lease-returns",
        at=f"{SERVER}.worker_calls:WorkerCalls.resume_decided",
        old="facts += self._queue.give_back(...)",
        test=f"{STREAM_TEST}"
        "test_a_lease_that_a_hello_does_not_list_was_never_delivered_and_goes_back",
    ),
    Mutation(
        name="a silent worker is leased a job",
        promise="jobs/silent-worker-gets-no-job",
        at=f"{SERVER}.workers.worker_session:Session._wanted",
        old="self._is_attentive()",
        new="True",
        test=f"{STREAM_TEST}test_a_job_passes_a_silent_worker_by",
    ),
    Mutation(
        name="a follower parks although events came while it read",
        promise="logs/follower-misses-nothing",
        at=f"{SERVER}.watchers:Watchers.follow",
        old="self._end <= after",
        new="True",
        test="tests/server/test_watchers.py::"
        "test_what_has_come_while_a_follower_read_is_told_at_once",
    ),
)

OF_THE_LOG: Final = (
    Mutation(
        name="an append returns before its transaction",
        promise="jobs/acknowledged-job-exists",
        at=f"{SQLITE}.log:SqliteLog.append",
        old="await _on(self._writing, self._append, events)",
        new="self._writing.submit(self._append, events)",
        test=f"{LOG_TEST}test_an_append_to_a_full_disk_leaves_nothing_and_may_be_tried_again",
    ),
    Mutation(
        name="a commit is not synced",
        promise="log-file/answers-outlive-crashes",
        at=f"{SQLITE}.writer:Writer.__init__",
        old="fsync.value.upper()",
        new="'OFF'",
        test="tests/log/sqlite/test_crash_points.py::"
        "test_every_answer_waits_until_all_that_was_written_for_it_is_synced",
    ),
    Mutation(
        name="an append to a full disk leaves its first half",
        promise="log-file/full-append-leaves-nothing",
        at=f"{SQLITE}.writer:Writer._write",
        old="connection.executemany(_ADD_REPORTS, batch.reports)",
        new="for row in batch.reports:\n"
        "    connection.execute(_ADD_REPORTS, row)\n"
        "    connection.execute('COMMIT; BEGIN IMMEDIATE')",
        test=f"{LOG_TEST}test_an_append_to_a_full_disk_leaves_nothing_and_may_be_tried_again",
    ),
    Mutation(
        name="a log goes on after its disk has failed",
        promise="log-file/failed-log-stays-closed",
        at=f"{SQLITE}.writer:Writer.append",
        old="self._failure is not None",
        new="False",
        test=f"{LOG_TEST}test_a_log_that_has_failed_once_takes_nothing_more",
    ),
    Mutation(
        name="the checksum of a row is not compared",
        promise="log-file/checksums-on-every-read",
        at=f"{SQLITE}.rows:report_event",
        old="_report_crc(...) != crc",
        new="False",
        test=f"{LOG_TEST}test_no_column_of_a_row_can_change_and_be_believed",
    ),
    Mutation(
        name="a scan of the write-ahead log sees no frame after a bad one",
        promise="log-file/damage-is-not-a-torn-tail",
        at=f"{SQLITE}.wal:_walk",
        old="good_after += 1",
        new="break",
        test="tests/log/sqlite/test_wal.py::"
        "test_a_flip_in_any_transaction_but_the_last_is_found_and_named",
    ),
    Mutation(
        name="two servers share the lock of a log",
        promise="log-file/one-server-per-log",
        at=f"{SQLITE}.lock:FileLock.__init__",
        old="try_lock(self._file)",
        new="try_lock(self._file, shared=True)",
        test="tests/log/sqlite/test_lock.py::test_a_second_process_is_refused_and_told_who_has_it",
    ),
    Mutation(
        name="the cache answers a reader from before its first event",
        promise="logs/sequences-have-no-gap",
        at=f"{SQLITE}.event_cache:EventCache.since",
        old="run.events[run.start].first > after + 1",
        new="False",
        test="tests/log/sqlite/test_event_cache.py::"
        "test_a_job_is_told_on_from_any_sequence_that_the_window_reaches",
    ),
    Mutation(
        name="a seal does not cover the last event",
        promise="logs/finished-log-is-sealed",
        at=f"{STORE}.engine:Engine._job_event",
        old="event.link",
        new="before",
        test="tests/model/proof/test_chain.py::"
        "test_a_job_is_sealed_by_its_end_and_every_event_has_its_link",
    ),
    Mutation(
        name="a changed seal proves its log",
        promise="logs/verify-finds-changes",
        at=f"{PROOF}.proof:LogVerifier._check_seal",
        old="seal.digest != read.digest",
        new="False",
        test="tests/model/proof/test_proof.py::test_what_was_changed_is_found_where_it_begins",
    ),
)

OF_THE_WORKER: Final = (
    Mutation(
        name="the process tree of a lapsed lease lives on",
        promise="jobs/worker-stops-first",
        at=f"{SESSION}.held_lease:HeldLease.lose",
        old="self.stop.ask(...)",
        new="None",
        test=f"{WORKER_TEST}test_a_lapsed_lease_kills_the_tree_and_writes_nothing_after",
    ),
    Mutation(
        name="a renewed lease counts from the answer",
        promise="jobs/worker-stops-first",
        at=f"{SESSION}.session:WorkerSession._acknowledged",
        old="held_lease.renewed(...)",
        new="held_lease.renewed(self._loop.time())",
        test=f"{SESSION_TEST}"
        "test_a_lease_holds_for_its_span_since_the_acknowledged_renewal_was_sent",
    ),
    Mutation(
        name="reports of an ended lease are sent",
        promise="jobs/undelivered-is-set-aside",
        at=f"{SESSION}.held_lease:HeldLease.next_message",
        old="self.is_over or self._retry or self._loop.time() >= self.until",
        new="self._retry",
        test=f"{ORPHAN_TEST}"
        "test_what_belongs_to_no_lease_any_more_is_set_aside_and_nothing_is_said",
    ),
    Mutation(
        name="a spool forgets reports before their acknowledgement",
        promise="logs/stored-once-in-order",
        at=f"{SESSION}.held_lease:HeldLease.next_message",
        old="self._add_to_flight(self._sent, ...)",
        new="self._spool.forget(self._sent)",
        test=f"{SESSION_TEST}test_what_the_server_has_not_stored_is_sent_again_and_nothing_else",
    ),
    Mutation(
        name="a dead attempt is given back while its processes live",
        promise="jobs/next-worker-delivers-spool",
        at=f"{SESSION}.held_lease:HeldLease.adopt",
        old="orphan.when_processes_gone(...)",
        new="self.end(AttemptEnd.LOST)",
        test=f"{ORPHAN_TEST}test_nothing_is_given_up_while_a_process_of_a_dead_attempt_may_live",
    ),
    Mutation(
        name="a log with missing reports counts as complete",
        promise="logs/log-trouble-fails-no-command",
        at=f"{SESSION}.held_lease:HeldLease._conclude",
        old="replace(self.verdict, log_complete=False)",
        new="self.verdict",
        test=f"{ORPHAN_TEST}test_a_log_that_cannot_be_read_back_ends_there_and_its_job_as_it_did",
    ),
    Mutation(
        name="the last message of an attempt leaves before its source is free",
        promise="processes/source-is-free-first",
        at="airunner.worker.attempt.execution:Execution.run",
        old="await workspace.release_folders()",
        new="None",
        test="tests/worker/attempt/test_stages.py::"
        "test_the_source_is_free_before_the_last_word_is_said",
    ),
    Mutation(
        name="a shim that had to kill takes the next command",
        promise="processes/nothing-left-for-the-next-job",
        at=f"{SUPERVISOR}.shim:Shim._children_ended",
        old="not self._exiting",
        new="True",
        test=f"{SUPERVISOR_TEST}test_a_shim_that_had_to_kill_goes_and_its_leaf_with_it",
    ),
    Mutation(
        name="a shim does not see its supervisor die",
        promise="processes/none-outlives-worker-or-supervisor",
        at=f"{SUPERVISOR}.shim:Shim.run",
        old="self._loop.watch(self._lifeline, ...)",
        new="None",
        test=f"{SUPERVISOR_TEST}test_no_process_survives_the_death_of_the_supervisor",
    ),
    Mutation(
        name="the process tree of a killed shim lives on",
        promise="processes/none-outlives-its-job",
        at=f"{SUPERVISOR}.shims:Shims.children_ended",
        old="self._orphaned_trees.append(...)",
        new="self._finish(entry)",
        test=f"{SUPERVISOR_TEST}test_a_job_whose_shim_is_killed_dies_with_it",
    ),
)

OF_ARTIFACTS: Final = (
    Mutation(
        name="an upload is answered before the log has it",
        promise="results/acknowledged-artifact-survives",
        at=f"{SERVER}.artifacts:ArtifactService.store",
        old="await self._broker.after_durable(...)",
        new="None",
        test=f"{ARTIFACT_TEST}test_an_answer_comes_when_the_log_has_it",
    ),
    Mutation(
        name="a refused upload removes bytes that another fact names",
        promise="results/bytes-before-facts",
        at=f"{SERVER}.artifacts:ArtifactService._record",
        old="new and ...",
        new="True",
        test=f"{ARTIFACT_TEST}test_what_another_fact_names_stays_though_its_double_is_refused",
    ),
    Mutation(
        name="the bytes of a returned attempt stay",
        promise="results/bytes-before-facts",
        at=f"{SERVER}.artifacts:blob_remover.remove",
        old="blobs.delete_job(id, attempt)",
        new="None",
        test=f"{ARTIFACT_TEST}test_what_an_attempt_has_left_goes_with_it",
    ),
)

MUTATIONS: Final = (
    *OF_THE_STORE,
    *OF_THE_SERVER,
    *OF_THE_LOG,
    *OF_THE_WORKER,
    *OF_ARTIFACTS,
)
