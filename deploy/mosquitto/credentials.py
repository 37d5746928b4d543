"""Create the accounts of the bus: one random password each, the password file of Mosquitto, and nothing twice.

Runs before everything else (`setup` in compose.yaml), at each `up`. Passwords that exist stay. Each account has a folder
of its own, which is a volume, and only the containers of that account mount it:

    {folder}/{account}/password         read by the service through POSEBUS_BUS_PASSWORD_FILE
    {folder}/viewer/mosquitto_sub       the same as options of `mosquitto_sub`, found through XDG_CONFIG_HOME
    {folder}/broker-auth/passwords      salted hashes, for Mosquitto

Standard library only. What an account may read and write is in `acl`, beside this file.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import sys
from pathlib import Path

ACCOUNTS = ("config", "camera", "detector", "pose", "analytics", "viewer")
ITERATIONS = 1000  # the passwords are 256 random bits, which no dictionary has; more rounds only slow down each connect


def hashed(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """The password as `mosquitto_passwd` writes it: PBKDF2 with SHA-512, scheme 7 of Mosquitto 2."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; a reader sees the old content or the new one, never half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def password_of(folder: Path, account: str) -> str:
    """The account's password, drawn at random when it has none."""
    path = folder / account / "password"
    password = path.read_text(encoding="ascii").strip() if path.exists() else ""
    if not password:
        password = secrets.token_urlsafe(32)
        write_private(path, password + "\n")
    return password


def create(folder: Path) -> list[str]:
    """Complete the credentials under `folder`; returns the accounts that got a new password."""
    new = [name for name in ACCOUNTS if not (folder / name / "password").exists()]
    passwords = {name: password_of(folder, name) for name in ACCOUNTS}
    lines = [f"{name}:{hashed(password, secrets.token_bytes(12))}\n" for name, password in passwords.items()]
    write_private(folder / "broker-auth" / "passwords", "".join(lines))
    write_private(folder / "viewer" / "mosquitto_sub", f"-u viewer\n-P {passwords['viewer']}\n")
    return new


def main(folder: str) -> int:
    try:
        new = create(Path(folder))
    except OSError as error:
        owner = f"its volume must belong to user {os.getuid()}: remove it and start again"
        sys.stderr.write(f"credentials: {error}; {owner}\n")
        return 1
    sys.stdout.write(f"credentials: {'new for ' + ', '.join(new) if new else 'unchanged'}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
