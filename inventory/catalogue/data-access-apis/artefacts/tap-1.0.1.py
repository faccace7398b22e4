"""TAP (IVOA, synchronous queries) over a sample catalogue: one process an instance, its settings in its environment.

A subset of ADQL is SQLite's own SQL, with TOP and the geometry of cone searches added; nothing but reading is allowed.
``/tap/availability`` is its health contract. ``/metrics`` is for the facility, never for who comes by a front door.
"""

import csv
import io
import math
import os
import re
import signal
import socket
import sqlite3
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape, quoteattr

VERSION, NAME = os.environ["TAP_VERSION"], os.environ["TAP_NAME"]
PORT, MAX_ROWS = int(os.environ["TAP_PORT"]), int(os.environ["TAP_MAX_ROWS"])
FOLDER = Path(os.environ["RUNTIME_DIRECTORY"])
PKI = "/etc/pachon/pki"
LONGEST_QUERY_SECONDS = 20.0
IDLE_SECONDS = 30
LARGEST_BODY_BYTES = 64 * 1024
OBJECTS = 2000
GOLDEN_DEGREES = 137.50776405003785
COLUMNS = (
    ("object_id", "long", "", "meta.id;meta.main", "Number of the object."),
    ("ra", "double", "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS."),
    ("dec", "double", "deg", "pos.eq.dec;meta.main", "Declination, ICRS."),
    ("g_mag", "double", "mag", "phot.mag;em.opt.B", "Magnitude in g."),
    ("r_mag", "double", "mag", "phot.mag;em.opt.R", "Magnitude in r."),
    ("i_mag", "double", "mag", "phot.mag;em.opt.I", "Magnitude in i."),
)
TABLE = "sample.object"
ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
TOP = re.compile(r"^\s*SELECT\s+((?:DISTINCT|ALL)\s+)?TOP\s+(\d+)\s", re.IGNORECASE)
VOSI = "ivo://ivoa.net/std/VOSI"
answered = {200: 0, 400: 0, 404: 0}
over = threading.Event()
idle: set[socket.socket] = set()


class QueryError(Exception):
    """A query that cannot be answered; the message is for whoever asked."""


def make_sample() -> None:
    """Lay down the catalogue and TAP_SCHEMA: objects spread evenly over the sky, the same each time."""
    for name in ("sample", "tap_schema"):
        (FOLDER / name).unlink(missing_ok=True)
    with sqlite3.connect(FOLDER / "sample") as made:
        names = "object_id INTEGER PRIMARY KEY, ra REAL, dec REAL, g_mag REAL, r_mag REAL, i_mag REAL"
        made.execute(f"CREATE TABLE object ({names})")
        rows = []
        for number in range(OBJECTS):
            declination = math.degrees(math.asin(1 - (2 * number + 1) / OBJECTS))
            magnitude = 16 + 8 * ((number * 0.6180339887498949) % 1)
            ascension, bands = number * GOLDEN_DEGREES % 360, (magnitude, magnitude - 0.5, magnitude - 0.75)
            rows.append((number, ascension, declination, *bands))
        made.executemany("INSERT INTO object VALUES (?, ?, ?, ?, ?, ?)", rows)
    with sqlite3.connect(FOLDER / "tap_schema") as made:
        made.execute("CREATE TABLE tables (schema_name TEXT, table_name TEXT, table_type TEXT, description TEXT)")
        made.execute("INSERT INTO tables VALUES ('sample', ?, 'table', 'A sample of objects.')", (TABLE,))
        names = "table_name TEXT, column_name TEXT, datatype TEXT, unit TEXT, ucd TEXT, description TEXT"
        made.execute(f"CREATE TABLE columns ({names})")
        made.executemany("INSERT INTO columns VALUES (?, ?, ?, ?, ?, ?)", [(TABLE, *each) for each in COLUMNS])


