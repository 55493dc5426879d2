"""A NIC family that the project does not have: a device in memory, played by a thread of the supervisor.

`test_toy_family.py` puts this folder into a copy of the tree as `ixyfwd/nic/toy`. The device is
no PCI function. Its rings are split as virtio's are: descriptors of 32 bytes, a ring of those that are available and
one of those that are used, each with an index that counts on and on. It finishes out of order, and is notified by a
system call.
"""
