"""The vfio-user protocol: messages and framing, used by the client in `pci` and the server in `model`."""
