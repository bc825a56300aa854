"""A folder has one writer, by whichever path it is reached and whatever becomes of the lock file."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest
from spherehead.manifests.lock import BuildLocked, FolderReplaced, writer_lock


def lock_of(folder: Path) -> Path:
    return folder / ".state" / "lock"


def test_a_lock_holds_though_its_file_is_deleted(tmp_path: Path) -> None:
    with writer_lock(lock_of(tmp_path / "set")):
        shutil.rmtree(tmp_path / "set" / ".state")
        with pytest.raises(BuildLocked, match="process"), writer_lock(lock_of(tmp_path / "set")):
            pass
    with writer_lock(lock_of(tmp_path / "set")):
        pass


def test_a_folder_is_locked_by_each_of_its_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to("set")
    monkeypatch.chdir(tmp_path)
    with writer_lock(lock_of(tmp_path / "set")):
        for other in (tmp_path / "link", Path("set"), Path("link")):
            with pytest.raises(BuildLocked, match="process"), writer_lock(lock_of(other)):
                pass


def test_a_folder_that_was_moved_or_replaced_is_told(tmp_path: Path) -> None:
    with writer_lock(lock_of(tmp_path / "set")) as check:
        check()
        (tmp_path / "set").rename(tmp_path / "elsewhere")
        with pytest.raises(FolderReplaced, match="moved or deleted"):
            check()
        (tmp_path / "set").mkdir()
        with pytest.raises(FolderReplaced, match="moved or deleted"):
            check()
        (tmp_path / "set").rmdir()
        (tmp_path / "elsewhere").rename(tmp_path / "set")
        check()


@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP])
def test_folders_that_cannot_be_locked_are_held_by_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = fcntl.flock

    def files_only(handle: int, what: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, "no locks on folders")
        real(handle, what)

    monkeypatch.setattr(fcntl, "flock", files_only)
    with writer_lock(lock_of(tmp_path)), pytest.raises(BuildLocked, match="process"), writer_lock(lock_of(tmp_path)):
        pass
