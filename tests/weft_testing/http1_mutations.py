"""Seeds and mutations for HTTP/1.1 bytes: what property tests and the long fuzz run feed the parsers."""

from random import Random

from weft_testing.http1_cases import REQUESTS, RESPONSES

FRAGMENTS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b"\r\n\t", b" ", b"\t", b"  ", b"\x00", b"\x01", b"\x0b", b"\x7f",
    b"\x80", b"\xa0", b"\xff", b":", b" :", b": ", b";", b",", b"=", b'"', b"#", b"\\", b"?", b"/", b"//", b"/../",
    b"/./", b"/..;/", b"%2e", b"%2F", b"%5c", b"%00", b"%", b"%25", b"%c0%af", b"*", b"@", b"[::1]", b"_", b"-",
    b"0", b"00", b"5", b"05", b"+5", b"0x5", b"ffffffffffffffff", b"9007199254740992", b"0\r\n\r\n", b"1\r\nx\r\n",
    b"GET", b"CONNECT", b"OPTIONS", b"HEAD", b"get", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http://a",
    b"Host: a\r\n", b"Host: b\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"content-length:1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"TE: trailers\r\n", b"TE: gzip\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\n", b"Connection: x-hop, TE\r\n",
    b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"HTTP2-Settings: AA\r\n", b"Expect: 100-continue\r\n",
    b"Expect: x\r\n", b"Keep-Alive: 5\r\n", b"Proxy-Connection: x\r\n", b"Weft-Source: x\r\n", b"weft_x: y\r\n",
    b"X-Hop: 1\r\n", b"X_Y: z\r\n", b"Trailer: X\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"204", b"304", b"101", b"600",
)  # fmt: skip

MAX_SEED_BYTES = 2000

REQUEST_SEEDS = tuple(case.data for case in REQUESTS if len(case.data) <= MAX_SEED_BYTES)
RESPONSE_SEEDS = tuple((case.data, case.method) for case in RESPONSES if len(case.data) <= MAX_SEED_BYTES)
CHUNK_SEEDS = tuple(
    data.partition(b"\r\n\r\n")[2]
    for data in REQUEST_SEEDS
    if b"Transfer-Encoding: chunked\r\n\r\n" in data and not data.endswith(b"\r\n\r\n\r\n")
)
TARGET_SEEDS = (
    b"/", b"/a/b", b"/a/./b/../c", b"/a//b", b"/%61%2e%2E/", b"/a;b=c/d", b"/..;/a", b"/%252e%252e", b"/a?b=c#d",
    b"/caf%c3%a9", b"/%C0%AF", b"/a\\b", b"http://a.example/b?c", b"*", b"a:80", b"/[a]|{b}", b"/.well-known/x", b"/;x/",
    b"/a/%2e%2e%3bx/b", b"/%2f", b"/%u002e", b"//..//a", b"/...", b"/a?/../b%2f",
)  # fmt: skip
HOST_SEEDS = (
    b"a.example",
    b"A.Example.:80",
    b"[::1]:80",
    b"[::FFFF:1.2.3.4]",
    b"1.2.3.4:8080",
    b"a@b",
    b"my_svc",
    b"a:",
)


def mutate(seed: bytes, rng: Random, rounds: int = 4) -> bytes:
    """Change bytes at a few random places: insert, replace, delete, repeat and swap pieces."""
    data = bytearray(seed)
    for _ in range(rng.randrange(1, rounds + 1)):
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + rng.choice((1, 1, 1, 2, 5, 20)))
        match rng.randrange(6):
            case 0 | 1:
                data[place:place] = rng.choice(FRAGMENTS)
            case 2:
                data[place:end] = rng.choice(FRAGMENTS)
            case 3:
                del data[place:end]
            case 4:
                data[place:place] = data[place:end]
            case _:
                data[place:end] = bytes([rng.randrange(256)])
    return bytes(data)


def mutated(seeds: tuple[bytes, ...], rng: Random) -> bytes:
    """Return a mutation of one seed, or of two joined."""
    seed = rng.choice(seeds)
    if rng.random() < 0.1:
        seed += rng.choice(seeds)
    return mutate(seed, rng)
