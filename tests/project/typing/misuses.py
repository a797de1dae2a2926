"""Mistakes, one a line with a mark, which type checkers refuse. It is checked, never run."""

from datetime import timedelta

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode, wrap


def shop() -> None:
    pass


mode = MaintenanceMode("var")
MaintenanceMiddleware(shop, "var")  # refused: no WSGI application
MaintenanceMiddleware("shop.wsgi:application")  # refused: no directory
MaintenanceMiddleware("shop.wsgi:application", b"var")  # refused: bytes
MaintenanceMiddleware("a:b", "var", ["127.0.0.1"])  # refused: by keyword alone
MaintenanceMiddleware("a:b", "var", trusted_proxies=[10])  # refused: no text
MaintenanceMiddleware("a:b", "var", trusted_proxies=None)  # refused: nobody is []
MaintenanceMiddleware("a:b", "var", client_ip_header=["Forwarded"])  # refused: one header
MaintenanceMiddleware("a:b", "var", retry_after="300")  # refused: seconds are a number
MaintenanceMiddleware("a:b", "var", trusted_proxy=[])  # refused: no such option
MaintenanceMiddleware.from_environ(shop)  # refused: no WSGI application
wrap(shop)  # refused: a name
MaintenanceMode()  # refused: no directory
mode.enable("We are moving house")  # refused: by keyword alone
mode.enable(until=timedelta(hours=1))  # refused: a time, not a duration
mode.enable(retry_after=1.5)  # refused: whole seconds
mode.set_exemptions("203.0.113.7", "203.0.113.8")  # refused: one list
mode.add_exemptions([203])  # refused: no text
mode.exemptions = ("203.0.113.7",)  # refused: read only
mode.status().enabled = False  # refused: frozen
mode.status().exempt.append("203.0.113.7")  # refused: a tuple
with mode.window("We are moving house"):  # refused: by keyword alone
    pass
