# Varnish in front of an application on the same machine:
#
#     trusted_proxies=["127.0.0.1"]

vcl 4.1;

import std;

backend default {
    .host = "127.0.0.1";
    .port = "8000";
}

sub vcl_recv {
    # Varnish itself has appended the client's address to the X-Forwarded-For that the client sent.
    # Some application servers treat these headers like it, so that a client could claim any
    # address.
    unset req.http.X_Forwarded_For;
    unset req.http.X_Forwarded-For;
    unset req.http.X-Forwarded_For;
}

sub vcl_hit {
    # Without these lines, pages that were cached before the maintenance would still be served. The
    # user vcache must be able to search the directory. If Varnish runs on another machine, empty
    # its cache each time after enable: varnishadm ban obj.status '!=' 0
    if (std.file_exists("/srv/shop/var/.maintenance.flag")) {
        return (pass);
    }
}
