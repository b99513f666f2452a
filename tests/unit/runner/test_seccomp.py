"""The filter's verdicts, by a small interpreter of the programs that the assembler makes."""

from __future__ import annotations

import struct

import pytest

from volant.runner import seccomp

MACHINES = ["x86_64", "aarch64"]
ALLOW, TOLD, EPERM, ENOSYS, ENOTSUP, EAFNOSUPPORT = "allow", "told", 1, 38, 95, 97
MASK = 0xFFFFFFFF


def verdict(program: bytes, machine: str, number: int, *arguments: int) -> str | int:
    """Run a program over one system call, as the kernel does."""
    arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(machine, 0x40000003)
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number & MASK, arch, 0, *padded)
    rows = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = rows[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x05:
            at += value
        elif code == 0x06:
            return {0x7FFF0000: ALLOW, 0x7FC00000: TOLD}.get(value, value & 0xFFFF)
        else:
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x45: bool(accumulator & value),
            }[code]
            at += if_true if holds else if_false


def number_of(name: str, machine: str) -> int | None:
    table = {**seccomp.REFUSED, **seccomp.ABSENT}
    return table[name][MACHINES.index(machine)]


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def program(machine: str) -> bytes:
    return seccomp.build(machine)


def test_every_listed_call_gets_its_verdict_and_every_other_one_passes(
    machine: str, program: bytes
) -> None:
    column = MACHINES.index(machine)
    refused = {row[column] for row in seccomp.REFUSED.values()}
    absent = {row[column] for row in seccomp.ABSENT.values()}
    judged = {row[column] for row in (seccomp._SOCKET, seccomp._PERSONALITY)}
    for number in range(seccomp.CEILING + 1):
        expected: str | int = ALLOW
        if number in refused:
            expected = EPERM
        elif number in absent:
            expected = ENOSYS
        elif number in judged:
            continue
        assert verdict(program, machine, number) == expected, number


def test_calls_beyond_the_ceiling_do_not_exist(machine: str, program: bytes) -> None:
    for number in (seccomp.CEILING + 1, 600, 0x40000000, 0x40000000 + 59, MASK):
        assert verdict(program, machine, number) == ENOSYS


def test_calls_of_another_architecture_do_not_exist(program: bytes) -> None:
    assert verdict(program, "i386", 1) == ENOSYS


def test_no_table_has_a_number_twice() -> None:
    for column in (0, 1):
        tables = (seccomp.REFUSED, seccomp.ABSENT, seccomp.ATTRIBUTES, seccomp.IDENTITIES)
        tables = (*tables, *seccomp.MODES.values(), *seccomp.OWNERS.values())
        rows = [row for table in tables for row in table.values()]
        numbers = [row[column] for row in rows if row[column] is not None]
        assert len(numbers) == len(set(numbers))
        assert max(n for n in numbers if n is not None) <= seccomp.CEILING


@pytest.mark.parametrize("template", [False, True])
def test_asynchronous_reads_and_writes_are_absent(machine: str, template: bool) -> None:
    """`io_setup` takes of fs.aio-max-nr, which the machine has only once."""
    program = seccomp.build(machine, template=template)
    assert verdict(program, machine, (206, 0)[MACHINES.index(machine)], 3000) == ENOSYS


@pytest.mark.parametrize(
    "flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
)
def test_new_namespaces_are_refused_whatever_comes_with_them(
    machine: str, program: bytes, flag: int
) -> None:
    column = MACHINES.index(machine)
    clone, unshare = seccomp._CLONE[column], seccomp._UNSHARE[column]
    assert verdict(program, machine, clone, flag | 17) == EPERM
    assert verdict(program, machine, clone, flag | 0x3D0F00) == EPERM
    assert verdict(program, machine, unshare, flag) == EPERM


def test_threads_and_forks_are_allowed(machine: str, program: bytes) -> None:
    clone = seccomp._CLONE[MACHINES.index(machine)]
    assert verdict(program, machine, clone, 0x3D0F00) == ALLOW  # pthread_create
    assert verdict(program, machine, clone, 0x1200011) == ALLOW  # fork of glibc


def test_time_namespaces_are_refused_by_unshare(machine: str, program: bytes) -> None:
    unshare = seccomp._UNSHARE[MACHINES.index(machine)]
    assert verdict(program, machine, unshare, 0x80) == EPERM
    assert verdict(program, machine, unshare, 0x200) == ALLOW  # CLONE_FS


@pytest.mark.parametrize(
    ("family", "protocol", "expected"),
    [(1, 0, ALLOW), (2, 6, ALLOW), (10, 0, ALLOW), (16, 0, ALLOW), (16, 9, EAFNOSUPPORT),
     (17, 0, EAFNOSUPPORT), (38, 0, EAFNOSUPPORT), (40, 0, EAFNOSUPPORT)],
)  # fmt: skip
def test_sockets_are_judged_by_family(
    machine: str, program: bytes, family: int, protocol: int, expected: str | int
) -> None:
    number = seccomp._SOCKET[MACHINES.index(machine)]
    assert verdict(program, machine, number, family, 1, protocol) == expected


