"""tests/vectors/documents.json, by which readers in other languages are made: the store keeps to it, and so do the
readers that docs/redis.md shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import SettingsStore
from store.sockets import redis_socket
from tests.conftest import OKX_UID
from tests.consistency.line import Line
from tests.faults.servers import RedisServer

CHECKOUT = Path(__file__).parents[3]
VECTORS: list[dict[str, Any]] = json.loads((CHECKOUT / "tests/vectors/documents.json").read_text(encoding="utf-8"))
PAGE = (CHECKOUT / "docs" / "redis.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """A block of docs/redis.md."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if containing in text]
    return str(found)


def held(redis: redis_py.Redis, vector: dict[str, Any]) -> Any:
    if vector["type"] == "hash":
        return redis.hgetall(vector["key"])
    return redis.get(vector["key"])


async def test_the_store_and_psql_keep_to_the_vectors(
    store: SettingsStore, redis: redis_py.Redis, store_url: str
) -> None:
    page = block("sql", "get_user_settings")
    with psycopg.connect(store_url, autocommit=True) as connection:
        for vector in VECTORS:
            name, setting_type, symbol = vector["name"], vector["setting_type"], vector.get("symbol")
            await store.ensure_user(OKX_UID)
            saved = await store.save(OKX_UID, setting_type, vector["document"], symbol=symbol)
            assert (saved.version, saved.mirrored) == (vector["version"], True), name
            assert held(redis, vector) == vector["content"], name
            mirror = redis.hgetall(f"user:{OKX_UID}:mirror")
            assert {field: mirror.get(field) for field in vector["mirror"]} == vector["mirror"], name
            for source in ("redis", "db"):
                found = await store.get(OKX_UID, setting_type, symbol=symbol, source=source)
                assert found is not None
                assert (found.version, found.settings) == (vector["version"], vector["document"]), name
            words = ", ".join("null" if word is None else f"'{word}'" for word in (OKX_UID, setting_type, symbol))
            query = re.sub(r"(?<=get_user_settings\().*(?=\))", words, page)
            expected = [(vector["version"], vector["document"], next(iter(vector["mirror"])))]
            assert connection.execute(query.encode()).fetchall() == expected, name
            await store.erase_user(OKX_UID)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's reader, and npm's redis."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "read.mjs").write_text(block("js", "createClient"), encoding="utf-8")
    npm = shutil.which("npm") or "npm"
    subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", "redis@6"], cwd=folder, check=True)
    return folder


@pytest.fixture
def port() -> Iterator[tuple[int, redis_py.Redis]]:
    """A Redis on a port of this machine, and a client of it."""
    with RedisServer() as server, closing(Line(str(redis_socket(server.home)))) as line, server.client() as client:
        yield line.port, client


@pytest.mark.node
def test_the_reader_for_node_reads_what_the_vectors_say(node: Path, port: tuple[int, redis_py.Redis]) -> None:
    environment = {**os.environ, "REDIS_URL": f"redis://127.0.0.1:{port[0]}"}
    redis = port[1]

    def read(*words: str) -> Any:
        command = [shutil.which("node") or "node", "read.mjs", *words]
        done = subprocess.run(command, cwd=node, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert read(OKX_UID, "params") is None
    for vector in [vector for vector in VECTORS if "needs" not in vector]:
        redis.flushall()
        if vector["type"] == "hash":
            redis.hset(vector["key"], mapping=vector["content"])
        else:
            redis.set(vector["key"], vector["content"])
        redis.hset(f"user:{OKX_UID}:mirror", mapping=vector["mirror"])
        found = read(OKX_UID, vector["setting_type"], *filter(None, [vector.get("symbol")]))
        assert (found["version"], found["settings"]) == (vector["version"], vector["document"]), vector["name"]
