# Varnish before an application on the same machine:
#
#     trusted_proxies=["127.0.0.1"]

vcl 4.1;

import std;

backend default {
    .host = "127.0.0.1";
    .port = "8000";
}

sub vcl_recv {
    # X-Forwarded-For needs no line: Varnish has put the client's address after what it sent.
    # Some application servers take these for that header, so that a client could name any address.
    unset req.http.X_Forwarded_For;
    unset req.http.X_Forwarded-For;
    unset req.http.X-Forwarded_For;
}

sub vcl_hit {
    # Pages that the cache holds since before the maintenance would go on being served. The user
    # vcache needs the right to search the directory. Where Varnish runs on another machine,
    # switch, then: varnishadm ban obj.status '!=' 0
    if (std.file_exists("/srv/shop/var/.maintenance.flag")) {
        return (pass);
    }
}
