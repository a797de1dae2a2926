"""A Celery worker that takes no job while maintenance is on, and goes on afterwards by itself.

    celery --app celery_worker worker --loglevel INFO

Jobs that wait in the queue wait there; the one that runs is finished. No restart, no lost job.
"""

import os
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps
from celery.utils.log import get_task_logger

from maintenance_wsgi import MaintenanceMode

logger = get_task_logger(__name__)
ROOT = Path(os.environ.get("SHOP_ROOT", "."))
SECONDS_BETWEEN_LOOKS = 0.5

app = Celery(
    "shop",
    broker="filesystem://",
    broker_transport_options={
        "data_folder_in": str(ROOT / "queue"),
        "data_folder_out": str(ROOT / "queue"),
        "control_folder": str(ROOT / "control"),
    },
    worker_prefetch_multiplier=1,
)


class PauseInMaintenance(bootsteps.StartStopStep):  # type: ignore[misc] # Celery carries no types
    """Takes the worker's queue away while maintenance is on, and gives it back."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: object) -> None:  # noqa: ANN401 (Celery carries no types)
        """Look at the files of the shop."""
        super().__init__(parent, **options)
        self.mode = MaintenanceMode(ROOT / "var")
        self.paused = False

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Look now, before the first job is taken, and then again and again."""
        self.paused = False
        self.look(parent)
        parent.timer.call_repeatedly(SECONDS_BETWEEN_LOOKS, parent.call_soon, (self.look, parent))

    def look(self, parent: Any) -> None:  # noqa: ANN401
        """Take the queue away or give it back, where the state has changed."""
        if self.mode.is_enabled() is not self.paused:
            self.paused = not self.paused
            change = parent.cancel_task_queue if self.paused else parent.add_task_queue
            change(app.conf.task_default_queue)
            logger.info("the queue is %s", "left alone" if self.paused else "worked off")


app.steps["consumer"].add(PauseInMaintenance)


@app.task  # type: ignore[untyped-decorator] # Celery carries no types
def note(text: str) -> None:
    """Stand for a job: add a line to a file."""
    with (ROOT / "done.txt").open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
