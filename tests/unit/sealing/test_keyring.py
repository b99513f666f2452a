"""The file of the sealing keys: made on first need, its owner's alone, whole whatever happens."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from volant.errors import DataLossError, PermissionDeniedError
from volantd.sealing.keyring import FILE_NAME, Keyring, new_key

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(str(tmp_path))


def test_a_key_is_made_when_one_is_needed(keyring: Keyring, tmp_path: Path):
    assert keyring.all() == ()
    assert list(tmp_path.iterdir()) == []
    key = keyring.current()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert Keyring(str(tmp_path)).all() == (key,)
    assert key.key not in repr(key)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o660])
def test_keys_that_others_can_reach_are_refused(mode: int, keyring: Keyring, tmp_path: Path):
    keyring.current()
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(PermissionDeniedError, match=f"mode {mode:04o}"):
        Keyring(str(tmp_path)).current()
    assert Keyring(str(tmp_path), is_home=False).all() == keyring.all()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_keys_of_somebody_else_are_refused(keyring: Keyring, tmp_path: Path):
    keyring.current()
    os.chown(tmp_path / FILE_NAME, 12345, 12345)
    with pytest.raises(PermissionDeniedError, match="owner 12345"):
        Keyring(str(tmp_path)).current()


def test_a_link_is_not_followed(keyring: Keyring, tmp_path: Path):
    keyring.current()
    (tmp_path / FILE_NAME).rename(tmp_path / "elsewhere")
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Keyring(str(tmp_path)).current()


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "{}", '{"format": 2, "keys": []}', '{"format": 1, "keys": []}',
        '{"format": 1, "keys": [{"key_id": "00", "key": "00"}]}',
        '{"format": 1, "keys": [{"key_id": "zz"}]}', '{"format": 1, "keys": 7}',
    ],
)  # fmt: skip
def test_what_is_no_file_of_keys_is_refused_and_left_alone(
    content: str, keyring: Keyring, tmp_path: Path
):
    path = tmp_path / FILE_NAME
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(DataLossError):
        keyring.current()
    assert path.read_text() == content


def test_a_key_that_is_forgotten_is_known_until_the_process_ends(keyring: Keyring, tmp_path: Path):
    old, new = keyring.current(), new_key()
    keyring.begin(new)
    assert Keyring(str(tmp_path)).all() == (old, new)
    assert keyring.current() == new
    keyring.keep(new)
    assert Keyring(str(tmp_path)).all() == (new,)
    assert keyring.find(old.key_id) == old
    with pytest.raises(DataLossError, match=old.key_id):
        Keyring(str(tmp_path)).find(old.key_id)
    assert old.key not in (tmp_path / FILE_NAME).read_text()


def test_what_a_kill_left_beside_the_file_does_no_harm(keyring: Keyring, tmp_path: Path):
    (tmp_path / f"{FILE_NAME}.new").write_text("half of")
    key = keyring.current()
    told = json.loads((tmp_path / FILE_NAME).read_text())
    assert told["keys"] == [{"key_id": key.key_id, "key": key.key}]
