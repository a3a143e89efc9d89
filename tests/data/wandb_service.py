"""The few answers of a Weights & Biases server that its client needs to upload runs, kept in memory."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

API_KEY = "0123456789" * 4


class Service(ThreadingHTTPServer):
    """A server on this machine; what it was sent lies in its attributes.

    Attributes:
        rows: Logged rows, in the order of arrival, by run id.
        files: Uploaded files, by name.
        runs: Variables of the calls that create or change runs, in order.
        artifacts: Variables of the calls that create artifacts, in order.
        unknown: Names of calls that had no answer here.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rows: dict[str, list[dict[str, object]]] = {}
        self.files: dict[str, bytes] = {}
        self.runs: list[dict[str, object]] = []
        self.artifacts: list[dict[str, object]] = []
        self.unknown: list[str] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""

    def _known(self, run: str) -> dict[str, object] | None:
        """Return what a run that is continued has already; None: it is new."""
        rows = self.rows.get(run)
        if not rows:
            return None
        tail = json.dumps([json.dumps(rows[-1])])
        counts = {"historyLineCount": len(rows), "eventsLineCount": 0, "logLineCount": 0}
        rest = {"historyTail": tail, "eventsTail": "[]", "summaryMetrics": "{}", "config": "{}", "tags": []}
        return {
            "id": "run",
            "name": run,
            "displayName": run,
            "stopped": False,
            "wandbConfig": "{}",
            **counts,
            **rest,
        }

    def answer(self, call: str, given: dict[str, object]) -> dict[str, object] | None:
        """Answer a GraphQL call; None: not known."""
        project = {"id": "project", "name": "vedute", "entity": {"id": "entity", "name": "me"}}
        if call == "UpsertBucket":
            self.runs.append(given)
            run = {
                "id": "run",
                "name": given["name"],
                "displayName": given["displayName"],
                "project": project,
            }
            rest = {"description": None, "config": None, "sweepName": None, "historyLineCount": 0}
            return {"upsertBucket": {"bucket": {**run, **rest}, "inserted": True}}
        if call == "CreateRunFiles":
            names = given["files"]
            assert isinstance(names, list)
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in names]
            return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}
        if call == "RunResumeStatus":
            return {"model": {**project, "bucket": self._known(str(given["name"]))}}
        if call == "Viewer":
            user = {"id": "user", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
            return {"viewer": user}
        if call == "CreateArtifact":
            self.artifacts.append(given)
            sequence = {"id": "sequence", "latestArtifact": None}
            # 'committed': the server has these files already, so that none is uploaded
            return {
                "createArtifact": {
                    "artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}
                }
            }
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

    def _reply(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/graphql":
            asked = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            call = found[1] if found else ""
            answer = self.server.answer(call, asked.get("variables") or {})
            if answer is None:
                self.server.unknown.append(call)
                self._reply({"data": None, "errors": [{"message": f"unknown {call}"}]})
            else:
                self._reply({"data": answer})
            return
        if self.path.endswith("/file_stream"):
            run = self.path.split("/")[-2]
            lines = json.loads(body).get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.server.rows.setdefault(run, []).extend(json.loads(line) for line in lines)
        self._reply({})

    def do_PUT(self) -> None:
        self.server.files[self.path.removeprefix("/upload/")] = self._body()
        self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def service() -> Iterator[Service]:
    """Run a server while the block runs; ``shutdown()`` and ``server_close()`` end it before."""
    server = Service()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
