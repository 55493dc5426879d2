"""Process lifecycle: ports up, workers started, watched and stopped."""
