"""A job queue: requests come in, some of them twice, and who asks again later gets the result.

$ volant run examples/job_queue.py
3 requests, 2 jobs
invoice-1: done, 3 lines, 66.00 in all
invoice-2: failed, no lines
"""

import time

import volant

app = volant.App("job-queue")


@app.function(max_containers=2)
def total(invoice: str, prices: list[float]) -> str:
    time.sleep(0.2)
    if not prices:
        raise ValueError("no lines")
    return f"{len(prices)} lines, {sum(prices):.2f} in all"


def accept(invoice: str, prices: list[float]) -> str:
    """What a web server would answer to a POST: at once, with the id of a job that is kept."""
    # A client that has not heard the answer asks again; the key makes it the same job.
    return total.with_idempotency_key(invoice).spawn(invoice, prices).object_id


def poll(job: str) -> str:
    """What it would answer to a GET, in this process or in any other, also after a restart."""
    try:
        return "done, " + volant.FunctionCall.from_id(job).get(timeout=0)
    except TimeoutError:
        return "pending"
    except ValueError as error:
        return f"failed, {error}"


@app.local_entrypoint()
def main() -> None:
    requests = [("invoice-1", [12.0, 40.5, 13.5]), ("invoice-2", []), ("invoice-1", [12.0])]
    jobs: dict[str, str] = {}
    for invoice, prices in requests:
        job = accept(invoice, prices)
        assert jobs.setdefault(invoice, job) == job
    print(f"{len(requests)} requests, {len(jobs)} jobs")
    for invoice, job in jobs.items():
        while (answer := poll(job)) == "pending":
            time.sleep(0.05)
        print(f"{invoice}: {answer}")
