"""Test traffic: what the frames are that generator wires and workers send and sinks know, and when they are due."""
