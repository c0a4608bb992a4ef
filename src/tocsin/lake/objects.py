"""Object stores: an S3-compatible bucket or a folder, by obstore."""

from __future__ import annotations

import glob
import hashlib
from pathlib import Path
from typing import Any

from tocsin.base.errors import LakeError, Place
from tocsin.lake.durable import sync_file, sync_folder

__all__ = ["ObjectFolder", "s3_store"]

_CHUNK = 1 << 20


def s3_store(
    bucket: str,
    *,
    prefix: str = "",
    region: str = "",
    endpoint: str = "",
    access_key: str = "",
    secret_key: str = "",
) -> Any:
    """obstore's store of a bucket. What is empty comes from the environment or the machine's role."""
    from obstore.store import S3Store

    options: dict[str, Any] = {}
    if prefix:
        options["prefix"] = prefix
    if region:
        options["region"] = region
    if endpoint:
        options["endpoint"] = endpoint
        if endpoint.startswith("http:"):
            options["client_options"] = {"allow_http": True}
    if access_key:
        options |= {"access_key_id": access_key, "secret_access_key": secret_key}
    return S3Store(bucket, **options)


class ObjectFolder:
    """Files in an object store, each proven by its checksum on the way in and on the way out. Safe to use from many threads.

    Every method raises LakeError LAK0030 when the store can't be reached or refuses.
    """

    def __init__(self, store: Any, name: str, folder: Path | None = None) -> None:
        """`name` is what errors call it; `folder` is where its objects are files, which must be synced."""
        self._store = store
        self._folder = folder
        self.name = name

    @classmethod
    def local(cls, folder: Path) -> ObjectFolder:
        """A folder, made when it isn't there."""
        from obstore.store import LocalStore

        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder), str(folder), folder)
        except Exception as error:
            raise _refused(str(folder), "can't be opened", error) from error

    def put(self, path: Path, key: str, digest: str) -> None:
        """Copies a file there and reads it back: LakeError LAK0031 when it isn't what was written."""
        import obstore

        try:
            obstore.put(self._store, key, path)
            if self._folder is not None:
                sync_file(self._folder / key)
                sync_folder((self._folder / key).parent)
                sync_folder(self._folder)
        except Exception as error:
            raise _refused(self.name, f"didn't take {key}", error) from error
        self.check(key, digest)

    def check(self, key: str, digest: str) -> None:
        """Reads an object through. LakeError LAK0031 when it isn't what was written, LAK0030 when it isn't there."""
        if self._digest(key, None) != digest:
            raise self._damaged(key)

    def get(self, key: str, path: Path, digest: str) -> None:
        """Copies an object to a file. LakeError LAK0031 when it isn't what was written; the file is gone then."""
        if self._digest(key, path) != digest:
            path.unlink(missing_ok=True)
            raise self._damaged(key)

    def delete(self, key: str) -> None:
        """Deletes an object and what an interrupted `put` left of it; one that isn't there is gone already."""
        import obstore

        if self._folder is not None:
            # obstore writes a file beside its place first, with a number behind its name.
            for part in (self._folder / key).parent.glob(f"{glob.escape(Path(key).name)}#*"):
                part.unlink(missing_ok=True)
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise _refused(self.name, f"didn't delete {key}", error) from error

    def _digest(self, key: str, path: Path | None) -> str:
        import obstore

        found = hashlib.blake2b(digest_size=16)
        try:
            stream = obstore.get(self._store, key).stream(min_chunk_size=_CHUNK)
            if path is None:
                for block in stream:
                    found.update(bytes(block))
            else:
                with path.open("wb") as target:
                    for block in stream:
                        piece = bytes(block)
                        found.update(piece)
                        target.write(piece)
        except Exception as error:
            raise _refused(self.name, f"doesn't give {key}", error) from error
        return found.hexdigest()

    def _damaged(self, key: str) -> LakeError:
        return LakeError(
            f"The object {key} isn't what was written: its checksum is another.",
            code="LAK0031",
            place=Place(f"{self.name}/{key}"),
            hint="Restore it from a copy of the store, or from a backup of the time before its rows were archived.",
        )


def _refused(name: str, what: str, error: Exception) -> LakeError:
    # obstore's errors have one class a cause; what they say is for people.
    first = str(error).strip().splitlines()
    return LakeError(
        f"The archive {what}: {first[0] if first else type(error).__name__}.",
        code="LAK0030",
        place=Place(name),
        hint="Look at the settings under lake.archive and at the store; nothing has moved, and it is tried again.",
    )