def test_the_internet_can_be_refused_altogether(machine: str) -> None:
    program = seccomp.build(machine, sockets_of_inet=False)
    number = seccomp._SOCKET[MACHINES.index(machine)]
    assert verdict(program, machine, number, 2, 1, 0) == EAFNOSUPPORT
    assert verdict(program, machine, number, 10, 1, 0) == EAFNOSUPPORT
    assert verdict(program, machine, number, 1, 1, 0) == ALLOW


@pytest.mark.parametrize("request_number", [0x5412, 0x541C])
def test_terminal_injection_is_refused_also_with_high_bits_set(
    machine: str, program: bytes, request_number: int
) -> None:
    """The kernel looks at 32 bits of the request only, so the filter must too."""
    number = seccomp._IOCTL[MACHINES.index(machine)]
    assert verdict(program, machine, number, 0, request_number) == EPERM
    assert verdict(program, machine, number, 0, request_number | 1 << 32) == EPERM
    assert verdict(program, machine, number, 0, 0x5401) == ALLOW


@pytest.mark.parametrize("template", [False, True])
def test_a_lingering_socket_is_only_pretended_also_with_high_bits_set(
    machine: str, template: bool
) -> None:
    """Level and name are ints: the kernel drops their upper halves, so the filter must too."""
    program = seccomp.build(machine, template=template)
    number = (54, 208)[MACHINES.index(machine)]
    high = 1 << 32
    for level, name in ((1, 13), (1 | high, 13), (1, 13 | high), (1 | high, 13 | high)):
        assert verdict(program, machine, number, 3, level, name) == 0
    for level, name in ((1, 2), (6, 13), (0, 13), (6, 1)):  # SO_REUSEADDR, TCP and IP options
        assert verdict(program, machine, number, 3, level, name) == ALLOW


#: Calls that give a file a mode: numbers, and the argument that holds it.
MODES = {
    "chmod": (90, None, 1), "fchmod": (91, 52, 1), "creat": (85, None, 1), "mkdir": (83, None, 1),
    "mknod": (133, None, 1), "fchmodat": (268, 53, 2), "fchmodat2": (452, 452, 2),
    "mkdirat": (258, 34, 2), "mknodat": (259, 33, 2),
}  # fmt: skip


@pytest.mark.parametrize("template", [False, True])
@pytest.mark.parametrize("name", MODES)
def test_no_file_gets_the_rights_of_its_owner(machine: str, name: str, template: bool) -> None:
    program = seccomp.build(machine, template=template)
    number, at = MODES[name][MACHINES.index(machine)], MODES[name][2]
    if number is None:
        pytest.skip("this architecture has no such call")
    before = [7] * at
    for mode in (0o4755, 0o2755, 0o6777, 0o104755, 0o4755 | 1 << 32):
        assert verdict(program, machine, number, *before, mode) == EPERM
    for mode in (0o755, 0o1777, 0o600, 0, 0o100644):
        assert verdict(program, machine, number, *before, mode) == ALLOW


@pytest.mark.parametrize(("numbers", "at"), [((2, None), 1), ((257, 56), 2)])
def test_the_mode_of_a_new_file_is_judged_and_no_other(
    machine: str, program: bytes, numbers: tuple[int, int | None], at: int
) -> None:
    number = numbers[MACHINES.index(machine)]
    if number is None:
        pytest.skip("this architecture has no such call")
    before = [7] * at
    create, temporary, directory = 0o100, 0o20200000, 0o200000
    for flags in (create, temporary, create | 0o2000001, create | 1 << 32):
        assert verdict(program, machine, number, *before, flags, 0o4755) == EPERM
        assert verdict(program, machine, number, *before, flags, 0o2755) == EPERM
        assert verdict(program, machine, number, *before, flags, 0o644) == ALLOW
    for flags in (0, 0o2000000, directory):  # what lies in the register is no mode then
        assert verdict(program, machine, number, *before, flags, 0o6777) == ALLOW


@pytest.mark.parametrize("name", sorted(seccomp.ATTRIBUTES))
def test_the_hosts_files_seem_to_have_no_attributes(machine: str, name: str) -> None:
    number = seccomp.ATTRIBUTES[name][MACHINES.index(machine)]
    assert number is not None
    shared = seccomp.build(machine, shares_files_as=(1000, 100))
    assert verdict(shared, machine, number) == ENOTSUP
    assert verdict(seccomp.build(machine), machine, number) == ALLOW


