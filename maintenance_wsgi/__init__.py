"""Put any WSGI application into maintenance mode by creating a file, as Magento does."""

from maintenance_wsgi.errors import ConfigError as ConfigError
from maintenance_wsgi.errors import ConfigTypeError as ConfigTypeError
from maintenance_wsgi.errors import EntryError as EntryError
from maintenance_wsgi.errors import MaintenanceError as MaintenanceError
from maintenance_wsgi.errors import StateError as StateError
from maintenance_wsgi.middleware import MaintenanceMiddleware as MaintenanceMiddleware
from maintenance_wsgi.middleware import wrap as wrap
from maintenance_wsgi.state.mode import MaintenanceMode as MaintenanceMode
from maintenance_wsgi.state.mode import Status as Status
