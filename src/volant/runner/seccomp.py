"""The seccomp filter of a container: which system calls the kernel refuses it.

Owns the tables of refused calls and the assembler. A pure function: names in, bytes out,
nothing is installed here (`linux.install_seccomp` does that). The program is a deny list
under a ceiling: calls that are newer than this table do not exist for a container, so
a new kernel does not open a new door.

    wrong architecture -> ENOSYS
    number > ceiling   -> ENOSYS      (also the x32 calls, which have bit 30 set)
    refused            -> EPERM       (ENOSYS where libraries then fall back)
    attributes         -> ENOTSUP     (where the files are the host's own)
    owners, identities -> success     (where there is one id: nothing is done)
    argument checks    -> clone, unshare: no namespaces; socket: four families; ioctl, personality;
                          setsockopt: SO_LINGER seems to work and does nothing;
                          modes of files: no set-user-id and set-group-id bits
    told               -> its supervisor decides on bind, listen and connect (see `ports`)
    anything else      -> allowed     (the kernel keeps a bitmap of these: no cost per call)

Source: https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import os
from _struct import pack

from volant.runner.ports.rules import AWAITED_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

EPERM, ENOSYS, ENOTSUP, EAFNOSUPPORT = 1, 38, 95, 97
#: The last system call that was read and judged for this table (mseal).
CEILING = 462

#: name -> (number on x86_64, number on aarch64); None where the architecture has no such call.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # mounts and roots
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    "open_by_handle_at": (304, 265), "swapon": (167, 224), "swapoff": (168, 225),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263), "sysfs": (139, None), "ustat": (136, None),
    # namespaces (clone and unshare are judged by their flags)
    "setns": (308, 268),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    # keys, and programs for the kernel
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    # modules, boot, clock, hardware, accounting
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "create_module": (174, None), "get_kernel_syms": (177, None), "query_module": (178, None),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "acct": (163, 89), "syslog": (103, 116), "vhangup": (153, 58),
    "iopl": (172, None), "ioperm": (173, None), "uselib": (134, None),
    "nfsservctl": (180, 42), "sethostname": (170, 161), "setdomainname": (171, 162),
    "lookup_dcookie": (212, 18), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "lsm_get_self_attr": (459, 459), "lsm_set_self_attr": (460, 460),
    "lsm_list_modules": (461, 461),
}  # fmt: skip

#: What Landlock does not keep from who shares the host's files: changes of their owners (by the
#: argument that holds the user; the group follows) and, in the next table, of their attributes.
#: Without changes of modes and times no program could do.
OWNERS: dict[int, dict[str, tuple[int | None, int | None]]] = {
    1: {"chown": (92, None), "lchown": (94, None), "fchown": (93, 55)},
    2: {"fchownat": (260, 54)},
}
#: What fails where there is no second user. Installers of packages give files to users and turn
#: into them, and take a refusal for the end.
IDENTITIES: dict[str, tuple[int | None, int | None]] = {
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "setgroups": (116, 159),
}  # fmt: skip
#: As if no file system had any: `cp` and the like then do without.
ATTRIBUTES: dict[str, tuple[int | None, int | None]] = {
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip

#: Calls that give a file a mode, by the argument that holds it.
MODES: dict[int, dict[str, tuple[int | None, int | None]]] = {
    1: {"chmod": (90, None), "fchmod": (91, 52), "creat": (85, None), "mkdir": (83, None),
        "mknod": (133, None)},
    2: {"fchmodat": (268, 53), "fchmodat2": (452, 452), "mkdirat": (258, 34), "mknodat": (259, 33)},
}  # fmt: skip

#: Calls that libraries probe for and do without: they must look absent, not forbidden.
ABSENT: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435),  # its flags lie in memory, where no filter can read them
    "openat2": (437, 437),  # the mode of its new file does too
    "io_setup": (206, 0),  # takes of a quota that all processes of the machine share
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
}  # fmt: skip

#: What a zygote still needs, to send its children into their cells; containers get none of it.
TEMPLATE_NEEDS = ("setns", "sethostname")

_CLONE = (56, 220)
_UNSHARE = (272, 97)
_SOCKET = (41, 198)
_BIND, _LISTEN, _CONNECT = (49, 200), (50, 201), (42, 203)
_SETSOCKOPT = (54, 208)
_IOCTL = (16, 29)
_PERSONALITY = (135, 92)
_OPEN, _OPENAT = (2, None), (257, 56)
#: NEWTIME | NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_NEW_NAMESPACES = 0x80 | 0x7E020000
_NEW_CGROUP = 0x2000000
#: In `clone` the low byte is the exit signal, so NEWTIME (0x80) cannot be asked for there.
_NEW_BY_CLONE = 0x7E020000
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_SET_ID_BITS = 0o6000
#: Kinds of files, as `mknod` takes them: devices have the second bit and not the first.
_KIND_PLAIN, _KIND_DEVICE = 0o100000, 0o020000
_MKNOD, _MKNODAT = (133, None), (259, 33)
_NO_ID = 0xFFFFFFFF  # in `chown`: as it is
#: Labels of what is judged by the mode of a file.
_MODE_VERDICTS = frozenset({"open", "openat", "mode 1", "mode 2", "mode 3"})
#: O_CREAT and the bit of O_TMPFILE: without them the mode of `open` is whatever lay there.
_MAKES_FILE = 0o100 | 0o20000000
_SOL_SOCKET, _SO_LINGER = 1, 13
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
#: Sizes of addresses, which alone a filter can tell apart: what is shorter than IPv4's is none of
#: IP; and as programs hand over one of a unix socket, of IPv4, of IPv6, of any kind, and one that
#: is connected once somebody listens there.
_SHORT_OF_IP = 15
_UNIX_ADDRESS, _IP_ADDRESSES = 110, (16, 28, 128, AWAITED_BYTES)
_AUDIT_ARCH = (0xC000003E, 0xC00000B7)

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_ANY_BIT = 0x20, 0x15, 0x25, 0x45
_JUMP, _RETURN = 0x05, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENTS = 0, 4, 16
#: Numbers that are compared one after the other at the end of the search.
_CHAIN_MAX = 4
_ALLOW, _ERRNO, _TELL = 0x7FFF0000, 0x00050000, 0x7FC00000


class _Assembler:
    """Instructions with jumps to labels; labels are resolved at the end."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, str, str]] = []
        self.labels: dict[str, int] = {}

    def load(self, offset: int) -> None:
        self.rows.append((_LOAD, offset, "", ""))

    def jump(self, code: int, value: int, to: str, otherwise: str = "") -> None:
        self.rows.append((code, value, to, otherwise))

    def goto(self, to: str) -> None:
        self.rows.append((_JUMP, 0, to, ""))

    def end(self, label: str, verdict: int) -> None:
        self.label(label)
        self.rows.append((_RETURN, verdict, "", ""))

    def label(self, label: str) -> None:
        self.labels[label] = len(self.rows)

    def assemble(self) -> bytes:
        out = bytearray()
        for index, (code, value, to, otherwise) in enumerate(self.rows):
            far = self.labels[to] - index - 1 if to else 0
            near = self.labels[otherwise] - index - 1 if otherwise else 0
            if code == _JUMP:
                value, far = far, 0
            assert 0 <= far < 256, f"jump {index} -> {to} is too long for BPF: {far}"
            assert 0 <= near < 256, f"jump {index} -> {otherwise} is too long for BPF: {near}"
            out += pack("<HBBI", code, far, near, value)
        return bytes(out)


