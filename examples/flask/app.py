"""A Flask application behind the gate, with a health path and a page of its own.

gunicorn --bind 127.0.0.1:8000 app:app
flask maintenance enable --until +40m

in this directory start it, and switch maintenance mode on.
"""

from pathlib import Path

from flask import Flask, request

from maintenance_wsgi import MaintenanceMiddleware

app = Flask("shop")


@app.get("/")
def home() -> str:
    """Greet a visitor, and remind an exempt one that the others are shut out."""
    is_exempt = request.environ.get("maintenance_wsgi.exempt", False)
    return f"{'Maintenance is on. ' if is_exempt else ''}Welcome\n"


@app.get("/healthz")
def health() -> str:
    """Answer a balancer's check while maintenance is off; the gate does it while it is on."""
    return "ok\n"


# Last, so that nothing that wraps the application lies outside the gate.
app.wsgi_app = MaintenanceMiddleware(  # type: ignore[method-assign]
    app.wsgi_app,
    "/srv/shop/var",
    trusted_proxies=["127.0.0.1"],
    health_paths=["/healthz"],
    page=Path(__file__).with_name("page.html"),
)
