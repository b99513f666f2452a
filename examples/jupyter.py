"""JupyterLab in a sandbox: notebooks with an end to their time, memory and reach.

$ volant run examples/jupyter.py
JupyterLab is at http://127.0.0.1:43117/lab?token=… until Ctrl-C, or for 60 minutes
"""

import secrets

import volant

PORT = 8888

image = volant.Image.debian_slim().uv_pip_install("jupyterlab==4.5.0")
app = volant.App("jupyter")


@app.local_entrypoint()
def main(minutes: int = 60) -> None:
    """Serve until the time is over; the sandbox ends with this program."""
    token = secrets.token_urlsafe()
    sandbox = volant.Sandbox.create(
        *("jupyter", "lab", "--allow-root", "--no-browser", f"--port={PORT}"),
        app=app,
        image=image,
        secrets=[volant.Secret.from_dict({"JUPYTER_TOKEN": token})],
        workdir="/notebooks",
        memory=(256, 2048),
        timeout=60 * minutes,
        block_network=True,  # notebooks reach nobody, and are reached through the tunnel alone
        encrypted_ports=[PORT],
        readiness_probe=volant.Probe.with_tcp(PORT),
    )
    sandbox.wait_until_ready()
    url = f"{sandbox.tunnels()[PORT].url}/lab?token={token}"
    print(f"JupyterLab is at {url} until Ctrl-C, or for {minutes} minutes", flush=True)
    sandbox.wait(raise_on_termination=False)