def build(
    machine: str | None = None, *, template: bool = False, sockets_of_inet: bool = True,
    shares_files_as: tuple[int, int] | None = None, may_set_ids: bool = False,
    has_one_id: bool = False, tells_ports: bool = False, refuses: bool = True,
) -> bytes:  # fmt: skip
    """Assemble the filter.

    Args:
        machine: "x86_64" or "aarch64"; the running machine's by default.
        template: for a zygote, whose children must still enter their cells.
        sockets_of_inet: False refuses IPv4 and IPv6 sockets altogether.
        shares_files_as: user and group id of who sees the host's own files; None for who has a
            layer on top of them. Giving files to itself seems to work, as those that it makes are.
        may_set_ids: for what installs programs, some of which run with their owner's rights.
        has_one_id: for what installs where no other user is known: changes of owners and of users
            seem to work, and devices seem to be made. Nothing is done.
        tells_ports: what concerns ports is decided by a supervisor, who must listen to it: see
            `linux.install_supervised_seccomp`.
        refuses: False leaves everything but that to whoever confines what runs here.

    Returns:
        Instructions of 8 bytes each, ready for `linux.install_seccomp`.

    Raises:
        LookupError: for a machine that has no table.
    """
    machine = machine or os.uname().machine
    if machine not in ("x86_64", "aarch64"):
        raise LookupError(f"no seccomp table for machine {machine!r} (x86_64 and aarch64 have one)")
    column = 0 if machine == "x86_64" else 1
    out = _Assembler()
    out.load(_AT_ARCHITECTURE)
    out.jump(_JUMP_EQUAL, _AUDIT_ARCH[column], "", "absent")
    out.load(_AT_NUMBER)
    out.jump(_JUMP_ABOVE, CEILING, "absent" if refuses else "allowed")
    judged = {}
    if refuses:
        judged = _judged(column, template=template, shares_files=shares_files_as is not None)
    if may_set_ids:
        judged = {number: to for number, to in judged.items() if to not in _MODE_VERDICTS}
    if has_one_id:
        judged.update(_pretended(column))
    if tells_ports:
        judged |= {_BIND[column]: "bind", _LISTEN[column]: "told", _CONNECT[column]: "connect"}
    _search(out, sorted(judged.items()), "search")
    _judge_sockets(out, sockets_of_inet=sockets_of_inet)
    _judge_modes(out)
    if shares_files_as is not None:
        _judge_owners(out, shares_files_as)
    if has_one_id:
        _judge_nodes(out)
    _judge_devices(out)
    _judge_namespaces(out, template=template)
    if tells_ports:
        _judge_ports(out)
    out.end("allowed", _ALLOW)
    out.end("refused", _ERRNO | EPERM)
    out.end("absent", _ERRNO | ENOSYS)
    out.end("no family", _ERRNO | EAFNOSUPPORT)
    out.end("not supported", _ERRNO | ENOTSUP)
    out.end("pretended", _ERRNO)
    return out.assemble()