def distance(one: str, other: str) -> float:
    """Degrees between two points, each ``ra dec``."""
    (ra, dec), (at_ra, at_dec) = (map(math.radians, map(float, each.split()[:2])) for each in (one, other))
    half = math.sin((dec - at_dec) / 2) ** 2 + math.cos(dec) * math.cos(at_dec) * math.sin((ra - at_ra) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def opened() -> sqlite3.Connection:
    """A connection that can read the catalogue and do nothing else, for a while."""
    made = sqlite3.connect("file::memory:", uri=True)
    for name in ("sample", "tap_schema"):
        made.execute(f"ATTACH 'file:{FOLDER}/{name}?mode=ro&immutable=1' AS {name}")
    made.create_function("POINT", 3, lambda _, ra, dec: f"{ra} {dec}", deterministic=True)
    made.create_function("CIRCLE", 4, lambda _, ra, dec, radius: f"{ra} {dec} {radius}", deterministic=True)
    made.create_function("DISTANCE", 2, distance, deterministic=True)
    made.create_function(
        "CONTAINS",
        2,
        lambda point, circle: int(distance(point, circle) <= float(circle.split()[2])),
        deterministic=True,
    )
    end = time.monotonic() + LONGEST_QUERY_SECONDS
    made.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    made.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY)
    return made


def queried(adql: str, most: int) -> tuple[list[str], list[tuple[object, ...]], bool]:
    """Names, rows, and whether there were more than that many."""
    found = TOP.match(adql)
    limit = most if found is None else min(most, int(found[2]))
    text = adql if found is None else f"SELECT {found[1] or ''}{adql[found.end() :]}"
    if not re.match(r"\s*SELECT\b", text, re.IGNORECASE):
        raise QueryError("a query begins with SELECT")
    connection = opened()
    try:
        cursor = connection.execute(text)
        rows = cursor.fetchmany(limit + 1)
        names = [each[0] for each in cursor.description]
    except (sqlite3.Error, sqlite3.Warning, ValueError, AttributeError) as error:
        raise QueryError(str(error)) from error
    finally:
        connection.close()
    return names, rows[:limit], len(rows) > limit and limit == most


def votable(names: list[str], rows: list[tuple[object, ...]], *, overflow: bool) -> str:
    """The answer as a VOTable."""
    known = {name: (datatype, unit, ucd) for name, datatype, unit, ucd, _ in COLUMNS}
    fields = []
    for place, name in enumerate(names):
        kinds = {type(row[place]) for row in rows[:1]}
        datatype, unit, ucd = known.get(
            name, ("long" if int in kinds else "double" if float in kinds else "char", "", "")
        )
        more = ' arraysize="*"' if datatype == "char" else ""
        more += f" unit={quoteattr(unit)}" if unit else ""
        more += f" ucd={quoteattr(ucd)}" if ucd else ""
        fields.append(f"<FIELD name={quoteattr(name)} datatype={quoteattr(datatype)}{more}/>")
    cells = ("".join(f"<TD>{'' if cell is None else escape(str(cell))}</TD>" for cell in row) for row in rows)
    data = "".join(f"<TR>{each}</TR>" for each in cells)
    table = f"<TABLE>{''.join(fields)}<DATA><TABLEDATA>{data}</TABLEDATA></DATA></TABLE>"
    after = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' if overflow else ""
    return _votable(f'<INFO name="QUERY_STATUS" value="OK"/>{table}{after}')


def _votable(inside: str) -> str:
    head = (
        '<?xml version="1.0" encoding="utf-8"?>\n<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
    )
    return f'{head}<RESOURCE type="results">{inside}</RESOURCE></VOTABLE>\n'


def sync(asked: dict[str, str]) -> tuple[int, str, str]:
    """Status, media type and body of ``/tap/sync``."""
    try:
        if asked.get("LANG", "").partition("-")[0] != "ADQL":
            raise QueryError("LANG is to be ADQL")
        most = min(int(asked.get("MAXREC", MAX_ROWS)), MAX_ROWS)
        form = (asked.get("RESPONSEFORMAT") or asked.get("FORMAT") or "votable").lower()
        names, rows, overflow = queried(asked.get("QUERY", ""), max(0, most))
    except (QueryError, ValueError) as error:
        told = f'<INFO name="QUERY_STATUS" value="ERROR">{escape(str(error))}</INFO>'
        return 400, "application/x-votable+xml", _votable(told)
    if form in ("csv", "text/csv"):
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows([names, *rows])
        return 200, "text/csv;header=present", text.getvalue()
    return 200, "application/x-votable+xml", votable(names, rows, overflow=overflow)


