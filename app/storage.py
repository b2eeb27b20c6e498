"""Objects in S3: written once, under a key of their own, and checked against their hash on every read."""

import hashlib
import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, cast
from uuid import UUID, uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.db.tables import StoredObject
from app.domain.errors import ObjectLostError, ObjectRefusedError, StorageError
from app.metrics.backends import timed_s3
from app.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CreateBucketConfigurationTypeDef

log = logging.getLogger(__name__)

_FIRST_REGION = "us-east-1"  # the only one that S3 does not want named
_CHUNK_BYTES = 1024 * 1024
_DELETE_BATCH = 1000  # S3's own limit for DeleteObjects

# Not 403 and 404: a key that is not valid, or a bucket that is not there, is the operator's to mend.
_REFUSALS = frozenset({400, 405, 411, 413, 414, 416, 431})
# Answered with 400, although another try may succeed.
_PASSING = frozenset({"RequestTimeout", "ExpiredToken", "BadDigest", "IncompleteBody", "TokenRefreshRequired"})


class Listed(NamedTuple):
    """A key that the bucket holds, and when it was written."""

    key: str
    modified_at: datetime


def describe_object(user_id: UUID, kind: str, data: bytes | BinaryIO, content_type: str) -> StoredObject:
    """The pending row for `data`, to be committed before the put; its key is never used for anything else.

    A file is hashed from its start to its end, and left at its start.
    """
    object_id = uuid4()
    sha256, size_bytes = _measure(io.BytesIO(data) if isinstance(data, bytes) else data)
    return StoredObject(
        id=object_id,
        user_id=user_id,
        kind=kind,
        key=f"users/{user_id}/{kind}/{object_id}",
        sha256=sha256,
        size_bytes=size_bytes,
        content_type=content_type,
    )


def _measure(file: BinaryIO) -> tuple[str, int]:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    size_bytes = file.tell()
    file.seek(0)
    return digest.hexdigest(), size_bytes


@contextmanager
def _storage_errors(doing: str) -> Iterator[None]:
    """Turns boto3's errors into one sentence."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        kind = ObjectRefusedError if _is_refusal(error) else StorageError
        raise kind(f"Object storage could not {doing}: {error}") from error


def _is_refusal(error: ClientError | BotoCoreError) -> bool:
    """Whether the same request would be refused again, as with EntityTooLarge; an outage ends, this does not."""
    if not isinstance(error, ClientError) or error.response["Error"].get("Code") in _PASSING:
        return False
    return error.response["ResponseMetadata"]["HTTPStatusCode"] in _REFUSALS


class ObjectStore:
    """One bucket. Thread-safe; every method raises StorageError when S3 fails."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.s3_bucket
        self._region = settings.s3_region
        secret = settings.s3_secret_access_key
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint_url,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=Config(
                connect_timeout=3, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"},
                s3={"addressing_style": "path"}, request_checksum_calculation="when_required",
            ),
        )  # fmt: skip

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError:
            self._create_bucket()
        except BotoCoreError as error:
            raise StorageError(f"Object storage is out of reach: {error}") from error

    def _create_bucket(self) -> None:
        with _storage_errors(f"create bucket {self._bucket}"):
            try:
                if self._region == _FIRST_REGION:
                    self._client.create_bucket(Bucket=self._bucket)
                else:
                    place = cast("CreateBucketConfigurationTypeDef", {"LocationConstraint": self._region})
                    self._client.create_bucket(Bucket=self._bucket, CreateBucketConfiguration=place)
            except self._client.exceptions.BucketAlreadyOwnedByYou:
                return  # another process was faster

    def is_ready(self) -> bool:
        """Whether the bucket answers."""
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except (ClientError, BotoCoreError):
            return False
        return True

    def told_time(self) -> str:
        """The time that the server tells when the bucket is asked for, as HTTP writes it."""
        with _storage_errors("be asked for its bucket"):
            answer = self._client.head_bucket(Bucket=self._bucket)
        return str(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def try_out(self, key: str) -> None:
        """Put, read and delete something under a key that no row may have."""
        with _storage_errors("be written, read and emptied"):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=b"palimpsest")
            self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def put(self, row: StoredObject, data: bytes | BinaryIO) -> None:
        """Write the bytes, or the file, that `row` describes."""
        with timed_s3("put"), _storage_errors(f"write {row.key}"):
            self._client.put_object(Bucket=self._bucket, Key=row.key, Body=data, ContentType=row.content_type)

    def get(self, row: StoredObject) -> bytes:
        """The bytes of `row`, proved by their hash.

        Raises:
            ObjectLostError: they are missing, or have another hash.
        """
        file = io.BytesIO()
        self.fetch(row, file)
        return file.getvalue()

    def fetch(self, row: StoredObject, file: IO[bytes]) -> None:
        """Write the bytes of `row` into a file, chunk by chunk, and prove them by their hash.

        Raises:
            ObjectLostError: they are missing, or have another hash; what is in the file then is nobody's.
        """
        digest = hashlib.sha256()
        with timed_s3("get"), _storage_errors(f"read {row.key}"):
            try:
                body = self._client.get_object(Bucket=self._bucket, Key=row.key)["Body"]
            except self._client.exceptions.NoSuchKey as error:
                raise ObjectLostError(f"Object {row.key} is missing.") from error
            with closing(body):
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        if digest.hexdigest() != row.sha256:
            raise ObjectLostError(f"Object {row.key} does not have the hash that was recorded for it.")

    def delete(self, keys: Iterable[str]) -> frozenset[str]:
        """Delete keys; one that is not there is no error. Returns those that S3 kept; the log says why."""
        pending = list(keys)
        kept: set[str] = set()
        for start in range(0, len(pending), _DELETE_BATCH):
            kept |= self._delete_batch(pending[start : start + _DELETE_BATCH])
        return frozenset(kept)

    def _delete_batch(self, keys: list[str]) -> set[str]:
        try:
            with timed_s3("delete"), _storage_errors(f"delete {len(keys)} objects"):
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
        except ObjectRefusedError as error:
            # One key that S3 does not take may spoil the request for all.
            if len(keys) > 1:
                return {key for single in keys for key in self._delete_batch([single])}
            log.warning("%s", error.detail)
            return set(keys)
        errors = answer.get("Errors", [])
        for fault in errors:
            log.warning("object storage keeps %s: %s", fault.get("Key"), fault.get("Message"))
        return {fault.get("Key", "") for fault in errors}

    def list(self, prefix: str = "users/") -> Iterator[Listed]:
        """Every key under `prefix`."""
        with timed_s3("list"), _storage_errors("list the bucket"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield Listed(entry["Key"], entry["LastModified"])
