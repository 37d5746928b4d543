"""The frame store: pixels lie in Redis under a short-lived key, only the claim check travels on the bus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


class StoreError(ConnectionError):
    """The store cannot be reached, is full or refuses. The message names its address, the reason and the fix."""


def connect_store(url: str, *, timeout_s: float = 2.0) -> redis.Redis:
    """A client for the store; it connects on first use and reconnects by itself.

    url: `redis[s]://[user:password@]host:port/db`. Raises StoreError for an address that is none.
    """
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 1),  # once, for a connection that went stale; the services do the waiting
            protocol=2,
            decode_responses=False,
        )
    except ValueError as error:
        raise StoreError(f"store address {shown(url)} is not redis://host:port/db: {error}") from error


def shown(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ":?"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


@contextmanager
def store_errors(store: redis.Redis) -> Iterator[None]:
    """Map what redis-py raises to StoreError with address, reason and fix."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreError(f"store {_address(store)}: {_explain(error)}") from error


def _address(store: redis.Redis) -> str:
    keywords = store.connection_pool.connection_kwargs
    return f"{keywords.get('host', '?')}:{keywords.get('port', '?')}"


def _explain(error: redis.RedisError) -> str:
    text = str(error)
    if isinstance(error, redis.AuthenticationError) or "NOAUTH" in text or "WRONGPASS" in text:
        return f"refused the credential ({text}); check user and password in its address"
    if "OOM" in text or "maxmemory" in text:
        return f"is full ({text}); raise its maxmemory or lower frame rate, size or quality"
    if "MISCONF" in text or "No space left" in text:
        return f"cannot write its disk ({text}); free disk space"
    if isinstance(error, redis.TimeoutError):
        return "does not answer in time; is it overloaded or cut off?"
    if isinstance(error, redis.ConnectionError):
        return f"cannot be reached ({text}); is it running?"
    return text


class FrameStore:
    """JPEG frames by (camera, seq), each gone after ttl_s seconds."""

    def __init__(self, store: redis.Redis, *, ttl_s: float) -> None:
        self.store = store
        self._ttl_ms = max(1, round(ttl_s * 1000))

    def put(self, camera: str, seq: int, jpeg: bytes) -> str:
        """Store a frame; returns its key. Raises StoreError when the store is gone or full."""
        key = f"frame:{camera}:{seq}"
        with store_errors(self.store):
            self.store.set(key, jpeg, px=self._ttl_ms)
        return key

    def get(self, key: str) -> bytes | None:
        """The JPEG, or None when it has expired. Raises StoreError."""
        with store_errors(self.store):
            data = self.store.get(key)
        assert data is None or isinstance(data, bytes)
        return data
