"""The polled front end: a port as a directory like a PCI function's in sysfs, for drivers that know nothing of it."""
