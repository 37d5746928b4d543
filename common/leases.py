"""Who owns what: a lease with an owner and an end, for stages that keep state."""

from __future__ import annotations

import redis

from common.frames import store_errors

# One step: between "somebody has it" and "is it we?" our own lease could end, and would look lost to another.
_ACQUIRE = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Leases:
    """Leases of one role (`analytics`, `camera`, ...) held by one owner. All methods raise StoreError."""

    def __init__(self, store: redis.Redis, role: str, owner: str, *, ttl_s: float = 3.0) -> None:
        self.me = owner
        self.ttl_s = ttl_s
        self._store = store
        self._role = role
        self._ttl_ms = round(ttl_s * 1000)
        self._acquire = store.register_script(_ACQUIRE)
        self._renew = store.register_script(_RENEW)
        self._release = store.register_script(_RELEASE)

    def key(self, name: str) -> str:
        """The store's key of a lease."""
        return f"lease:{self._role}:{name}"

    def acquire(self, name: str) -> bool:
        """Take the lease if it is free; True also when it is ours already, which renews it."""
        with store_errors(self._store):
            return bool(self._acquire(keys=[self.key(name)], args=[self.me, self._ttl_ms]))

    def renew(self, name: str) -> bool:
        """Hold on for another ttl_s; False when the lease is no longer ours."""
        with store_errors(self._store):
            return bool(self._renew(keys=[self.key(name)], args=[self.me, self._ttl_ms]))

    def release(self, name: str) -> None:
        """Give the lease back at once, if it is ours."""
        with store_errors(self._store):
            self._release(keys=[self.key(name)], args=[self.me])

    def owner(self, name: str) -> str | None:
        """Who holds the lease now."""
        with store_errors(self._store):
            value = self._store.get(self.key(name))
        return value.decode() if isinstance(value, bytes) else None
