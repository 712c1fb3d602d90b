"""Run folders: who writes in them, what they keep, how a run is stopped, found again and continued."""
