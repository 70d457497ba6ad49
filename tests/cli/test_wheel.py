"""The wheel does the main job where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import Config
from tests.cli.conftest import CHECKOUT, Cli, environment
from tests.conftest import OKX_UID

pytestmark = pytest.mark.slow

SOURCES = ("store", "sql", "migrations", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / "source").mkdir(exist_ok=True)
            shutil.copy(source, folder / "source" / name)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(folder / "source")]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    return next(folder.glob("settings_store-*.whl"))


@pytest.fixture
def installed(wheel: Path, tmp_path: Path, config: Config, empty_database_url: str) -> Iterator[Cli]:
    """The wheel in an environment of its own that finds the dependencies, but not the checkout."""
    venv, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    place = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, cwd=empty)
    # A path in a .pth file is put on sys.path; .pth files in there (the editable checkout's) aren't read.
    (place / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    env = {**environment(config), "DATABASE_URL": empty_database_url}
    yield Cli(env, (str(venv / "bin" / "settings-store"),), empty)
    assert list(empty.iterdir()) == []


def test_the_wheel_carries_all_of_sql_and_migrations(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    files = {path for folder in ("sql", "migrations") for path in (CHECKOUT / folder).rglob("*.sql")}
    assert len(files) > 30
    assert {f"store/{path.relative_to(CHECKOUT)}" for path in files} <= inside
    code = {
        str(path.relative_to(CHECKOUT)) for kind in ("py", "lua") for path in (CHECKOUT / "store").rglob(f"*.{kind}")
    }
    assert {"store/py.typed", "store/commands/main.py", *code} <= inside
    assert [name for name in inside if name.startswith(("tests", "benchmarks", "docs"))] == []


def test_the_installed_wheel_does_the_main_job_from_an_empty_folder(installed: Cli) -> None:
    python = str(Path(installed.command[0]).with_name("python"))
    where = Cli(installed.env, (python, "-c"), installed.cwd)("import store; print(store.__file__)")
    assert all(str(Path(python).parents[1]) in file for file in where.out.split())
    assert "site-packages" in where.out

    assert installed("migrate").lines[-1] == "the database is up to date"
    assert installed("migrate", "status", "--json").json["pending"] == []
    installed("register", OKX_UID)
    installed("set", OKX_UID, "params", "leverage=20", "direction=롱")
    settings = installed("get", OKX_UID, "params", "--json").json
    assert (settings["version"], settings["source"], len(settings["settings"])) == (2, "redis", 50)
    assert (settings["settings"]["leverage"], settings["settings"]["direction"]) == (20, "롱")
    assert installed("psql", "-XAt", "-c", "select count(*) from user_settings").lines == ["4"]
    assert installed("--help").out.startswith("Usage: settings-store ")


def test_the_installed_demo_works_and_leaves_nothing_behind(installed: Cli) -> None:
    folder = Path(tempfile.mkdtemp(prefix="s 'ㄱ-"))
    folder.chmod(0o755)  # root's PostgreSQL is another user's process
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name in ("cli.py", "store.py"):
        (folder / name).write_text("raise SystemExit('not the one that was meant')")
    done = subprocess.run(
        [*installed.command, "demo"], capture_output=True, text=True, check=True, timeout=600, cwd=folder,
        env={**installed.env, **ascii_only, "SETTINGS_STORE_HOME": str(folder / "home"), "TMPDIR": str(folder)},
    )  # fmt: skip
    assert "all equal" in done.stdout
    assert done.stderr == ""
    assert sorted(os.listdir(folder)) == ["cli.py", "store.py"]
    shutil.rmtree(folder)
