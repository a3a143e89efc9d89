"""The loop of a sweep: starts trials in processes of their own, listens to them, tells the study.

One process and no threads: whatever happens in a trial (a crash, no memory, a signal) ends that trial's
process only.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from vedute.errors import VeduteError
from vedute.sweep.names import as_text
from vedute.sweep.processes import Begun, Job, Outcome, Starter
from vedute.sweep.study import SweepStudy
from vedute.sweep.trials import Abandoned, Assigned, Told

_FAILURES = 3
"""So many failed trials before any succeeded end a sweep: the configuration itself does not work."""

_END_SECONDS = 20.0
_LEAVE_SECONDS = 60.0


@dataclass
class _Running:
    assigned: Assigned
    process: BaseProcess
    connection: Connection | None
    slot: int
    started: float
    values: dict[int, float] = field(default_factory=dict)
    run: str | None = None
    outcome: Outcome | None = None
    left_at: float | None = None
    abandoned: bool = False


class Workers:
    """Runs the trials of a study on this machine, some at a time."""

    def __init__(
        self,
        study: SweepStudy,
        starter: Starter,
        target: str,
        job: Callable[[Assigned, int], Job],
        count: int,
        total: int | None,
        say: Callable[[str], None],
        log_of: Callable[[int], str],
    ) -> None:
        """Keep what is needed.

        Args:
            study: The study.
            starter: Starts processes.
            target: What a trial's process runs, ``module:function`` of a connection and a job: sends that
                it has begun, ``(step, value)`` and is answered whether to end, at last an outcome.
            job: From a trial and the number of its worker to what the process is told.
            count: Trials at a time.
            total: Trials of the whole study; None: the grid's.
            say: Prints a line.
            log_of: The name of a trial's log, for messages.
        """
        self._study = study
        self._starter = starter
        self._target = target
        self._job = job
        self._count = count
        self._total = total
        self._say = say
        self._log_of = log_of
        self._running: list[_Running] = []
        self._succeeded = False
        self._failures = 0
        self._best: tuple[float, int] | None = None

    def run(self) -> int:
        """Run trials until the study has enough.

        Returns:
            How many trials ended here.

        Raises:
            VeduteError: The first trials have all failed, or the storage is lost.
            KeyboardInterrupt: Interrupted; trials under way are run again by the next command.
        """
        self._note_best()
        ended = 0
        try:
            with _Terminable():
                self._study.bury()
                while True:
                    self._fill()
                    if not self._running:
                        return ended
                    ended += self._listen()
                    self._study.beat(one.assigned for one in self._running)
        except KeyboardInterrupt:
            self._stop("interrupted")
            raise
        except BaseException:
            self._stop(None)
            raise

    def _note_best(self) -> None:
        objective = self._study.plan.objective
        for trial in self._study.trials():
            if trial.state.name == "COMPLETE" and trial.value is not None:
                self._succeeded = True
                if self._best is None or objective.better(trial.value, self._best[0]):
                    self._best = (trial.value, trial.number)

    def _fill(self) -> None:
        """Start trials where there is room."""
        while len(self._running) < self._count:
            assigned = self._study.next(self._total)
            if assigned is None:
                return
            taken = {one.slot for one in self._running}
            slot = next(slot for slot in range(self._count) if slot not in taken)
            job = self._job(assigned, slot)
            process, connection = self._starter.start(self._target, job, f"trial {assigned.number}")
            self._running.append(_Running(assigned, process, connection, slot, time.monotonic()))
            self._say(f"Trial {assigned.number}: started, {as_text(assigned.chosen)}")

    def _listen(self) -> int:
        """Wait for something to happen; return how many trials have ended."""
        waiting: dict[object, _Running] = {}
        for one in self._running:
            if one.connection is not None:
                waiting[one.connection] = one
            waiting[one.process.sentinel] = one
        ready = wait(list(waiting), timeout=min(1.0, self._study.heartbeat))  # type: ignore[arg-type]  # connections, numbers
        for one in {id(waiting[key]): waiting[key] for key in ready}.values():
            while one.connection is not None and one.connection.poll():
                self._hear(one)
        ended = 0
        for one in list(self._running):
            if not one.process.is_alive():
                while one.connection is not None:  # what it said last
                    self._hear(one)
                self._running.remove(one)
                self._finish(one)
                ended += 1
            elif one.left_at is not None and time.monotonic() - one.left_at > _LEAVE_SECONDS:
                one.process.kill()  # it has said its last word long ago
        return ended

    @staticmethod
    def _receive(one: _Running) -> Begun | int | None:
        """Take a trial's next message; return that it has begun, or the step of a value that it reports."""
        assert one.connection is not None
        try:
            message = one.connection.recv()
        except (EOFError, OSError):
            one.connection.close()
            one.connection = None
            one.left_at = time.monotonic()
            return None
        if isinstance(message, Outcome):
            one.outcome = message
            one.left_at = time.monotonic()
            return None
        if isinstance(message, Begun):
            one.run = message.run
            return message
        step, value = message
        one.values[step] = value
        return int(step)

    def _hear(self, one: _Running) -> None:
        """Take a message; tell the study a folder or a value, and the trial what follows from that."""
        connection = one.connection
        heard = self._receive(one)
        if isinstance(heard, Begun):
            self._study.begun(one.assigned, heard.run)
            return
        if heard is None or connection is None:
            return
        hopeless = False
        try:
            hopeless = self._study.report(one.assigned, heard, one.values[heard])
        except Abandoned:
            one.abandoned = True
            one.process.kill()
        with suppress(OSError):
            connection.send(hopeless)

    def _finish(self, one: _Running) -> None:
        """Note how a trial ended."""
        number = one.assigned.number
        told = self._told(one)
        if one.abandoned or not self._study.finish(number, told):
            self._say(f"Trial {number}: given up, another worker took this one for dead and runs it again")
            return
        seconds = f"({told.seconds:.1f} s)"
        if told.state == "failed":
            self._say(f"Trial {number}: failed {seconds}: {told.reason} Log: {self._log_of(number)}")
            self._failures += 1
            if not self._succeeded and self._failures >= _FAILURES:
                raise VeduteError(
                    f"The first {self._failures} trials have all failed, so the sweep is stopped. The last "
                    f"said: {told.reason} Its log: {self._log_of(number)}. The same command goes on with new "
                    "trials."
                )
            return
        self._succeeded = True
        name = self._study.plan.objective.name
        if told.state == "pruned":
            self._say(f"Trial {number}: pruned {seconds}, {told.reason}")
            return
        assert told.value is not None
        if self._best is None or self._study.plan.objective.better(told.value, self._best[0]):
            self._best = (told.value, number)
            best = "the best so far"
        else:
            best = f"best: {self._best[0]:.6g} of trial {self._best[1]}"
        self._say(f"Trial {number}: {name} {told.value:.6g} {seconds}, {best}")

    def _told(self, one: _Running) -> Told:
        seconds = time.monotonic() - one.started
        outcome = one.outcome
        objective = self._study.plan.objective
        if outcome is None:
            return Told("failed", None, _ended(one.process.exitcode), one.run, seconds)
        if outcome.state == "failed":
            return Told("failed", None, outcome.reason, outcome.run, seconds)
        values = [one.values[step] for step in sorted(one.values)]
        finite = [value for value in values if abs(value) < float("inf")]
        if outcome.state == "pruned":
            shown = f"{objective.name} {values[-1]:.6g} after {len(values)} validations"
            return Told("pruned", None, shown, outcome.run, seconds)
        if not values:
            logged = ", ".join(sorted(outcome.logged)) or "nothing"
            reason = f"no validation logged {objective.name}. Logged: {logged}."
            return Told("failed", None, reason, outcome.run, seconds)
        if not finite or (objective.value == "last" and values[-1] not in finite):
            return Told("failed", None, f"{objective.name} is {values[-1]}.", outcome.run, seconds)
        return Told("complete", objective.of(finite), "", outcome.run, seconds)

    def _stop(self, reason: str | None) -> None:
        """End the trials under way; they are run again if the study can be told (``reason``)."""
        for one in self._running:
            one.process.terminate()
        until = time.monotonic() + _END_SECONDS
        for one in self._running:
            one.process.join(max(0.0, until - time.monotonic()))
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
        for one in self._running:
            while one.connection is not None and one.connection.poll():
                self._receive(one)  # without the study
            ended = one.outcome is not None and one.outcome.state != "failed"
            with suppress(VeduteError):
                if ended:  # it was faster than the end
                    self._study.finish(one.assigned.number, self._told(one), tell=reason is not None)
                elif reason is not None:
                    self._study.withdraw(one.assigned, reason)
        self._running.clear()


def _ended(code: int | None) -> str:
    """Say how a process ended that said nothing."""
    if code is None or code >= 0:
        return f"its process ended with code {code} without a word."
    name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
    hint = " (was the machine's memory full?)" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}."


class _Terminable:
    """Makes a scheduler's signals what Ctrl+C is, inside a block of the main thread."""

    def __enter__(self) -> None:
        self._before: dict[int, object] = {}

        def interrupt(number: int, frame: object) -> None:
            raise KeyboardInterrupt

        for name in ("SIGTERM", "SIGUSR1"):
            number = getattr(signal, name, None)
            if number is not None:
                with suppress(ValueError):  # not in the main thread
                    self._before[number] = signal.signal(number, interrupt)

    def __exit__(self, *args: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() returned
