"""Names of images, as people write them."""

from __future__ import annotations

import pytest

from volantd.images.oci import OciError, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("docker.io/library/x", "docker.io/library/x:latest"),
        ("docker.io/x", "docker.io/library/x:latest"),
        ("index.docker.io/x", "docker.io/library/x:latest"),
        ("owner/name", "docker.io/owner/name:latest"),
        ("ghcr.io/a/b/c__d:V1.0_x", "ghcr.io/a/b/c__d:V1.0_x"),
        (f"registry:5000/a/b@{DIGEST}", f"registry:5000/a/b@{DIGEST}"),
        (f"a/b:tag@{DIGEST}", f"docker.io/a/b:tag@{DIGEST}"),
        ("localhost:5000/x:tag", "localhost:5000/x:tag"),
        ("localhost/x", "localhost/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("Registry.Example/x", "Registry.Example/x:latest"),
    ],
)
def test_what_is_left_out_is_filled_in(text: str, full: str) -> None:
    assert str(parse_reference(text)) == full
    assert parse_reference(full) == parse_reference(text)


@pytest.mark.parametrize(
    ("text", "address", "version"),
    [
        ("python:3", "https://registry-1.docker.io", "3"),
        (f"ghcr.io/a/b:3@{DIGEST}", "https://ghcr.io", DIGEST),
        ("localhost:5000/x", "http://localhost:5000", "latest"),
        ("127.0.0.1:5000/x", "http://127.0.0.1:5000", "latest"),
        ("127.0.0.1.example:5000/x", "https://127.0.0.1.example:5000", "latest"),
    ],
)
def test_only_this_machine_is_spoken_to_in_clear(text: str, address: str, version: str) -> None:
    reference = parse_reference(text)
    assert (reference.address, reference.version) == (address, version)


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("", "''", "lower case"),
        ("Python", "'Python'", "write 'python'"),
        ("a//b", "''", "lower case"),
        ("a/../b", "'..'", "lower case"),
        ("a/b/", "''", "lower case"),
        ("a:", "'' is no tag", "python:3.12-slim"),
        ("a:b:c", "'b:c' is no tag", "letters"),
        ("a:-x", "'-x' is no tag", "letters"),
        ("a:" + "x" * 129, "is no tag", "128"),
        ("a@sha256:12", "'sha256:12' is no digest", "64 digits"),
        ("a@", "'' is no digest", "64 digits"),
        (f"a@{DIGEST.upper()}", "is no digest", "64 digits"),
        (f"a@{DIGEST}@{DIGEST}", "is no digest", "64 digits"),
        ("https://ghcr.io/a/b", "it has a scheme", "leave out 'https://'"),
        ("docker://python", "it has a scheme", "leave out 'docker://'"),
        ("host:99999/x", "'host:99999' is no registry", "name a host"),
        ("host:port/x", "'host:port' is no registry", "name a host"),
        ("user@host.example/x", "is no digest", "64 digits"),
        (".example/x", "'.example' is no registry", "name a host"),
        ("a b", "'a b'", "lower case"),
        ("python\n", r"'python\n'", "lower case"),
        ("pythön", r"'pyth\xf6n'", "lower case"),
        ("a/" * 200 + "b", "longer than 255", "shorten"),
    ],
)
def test_an_error_names_the_value_and_the_fix(text: str, problem: str, hint: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_reference(text)
    assert problem in caught.value.message
    assert hint in (caught.value.hint or "")
