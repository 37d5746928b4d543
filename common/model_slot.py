"""The model that a stage runs: loaded in the background, swapped between two frames, kept when its successor fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

log = logging.getLogger(__name__)

RETRY_S = 10.0


class Closable(Protocol):
    """A loaded model."""

    def close(self) -> None:
        """Free what it holds. Safe to call twice."""
        ...


T = TypeVar("T", bound=Closable)


class ModelSlot(Generic[T]):
    """Holds the running model.

    load: makes a model of an artifact's name, verified, warmed up and self-checked, or raises. It runs on a thread of its own.
    on_ready(name, model), on_refused(name, error): called on the loading thread. A first model that does not load is tried
    again every RETRY_S seconds, as a device may be plugged in or a network come back.
    """

    def __init__(
        self,
        load: Callable[[str], T],
        *,
        on_ready: Callable[[str, T], None],
        on_refused: Callable[[str, Exception], None],
        retry_s: float = RETRY_S,
    ) -> None:
        self._load = load
        self._on_ready = on_ready
        self._on_refused = on_refused
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._current: T | None = None
        self._next: T | None = None
        self._wanted: str | None = None
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def request(self, name: str) -> None:
        """Ask for another model; returns at once. The newest request wins."""
        with self._lock:
            self._wanted = name
        self._changed.set()

    def current(self) -> T | None:
        """The model to run the next frame with; None until the first is loaded. Call between two frames only."""
        with self._lock:
            fresh, self._next = self._next, None
            if fresh is None:
                return self._current
            old, self._current = self._current, fresh
        if old is not None:
            old.close()
        return fresh

    @property
    def is_loaded(self) -> bool:
        """Is there a model to run?"""
        with self._lock:
            return self._current is not None or self._next is not None

    def close(self) -> None:
        """Stop loading and free the models."""
        self._stopping.set()
        self._changed.set()
        self._thread.join(2.0)
        with self._lock:
            models, self._current, self._next = [self._current, self._next], None, None
        for model in models:
            if model is not None:
                model.close()

    def _run(self) -> None:
        retry: str | None = None
        while not self._stopping.is_set():
            self._changed.wait(self._retry_s if retry else None)
            self._changed.clear()
            with self._lock:
                name, self._wanted = self._wanted or retry, None
            if name is None or self._stopping.is_set():
                continue
            self._try(name)
            retry = None if self.is_loaded else name

    def _try(self, name: str) -> None:
        try:
            model = self._load(name)
        except Exception as error:
            log.error("model refused name=%s: %s", name, error)
            self._on_refused(name, error)
            return
        with self._lock:
            skipped, self._next = self._next, model
        if skipped is not None:
            skipped.close()
        log.info("model loaded name=%s", name)
        self._on_ready(name, model)
