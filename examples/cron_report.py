"""A report that is made by itself: on weekdays at nine, and here every second to see it happen.

$ volant run examples/cron_report.py
report 1: 3 orders, 61.50 in all
report 2: 3 orders, 61.50 in all
done after 2 reports
"""

import time

import volant

app = volant.App("cron-report")

ORDERS = {"anna": 12.0, "ben": 40.5, "carla": 9.0}
made = []


def report() -> str:
    return f"{len(ORDERS)} orders, {sum(ORDERS.values()):.2f} in all"


@app.function(schedule=volant.Cron("0 9 * * MON-FRI", timezone="Europe/Berlin"))
def every_morning() -> None:
    print(f"good morning: {report()}")


# A scheduled function is called without arguments, so each one needs a default.
@app.function(schedule=volant.Period(seconds=1), max_containers=1)
def every_second(only_count: bool = False) -> int:
    if not only_count and len(made) < 2:
        made.append(report())
        print(f"report {len(made)}: {made[-1]}")
    return len(made)


@app.local_entrypoint()
def main() -> None:
    # Schedules come while the app runs. `volant schedule list` shows them meanwhile.
    while every_second.remote(only_count=True) < 2:
        time.sleep(0.1)
    print("done after 2 reports")