def _judged(column: int, *, template: bool, shares_files: bool) -> dict[int, str]:
    """The calls that are not simply allowed: number -> label of the verdict."""
    judged = {_SOCKET[column]: "socket", _SETSOCKOPT[column]: "setsockopt"}
    judged.update({_IOCTL[column]: "ioctl", _PERSONALITY[column]: "personality"})
    judged[_CLONE[column]] = "nested" if template else "clone"
    judged[_UNSHARE[column]] = "nested" if template else "unshare"
    judged.update(dict.fromkeys(_numbers({"open": _OPEN}, column), "open"))
    judged[_OPENAT[column]] = "openat"
    for at, table in MODES.items():
        judged.update(dict.fromkeys(_numbers(table, column), f"mode {at}"))
    judged.update(dict.fromkeys(_numbers(ABSENT, column), "absent"))
    kept = TEMPLATE_NEEDS if template else ()
    judged.update(dict.fromkeys(_numbers(REFUSED, column, kept), "refused"))
    if shares_files:
        for at, table in OWNERS.items():
            judged.update(dict.fromkeys(_numbers(table, column), f"owner {at}"))
        judged.update(dict.fromkeys(_numbers(ATTRIBUTES, column), "not supported"))
    return judged


def _pretended(column: int) -> dict[int, str]:
    """The calls that seem to work where there is one id."""
    tables = (IDENTITIES, *OWNERS.values())
    judged = {number: "pretended" for table in tables for number in _numbers(table, column)}
    for at, row in ((1, _MKNOD), (2, _MKNODAT)):
        judged.update(dict.fromkeys(_numbers({"mknod": row}, column), f"node {at}"))
    return judged


def _numbers(
    table: dict[str, tuple[int | None, int | None]], column: int, leave_out: Iterable[str] = ()
) -> list[int]:
    skipped = set(leave_out)
    found = (row[column] for name, row in table.items() if name not in skipped)
    return sorted(number for number in found if number is not None)


def _search(out: _Assembler, rows: list[tuple[int, str]], label: str) -> None:
    """Go to the label of the number just loaded, by halves.

    The kernel runs the program once for every system call when it is installed, to find
    those that are always allowed; halves make that, and so each fork, four times cheaper.
    """
    out.label(label)
    if len(rows) > _CHAIN_MAX:
        middle = len(rows) // 2
        # Beyond the last of the lower half means the upper half.
        out.jump(_JUMP_ABOVE, rows[middle - 1][0], label + "+")
        _search(out, rows[:middle], label + "-")
        _search(out, rows[middle:], label + "+")
        return
    for number, verdict in rows:
        out.jump(_JUMP_EQUAL, number, verdict)
    out.goto("allowed")


