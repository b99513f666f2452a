"""A PostgreSQL of Debian for the tests: found or fetched, started, killed, started again.

Where none is installed, packages of Debian's mirror, as apt of this machine has it, are unpacked
into the clone; nothing is installed. It listens on a socket in a directory of its own, and asks for
a password.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from tests.support import ROOT, eventually

#: As Debian lays them out.
INSTALLED = Path("/usr/lib/postgresql")
FETCHED = ROOT / ".postgres"
MISSING = "PostgreSQL is neither installed nor to be had from Debian"
USER, PASSWORD = "volant", "s3cret:of@the/server"
#: The password as part of an address.
QUOTED = "s3cret%3Aof%40the%2Fserver"
#: Of all that it depends on: itself and its libraries, but what any machine has, and what compiles
#: queries, which is switched off.
_NEEDED = re.compile(r"(postgresql-\d+|lib(?!c6|c-|gcc|stdc|llvm|perl|crypt1|z3).*)$")
#: How long fetching the packages may take.
FETCH_S = 240.0


class PostgresServer:
    """One server, with one database."""

    def __init__(self, tree: Path) -> None:
        """`tree`: the root below which Debian's packages lie."""
        self._env = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        self.directory = Path(tempfile.mkdtemp(prefix="volant-pg-"))
        if tree != Path("/"):  # whoever it runs as may not see into the clone
            unneeded = shutil.ignore_patterns("bitcode", "doc", "locale", "man")
            shutil.copytree(tree, self.directory / "tree", symlinks=True, ignore=unneeded)
            tree = self.directory / "tree"
            libraries = [str(found.parent) for found in tree.glob("usr/lib/*/libpq.so.5")]
            self._env["LD_LIBRARY_PATH"] = ":".join(libraries)
        newest = _newest(tree / INSTALLED.relative_to("/"))
        assert newest is not None, tree
        self._bin = newest / "bin"
        #: It refuses to run as root.
        self._owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self._owner is not None:
            os.chown(self.directory, self._owner.pw_uid, self._owner.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._initialise()
        self.start()
        with self.connect("postgres") as connection:
            connection.execute("CREATE DATABASE volant")

    @property
    def url(self) -> str:
        """The address of its database, with the password."""
        return f"postgresql://{USER}:{QUOTED}@/volant?host={self.directory}"

    def connect(self, database: str = "volant") -> psycopg.Connection:
        """Somebody else's session."""
        return psycopg.connect(
            host=str(self.directory), user=USER, password=PASSWORD, dbname=database, autocommit=True
        )

    def schema(self, name: str) -> str:
        """The address of a new and empty place for tables."""
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"

    def start(self) -> None:
        """Start it, and wait until it answers; what the last one left may hold it up."""
        eventually(self._is_up, within_s=60.0)

    def _is_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._process = self._run(
                "postgres", "-D", str(self.directory / "data"), "-k", str(self.directory),
                "-c", "listen_addresses=", "-c", "jit=off", "-c", "dynamic_shared_memory_type=mmap",
            )  # fmt: skip
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it at once: its sessions are lost."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(60.0)

    def close(self) -> None:
        """End it, and remove what it wrote."""
        if self._process is not None and self._process.poll() is None:
            self.kill(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _initialise(self) -> None:
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        if self._owner is not None:
            os.chown(secret, self._owner.pw_uid, self._owner.pw_gid)
        share = self._bin.parents[3] / "share/postgresql" / self._bin.parent.name
        done = self._run(
            "initdb", "-D", str(self.directory / "data"), "-U", USER, "-N", "--auth=scram-sha-256",
            f"--pwfile={secret}", "-L", str(share), "-E", "UTF8", "--locale=C.UTF-8",
        )  # fmt: skip
        assert done.wait(120.0) == 0, (self.directory / "log").read_text()

    def _run(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [self._bin / name, *arguments], cwd=self.directory, env=self._env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                user=None if self._owner is None else self._owner.pw_uid,
                group=None if self._owner is None else self._owner.pw_gid,
                extra_groups=None if self._owner is None else [],
            )  # fmt: skip


class UnavailableError(Exception):
    """There is no PostgreSQL, and none is to be had."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{MISSING}: {why}")


def find() -> Path:
    """The root below which Debian's PostgreSQL lies.

    Raises:
        UnavailableError: when it is not installed, and cannot be unpacked.
    """
    if _newest(INSTALLED) is not None:
        return Path("/")
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise UnavailableError("there is no apt-get")
    FETCHED.mkdir(exist_ok=True)
    with (FETCHED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _newest(FETCHED / "tree/usr/lib/postgresql") is None:
            _fetch()
    return FETCHED / "tree"


def _newest(directory: Path) -> Path | None:
    found = [one.parent.parent for one in directory.glob("*/bin/initdb")]
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.name) or 0), default=None)


def _fetch() -> None:
    state, archives, tree = (FETCHED / name for name in ("state", "archives", "tree"))
    for directory in (state / "lists/partial", archives / "partial", tree):
        directory.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()  # as if nothing were installed: what is chosen is the same anywhere
    options = {
        "Dir::State": state, "Dir::State::status": state / "status", "Dir::Cache": archives,
        "Debug::NoLocking": 1, "APT::Sandbox::User": "", "Acquire::Retries": 2,
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    wanted = ["--no-install-recommends", "install", "postgresql"]
    try:
        _run(*apt, "update")
        names = re.findall(r"^Inst (\S+)", _run(*apt, "--simulate", *wanted), re.MULTILINE)
        _run(*apt, "download", *(name for name in names if _NEEDED.match(name)), cwd=archives)
        for archive in archives.glob("*.deb"):
            _run("dpkg-deb", "-x", str(archive), str(tree))
        shutil.rmtree(archives)
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()[-300:]
        raise UnavailableError(said) from None
    if _newest(tree / INSTALLED.relative_to("/")) is None:
        raise UnavailableError("what apt has of it has no initdb")


def _run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        words, cwd=cwd, check=True, timeout=FETCH_S, capture_output=True, text=True
    )
    return done.stdout
