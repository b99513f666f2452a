"""Files: of the host, of its daemon and of other sandboxes."""

from __future__ import annotations

import os
import shutil
import tempfile

from tests.behaviours.escape.attempts import HELD, HOST, attempt, none_of, opening, refused

#: Roads that lead back to some root.
_ROADS = ("", "/proc/1/root", "/proc/2/root", "/proc/self/root", "/proc/self/cwd/../../..",
          "/proc/thread-self/root", "/dev/fd/../../..", "/../../../..", "/proc/1/cwd")  # fmt: skip


@attempt("private files of the host are on no road")
def private_files() -> str:
    return refused(*(opening(road + path) for road in _ROADS for path in HOST["private"]))


@attempt("directories of the host cannot be listed, not even for names")
def private_directories() -> str:
    return refused(*((lambda path=path: os.listdir(path)) for path in HOST["directories"]))


@attempt("all roads lead to its own root")
def roads_to_roots() -> str:
    own = os.stat("/").st_ino, sorted(os.listdir("/"))
    found = []
    for road in _ROADS[1:]:
        try:
            seen = os.stat(road + "/").st_ino, sorted(os.listdir(road))
        except OSError:
            continue
        if seen != own:
            found.append(road)
    return none_of(found)


@attempt("a link to a file of the host leads nowhere, also one that changes meanwhile")
def symbolic_links() -> str:
    place = tempfile.mkdtemp()
    tries = []
    for index, path in enumerate(HOST["private"]):
        link = f"{place}/{index}"
        os.symlink(path, link)
        tries.append(opening(link))
        os.symlink("/tmp", f"{link}.new")
        os.replace(f"{link}.new", link)
        os.unlink(link)
        os.symlink(f"/proc/1/root{path}", link)
        tries.append(opening(link))
    return refused(*tries)


@attempt("no file of what it shares is linked to from elsewhere")
def hard_links() -> str:
    shared = [path for path in ("/etc/ssl/certs", "/etc/alternatives", "/sys/devices/system")
              if os.path.isdir(path)]  # fmt: skip
    tries = []
    for path in shared:
        name = os.path.join(path, os.listdir(path)[0])
        tries.append(lambda name=name: os.link(name, "/tmp/linked", follow_symlinks=False))
        tries.append(lambda path=path: os.rename(path, "/tmp/moved"))
    return refused(*tries)


@attempt("what is shared with the host cannot be written")
def shared_files() -> str:
    create = os.O_CREAT | os.O_WRONLY
    places = ("/etc/ssl/certs", "/etc/alternatives", "/sys/devices/system", "/dev", "/proc")
    return refused(*(
        (lambda path=f"{place}/volant-was-here": os.open(path, create)) for place in places
    ))  # fmt: skip


@attempt("what is written where the host has files stays in the sandbox")
def write_over_files() -> str:
    for path in (*HOST["canaries"], *HOST["written"]):
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write("overwritten from a sandbox")
        except OSError:
            continue
        finally:
            shutil.rmtree(HOST["home"], ignore_errors=True)
    return HELD  # the host looks


@attempt("programs of the host are changed, removed and made useless in a copy alone")
def change_programs() -> str:
    for change in (
        lambda: open("/usr/bin/env", "ab").close(), lambda: os.chmod("/usr/bin/env", 0),
        lambda: os.truncate("/usr/bin/env", 0), lambda: os.unlink("/usr/bin/env"),
        lambda: os.rename("/usr/bin", "/usr/none"), lambda: os.rename("/usr/none", "/usr/bin"),
        lambda: os.utime("/usr/bin", (0, 0)), lambda: os.chown("/usr/bin", 5, 5),
    ):  # fmt: skip
        try:
            change()
        except OSError:
            continue
    return HELD  # the host looks


@attempt("no file in the whole tree has the name or the content of what is private")
def search_everywhere() -> str:
    names = {os.path.basename(path) for path in HOST["private"]} - {"shadow", "notes"}
    found, seen = [], 0
    for top, directories, files in os.walk("/"):
        directories[:] = [name for name in directories if (top, name) != ("/", "proc")]
        seen += len(files)
        found += [os.path.join(top, name) for name in files if name in names]
        found += [os.path.join(top, name) for name in files if name.startswith("of-neighbour")]
    return none_of(found) if seen > 1000 else "it looked nowhere"


@attempt("files of a neighbour are nowhere")
def files_of_neighbours() -> str:
    return refused(*(opening(path) for path in HOST["of_neighbour"]))


@attempt("nothing lies in shared memory that somebody else put there")
def shared_memory() -> str:
    return none_of(name for name in os.listdir("/dev/shm") if "neighbour" in name)


@attempt("home directories, sockets of services and logs of the machine are empty")
def empty_places() -> str:
    places = ("/home", "/run", "/mnt", "/media", "/srv", "/boot", "/var/log", "/var/spool")
    return none_of(
        f"{place}/{name}" for place in places if os.path.isdir(place) for name in os.listdir(place)
    )


@attempt("users and machine are not told")
def who_is_who() -> str:
    names = ("shadow", "gshadow", "sudoers", "machine-id", "ssh", "ssl/private", "crontab",
             "krb5.keytab", "NetworkManager")  # fmt: skip
    return none_of(name for name in names if os.path.lexists(f"/etc/{name}"))


@attempt("every mount is a layer, in memory, or read-only; none takes devices and rights")
def mounts() -> str:
    found = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            place, options = before.split()[4], before.split()[5].split(",")
            is_own = after.split()[0] in {"overlay", "tmpfs", "proc", "devpts"}
            is_device = after.split()[0] == "devtmpfs" and place.startswith("/dev/")
            if not (is_own or is_device or "ro" in options) or "nosuid" not in options:
                found.append(place)
    return none_of(found)
