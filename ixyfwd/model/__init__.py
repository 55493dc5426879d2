"""The 82599 in software: registers in Python, data path in C, a vfio-user server in front, wires behind.

Nothing here imports the driver: the two know the chip independently, so that each can judge the other.
"""
