"""REST routers, one file per resource."""
