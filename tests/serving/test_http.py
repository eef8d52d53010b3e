"""HTTP as clients speak it: methods, codings, connections, pages of other origins."""

import gzip
import json
import re
import socket
import zlib

import pytest

from serving.guard import GZIP_MEMBERS
from serving.options import Limits
from tests.serving.conftest import serve

PREDICT = "/v1/models/all:predict"
TEXTS = json.dumps({"signature_name": "echo", "instances": ["é"]}).encode()
GOOD = {"predictions": [{"b64": "w6k="}]}
PACKED = gzip.compress(TEXTS)
READ = ["/v1/models/all", "/v1/models/all/versions/1", "/v1/models/all/metadata"]
READ += ["/v1/models/all/versions/1/metadata", "/healthz", "/readyz", "/metrics", "/docs"]
READ += ["/openapi.json", "/docs/static/swagger-ui.css"]
ASK = [PREDICT, "/v1/models/all/versions/1:predict"]


def short(value):
    """The name of a case: bodies of gzip hold the time, and others are long."""
    return "" if isinstance(value, bytes) else str(value)


@pytest.mark.parametrize("path", READ)
def test_head_is_get_without_its_body(client, path):
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    if path != "/metrics":  # which differ from call to call
        assert head.headers["Content-Length"] == str(len(get.content))


@pytest.mark.parametrize("path", READ + ASK)
def test_every_route_says_what_it_allows(client, path):
    allowed = {"OPTIONS", "POST"} if path in ASK else {"GET", "HEAD", "OPTIONS"}
    for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
        answer = client.request(method, path)
        if method == "OPTIONS":
            assert (answer.status_code, answer.content) == (200, b"")
        elif method not in allowed:
            ours = path.startswith("/v1/") and method != "HEAD"
            assert answer.status_code == (400 if ours else 405)
        else:
            continue
        assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    ("path", "status"),
    [("/other", 404), ("/v1/other", 400), ("/v1/models", 400), ("/v1/models/all:classify", 400)],
)
def test_unknown_paths_have_no_methods(client, method, path, status):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers.get("Allow")) == (status, None)


def test_head_and_options_of_what_is_not_ready(saved_model, tmp_path):
    (tmp_path / "1").mkdir()
    with serve({"m": tmp_path}, token="secret", ready=False) as client:
        assert client.head("/healthz").status_code == 200
        assert client.head("/readyz").status_code == 503
        assert client.head("/v1/models/m").status_code == 401


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", PACKED, 200),
        ("GZip", PACKED, 200),
        ("x-gzip", PACKED, 200),
        ("identity, gzip", PACKED, 200),
        ("identity", TEXTS, 200),
        ("gzip", gzip.compress(TEXTS[:9]) + gzip.compress(TEXTS[9:]), 200),
        ("gzip", gzip.compress(b""), 400),
        ("gzip", PACKED[:-1], 400),
        ("gzip", PACKED[:-9], 400),
        ("gzip", PACKED[:5], 400),
        ("gzip", PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], 400),
        ("gzip", PACKED + b"rest", 400),
        ("gzip", TEXTS, 400),
        ("gzip", zlib.compress(TEXTS), 400),
        ("identity", PACKED, 400),
        ("gzip", gzip.compress(bytes(60_000)), 413),
        ("gzip", gzip.compress(bytes(30_000)) * 2, 413),
        ("gzip", gzip.compress(b"") * (GZIP_MEMBERS + 1), 400),
        ("gzip", gzip.compress(bytes(10**7)), 413),
        ("deflate", zlib.compress(TEXTS), 415),
        ("br", TEXTS, 415),
        ("zstd", TEXTS, 415),
        ("gzip, gzip", gzip.compress(PACKED), 415),
        ("*", TEXTS, 415),
        ("é", TEXTS, 415),
    ],
    ids=short,
)
def test_gzip_is_taken_within_the_limits(limited, coding, body, status):
    headers = [("Content-Encoding", coding.encode("latin-1"))]
    answer = limited.post(PREDICT, content=body, headers=headers)
    assert answer.status_code == status
    assert (answer.json() == GOOD) if status == 200 else (list(answer.json()) == ["error"])
    assert (answer.headers.get("Accept-Encoding") == "gzip") == (status == 415)
    assert limited.post(PREDICT, content=TEXTS).json() == GOOD
    assert "serving_pending_bytes 0.0" in limited.get("/metrics").text


@pytest.fixture(scope="module")
def limited(saved_model):
    with serve({"all": saved_model}, Limits(max_request_mib=0.05)) as client:
        yield client


def request(body=TEXTS, line=f"POST {PREDICT} HTTP/1.1", headers=(), close=True):
    lines = [line, "Host: x", f"Content-Length: {len(body)}", *headers]
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def exchanged(client, data):
    """What comes back until the server closes the connection."""
    parts = []
    with socket.create_connection((client.base_url.host, client.base_url.port), 10) as connection:
        connection.sendall(data)
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def statuses(answers):
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", answers)]


