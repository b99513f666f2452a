"""Files of a bucket, read and written by containers; the store is one of this machine's own.

$ volant run examples/bucket_words.py
counted 3 texts
the bucket has: 17 words in 3 texts
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import volant

app = volant.App("bucket-words")
KEY_ID, KEY = "example", "of-a-key"
SECRET = volant.Secret.from_dict({"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY})
TEXTS = ("to be or not to be", "all the world is a stage", "brevity is wit's soul and")


@app.function()
def count() -> int:
    """Count the words of all texts, and write the sum beside them."""
    texts = [file.read_text() for file in Path("/data/texts").iterdir()]
    words = sum(len(text.split()) for text in texts)
    Path("/data/sum.txt").write_text(f"{words} words in {len(texts)} texts")
    return len(texts)


@contextlib.contextmanager
def store():
    """A store that speaks the language of S3, with one bucket; its objects are files."""
    rclone = Path(sys.executable).with_name("rclone")
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(f"{root}/words/texts")
        for number, text in enumerate(TEXTS):
            Path(f"{root}/words/texts/{number}.txt").write_text(text)
        arguments = ["--addr", "127.0.0.1:0", "--auth-key", f"{KEY_ID},{KEY}", root]
        process = subprocess.Popen([rclone, "serve", "s3", *arguments], stderr=subprocess.PIPE)
        try:
            said = iter(process.stderr.readline, b"")
            found = (re.search(r"\[(http://[0-9.:]+)", line.decode()) for line in said)
            yield next(match[1] for match in found if match), f"{root}/words"
        finally:
            process.kill()
            process.communicate()


@app.local_entrypoint()
def main() -> None:
    with store() as (url, directory):
        bucket = volant.CloudBucketMount("words", url, secret=SECRET)
        print("counted", count.with_options(volumes={"/data": bucket}).remote(), "texts")
        print("the bucket has:", Path(f"{directory}/sum.txt").read_text())
