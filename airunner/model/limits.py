"""Every limit there is, in one place, each named with its unit.

Sizes are in bytes of UTF-8, times in the unit that the name ends in. A request
past one of these is refused with INVALID_ARGUMENT (a field of one request) or
RESOURCE_EXHAUSTED (what all requests share); either message names the limit.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# One request
MESSAGE_BYTES_MAX: Final = 16 * MIB  # one gRPC message, either way
ENQUEUE_JOBS_MAX: Final = 1_000  # jobs in one EnqueueJobs
DEQUEUE_JOBS_MAX: Final = 100  # jobs in one DequeueJob
PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1_000  # jobs in one page of ListJobs
REQUEST_ID_BYTES_MAX: Final = 256
HEARTBEAT_TOKENS_MAX: Final = 10_000
MESSAGES_TOGETHER_MAX: Final = 1_000  # of a worker's stream, in one gRPC message
MESSAGES_TOGETHER_BYTES: Final = 1 * MIB  # with which no more join them

# One job
QUEUE_NAME_CHARS_MAX: Final = 128
COMMAND_BYTES_MAX: Final = 4 * KIB
ARGS_MAX: Final = 1_024
ARGS_BYTES_MAX: Final = 128 * KIB  # all of them together
ENVIRONMENT_MAX: Final = 1_024  # variables
ENVIRONMENT_BYTES_MAX: Final = 256 * KIB  # names and values together
METADATA_MAX: Final = 64  # entries
METADATA_BYTES_MAX: Final = 16 * KIB
REPOSITORY_BYTES_MAX: Final = 2 * KIB
REF_BYTES_MAX: Final = 256  # a branch or a commit
NAME_BYTES_MAX: Final = 256  # of a job, or of a step
SCRIPT_BYTES_MAX: Final = 4 * MIB  # of a script, or of a step's commands
TITLE_BYTES_MAX: Final = 512  # of what a step is called: its name, or its first line
SHELL_BYTES_MAX: Final = 256
STEPS_MAX: Final = 256
STEPS_BYTES_MAX: Final = 4 * MIB  # of all their commands and environments together
JOB_FILE_BYTES_MAX: Final = 16 * MIB  # of a source's job.json
ARTIFACT_PATTERNS_MAX: Final = 64
PATH_BYTES_MAX: Final = 1 * KIB  # a working directory, a source, a pattern, either end of a mount
MOUNTS_MAX: Final = 64  # of one container
OWNER_BYTES_MAX: Final = 256
TIMEOUT_SECONDS_MAX: Final = 30 * 24 * 3600
QUEUE_TIMEOUT_SECONDS_MAX: Final = 30 * 24 * 3600
GRACE_SECONDS_DEFAULT: Final = 10  # from SIGTERM to SIGKILL
GRACE_SECONDS_MAX: Final = 3600
SETUP_TIMEOUT_SECONDS: Final = 600  # checkout included, from lease to process start
ATTEMPTS_DEFAULT: Final = 3  # failures, not leases, after which a job is FAILED as lost
ATTEMPTS_MAX: Final = 100
ATTEMPTS_KEPT: Final = 32  # past attempts in a job's history; the oldest go first
TERMINAL_SIZE_MAX: Final = 1_000  # columns or rows
OUTPUT_BYTES_DEFAULT: Final = 1 * GIB  # what a job may write before its output is cut
OUTPUT_BYTES_MAX: Final = 1024 * GIB
COUNT_MAX: Final = 2**53  # sequences of a job, or bytes of it that are cut: what any client counts

# The artifacts of one job
ARTIFACTS_MAX: Final = 10_000  # files
ARTIFACT_PATH_BYTES_MAX: Final = 4 * KIB
ARTIFACT_CHUNK_BYTES: Final = 256 * KIB  # of a file, in one message
ARTIFACT_BYTES_PER_JOB: Final = 1 * GIB  # unless the server is told otherwise
COLLECT_SECONDS_MAX: Final = 3_600  # for bringing them where they belong
TRANSFERS_MAX: Final = 32  # at once, of each way; the next ones wait for their turn
TRANSFER_SILENT_SECONDS_MAX: Final = 60  # for which the other end may send or take nothing
RESULTS_PENDING_BYTES_MAX: Final = 1 * MIB  # of logs that a folder of results has not taken yet
RESULTS_STALL_SECONDS_MAX: Final = 60  # in which such a folder takes nothing, and is given up

# One lease
VISIBILITY_SECONDS_MIN: Final = 1
VISIBILITY_SECONDS_MAX: Final = 12 * 3600
VISIBILITY_SECONDS_DEFAULT: Final = 300  # of the published contract
WORKER_VISIBILITY_SECONDS_DEFAULT: Final = 60  # of our own workers
WORKER_NAME_CHARS_MAX: Final = 128
WORKER_QUEUES_MAX: Final = 64  # queues that one worker may name
WORKER_SLOTS_MAX: Final = 1_000

# One report of a worker
BATCH_BYTES_MAX: Final = 64 * KIB  # of output that a worker gathers before it sends
BATCH_MILLIS_MAX: Final = 25  # for which it gathers, once it has sent a batch
REPORT_BYTES_MAX: Final = 4 * MIB  # of output in one batch that the server takes
REPORTS_PER_BATCH_MAX: Final = 10_000
UNACKNOWLEDGED_BYTES_MAX: Final = 4 * MIB  # on their way, per attempt; without a disk, kept at all
SPOOL_BYTES_DEFAULT: Final = 64 * MIB  # that wait on a worker's disk, per attempt; then it blocks
SPOOL_BYTES_MIN: Final = 64 * KIB
SPOOL_BYTES_MAX: Final = 1024 * GIB
SPOOL_SEGMENT_BYTES: Final = 1 * MIB  # of one file of a spool; its space comes back as a whole
REFUSED_BYTES_MAX: Final = 256 * MIB  # in a worker's refused/, the newest spool apart
REFUSED_SPOOLS_MAX: Final = 1_000

# The memory log
MEMORY_OUTPUT_BYTES_PER_JOB: Final = 256 * MIB
MEMORY_OUTPUT_BYTES_TOTAL: Final = 1 * GIB
MEMORY_ARTIFACT_BYTES_PER_JOB: Final = 64 * MIB
MEMORY_ARTIFACT_BYTES_TOTAL: Final = 256 * MIB  # also of those on their way

# The durable log
SQLITE_OUTPUT_BYTES_TOTAL: Final = 10 * GIB
SQLITE_ARTIFACT_BYTES_TOTAL: Final = 10 * GIB
FREE_BYTES_MIN: Final = 256 * MIB  # on the log's disk; with less, no jobs and no output are taken
RECENT_BYTES_MAX: Final = 16 * MIB  # of the newest events in memory, for watchers that keep up
WAL_BYTES_MAX: Final = 4 * MIB  # of the write-ahead log, from which on it is checkpointed
TRIM_BYTES_MAX: Final = 4 * MIB  # of reports that retention rewrites between two appends
VACUUM_BYTES_MAX: Final = 2 * MIB  # of the file that is given back between two appends
FREE_BYTES_KEPT: Final = 1 * MIB  # of the file that stay free in it, to be used again

# A client
LINE_BYTES_MAX: Final = 1 * MIB  # of a line that `airunner logs` prints whole

# The server
JOBS_MAX: Final = 1_000_000  # queued, running and finished together
JOBS_SCRIPT_BYTES_MAX: Final = 1 * GIB  # scripts and steps of all of them, in the server's memory
FINISHED_JOBS_KEPT: Final = 100_000
FINISHED_SECONDS_KEPT: Final = 30 * 24 * 3600
FINISHED_SECONDS_SPARED: Final = 600  # no finished job goes sooner
SHUTDOWN_SECONDS_MAX: Final = 10
CALLS_MAX: Final = 20_000  # at once: parked polls, monitors and worker streams included
TOKEN_BYTES_MAX: Final = 8 * KIB  # of one caller's token
TOKENS_CACHED_MAX: Final = 10_000  # verified tokens that are remembered until they expire
CONNECTIONS_REMEMBERED_MAX: Final = 20_000  # workers whose latest stream is known
PENDING_REPLIES_MAX: Final = 1_024  # per worker session; past it, its stream is not read
