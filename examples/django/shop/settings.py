"""The settings of the shop, as far as maintenance mode is concerned."""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "for trying it out")
ALLOWED_HOSTS = ["127.0.0.1", "shop.example"]
ROOT_URLCONF = "shop.urls"
# `manage.py maintenance` finds the directory and the options along this name.
WSGI_APPLICATION = "shop.wsgi.application"
INSTALLED_APPS = ["maintenance_wsgi", "shop"]  # the first brings `manage.py maintenance`
# Beside your own. MaintenanceMiddleware does not belong here: it wraps the application, in wsgi.py.
MIDDLEWARE = ["shop.read_only.ReadOnlyDatabase"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/shop/notes.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LOGGING = {
    "version": 1,
    # The default, True, would silence the warnings of the gate, which is imported earlier.
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"]},
}
