"""A small Django application with django-maintenance-mode as its only middleware."""

import logging
import os
import re

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.bench.alternatives import EXEMPT, STRANGER, Gate, browser, requests
from tests.bench.timing import Run


def shop(_: HttpRequest) -> HttpResponse:
    return HttpResponse("<!DOCTYPE html><title>Shop</title><h1>Shop</h1>")


urlpatterns = [path("catalogue/shoes", shop)]


def django_gate(directory: str) -> Gate:
    """Return what is timed of it.

    It gets the client as the peer, because it resolves no header by itself: less work than the
    other gates have.
    """
    states = {}
    for state in "01":
        states[state] = os.path.join(directory, f"django-state-{state}")
        with open(states[state], "w", encoding="ascii") as file:
            file.write(state)
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["maintenance_mode"],
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        MAINTENANCE_MODE_STATE_FILE_PATH=states["0"],
        MAINTENANCE_MODE_IGNORE_IP_ADDRESSES=[rf"^{re.escape(EXEMPT)}$"],
    )
    django.setup()
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # it logs each 503
    bare = WSGIHandler()
    settings.MIDDLEWARE = ["maintenance_mode.middleware.MaintenanceModeMiddleware"]
    gated = WSGIHandler()

    def switched(state: str, client: str) -> Run:
        send = requests(gated, browser(client, REMOTE_ADDR=client))

        def run(number: int) -> None:
            settings.MAINTENANCE_MODE_STATE_FILE_PATH = states[state]
            send(number)

        return run

    return Gate(
        requests(bare, browser(STRANGER, REMOTE_ADDR=STRANGER)),
        switched("0", STRANGER),
        switched("1", EXEMPT),
        switched("1", STRANGER),
    )
