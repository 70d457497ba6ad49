"""What people would pick instead to keep every version: SQLAlchemy-Continuum and django-simple-history, against
`select upsert_user_setting()`; each on one connection, a document of 50 keys changed again and again, a transaction
each.

Each rival does it as its manual says: load the object, change it, save. Like ours it keeps a row per version; unlike
ours it checks no document against a catalogue, marks nothing for a mirror and can't be searched by content.

And what becomes of two who save a user's first document at the same moment: errors of ours, and of the seed's function,
which selects without a lock and then inserts.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks import people
from benchmarks.runner import Outcome, interleave, microseconds
from benchmarks.upsert import SEED, SEED_INDEXES
from store import Config

OKX_UID = people.okx_uid(0)
CALLS, REPEATS = 100, 7
USERS, RACES = 200, 5  # who save for the first time, twice at once; so many times

DROP = """
drop table if exists seed_settings cascade;
drop table if exists continuum_setting, continuum_setting_version, transaction, django_setting, django_setting_history
"""

SEED_TABLE = f"""
create table seed_settings (like user_settings including defaults, primary key (id));
{SEED_INDEXES}
"""

Document = dict[str, Any]
Save = Callable[[Document], None]


async def measure(config: Config) -> list[Outcome]:
    """Save one document after the other, as microseconds a save; then the first documents of some users."""
    assert config.database_url
    await people.empty(config)
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(config.database_url, autocommit=True))
        connection.execute(DROP)
        connection.execute("select ensure_user(%s)", (OKX_UID,))
        document = _one(connection, "select default_user_setting('params')")
        assert len(document) == 50
        savers: dict[str, Save] = {
            "user_settings": partial(_ours, connection),
            "continuum_setting_version": stack.enter_context(_continuum(config.database_url)),
            "django_setting_history": stack.enter_context(_simple_history(config.database_url)),
        }
        numbers = count(1)

        async def run(save: Save) -> float:
            async def call(_: int) -> None:
                save({**document, "btc_investment": next(numbers)})

            return await microseconds(call, CALLS)

        found = await interleave({table: partial(run, save) for table, save in savers.items()}, REPEATS)
        for table in savers:  # each has kept every version
            assert _one(connection, f"select count(*) from {table}") == (1 + REPEATS) * CALLS, table
        errors = await _first_saves(config.database_url, connection, document)
        connection.execute(DROP)
    await people.empty(config)
    ours, continuum, simple_history = found.values()
    return [
        Outcome("SQLAlchemy-Continuum", "µs", ours, continuum),
        Outcome("django-simple-history", "µs", ours, simple_history),
        Outcome(f"the seed's function, first saves of {USERS} documents by two", "errors", *errors, 0),
    ]


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row
    return row[0]


def _ours(connection: psycopg.Connection[Any], document: Document) -> None:
    query = "select (upsert_user_setting(%s, 'params', %s)).version"
    assert connection.execute(query, (OKX_UID, json.dumps(document))).fetchone()


@contextmanager
def _continuum(url: str) -> Iterator[Save]:
    """Keep versions by SQLAlchemy's events."""
    import sqlalchemy as sa
    from sqlalchemy import orm
    from sqlalchemy.dialects.postgresql import JSONB
    from sqlalchemy_continuum import make_versioned

    make_versioned(user_cls=None)
    base: Any = orm.declarative_base()
    columns = {
        "__tablename__": "continuum_setting", "__versioned__": {},
        "id": sa.Column(sa.BigInteger, primary_key=True), "okx_uid": sa.Column(sa.Text),
        "setting_type": sa.Column(sa.Text), "settings": sa.Column(JSONB),
        "__table_args__": (sa.UniqueConstraint("okx_uid", "setting_type"),),
    }  # fmt: skip
    model: Any = type("ContinuumSetting", (base,), columns)
    orm.configure_mappers()
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    base.metadata.create_all(engine)

    def save(document: Document) -> None:
        with orm.Session(engine) as session:
            row = session.query(model).filter_by(okx_uid=OKX_UID, setting_type="params").one_or_none()
            if row is None:
                row = model(okx_uid=OKX_UID, setting_type="params")
                session.add(row)
            row.settings = document
            session.commit()

    yield save
    engine.dispose()


@contextmanager
def _simple_history(url: str) -> Iterator[Save]:
    """Keep versions by Django's signals."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # each save is waited for, as of the others
    import django
    from django.conf import settings

    at = conninfo_to_dict(url)
    database = {
        "ENGINE": "django.db.backends.postgresql", "NAME": at["dbname"], "USER": at["user"], "HOST": at["host"],
    }  # fmt: skip
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=["simple_history"], USE_TZ=True)
    django.setup()
    from django.db import connection, models
    from simple_history.models import HistoricalRecords

    history = HistoricalRecords(
        app="simple_history", table_name="django_setting_history", history_user_id_field=models.TextField(null=True),
        history_user_getter=lambda _: None, history_user_setter=lambda *_: None,
    )  # fmt: skip
    meta = {"app_label": "simple_history", "db_table": "django_setting", "unique_together": ("okx_uid", "setting_type")}
    columns = {
        "__module__": __name__, "Meta": type("Meta", (), meta), "okx_uid": models.TextField(),
        "setting_type": models.TextField(), "settings": models.JSONField(), "history": history,
    }  # fmt: skip
    model: Any = type("DjangoSetting", (models.Model,), columns)
    with connection.schema_editor() as editor:
        editor.create_model(model)
        editor.create_model(model.history.model)

    def save(document: Document) -> None:
        row = model.objects.filter(okx_uid=OKX_UID, setting_type="params").first()
        row = row or model(okx_uid=OKX_UID, setting_type="params")
        row.settings = document
        row.save()

    yield save
    connection.close()


async def _first_saves(
    url: str, connection: psycopg.Connection[Any], document: Document
) -> tuple[list[float], list[float]]:
    """Count the errors when two at once save the first document of each user: of ours, of the seed's."""
    connection.execute(SEED_TABLE)
    connection.execute(SEED.encode())
    connection.execute("select ensure_user((%s + n)::text) from generate_series(1, %s) n", (people.FIRST, USERS))
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as one,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as other,
    ):

        async def errors(function: str, table: str) -> float:
            connection.execute("set session_replication_role = replica")
            connection.execute(f"delete from {table}".encode())
            connection.execute("set session_replication_role = origin")
            failed = 0
            for n in range(1, USERS + 1):
                query = f"select from {function}(%s, 'params', %s)".encode()
                both = (each.execute(query, (people.okx_uid(n), json.dumps(document))) for each in (one, other))
                outcomes = await asyncio.gather(*both, return_exceptions=True)
                failed += sum(isinstance(outcome, psycopg.Error) for outcome in outcomes)
            return failed

        sides = {
            "ours": lambda: errors("upsert_user_setting", "user_settings"),
            "seed": lambda: errors("seed_upsert", "seed_settings"),
        }
        found = await interleave(sides, RACES, warm_up=0)
    assert all(found["seed"]), "the two never met"
    return found["ours"], found["seed"]
