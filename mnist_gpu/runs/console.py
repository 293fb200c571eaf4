"""What a person sees while a run goes on: what was chosen, how far it is, what came out."""

import os
import shutil
import time
from collections.abc import Callable
from typing import TextIO

from mnist_gpu import output
from mnist_gpu.config.settings import Settings
from mnist_gpu.numbers import duration
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.remarks import remarks, unverified
from mnist_gpu.records.schema import Record
from mnist_gpu.timing.stopwatch import PHASES
from mnist_gpu.timing.timeline import Epoch, Observer, Timeline

REDRAW_S = 0.5
BAR_CELLS = 20


def announce(settings: Settings, standard: str) -> None:
    """Print the composed choices before anything starts."""
    choices = "  ".join(
        f"{group}={getattr(settings, group).name}"
        for group in ("platform", "engine", "division", "model", "logger")
    )
    output.say(f"mnist-gpu  {choices}  data={settings.data.source}")
    usual = protocol()["standard"]
    names = ["seed", "epochs", "batch_size", "learning_rate", "precision", "devices"]
    names += [name for name in ("num_nodes", "scaling") if getattr(settings, name) != usual[name]]
    output.say("           " + "  ".join(f"{name}={getattr(settings, name)}" for name in names))
    # what a division adds is known only once the engine is built
    on = {name: value for name, value in settings.engine.switches.items() if value is not None}
    if on:
        asked = "  ".join(f"engine.switches.{name}={value}" for name, value in on.items())
        output.say(f"           {asked}\n           the division follows from what is switched on")
    output.say(f"           {standard}")


class Progress(Observer):
    """One line that is redrawn on a terminal; one plain line an epoch anywhere else.

    It never asks the device for anything: within an epoch it shows steps, after it what the epoch
    brought.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        images_per_epoch: int,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.images_per_epoch = images_per_epoch
        self.out = out or output.here()
        self.clock = clock
        # a dumb terminal, as of an editor, cannot redraw
        self.live = self.out.isatty() and os.environ.get("TERM") != "dumb"
        self._epochs = 0
        self._first = 1
        self._began_at = 0.0
        self._drawn_at = float("-inf")
        self._last = ""

    def began(self, timeline: Timeline) -> None:
        """Start the clock of the time left."""
        self._epochs = timeline.epochs
        self._first = timeline.remaining().start
        self._began_at = self.clock()

    def progressed(self, epoch: int, step: int) -> None:
        """Redraw the line, at most twice a second: this is on the training clock."""
        now = self.clock()
        if not self.live or now - self._drawn_at < REDRAW_S:
            return
        self._drawn_at = now
        fraction = step / self.steps_per_epoch
        done = epoch - self._first + fraction
        elapsed = now - self._began_at
        speed = done * self.images_per_epoch / elapsed if elapsed > 0 else 0.0
        head = f"epoch {epoch}/{self._epochs} "
        tail = f" {speed:7,.0f} images/s  {self._left(done)}{self._last}"
        # a line that wraps is not drawn over: only its last row would be
        room = shutil.get_terminal_size().columns - 1
        cells = max(0, min(BAR_CELLS, room - len(head) - len(tail)))
        filled = round(fraction * cells)
        self._draw(f"{head}{'━' * filled}{'╌' * (cells - filled)}{tail}"[:room])

    def epoch_ended(self, row: Epoch) -> None:
        """Say what the epoch brought."""
        self._last = f"  loss {row.train_loss:.4f}  test {row.test_accuracy:.2%}"
        if self.live:
            self._drawn_at = float("-inf")
            return
        speed = self.images_per_epoch / row.train_s if row.train_s else 0.0
        print(
            f"epoch {row.epoch}/{self._epochs}  train {row.train_s:.2f} s"
            f"  {speed:,.0f} images/s  loss {row.train_loss:.4f}"
            f"  test loss {row.test_loss:.4f}  test accuracy {row.test_accuracy:.2%}"
            f"  {self._left(row.epoch - self._first + 1)}",
            file=self.out,
            flush=True,
        )

    def ended(self, timeline: Timeline) -> None:
        """Clear the line: the summary follows."""
        if self.live:
            self._draw("")

    def _left(self, done: float) -> str:
        # epochs of this process: a resumed run has others behind it
        to_do = self._epochs - self._first + 1 - done
        if done <= 0 or to_do <= 0:
            return ""
        return f"{duration((self.clock() - self._began_at) / done * to_do)} left"

    def _draw(self, line: str) -> None:
        self.out.write(f"\r\x1b[K{line}")
        self.out.flush()


def summarise(record: Record, where: str) -> None:
    """Print the closing table of one run: phases, accuracy, speed, where the record is."""
    from rich.table import Table

    timing, result = record.timing, record.result
    table = Table()
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    for phase in PHASES:
        seconds = getattr(timing, f"{phase}_s")
        share = seconds / timing.total_s if timing.total_s else 0.0
        style = "bold" if phase == "train" else None
        table.add_row(phase, f"{seconds:,.2f}", f"{share:.1%}", style=style)
    table.add_section()
    table.add_row("total", f"{timing.total_s:,.2f}", "")
    reason = f" ({record.status_reason})" if record.status_reason else ""
    lines = [("status", f"{record.status}{reason}")]
    if result.test_accuracy is not None:
        of = f"(epoch {record.epochs[-1].epoch} of {record.workload.epochs})"
        accuracy = f"{result.test_accuracy:.2%}   test loss {result.test_loss:.4f}   {of}"
        lines.append(("test accuracy", accuracy))
    if result.images_per_s:
        lines.append(("speed", f"{result.images_per_s:,.0f} images/s"))
    lines += [("time", remark) for remark in remarks(record)]
    doubts = [*unverified(record), *record.resources.warnings]
    lines += [("warning", doubt) for doubt in doubts]
    if not record.workload.standard:
        lines.append(("not standard", "; ".join(record.workload.deviations)))
    console = output.console()
    on = record.hardware.accelerator_name or record.hardware.accelerator
    heading = f"\n{record.platform.label}, {record.engine.name} on {on}"
    console.print(heading, markup=False, soft_wrap=True)
    console.print(table)
    for name, text in lines:
        console.print(f"{name:<15}{text}", markup=False)
    # a path is there to be copied: no line breaks in it
    console.print(f"record         {where}", markup=False, soft_wrap=True)