def availability() -> str:
    """VOSI: whether queries are answered, found out by one."""
    said = "true" if queried(f"SELECT COUNT(*) FROM {TABLE}", 1)[1] == [(OBJECTS,)] else "false"
    return (
        '<vosi:availability xmlns:vosi="http://www.ivoa.net/xml/VOSIAvailability/v1.0">'
        f"<vosi:available>{said}</vosi:available></vosi:availability>\n"
    )


def capabilities() -> str:
    """VOSI: what there is, and where."""
    base = f"https://{NAME}/tap"
    parts = {"ivo://ivoa.net/std/TAP": base, f"{VOSI}#availability": f"{base}/availability"}
    parts |= {f"{VOSI}#capabilities": f"{base}/capabilities", f"{VOSI}#tables-1.1": f"{base}/tables"}
    told = "".join(
        f"<capability standardID={quoteattr(name)}>"
        f"<interface><accessURL>{escape(url)}</accessURL></interface></capability>"
        for name, url in parts.items()
    )
    return f'<v:capabilities xmlns:v="http://www.ivoa.net/xml/VOSICapabilities/v1.0">{told}</v:capabilities>\n'


def tables() -> str:
    """VOSI: tables and their columns."""
    columns = "".join(f"<column><name>{name}</name><dataType>{kind}</dataType></column>" for name, kind, *_ in COLUMNS)
    inside = f"<schema><name>sample</name><table><name>{TABLE}</name>{columns}</table></schema>"
    return f'<v:tableset xmlns:v="http://www.ivoa.net/xml/VOSITables/v1.0">{inside}</v:tableset>\n'


def measures() -> str:
    """What Prometheus reads."""
    (pages,) = re.findall(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    lines = [f"process_resident_memory_bytes {1024 * int(pages)}"]
    lines += [f'tap_requests_total{{status="{status}"}} {number}' for status, number in sorted(answered.items())]
    return "\n".join(lines) + "\n"


PAGES = {"/tap/availability": availability, "/tap/capabilities": capabilities, "/tap/tables": tables}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = f"tap/{VERSION}"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """A request; while none is there yet the connection may be closed."""
        idle.add(self.connection)
        super().handle_one_request()
        self.close_connection |= over.is_set()

    def do_GET(self) -> None:
        """Queries and pages."""
        where = urlsplit(self.path)
        self._answer(where.path, where.query)

    def do_POST(self) -> None:
        """Queries too long for an address."""
        size = int(self.headers.get("Content-Length") or 0)
        if size > LARGEST_BODY_BYTES:
            self.close_connection = True
            self._send(400, "text/plain", "too long\n")
            return
        self._answer(urlsplit(self.path).path, self.rfile.read(size).decode(errors="replace"))

    def _answer(self, path: str, query: str) -> None:
        idle.discard(self.connection)
        if path == "/tap/sync":
            self._send(*sync({name.upper(): value for name, value in parse_qsl(query)}))
        elif path in PAGES:
            self._send(200, "text/xml", PAGES[path]())
        elif path == "/metrics" and "X-Forwarded-Proto" not in self.headers:
            self._send(200, "text/plain; version=0.0.4", measures())
        else:
            self._send(404, "text/plain", "there is nothing of that name\n")

    def _send(self, status: int, kind: str, text: str) -> None:
        answered[status] += 1
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def finish(self) -> None:
        """The connection is over."""
        idle.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing: who asked for what is nobody's business."""


class Server(ThreadingHTTPServer):
    """Answers over TLS; the handshake is the connection's own thread's."""

    daemon_threads = False
    request_queue_size = 256

    def get_request(self) -> tuple[socket.socket, object]:
        """A connection, with TLS yet to be spoken."""
        connection, where = self.socket.accept()
        connection.settimeout(IDLE_SECONDS)
        return self.trust.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), where

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no error of ours."""


def main() -> None:
    """Serve until told to end; what was begun is ended first."""
    make_sample()
    server = Server(("0.0.0.0", PORT), Handler)
    server.trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.trust.load_cert_chain(f"{PKI}/host.crt", f"{PKI}/host.key")

    def end(*_: object) -> None:
        over.set()
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever(0.2)
    for connection in list(idle):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
    server.server_close()


main()