@pytest.mark.parametrize(
    ("numbers", "at"), [((92, None), 1), ((94, None), 1), ((93, 55), 1), ((260, 54), 2)]
)
def test_the_hosts_files_are_given_to_nobody(
    machine: str, numbers: tuple[int, int | None], at: int
) -> None:
    number = numbers[MACHINES.index(machine)]
    if number is None:
        pytest.skip("this architecture has no such call")
    shared = seccomp.build(machine, shares_files_as=(1000, 100))
    before = [7] * at
    for ids in ((0, 100), (1000, 0), (MASK, 0), (0, MASK), (100, 1000), (0, 0)):
        assert verdict(shared, machine, number, *before, *ids) == EPERM
    for ids in ((1000, 100), (MASK, 100), (1000, MASK), (MASK, MASK)):
        assert verdict(shared, machine, number, *before, *ids) == 0, "it seems to work"
    assert verdict(seccomp.build(machine), machine, number, *before, 0, 0) == ALLOW


@pytest.mark.parametrize("name", sorted(seccomp.IDENTITIES))
def test_where_there_is_one_id_changes_of_it_seem_to_work(machine: str, name: str) -> None:
    column = MACHINES.index(machine)
    alone = seccomp.build(machine, may_set_ids=True, has_one_id=True)
    owners = [row[column] for table in seccomp.OWNERS.values() for row in table.values()]
    for number in (seccomp.IDENTITIES[name][column], *owners):
        if number is not None:
            assert verdict(alone, machine, number, 33, 44, 55) == 0
            assert verdict(seccomp.build(machine, may_set_ids=True), machine, number, 33) == ALLOW


@pytest.mark.parametrize("name", ["mknod", "mknodat"])
def test_where_there_is_one_id_devices_only_seem_to_be_made(machine: str, name: str) -> None:
    number, at = MODES[name][MACHINES.index(machine)], MODES[name][2]
    if number is None:
        pytest.skip("this architecture has no such call")
    alone = seccomp.build(machine, may_set_ids=True, has_one_id=True)
    before = [7] * at
    for kind in (0o020000, 0o060000):
        assert verdict(alone, machine, number, *before, kind | 0o666, 0x101) == 0
    for kind in (0, 0o100000, 0o010000, 0o140000):  # plain files, pipes and sockets
        assert verdict(alone, machine, number, *before, kind | 0o666) == ALLOW


def test_what_is_refused_is_refused_where_there_is_one_id(machine: str) -> None:
    alone = seccomp.build(machine, may_set_ids=True, has_one_id=True)
    for name in seccomp.REFUSED:
        number = number_of(name, machine)
        if number is not None:
            assert verdict(alone, machine, number) == EPERM


def test_odd_personalities_are_refused(machine: str, program: bytes) -> None:
    number = seccomp._PERSONALITY[MACHINES.index(machine)]
    assert verdict(program, machine, number, 0xFFFFFFFF) == ALLOW
    assert verdict(program, machine, number, 0) == ALLOW
    assert verdict(program, machine, number, 0x40000) == EPERM


def test_a_zygote_keeps_only_what_its_children_need(machine: str) -> None:
    program = seccomp.build(machine, template=True)
    clone = seccomp._CLONE[MACHINES.index(machine)]
    unshare = seccomp._UNSHARE[MACHINES.index(machine)]
    for name in seccomp.TEMPLATE_NEEDS:
        number = number_of(name, machine)
        assert number is not None
        assert verdict(program, machine, number) == ALLOW
    mount = number_of("mount", machine)
    assert mount is not None
    assert verdict(program, machine, mount) == EPERM
    for flag in (0x20000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(program, machine, unshare, flag) == EPERM
        assert verdict(program, machine, clone, flag) == EPERM
    assert verdict(program, machine, unshare, 0x2000000) == ALLOW  # its cgroup namespace


def test_a_machine_without_a_table_is_an_error() -> None:
    with pytest.raises(LookupError, match="riscv64"):
        seccomp.build("riscv64")


def test_the_program_is_short_enough_for_every_kernel(machine: str) -> None:
    for options in ({}, {"template": True}, {"shares_files_as": (0, 0)}):
        program = seccomp.build(machine, **options)
        assert len(program) % 8 == 0
        assert len(program) // 8 < 256


@pytest.mark.parametrize(
    ("call", "size", "expected"),
    [
        ("bind", 16, TOLD), ("bind", 28, TOLD), ("bind", 128, TOLD), ("bind", 12, ALLOW),
        ("bind", 110, ALLOW), ("connect", 16, TOLD), ("connect", 28, TOLD), ("connect", 128, TOLD),
        ("connect", 24, TOLD),
        ("connect", 12, ALLOW), ("connect", 110, ALLOW), ("connect", 29, ALLOW),
        ("listen", 0, TOLD),
    ],
)  # fmt: skip
def test_a_supervisor_is_told_of_what_may_be_a_port(
    machine: str, call: str, size: int, expected: str
) -> None:
    column = MACHINES.index(machine)
    numbers = {"bind": seccomp._BIND, "listen": seccomp._LISTEN, "connect": seccomp._CONNECT}
    number = numbers[call][column]
    told = seccomp.build(machine, tells_ports=True)
    assert verdict(told, machine, number, 3, 0x1000, size) == expected
    assert verdict(seccomp.build(machine), machine, number, 3, 0x1000, size) == ALLOW
