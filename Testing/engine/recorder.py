"""A listener to events that tests can ask."""

from __future__ import annotations


class Recorder:
    """A sink that keeps events, and may act on them."""

    def __init__(self, act=lambda event: None):
        self.events, self.act = [], act

    def write(self, event):
        self.events.append(event)
        self.act(event)

    def close(self):
        pass

    def messages(self, kind="warning"):
        return [event["message"] for event in self.events if event["event"] == kind]