BROKEN = request(b"{", close=False)
OTHER = request(line="POST /v1/models/none:predict HTTP/1.1", close=False)
CODED = request(headers=["Content-Encoding: br"], close=False)
CHUNKED = (
    f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
).encode()
CHUNKS = b"4;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\nTrailer: x\r\n\r\n"
CHUNKS %= (TEXTS[:4], len(TEXTS) - 4, TEXTS[4:])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (request(), [200]),
        (request(line=f"POST {PREDICT} HTTP/1.0", close=False), [200]),
        (request(line=f"POST http://other.example:80{PREDICT} HTTP/1.1"), [200]),
        (request(line=f"POST {PREDICT}?x=1&x=%00#y HTTP/1.1"), [200]),
        (request(line="POST /v1/models/%61ll%3apredict HTTP/1.1"), [200]),
        (request(line="POST /v1/models/all;v=1:predict HTTP/1.1"), [404]),
        (request(line="POST /v1/models/al%6:predict HTTP/1.1"), [404]),
        (request(headers=["Expect: 100-continue"]), [100, 200]),
        (request(b"", headers=["Content-Encoding: br", "Expect: 100-continue"]), [415]),
        (BROKEN + OTHER + CODED + request(), [400, 404, 415, 200]),
        (request(close=False) * 3 + request(), [200] * 4),
        (CHUNKED + CHUNKS, [200]),
        (CHUNKED + b"zz\r\n", [400]),
        (request(headers=["Content-Length: 3"]), [400]),
        (request(headers=["Transfer-Encoding: chunked"]), [400]),
        (request(headers=["Content-Type: text/plain; charset=utf-16"]), [200]),
        (request(headers=["Content-Type: multipart/form-data; boundary=x"]), [200]),
        (request(headers=["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"]), [200]),
        (request(headers=["Upgrade: websocket", "Connection: Upgrade"], body=b""), [400]),
        (request(line="OPTIONS * HTTP/1.1", body=b""), [404]),
        (request(line="FOO / HTTP/1.1", body=b""), [400]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
        (b"\x16\x03\x01\x02\x00\x01\x00", [400]),
    ],
    ids=short,
)
def test_requests_of_other_clients_are_understood(client, data, expected):
    answers = exchanged(client, data)
    assert statuses(answers) == expected
    assert answers.count(json.dumps(GOOD, separators=(",", ":")).encode()) == expected.count(200)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"\xef\xbb\xbf" + TEXTS, None),
        (b" \r\n\t" + TEXTS + b"\n", None),
        (TEXTS[:-1] + b', "instances": ["\\u00e9"]}', None),  # of a key twice the last counts
        (TEXTS[:-1] + b', "other": {"deep": [[1]]}}', None),
        (b"\xef\xbb\xbf", "JSON Parse error"),
        (TEXTS.decode().encode("utf-16"), "expected UTF-8, got utf-16"),
        (TEXTS.decode().encode("utf-16-le"), "expected UTF-8, got utf-16-le"),
        (TEXTS.decode().encode("utf-32"), "expected UTF-8, got utf-32"),
        ('{"instances": ["é"]}'.encode("latin-1"), "not valid UTF-8"),
        (b'{"instances": [NaN]}', "JSON Parse error"),
        (b'{"inputs": -Infinity}', "JSON Parse error"),
        (b'{"inputs": 1e999}', "JSON Parse error"),
        (b'{"inputs": [1,]}', "JSON Parse error"),
        (b"{'inputs': [1]}", "JSON Parse error"),
        (b'{"inputs": [1]} // x', "JSON Parse error"),
        (b'{"signature_name": "echo", "inputs": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}", "level"),
        (b'{"inputs": ' + b"[" * 9000 + b"]" * 9000 + b"}", "JSON Parse error"),
        (b'{"inputs": ' + b'{"a": ' * 9000 + b"1" + b"}" * 9001, "JSON Parse error"),
        (b'{"signature_name": "echo", "inputs": "\\ud800"}', "JSON Parse error"),
        (b'{"signature_name": "echo", "inputs": ["a\\u0000"]}', None),
        (b"", "JSON Parse error"),
        (b"null", "Is not object"),
    ],
    ids=short,
)
def test_bodies_are_json_in_utf_8(client, body, error):
    answer = client.post(PREDICT, content=body)
    assert answer.status_code == (400 if error else 200)
    assert not error or error in answer.json()["error"]


ORIGIN = {"Origin": "https://page.example"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "POST"}
PREFLIGHT["Access-Control-Request-Headers"] = "authorization, content-type, content-encoding"


def test_pages_of_other_origins_are_let_in_only_where_they_are_named(client, saved_model):
    for answer in (
        client.options(PREDICT, headers=PREFLIGHT),
        client.get("/readyz", headers=ORIGIN),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    origins = ["https://page.example", "http://localhost:3000"]
    with serve({"all": saved_model}, token="secret", origins=origins) as named:
        answer = named.options(PREDICT, headers=PREFLIGHT)  # browsers send no token with it
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        allowed = answer.headers["Access-Control-Allow-Headers"].lower()
        assert {"authorization", "content-type", "content-encoding"} <= set(allowed.split(", "))
        for token, status in (("wrong", 401), ("secret", 200)):  # errors can be read there, too
            headers = {**ORIGIN, "Authorization": f"Bearer {token}"}
            answer = named.post(PREDICT, content=TEXTS, headers=headers)
            assert (answer.status_code, answer.headers["Vary"]) == (status, "Origin")
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
        other = {**PREFLIGHT, "Origin": "https://other.example"}
        answer = named.options(PREDICT, headers=other)
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (
            400,
            None,
        )
