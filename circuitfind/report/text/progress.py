"""Progress on a terminal: size, satisfaction of each desideratum, time left."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from ...progress import Progress

_NOT_SHOWN = ("stage", "step", "size")


class TerminalProgress(Progress):
    """A bar a stage; quiet where the console is no terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "TerminalProgress":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def report(self, stage: str, done: int, total: int, row: Mapping[str, Any]) -> None:
        numbers = f"size {row['size']:.4g}" if "size" in row else ""
        shares = (f"{name} {row[name]:.2f}" for name in row if name not in _NOT_SHOWN)
        numbers = ", ".join([numbers, *shares])
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, numbers=numbers)
        self._bars.update(self._tasks[stage], completed=done, total=total, numbers=numbers)
