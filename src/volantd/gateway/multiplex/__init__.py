"""HTTP/2: many requests on one connection, each taken and relayed as one of HTTP/1.1 is."""