def _judge_sockets(out: _Assembler, *, sockets_of_inet: bool) -> None:
    out.label("socket")
    out.load(_AT_ARGUMENTS)
    families = [_AF_UNIX] + ([_AF_INET, _AF_INET6] if sockets_of_inet else [])
    for family in families:
        out.jump(_JUMP_EQUAL, family, "allowed")
    out.jump(_JUMP_EQUAL, _AF_NETLINK, "", "no family")
    out.load(_AT_ARGUMENTS + 16)  # of netlink only routing, which name resolution asks
    out.jump(_JUMP_EQUAL, 0, "allowed", "no family")
    # Whoever closes the last descriptor of a socket that lingers waits for its peer: that would be
    # the hub's event loop, if a container sent it one. The kernel looks at 32 bits of these.
    out.label("setsockopt")
    out.load(_AT_ARGUMENTS + 8)
    out.jump(_JUMP_EQUAL, _SOL_SOCKET, "", "allowed")
    out.load(_AT_ARGUMENTS + 16)
    out.jump(_JUMP_EQUAL, _SO_LINGER, "pretended", "allowed")


def _judge_ports(out: _Assembler) -> None:
    """Have the supervisor see what may be an address of IP, and as little else as possible."""
    out.label("bind")
    out.load(_AT_ARGUMENTS + 16)
    out.jump(_JUMP_EQUAL, _UNIX_ADDRESS, "allowed")
    out.jump(_JUMP_ABOVE, _SHORT_OF_IP, "told", "allowed")
    out.label("connect")
    out.load(_AT_ARGUMENTS + 16)
    for size in _IP_ADDRESSES:
        out.jump(_JUMP_EQUAL, size, "told")
    out.goto("allowed")
    out.end("told", _TELL)


def _judge_modes(out: _Assembler) -> None:
    out.label("open")
    out.load(_AT_ARGUMENTS + 8)
    out.jump(_JUMP_ANY_BIT, _MAKES_FILE, "mode 2", "allowed")
    out.label("openat")
    out.load(_AT_ARGUMENTS + 16)
    out.jump(_JUMP_ANY_BIT, _MAKES_FILE, "mode 3", "allowed")
    for at in (1, 2, 3):
        out.label(f"mode {at}")
        out.load(_AT_ARGUMENTS + 8 * at)
        out.jump(_JUMP_ANY_BIT, _SET_ID_BITS, "refused", "allowed")


def _judge_owners(out: _Assembler, ids: tuple[int, int]) -> None:
    """Refuse to give files to others, and make no change where they stay with their owner.

    Even the latter would take away the set-user-id bit of a program.
    """
    for at in OWNERS:
        out.label(f"owner {at}")
        out.load(_AT_ARGUMENTS + 8 * at)
        out.jump(_JUMP_EQUAL, ids[0], f"group {at}")
        out.jump(_JUMP_EQUAL, _NO_ID, "", "refused")
        out.label(f"group {at}")
        out.load(_AT_ARGUMENTS + 8 * (at + 1))
        out.jump(_JUMP_EQUAL, ids[1], "pretended")
        out.jump(_JUMP_EQUAL, _NO_ID, "pretended", "refused")


def _judge_nodes(out: _Assembler) -> None:
    for at in (1, 2):
        out.label(f"node {at}")
        out.load(_AT_ARGUMENTS + 8 * at)
        out.jump(_JUMP_ANY_BIT, _KIND_PLAIN, "allowed")
        out.jump(_JUMP_ANY_BIT, _KIND_DEVICE, "pretended", "allowed")


def _judge_devices(out: _Assembler) -> None:
    out.label("ioctl")
    out.load(_AT_ARGUMENTS + 8)
    for request in _TERMINAL_INJECTION:
        out.jump(_JUMP_EQUAL, request, "refused")
    out.goto("allowed")
    out.label("personality")
    out.load(_AT_ARGUMENTS)
    for persona in _PERSONALITIES:
        out.jump(_JUMP_EQUAL, persona, "allowed")
    out.goto("refused")


def _judge_namespaces(out: _Assembler, *, template: bool) -> None:
    if template:
        out.label("nested")
        out.load(_AT_ARGUMENTS)
        out.jump(_JUMP_ANY_BIT, _NEW_BY_CLONE & ~_NEW_CGROUP, "refused", "allowed")
        return
    out.label("clone")
    out.load(_AT_ARGUMENTS)
    out.jump(_JUMP_ANY_BIT, _NEW_BY_CLONE, "refused", "allowed")
    out.label("unshare")
    out.load(_AT_ARGUMENTS)
    out.jump(_JUMP_ANY_BIT, _NEW_NAMESPACES, "refused", "allowed")
