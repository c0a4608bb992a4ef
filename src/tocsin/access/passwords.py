"""Passwords: argon2id hashes, and which passwords are accepted."""

from __future__ import annotations

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from tocsin.access.errors import WeakPasswordError

__all__ = ["Passwords", "generate"]

_ALPHABET = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without what is easily misread: 0O 1lI i o

_COMMON = frozenset(
    {"password", "passwort", "motdepasse", "letmein", "welcome", "qwerty", "administrator", "changeme", "tocsin"}
)


class Passwords:
    """Hashes and checks passwords with argon2id.

    The parameters are RFC 9106's second recommendation (64 MiB, three passes). At most two are worked on at a time, or a burst of sign-ins
    would take the memory that the lake needs.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)
        self._slots = threading.BoundedSemaphore(2)
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """The hash with its parameters and salt."""
        with self._slots:
            return self._hasher.hash(password)

    def matches(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password. None (there is no such user) takes as long as a wrong password."""
        with self._slots:
            try:
                return self._hasher.verify(hashed or self._nobody, password) and hashed is not None
            except (VerifyMismatchError, VerificationError, InvalidHashError):
                return False

    def is_outdated(self, hashed: str) -> bool:
        """Whether it was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(hashed)

    @staticmethod
    def check(password: str, *, name: str, length: int) -> None:
        """Raises WeakPasswordError for a short one or one that guessers try first (NIST SP 800-63B: no rules about kinds of characters)."""
        if len(password) < length:
            raise WeakPasswordError(
                f"The password has fewer than {length} characters.", hint="A few unrelated words do well."
            )
        folded = password.casefold()
        if len(set(folded)) < 5 or folded.strip("0123456789!.-_") in _COMMON | {name.casefold()}:
            raise WeakPasswordError("The password is too easily guessed.", hint="A few unrelated words do well.")


def generate() -> str:
    """A password of about 116 bits in four groups, easy to read aloud and type."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
