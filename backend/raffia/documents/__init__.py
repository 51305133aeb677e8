"""Documents in the host's own Python code: read, edited and observed without a socket."""
