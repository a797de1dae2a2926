"""A Celery worker that begins no job while maintenance is on, and resumes afterwards.

    celery --app celery_worker worker --loglevel INFO

Waiting jobs stay in the queue, and the running job is finished. No restart, no lost job. A job that
the worker has taken already, such as one with a countdown, goes back to the queue.
"""

import os
from pathlib import Path
from typing import Any

from celery import Celery, Task, bootsteps
from celery.exceptions import Reject
from celery.utils.log import get_task_logger

from maintenance_wsgi import MaintenanceMode, StateError

logger = get_task_logger(__name__)
ROOT = Path(os.environ.get("SHOP_ROOT", "."))
POLL_SECONDS = 0.5


class Job(Task):  # type: ignore[misc] # Celery carries no types
    """A task that begins only while maintenance is off."""

    def __call__(self, *args: object, **options: object) -> object:
        """Run the task, or give it back to the queue; also if the state cannot be read."""
        try:
            in_maintenance = MaintenanceMode(ROOT / "var").is_enabled()
        except StateError:
            in_maintenance = True
        if in_maintenance:
            raise Reject("maintenance is on", requeue=True)
        return super().__call__(*args, **options)


app = Celery(
    "shop",
    task_cls=Job,
    task_acks_late=True,  # otherwise a job cannot go back; write jobs that may run twice
    broker="filesystem://",
    broker_transport_options={
        "data_folder_in": str(ROOT / "queue"),
        "data_folder_out": str(ROOT / "queue"),
        "control_folder": str(ROOT / "control"),
    },
    worker_prefetch_multiplier=1,
)


class PauseInMaintenance(bootsteps.StartStopStep):  # type: ignore[misc] # Celery carries no types
    """Cancels the worker's queue while maintenance is on, and adds it again afterwards."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: object) -> None:  # noqa: ANN401 (Celery carries no types)
        """Use the two files of the shop."""
        super().__init__(parent, **options)
        self.mode = MaintenanceMode(ROOT / "var")
        self.in_maintenance = False
        self.paused = False

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Check now, before the first job is taken, and then at regular intervals."""
        self.paused = False
        self.check(parent)
        parent.timer.call_repeatedly(POLL_SECONDS, parent.call_soon, (self.check, parent))

    def check(self, parent: Any) -> None:  # noqa: ANN401
        """Cancel the queue or add it again, if the state has changed."""
        try:
            self.in_maintenance = self.mode.is_enabled()
        except StateError as error:
            logger.warning("%s; keeping the last known state", error)
        if self.in_maintenance is not self.paused:
            self.paused = not self.paused
            change = parent.cancel_task_queue if self.paused else parent.add_task_queue
            change(app.conf.task_default_queue)
            logger.info("the queue is %s", "paused" if self.paused else "resumed")


app.steps["consumer"].add(PauseInMaintenance)


@app.task  # type: ignore[untyped-decorator] # Celery carries no types
def note(text: str) -> None:
    """Stand in for a job: add a line to a file."""
    with (ROOT / "done.txt").open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
