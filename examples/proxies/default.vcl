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
    # A client can send each of these headers. Some application servers treat X_Forwarded_For like
    # X-Forwarded-For, so that a client could claim any address; gunicorn believes SCRIPT_NAME, so
    # that it could claim any path.
    unset req.http.X-Forwarded-Host;
    unset req.http.X_Forwarded_Host;
    unset req.http.X_Forwarded-Host;
    unset req.http.X-Forwarded_Host;
    unset req.http.X-Forwarded-Port;
    unset req.http.X_Forwarded_Port;
    unset req.http.X_Forwarded-Port;
    unset req.http.X-Forwarded_Port;
    unset req.http.X-Forwarded-Prefix;
    unset req.http.X_Forwarded_Prefix;
    unset req.http.X_Forwarded-Prefix;
    unset req.http.X-Forwarded_Prefix;
    unset req.http.X-Forwarded-Proto;
    unset req.http.X_Forwarded_Proto;
    unset req.http.X_Forwarded-Proto;
    unset req.http.X-Forwarded_Proto;
    unset req.http.X-Forwarded-Protocol;
    unset req.http.X_Forwarded_Protocol;
    unset req.http.X_Forwarded-Protocol;
    unset req.http.X-Forwarded_Protocol;
    unset req.http.X-Forwarded-Scheme;
    unset req.http.X_Forwarded_Scheme;
    unset req.http.X_Forwarded-Scheme;
    unset req.http.X-Forwarded_Scheme;
    unset req.http.X-Forwarded-Server;
    unset req.http.X_Forwarded_Server;
    unset req.http.X_Forwarded-Server;
    unset req.http.X-Forwarded_Server;
    unset req.http.X-Forwarded-Ssl;
    unset req.http.X_Forwarded_Ssl;
    unset req.http.X_Forwarded-Ssl;
    unset req.http.X-Forwarded_Ssl;
    unset req.http.X-Original-URL;
    unset req.http.X_Original_URL;
    unset req.http.X_Original-URL;
    unset req.http.X-Original_URL;
    unset req.http.X-Rewrite-URL;
    unset req.http.X_Rewrite_URL;
    unset req.http.X_Rewrite-URL;
    unset req.http.X-Rewrite_URL;
    unset req.http.X_Forwarded_For;
    unset req.http.X_Forwarded-For;
    unset req.http.X-Forwarded_For;
    unset req.http.Proxy;
    unset req.http.PATH_INFO;
    unset req.http.SCRIPT_NAME;
    # Write "https" if a proxy in front ends TLS for every request: Varnish itself has no TLS.
    set req.http.X-Forwarded-Proto = "http";
}

sub vcl_hit {
    # Without these lines, pages that were cached before the maintenance would still be served. The
    # user vcache must be able to search the directory. If Varnish runs on another machine, empty
    # its cache each time after enable: varnishadm ban obj.status '!=' 0
    if (std.file_exists("/srv/shop/var/.maintenance.flag")) {
        return (pass);
    }
}
