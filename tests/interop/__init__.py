"""Published clients, recorded traces and Yjs as the judge, against a real server over real sockets."""
