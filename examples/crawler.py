"""Workers crawl a site together: a Queue says what is to be fetched, a Dict what was found.

$ volant run examples/crawler.py
60 pages, fetched 60 times by 3 workers
"""

import http.server
import re
import threading
import urllib.request

import volant

app = volant.App("crawler")
PAGES, WORKERS = 60, 3


@app.function(max_containers=WORKERS)
def work(site: str, links: volant.Queue, titles: volant.Dict) -> int:
    fetched = 0
    while (link := links.get()) is not None:
        found = []
        if titles.put(link, "being fetched", skip_if_exists=True):  # else another worker has it
            text = urllib.request.urlopen(f"{site}/{link}").read().decode()
            titles[link] = re.search("<title>(.*)</title>", text)[1]
            found = re.findall('href="(.*?)"', text)
            fetched += 1
        links.put(len(found), partition="reports")  # first: else it could seem that all is done
        links.put_many(found)
    return fetched


class Site(http.server.BaseHTTPRequestHandler):
    """What is crawled, in the program itself."""

    def do_GET(self) -> None:
        number = int(self.path[1:])
        linked = {2 * number + 1, 2 * number + 2, number // 3} & set(range(PAGES))
        self.send_response(200)
        self.end_headers()
        text = f"<title>Page {number}</title>" + "".join(f'<a href="{at}">' for at in linked)
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@app.local_entrypoint()
def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site, waiting = f"http://127.0.0.1:{server.server_port}", 1
    with volant.Queue.ephemeral() as links, volant.Dict.ephemeral() as titles:
        workers = [work.spawn(site, links, titles) for _ in range(WORKERS)]
        links.put("0")
        while waiting:
            waiting += links.get(partition="reports") - 1
        links.put_many([None] * WORKERS)
        fetched = sum(volant.FunctionCall.gather(*workers))
        print(f"{len(titles)} pages, fetched {fetched} times by {WORKERS} workers")
