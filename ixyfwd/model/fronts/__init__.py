"""The ways to a port: a vfio-user socket, or a directory that a driver polls."""
