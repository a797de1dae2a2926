"""A window of maintenance from its beginning to its end, printed: the same in any process."""

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from maintenance_wsgi import MaintenanceError, MaintenanceMiddleware, MaintenanceMode
from tests.support.wsgi import call, code_for, make_environ, shop

CLIENTS = ["203.0.113.7", "203.0.113.8", "198.51.100.1"] * 8


def refused(action: Callable[[], Any]) -> str:
    try:
        action()
    except MaintenanceError as error:
        return type(error).__name__
    return ""


def main(var: str) -> list[Any]:
    mode = MaintenanceMode(var)
    gate = MaintenanceMiddleware(shop, var)
    found: list[Any] = []
    with ThreadPoolExecutor(24) as pool:

        def note() -> None:
            answers = pool.map(lambda client: code_for(gate, client), CLIENTS)
            found.append(sorted(set(zip(CLIENTS, answers, strict=True))))

        note()
        mode.enable(exemptions=["203.0.113.7"], message="Umzug", retry_after=60)
        note()
        mode.set_exemptions(["203.0.113.8"])
        note()
        found.append(refused(lambda: mode.add_exemptions(["nope"])))
        found.append(refused(lambda: mode.enable(retry_after=-1)))
        answer = call(gate, make_environ(HTTP_ACCEPT="text/html"))
        found.append([answer.status, answer.all("Retry-After"), b"Umzug" in answer.body])
        with mode.window():
            note()
        mode.disable()
        note()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 (its result)
