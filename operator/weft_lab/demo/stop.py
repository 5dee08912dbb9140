"""Being told to end: as the first process of a container, a program gets SIGTERM only if it asks for it."""

import signal
import threading


def stop_event() -> threading.Event:
    """Return an event that is set by SIGTERM and SIGINT. Called on the main thread."""
    event = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: event.set())
    return event
