"""ClickHouse's HTTP interface, as far as qryn asks for it, over chdb: port and directory are the arguments."""

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

from chdb import session

DATABASE = session.Session(sys.argv[2])
# A session answers one question at a time.
TURN = threading.Lock()


class Question(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/ping" or not urlparse(self.path).query:
            self.reply(200, b"Ok.\n", "TabSeparated")
        else:
            self.answer(b"")

    def do_POST(self):
        if "Content-Length" in self.headers:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))
            return
        body = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        self.answer(body)

    def answer(self, body):
        asked = {name: values[0] for name, values in parse_qs(urlparse(self.path).query).items()}
        sql, data = asked.get("query", ""), body.decode("utf-8", "replace")
        if not sql:
            sql, data = data, ""
        form = self.headers.get("X-ClickHouse-Format") or asked.get("default_format", "TabSeparated")
        is_insert = re.match(r"\s*insert", sql, re.I)
        named = re.search(r"\bFORMAT\s+(\w+)\s*;?\s*$", sql, re.I)
        if named and not is_insert:
            sql, form = sql[: named.start()], named[1]
        for name, value in asked.items():
            if name.startswith("param_"):
                quoted = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
                sql = re.sub(r"\{%s:[^}]*\}" % name[6:], lambda _, quoted=quoted: quoted, sql)
        if data:
            form_of_data = "" if re.search(r"\b(FORMAT|VALUES)\b", sql, re.I) else f" FORMAT {form}\n"
            sql = sql.rstrip("; \n") + form_of_data + "\n" + data
        try:
            with TURN:
                if asked.get("database") and not re.match(r"\s*(create|drop)\s+database", sql, re.I):
                    self.choose(asked["database"])
                found = DATABASE.query(sql, form)
            self.reply(200, found.bytes() if hasattr(found, "bytes") else b"", form)
        except Exception as error:  # whatever chdb raises is the answer
            print(sql[:300], str(error)[:300], file=sys.stderr, flush=True)
            self.reply(500, str(error).encode()[:4000], form)

    @staticmethod
    def choose(database):
        try:
            DATABASE.query(f"USE {database}")
        except Exception:  # it is made by the next question
            pass

    def reply(self, status, body, form):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("X-ClickHouse-Format", form)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Question).serve_forever()
