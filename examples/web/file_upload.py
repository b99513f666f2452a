"""Files that clients upload, of any size: from the form of a page, or as the body of a request.

Open the address that `volant serve` shows, or send a file by `curl -T photo.jpg <address>/files/`.
Forms need python-multipart; it keeps what is large on the disk of the container.

$ volant run examples/web/file_upload.py
{"name":"numbers.txt","bytes":6888889}
"""

import urllib.request

from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import HTMLResponse

import volant

app = volant.App("file-upload")
api = FastAPI()
PAGE = """<!doctype html><title>upload</title>
<form method="post" action="files" enctype="multipart/form-data">
  <input type="file" name="files" multiple> <button>upload</button>
</form>"""


@api.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@api.post("/files")
def take(files: list[UploadFile]) -> list[str]:
    """Files of a form; this runs in a thread, so what it reads of them holds nobody up."""
    return [f"{file.filename}: {sum(1 for line in file.file)} lines" for file in files]


@api.put("/files/{name}")
async def stream(name: str, request: Request) -> dict[str, str | int]:
    """One file, piece by piece as it comes; nothing keeps it."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"name": name, "bytes": size}


@app.function()
@volant.concurrent(max_inputs=20)
@volant.asgi_app()
def web() -> FastAPI:
    return api


@app.local_entrypoint()
def main() -> None:
    numbers = "\n".join(map(str, range(1_000_000))).encode()
    url = f"{web.get_web_url()}/files/numbers.txt"
    request = urllib.request.Request(url, data=numbers, method="PUT")
    with urllib.request.urlopen(request) as response:
        print(response.read().decode())
