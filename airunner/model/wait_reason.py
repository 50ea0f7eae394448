"""Why a job waits: the numbers, and the sentence that they make."""

from dataclasses import dataclass

from airunner.model.units import show_count


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReason:
    """A queued job's place in line, and who serves its queue."""

    queue: str
    ahead: int  # jobs before it in line
    workers: int  # that serve the queue now
    slots: int  # of those workers
    busy: int  # of those slots, whatever queue their jobs are of

    @property
    def explanation(self) -> str:
        """One sentence, such as "3 jobs ahead in queue gpu, 2 of 2 slots of 1 worker busy"."""
        line = f"{show_count(self.ahead, 'job')} ahead" if self.ahead else "first"
        line += f" in queue {self.queue}"
        if not self.workers:
            return f"{line}, and no worker polls queue {self.queue}"
        slots = f"{self.busy} of {show_count(self.slots, 'slot')} of {show_count(self.workers, 'worker')}"
        return f"{line}, {slots} busy"
