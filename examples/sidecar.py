"""A sandbox with a store beside it, which keeps what the sandbox's code writes.

Both are closed to the internet, and reach each other at loopback; each has files of its own.

$ volant run examples/sidecar.py
the store listens
the work has written 3 keys
the store knows: one two three
the work sees no file of the store
outlived its sandbox: False
"""

import volant

app = volant.App("with-a-sidecar")
PORT = 6400
STORE = f"""
import socketserver
keys = []
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            keys.append(line.decode().strip())
            self.wfile.write(b"%d\\n" % len(keys))
            open("/srv/keys", "w").write(" ".join(keys))
with socketserver.ThreadingTCPServer(("127.0.0.1", {PORT}), Handler) as server:
    print("listens", flush=True)
    server.serve_forever()
"""
WORK = f"""
import socket
with socket.create_connection(("127.0.0.1", {PORT})) as sock:
    told = sock.makefile("rw")
    for key in ("one", "two", "three"):
        print(key, file=told, flush=True)
        count = told.readline()
print("written", count.strip(), "keys")
"""


@app.local_entrypoint()
def main() -> None:
    sandbox = volant.Sandbox.create(app=app, block_network=True)
    store = sandbox.sidecars.create("python3", "-c", STORE, name="store", memory=256)
    print("the store", next(iter(store.stdout)).strip())
    work = sandbox.exec("python3", "-c", WORK)
    print("the work has", work.stdout.read().strip())
    print("the store knows:", store.filesystem.read_text("/srv/keys"))
    seen = sandbox.exec("ls", "/srv/keys").wait()
    print("the work sees", "no file of the store" if seen else "its files")
    sandbox.terminate(wait=True)
    print("outlived its sandbox:", store.poll() is None)
