"""What every process needs: an event loop, JSON lines over sockets, child processes, locks."""
