"""The application that a server starts: Django behind the gate."""

import os
from pathlib import Path

from django.core.wsgi import get_wsgi_application

from maintenance_wsgi import MaintenanceMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

application = MaintenanceMiddleware(
    get_wsgi_application(),
    "/srv/shop/var",
    trusted_proxies=["127.0.0.1"],
    health_paths=["/healthz"],
    write_paths=["/log"],
    page=Path(__file__).parents[1] / "pages",
    drain=True,
)
