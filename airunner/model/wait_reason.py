"""The reason for which a job waits: the numbers, and a sentence made of them."""

from dataclasses import dataclass

from airunner.model.units import show_count


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReason:
    """A queued job's place in line, and the workers of its queue."""

    queue: str
    ahead: int  # jobs before this job in line
    workers: int  # connected workers that serve the queue
    slots: int  # of these workers, in total
    busy: int  # slots that run a job, of any queue
    missing: tuple[str, ...] = ()  # features that the job needs and no worker of the queue has

    @property
    def explanation(self) -> str:
        """One sentence, such as "3 jobs ahead in queue gpu, 2 of 2 slots of 1 worker busy"."""
        line = f"{show_count(self.ahead, 'job')} ahead" if self.ahead else "first"
        line += f" in queue {self.queue}"
        if not self.workers:
            return f"{line}, and no worker polls queue {self.queue}"
        if self.missing:
            names = ", ".join(self.missing)
            workers = show_count(self.workers, "worker")
            return f"{line}, and {workers} of the queue cannot run it: it needs {names}"
        slots = f"{self.busy} of {show_count(self.slots, 'slot')} of {show_count(self.workers, 'worker')}"
        return f"{line}, {slots} busy"
