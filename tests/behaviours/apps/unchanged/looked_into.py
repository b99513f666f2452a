"""A sandbox, as a program for Modal has it; a script that runs itself."""

from __future__ import annotations

import os

import modal

app = modal.App("looked-into")


def main() -> None:
    base = modal.Image.from_registry(os.environ["BASE"])
    box = modal.Sandbox.create("sleep", "600", app=app, image=base, timeout=600)
    ran = box.exec("sh", "-c", "echo $MODAL_SANDBOX_ID; echo oh no >&2; exit 3")
    print("is itself", ran.stdout.read().strip() == box.object_id)
    print("complains", ran.stderr.read().strip(), ran.wait())
    box.filesystem.write_text("kept here", "/root/note.txt")
    print("keeps", box.exec("cat", "/root/note.txt").stdout.read())
    image = box.snapshot_filesystem()
    box.terminate()
    again = modal.Sandbox.create(app=app, image=image)
    print("keeps on", again.filesystem.read_text("/root/note.txt"))
    print("is", isinstance(again, modal.sandbox.Sandbox), modal.io_streams.StreamReader.__name__)
    again.terminate()


if __name__ == "__main__":
    with modal.enable_output(), app.run():
        main()
