"""Every limit of airunner, in one place, each named with its unit.

Sizes are in bytes of UTF-8, times in the unit that the name ends in. The server refuses a request
past a limit with INVALID_ARGUMENT (a field of one request) or RESOURCE_EXHAUSTED (a total that all
requests share); either message names the limit.

docs/limits.md is generated from the comments here (`make docs`). A comment above a limit says, in
this order: its meaning; "Beyond:" and the effect; "Set by:" and the flag that changes it. A line
"# == Title. Beyond: effect ==" begins a section and has the effect of all limits that name none.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# == One request. Beyond: INVALID_ARGUMENT ==
# One gRPC message, in either direction. Beyond: RESOURCE_EXHAUSTED.
MESSAGE_BYTES_MAX: Final = 16 * MIB
# Request of a method that has no other limit.
REQUEST_BYTES_MAX: Final = 64 * KIB
# Request of EnqueueJob.
ENQUEUE_BYTES_MAX: Final = 6 * MIB
# Request of CompleteJob.
RESULT_BYTES_MAX: Final = 1 * MIB
# Message of an upload.
UPLOAD_BYTES_MAX: Final = 512 * KIB
# Fields of one request, at all depths, but for those of messages that hold plain values alone.
REQUEST_FIELDS_MAX: Final = 32_000
# Fields of one EnqueueJobs or PublishJobEvents, counted so too.
BULK_REQUEST_FIELDS_MAX: Final = 400_000
# Fields of one message of a worker's stream, counted so too; a report has 11 at most.
WORK_FIELDS_MAX: Final = 120_000
# Jobs in one EnqueueJobs.
ENQUEUE_JOBS_MAX: Final = 1_000
# Jobs in one DequeueJob.
DEQUEUE_JOBS_MAX: Final = 100
# Jobs in one page of ListJobs, if the request names no number. Beyond: more pages.
PAGE_SIZE_DEFAULT: Final = 50
# Jobs in one page of ListJobs.
PAGE_SIZE_MAX: Final = 1_000
# One job in a page of ListJobs. Beyond: long fields are cut, and `shortened` names them.
LISTED_JOB_BYTES_MAX: Final = 12 * KIB
# Queues in one response of QueueStats. Beyond: more pages.
QUEUES_PAGE_MAX: Final = 1_000
# A request id (idempotency key).
REQUEST_ID_BYTES_MAX: Final = 256
# Task tokens in one heartbeat, and held leases in one Hello of a worker.
HEARTBEAT_TOKENS_MAX: Final = 10_000
# Messages of a worker's stream in one gRPC message.
MESSAGES_TOGETHER_MAX: Final = 1_000
# Reports in a gRPC message that takes no further messages of a stream. Beyond: another gRPC message.
REPORTS_TOGETHER: Final = 2_000
# Size of a gRPC message that takes no further messages of a stream. Beyond: another gRPC message.
MESSAGES_TOGETHER_BYTES: Final = 1 * MIB

# == One job. Beyond: INVALID_ARGUMENT ==
# Name of a queue: letters, digits and `. _ / : -`, a letter or a digit first.
QUEUE_NAME_CHARS_MAX: Final = 128
# Program of a command.
COMMAND_BYTES_MAX: Final = 4 * KIB
# Arguments of a command.
ARGS_MAX: Final = 1_024
# All arguments of a command together.
ARGS_BYTES_MAX: Final = 128 * KIB
# Environment variables of a job or a step.
ENVIRONMENT_MAX: Final = 1_024
# Names and values of all environment variables together.
ENVIRONMENT_BYTES_MAX: Final = 256 * KIB
# Entries of metadata.
METADATA_MAX: Final = 64
# Keys and values of all metadata together.
METADATA_BYTES_MAX: Final = 16 * KIB
# URL or path of a repository.
REPOSITORY_BYTES_MAX: Final = 2 * KIB
# Name of a branch, a tag or a revision.
REF_BYTES_MAX: Final = 256
# Name of a job or a step.
NAME_BYTES_MAX: Final = 256
# A script, or the commands of one step.
SCRIPT_BYTES_MAX: Final = 4 * MIB
# Title of a step in events: its name, or its first line.
TITLE_BYTES_MAX: Final = 512
# Shell of a script or of steps, with its options.
SHELL_BYTES_MAX: Final = 256
# Steps of a job.
STEPS_MAX: Final = 256
# Commands and environments of all steps together.
STEPS_BYTES_MAX: Final = 4 * MIB
# A job file, or the `job.json` of a source. Beyond: the file is refused; the attempt ends as
# `setup_failed`.
JOB_FILE_BYTES_MAX: Final = 16 * MIB
# Patterns of artifacts.
ARTIFACT_PATTERNS_MAX: Final = 64
# A working directory, a source, a pattern, an image, or either end of a mount.
PATH_BYTES_MAX: Final = 1 * KIB
# Folders or patterns of a sparse checkout.
SPARSE_MAX: Final = 256
# All of them together.
SPARSE_BYTES_MAX: Final = 32 * KIB
# Mounts of one container.
MOUNTS_MAX: Final = 64
# Owner of a job.
OWNER_BYTES_MAX: Final = 256
# Timeout of a job or a step.
TIMEOUT_SECONDS_MAX: Final = 30 * 24 * 3600
# Timeout in the queue.
QUEUE_TIMEOUT_SECONDS_MAX: Final = 30 * 24 * 3600
# Time from SIGTERM to SIGKILL, unless the job names another. Beyond: SIGKILL.
# Set by: `submit --grace`.
GRACE_SECONDS_DEFAULT: Final = 10
# Longest time from SIGTERM to SIGKILL.
GRACE_SECONDS_MAX: Final = 3600
# Set-up, checkout included, from the lease to the start of the process.
# Beyond: the attempt ends as `setup_failed`. Set by: `worker --setup-timeout`.
SETUP_TIMEOUT_SECONDS: Final = 600
# Failures (lost workers, not leases), unless the job names another number.
# Beyond: the job is FAILED as `lost`. Set by: `submit --attempts-max`.
ATTEMPTS_DEFAULT: Final = 3
# Highest number of failures that a job may allow.
ATTEMPTS_MAX: Final = 100
# Past attempts in the history of a job. Beyond: the oldest go.
ATTEMPTS_KEPT: Final = 32
# Leases of a job, those that its workers give back included. Beyond: a lease that is given back
# counts as a failure.
LEASES_PER_JOB_MAX: Final = 10_000
# Columns, or rows, of a terminal.
TERMINAL_SIZE_MAX: Final = 1_000
# Output of a job, unless the job names another size. Beyond: output is cut, and a mark counts it.
# Set by: `submit --output-bytes-max`.
OUTPUT_BYTES_DEFAULT: Final = 1 * GIB
# Largest output that a job may ask for.
OUTPUT_BYTES_MAX: Final = 1024 * GIB
# Output in one sequence of a job, on average; twice REPORTS_PER_JOB_MAX sequences are free.
# Beyond: output is cut, and a mark counts it.
OUTPUT_SEQUENCE_BYTES_MIN: Final = 64
# Sequences of a job, or bytes of it that are cut: the largest number that every client can count.
COUNT_MAX: Final = 2**53

# == The artifacts of one job. Beyond: the artifact is an error, and the job `artifacts_failed` ==
# Files.
ARTIFACTS_MAX: Final = 10_000
# Files of all attempts of a job together.
ARTIFACTS_PER_JOB_MAX: Final = 40_000
# Path of one file.
ARTIFACT_PATH_BYTES_MAX: Final = 4 * KIB
# Piece of a file in one message. Beyond: INVALID_ARGUMENT.
ARTIFACT_CHUNK_BYTES: Final = 256 * KIB
# All files together, on a server with SQLite. Set by: `server --artifacts-per-job`.
ARTIFACT_BYTES_PER_JOB: Final = 1 * GIB
# Time to store all of them.
COLLECT_SECONDS_MAX: Final = 3_600
# Concurrent transfers of a server in each direction. Beyond: further transfers wait.
TRANSFERS_MAX: Final = 32
# Silence of the other end of a transfer. Beyond: the transfer ends, UNAVAILABLE.
TRANSFER_SILENT_SECONDS_MAX: Final = 60
# Wait for a transfer, after which slow transfers of others end.
# Beyond: transfers below TRANSFER_BYTES_PER_SECOND_MIN end, UNAVAILABLE; if there are none, a
# transfer of the caller that has the most ends for a caller that has none.
TRANSFER_WAIT_SECONDS_MAX: Final = 10
# Slowest transfer that goes on while others wait. Beyond: the transfer ends, UNAVAILABLE.
TRANSFER_BYTES_PER_SECOND_MIN: Final = 4 * KIB
# Logs in memory that a results folder has not taken yet. Beyond: the command waits.
RESULTS_PENDING_BYTES_MAX: Final = 1 * MIB
# Time in which a results folder takes nothing. Beyond: the logs there end, and the job fails.
RESULTS_STALL_SECONDS_MAX: Final = 60

# == One lease. Beyond: INVALID_ARGUMENT ==
# Shortest visibility timeout. Beyond: INVALID_ARGUMENT for a shorter one.
VISIBILITY_SECONDS_MIN: Final = 1
# Longest visibility timeout.
VISIBILITY_SECONDS_MAX: Final = 12 * 3600
# Visibility timeout of the published contract, if a request names none.
# Beyond: the lease lapses and the job returns to its place.
VISIBILITY_SECONDS_DEFAULT: Final = 300
# Visibility timeout that an airunner worker asks for.
# Beyond: the lease lapses and the job returns to its place. Set by: `worker --visibility-timeout`.
WORKER_VISIBILITY_SECONDS_DEFAULT: Final = 60
# Name of a worker.
WORKER_NAME_CHARS_MAX: Final = 128
# Queues that one worker may name.
WORKER_QUEUES_MAX: Final = 64
# Slots of one worker.
WORKER_SLOTS_MAX: Final = 1_000
# Time for which the start of a background step is watched. Beyond: the next step starts beside it.
BACKGROUND_START_SECONDS: Final = 1
# Features that one worker may list.
WORKER_FEATURES_MAX: Final = 64

# == Reports of a worker. Beyond: INVALID_ARGUMENT ==
# Output that a worker gathers. Beyond: the worker sends a batch.
BATCH_BYTES_MAX: Final = 64 * KIB
# Time for which a worker gathers, once it has sent a batch. Beyond: the worker sends a batch.
BATCH_MILLIS_MAX: Final = 25
# Output in one batch that the server takes.
REPORT_BYTES_MAX: Final = 4 * MIB
# Reports in one batch.
REPORTS_PER_BATCH_MAX: Final = 10_000
# An error, a remark or another text of a report, and the error of an outcome.
# Beyond: its middle is cut.
REPORT_TEXT_BYTES_MAX: Final = 4 * KIB - 128
# Standard error of git in a report. Beyond: its middle is cut.
REPORT_STDERR_BYTES_MAX: Final = 16 * KIB
# Remarks and progress of one attempt. Beyond: further remarks are left out, and the last says so.
REMARK_BYTES_MAX: Final = 1 * MIB
# A text in a report as a server stores it: a remark, an error, a path. Beyond: its middle is cut.
INTAKE_TEXT_BYTES_MAX: Final = 16 * KIB
# Such a text of a job that has more than LONG_REPORTS_MAX reports. Beyond: its middle is cut.
LATER_TEXT_BYTES_MAX: Final = 1 * KIB
# Reports of a job other than output whose texts are stored up to INTAKE_TEXT_BYTES_MAX.
# Beyond: up to LATER_TEXT_BYTES_MAX.
LONG_REPORTS_MAX: Final = 1_024
# Reports of a job other than output, over all attempts; remarks, progress, heartbeats and sizes of
# terminals take at most half of them. Beyond: a remark says so, and a mark counts the others.
REPORTS_PER_JOB_MAX: Final = 50_000
# Error of an outcome. Beyond: its middle is cut.
OUTCOME_ERROR_BYTES_MAX: Final = 4 * KIB
# Unacknowledged output of an attempt in transit; without a disk, all that a worker keeps of it.
# Beyond: the worker waits for an acknowledgement.
UNACKNOWLEDGED_BYTES_MAX: Final = 4 * MIB
# Unacknowledged output of an attempt on a worker's disk. Beyond: the command waits.
# Set by: `worker --spool-bytes-max`.
SPOOL_BYTES_DEFAULT: Final = 64 * MIB
# Smallest spool that a worker may be given. Beyond: the worker does not start with a smaller one.
SPOOL_BYTES_MIN: Final = 64 * KIB
# Largest spool that a worker may be given. Beyond: the worker does not start.
SPOOL_BYTES_MAX: Final = 1024 * GIB
# One file of a spool; its space comes back as a whole. Beyond: the next file.
SPOOL_SEGMENT_BYTES: Final = 1 * MIB
# Spools in a worker's `refused/`; the newest is kept whatever its size. Beyond: the oldest go.
REFUSED_BYTES_MAX: Final = 256 * MIB
# Number of spools in a worker's `refused/`. Beyond: the oldest go.
REFUSED_SPOOLS_MAX: Final = 1_000

# == A server in memory. Beyond: output is cut, and a mark counts it ==
# Output of one job. Set by: `server --output-per-job`.
MEMORY_OUTPUT_BYTES_PER_JOB: Final = 256 * MIB
# Output of all jobs. Beyond: output of finished jobs goes, oldest first; then output is cut.
# Set by: `server --output-total`.
MEMORY_OUTPUT_BYTES_TOTAL: Final = 1 * GIB
# Artifacts of one job. Beyond: the artifact is refused. Set by: `server --artifacts-per-job`.
MEMORY_ARTIFACT_BYTES_PER_JOB: Final = 64 * MIB
# Artifacts of all jobs, transfers in progress included.
# Beyond: artifacts of finished jobs go, oldest first; then RESOURCE_EXHAUSTED.
# Set by: `server --artifacts-total`.
MEMORY_ARTIFACT_BYTES_TOTAL: Final = 256 * MIB

# == A server with SQLite. Beyond: the oldest go ==
# Output of all jobs. Beyond: output of finished jobs goes, oldest first; then output is cut.
# Set by: `server --output-total`.
SQLITE_OUTPUT_BYTES_TOTAL: Final = 10 * GIB
# Artifacts of all jobs. Beyond: artifacts of finished jobs go, oldest first; then
# RESOURCE_EXHAUSTED. Set by: `server --artifacts-total`.
SQLITE_ARTIFACT_BYTES_TOTAL: Final = 10 * GIB
# Free space on the disk of the log. Beyond: with less, jobs, output and artifacts are refused.
# Set by: `server --free-bytes-min`.
FREE_BYTES_MIN: Final = 256 * MIB
# Newest events in memory, for watchers that keep up. Beyond: watchers read older events from disk.
RECENT_BYTES_MAX: Final = 16 * MIB
# Write-ahead log. Beyond: a checkpoint.
WAL_BYTES_MAX: Final = 4 * MIB
# Reports that retention rewrites between two appends. Beyond: the next slice.
TRIM_BYTES_MAX: Final = 4 * MIB
# Part of the file that is given back between two appends. Beyond: the next slice.
VACUUM_BYTES_MAX: Final = 2 * MIB
# Free pages that stay in the file, for reuse. Beyond: they are given back to the disk.
FREE_BYTES_KEPT: Final = 1 * MIB

# == A client. Beyond: the next piece ==
# A line that `airunner logs` prints whole.
LINE_BYTES_MAX: Final = 1 * MIB

# == The server. Beyond: RESOURCE_EXHAUSTED ==
# Jobs of every state. Beyond: finished jobs go, oldest first; then RESOURCE_EXHAUSTED.
# Set by: `server --jobs-max`.
JOBS_MAX: Final = 1_000_000
# Scripts and steps of all jobs, and all other texts of jobs and all results of steps that have more
# than SPEC_BYTES_SMALL of them, in memory.
# Beyond: finished jobs of this kind go, oldest first; then a job is refused with
# RESOURCE_EXHAUSTED, and results of steps are in the log of their job alone.
JOBS_SPEC_BYTES_MAX: Final = 1 * GIB
# Texts of a job besides its script and steps that count as nothing, with 64 B for each of them.
# Beyond: they count as a whole.
SPEC_BYTES_SMALL: Final = 2 * KIB
# Finished jobs. Beyond: the oldest go. Set by: `server --finished-max`.
FINISHED_JOBS_KEPT: Final = 100_000
# Age of finished jobs. Beyond: the job goes. Set by: `server --finished-age`.
FINISHED_SECONDS_KEPT: Final = 30 * 24 * 3600
# Age up to which no finished job goes, whatever the other limits say.
# Beyond: retention may remove the job.
FINISHED_SECONDS_SPARED: Final = 600
# Time of a graceful stop. Beyond: the server ends.
SHUTDOWN_SECONDS_MAX: Final = 10
# Concurrent calls: parked polls, monitors and worker streams included.
CALLS_MAX: Final = 20_000
# Concurrent calls of one subject.
CALLS_PER_SUBJECT_MAX: Final = 10_000
# Concurrent watches of the health service, which need no token.
# Beyond: the oldest of the host that has the most ends.
HEALTH_WATCHES_MAX: Final = 1_000
# Requests that have begun to arrive, each of up to MESSAGE_BYTES_MAX.
# Beyond: the oldest of the subject that has the most is refused, for a request of another subject.
UNFINISHED_REQUESTS_MAX: Final = 32
# Time for which a request waits for others of its own subject. Beyond: the oldest of them is refused.
REQUEST_PATIENCE_SECONDS: Final = 10
# Such requests of calls without a token. Beyond: at once the oldest is refused, of the host that has the most.
OPEN_REQUESTS_MAX: Final = 8
# Unary requests of more than REQUEST_BYTES_MAX that are decoded and answered at once.
# Beyond: the others wait.
LARGE_REQUESTS_MAX: Final = 8
# Time in which a request arrives whole. Beyond: the call ends.
REQUEST_SECONDS_MAX: Final = 120
# TCP connections that have not finished TLS and HTTP/2 after this time. Beyond: they end.
HANDSHAKE_SECONDS_MAX: Final = 5
# Connection without any call. Beyond: it ends; a client opens another for its next call.
IDLE_CONNECTION_SECONDS_MAX: Final = 120
# Concurrent calls of one connection. Beyond: the client waits.
CALLS_PER_CONNECTION_MAX: Final = 10_000
# Files that the server keeps for itself out of those that it may open.
# Beyond: the others are the most connections; further connections end at once.
FILES_RESERVED: Final = 128
# Shortest time between two HTTP/2 pings of a client on a silent connection.
# Beyond: after two shorter ones the connection ends (ENHANCE_YOUR_CALM).
PING_MILLIS_MIN: Final = 1_000
# Token of a caller. Beyond: UNAUTHENTICATED.
TOKEN_BYTES_MAX: Final = 8 * KIB
# Subject of a token. Beyond: UNAUTHENTICATED.
SUBJECT_BYTES_MAX: Final = 1 * KIB
# Verified tokens in memory, until they expire. Beyond: the oldest is verified again.
TOKENS_CACHED_MAX: Final = 10_000
# Time from the start of a worker's stream to its Hello. Beyond: the stream ends, UNAVAILABLE.
HELLO_SECONDS_MAX: Final = 30
# Workers whose latest stream is known. Beyond: the oldest is forgotten.
CONNECTIONS_REMEMBERED_MAX: Final = 20_000
# Replies that wait for one worker. Beyond: the server reads no more of its stream.
PENDING_REPLIES_MAX: Final = 1_024
