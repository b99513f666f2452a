"""Which suite images have, and which mirrors: read from what apt says, or from the setting."""

from __future__ import annotations

import pytest

from volant.errors import ImageBuildError
from volantd.images.debian.sources import KEYRING, chosen, os_release, parse_indexes

MIRROR = "http://mirror.example/debian"
SECURITY = "http://mirror.example/debian-security"


def index(address: str, suite: str) -> str:
    return f"'{address}/dists/{suite}/InRelease' mirror_dists_{suite}_InRelease 0 \n"


def test_the_mirrors_of_apt_are_those_of_images() -> None:
    printed = (
        index(MIRROR, "trixie") + index(MIRROR, "trixie-updates")
        + index(SECURITY, "trixie-security")
        + f"'{MIRROR}/dists/trixie/main/binary-amd64/Packages.xz' mirror_Packages 0 \n"
    )  # fmt: skip
    found = parse_indexes(printed, "trixie")
    assert found is not None
    assert found.entries == (
        (MIRROR, ("trixie", "trixie-updates")), (SECURITY, ("trixie-security",)),
    )  # fmt: skip


def test_another_publisher_with_a_suite_of_that_name_is_passed_over() -> None:
    printed = index("https://other.example/apt", "trixie") + index(MIRROR, "trixie-updates")
    found = parse_indexes(printed + index(MIRROR, "trixie"), "trixie")
    assert found is not None
    assert [address for address, _ in found.entries] == [MIRROR]


def test_other_suites_are_none_of_ours() -> None:
    assert (
        parse_indexes(index(MIRROR, "noble") + index(MIRROR, "trixie-backports"), "trixie") is None
    )


def test_mirrors_have_other_suites_as_well() -> None:
    found = chosen("bookworm", f"{MIRROR} {SECURITY}").of("forky")
    assert found == chosen("forky", f"{MIRROR} {SECURITY}")


def test_a_setting_names_a_mirror_and_that_of_security_updates() -> None:
    assert chosen("trixie", f"{MIRROR} {SECURITY}").entries == (
        (MIRROR, ("trixie", "trixie-updates")), (SECURITY, ("trixie-security",)),
    )  # fmt: skip
    assert chosen("trixie", MIRROR).entries == ((MIRROR, ("trixie", "trixie-updates")),)


@pytest.mark.parametrize(
    "given", ["mirror.example", "ftp://mirror.example", f"{MIRROR} {MIRROR} {MIRROR}"]
)
def test_what_is_no_address_is_named(given: str) -> None:
    with pytest.raises(ImageBuildError, match="image_debian_mirror"):
        chosen("trixie", given)


def test_every_mirror_is_verified_by_the_keys_of_debian() -> None:
    text = chosen("trixie", f"{MIRROR} {SECURITY}").text()
    assert text.count(f"Signed-By: {KEYRING}\n") == text.count("Types: deb\n") == 2


def test_an_os_release_file_is_read_with_its_quotes() -> None:
    assert os_release(['ID=debian\n', 'VERSION_ID="12"\n', "\n"]) == {
        "ID": "debian", "VERSION_ID": "12",
    }  # fmt: skip
