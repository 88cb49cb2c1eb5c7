#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An independent decoder and encoder of hsmpool containers, written from docs/format.md.

It shares no line with the library: where the two disagree, one of them or the document
is wrong. Only for tests: it holds whole containers in memory and keys on its command
line.

  decode_container.py decode [--key HEX | --rsa PEM-FILE] [--context TEXT] IN OUT
  decode_container.py encode --key HEX [--type gcm|kw|kwp|direct] [...] IN OUT

With --packed-of N the encoder's input is the packed body of a single chunk that claims N
bytes of plaintext: an authentic container of whatever an enemy makes up.

Exit code 0, or 1 with one line on stderr that says what does not verify.
"""
import argparse
import hashlib
import hmac
import os
import struct
import sys

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = bytes.fromhex("8948534d500d0a1a")
ENVELOPE, DIRECT = 1, 2
NONE, ZSTD = 0, 1
LAST, PACKED = 1, 2
GCM, KW, KWP, OAEP, DIRECT_KEY = 1, 2, 3, 4, 5
HASHES = {1: hashes.SHA1, 2: hashes.SHA256, 3: hashes.SHA384, 4: hashes.SHA512}


class Invalid(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Invalid(what)


def label(text):
    return text.encode("ascii") + b"\0"


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def context_hash(container_id, context):
    if context is None:
        return bytes(32)
    return sha256(label("hsmpool v1 context"), container_id, context.encode())


def derive(data_key, fixed, purpose):
    bound = fixed[:64]
    return HKDF(hashes.SHA256(), 32, salt=fixed[16:32],
                info=label(purpose) + bound).derive(data_key)


def header_mac(data_key, fixed, part):
    key = derive(data_key, fixed, "hsmpool v1 header key")
    return hmac.new(key, fixed + part, hashlib.sha256).digest()


def wrap_aad(container_id):
    return label("hsmpool v1 data key wrap") + container_id


def chunk_limit(mode, chunk_size):
    return 2**24 if mode == DIRECT else min(2**32, 2**52 // chunk_size)


def chunk_aad(mode, fixed, part, index, head):
    if mode == DIRECT:
        name, header = "hsmpool v1 direct chunk", sha256(fixed, part)
    else:
        name, header = "hsmpool v1 envelope chunk", sha256(fixed)
    return label(name) + fixed[16:32] + struct.pack(">Q", index) + head + header


# ---- decoding ----

class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count, what):
        require(self.at + count <= len(self.data), "cut: " + what)
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form, what):
        return struct.unpack(">" + form, self.take(struct.calcsize(form), what))[0]

    def field(self, form, longest, what):
        length = self.number(form, what)
        require(length <= longest, what + " is too long")
        return self.take(length, what)

    def is_at_end(self):
        return self.at == len(self.data)


def parse_fixed(fixed):
    require(fixed[:8] == MAGIC, "not a container")
    version, mode, suite, compression, chunk_size = struct.unpack(">BBBBI", fixed[8:16])
    require(version == 1 and suite == 1, "unknown version or suite")
    require(compression in (NONE, ZSTD), "unknown compression")
    require(mode in (ENVELOPE, DIRECT), "unknown mode")
    largest = 1048576 if mode == DIRECT else 67108864
    require(1024 <= chunk_size <= largest, "chunk size")
    require(mode == ENVELOPE or fixed[64:] == bytes(32), "commitment in direct mode")
    return mode, compression, chunk_size


def entry_is_valid(entry):
    kind, parameter, check, size = (entry["type"], entry["parameter"],
                                    len(entry["check"]), len(entry["wrapped"]))
    if kind == OAEP:
        return parameter in HASHES and check in (0, 32) and 256 <= size <= 2048
    sizes = {GCM: 60, KW: 40, KWP: 40, DIRECT_KEY: 0}
    if kind in sizes:
        return parameter == 0 and check <= 3 and size == sizes[kind]
    return True


def parse_part(part, mode):
    cursor = Cursor(part[4:])
    count = cursor.number("H", "count")
    require(1 <= count <= (1 if mode == DIRECT else 16), "number of recipients")
    entries = []
    for _ in range(count):
        inner = Cursor(cursor.field("H", 65535, "recipient"))
        entry = {
            "type": inner.number("B", "type"),
            "parameter": inner.number("B", "parameter"),
            "id": inner.field("B", 64, "key id"),
            "label": inner.field("B", 128, "label"),
            "check": inner.field("B", 32, "check"),
            "wrapped": inner.field("H", 4096, "wrapped"),
        }
        require(inner.is_at_end(), "bytes behind a recipient's fields")
        require(entry_is_valid(entry), "recipient")
        require((entry["type"] == DIRECT_KEY) == (mode == DIRECT), "recipient's type")
        entries.append(entry)
    require(cursor.is_at_end(), "bytes behind the recipients")
    return entries


def unwrap(entry, aes, rsa, container_id):
    """The candidate that a recipient yields under our key, or None."""
    kind, wrapped = entry["type"], entry["wrapped"]
    try:
        if kind == OAEP and rsa:
            algorithm = HASHES[entry["parameter"]]
            return rsa.decrypt(wrapped, padding.OAEP(padding.MGF1(algorithm()),
                                                     algorithm(), None))
        if kind == GCM and aes:
            return AESGCM(aes).decrypt(wrapped[:12], wrapped[12:], wrap_aad(container_id))
        if kind == KW and aes:
            return keywrap.aes_key_unwrap(aes, wrapped)
        if kind == KWP and aes:
            return keywrap.aes_key_unwrap_with_padding(aes, wrapped)
    except (InvalidTag, keywrap.InvalidUnwrap, ValueError):
        pass
    return None


def find_data_key(entries, aes, rsa, fixed):
    for entry in entries:
        candidate = unwrap(entry, aes, rsa, fixed[16:32])
        if candidate is None or len(candidate) != 32:
            continue
        commitment = derive(candidate, fixed, "hsmpool v1 key commitment")
        if hmac.compare_digest(commitment, fixed[64:]):
            return candidate
    raise Invalid("no recipient opens it")


def shortest(plain_length):
    return -(-plain_length // 1024)


def parse_head(head, compression, chunk_size, index, limit):
    flags, plain_length, body_length = struct.unpack(">BII", head)
    is_last, is_packed = flags & LAST, flags & PACKED
    require(flags & ~(LAST | PACKED) == 0, "flags")
    require(compression == ZSTD or not is_packed, "compressed chunk")
    require(plain_length <= chunk_size, "lengths")
    if is_packed:
        require(shortest(plain_length) <= body_length < plain_length, "lengths")
    else:
        require(plain_length == body_length, "lengths")
    require(is_last or plain_length == chunk_size, "short chunk that is not the last")
    require(plain_length > 0 or index == 0, "empty chunk")
    require(index < limit and (is_last or index + 1 < limit), "too many chunks")
    return is_last, is_packed, plain_length, body_length


def unpack(packed, plain_length):
    require(packed[:4] == bytes.fromhex("28b52ffd"), "not a zstd frame")
    require(len(packed) > 4 and packed[4] & 0x3f == 0x20, "form of the zstd frame")
    frame, plain, at = zstandard.ZstdDecompressor().decompressobj(), b"", 0
    try:
        require(zstandard.frame_content_size(packed) == plain_length, "content size")
        while not frame.eof and at < len(packed):  # in pieces: it may be a bomb
            plain += frame.decompress(packed[at:at + 64])
            at += 64
            require(len(plain) <= plain_length, "length of the zstd frame")
    except zstandard.ZstdError as reason:
        raise Invalid("zstd: %s" % reason)
    require(frame.eof and len(plain) == plain_length, "length of the zstd frame")
    behind = frame.unused_data + packed[at:]
    require(not behind.strip(b"\0"), "something behind the zstd frame")
    return plain


def decode(data, aes, rsa, context):
    cursor = Cursor(data)
    fixed = cursor.take(96, "fixed part")
    mode, compression, chunk_size = parse_fixed(fixed)
    require(context_hash(fixed[16:32], context) == fixed[32:64], "another context")
    length = cursor.take(4, "recipient part")
    size = struct.unpack(">I", length)[0]
    require(2 <= size <= 65532, "length of the recipient part")
    part = length + cursor.take(size, "recipient part")
    entries = parse_part(part, mode)
    if mode == ENVELOPE:
        mac = cursor.take(32, "header MAC")
        data_key = find_data_key(entries, aes, rsa, fixed)
        require(hmac.compare_digest(mac, header_mac(data_key, fixed, part)), "header MAC")
        key = derive(data_key, fixed, "hsmpool v1 payload key")
    else:
        require(aes is not None, "direct mode needs the AES key")
        key = aes
    plain, index, is_last = [], 0, False
    while not is_last:
        head = cursor.take(9, "chunk %d" % index)
        is_last, is_packed, plain_length, size = parse_head(
            head, compression, chunk_size, index, chunk_limit(mode, chunk_size))
        if mode == DIRECT:
            iv = cursor.take(12, "chunk %d" % index)
        else:
            iv = index.to_bytes(11, "big") + bytes([1 if is_last else 0])
        sealed = cursor.take(size + 16, "chunk %d" % index)
        require(not is_last or cursor.is_at_end(), "bytes after the last chunk")
        try:
            body = AESGCM(key).decrypt(iv, sealed,
                                       chunk_aad(mode, fixed, part, index, head))
        except InvalidTag:
            raise Invalid("chunk %d" % index)
        plain.append(unpack(body, plain_length) if is_packed else body)
        index += 1
    return b"".join(plain)


# ---- encoding ----

class Randomness:
    """The system's, or for test vectors a stream made of a seed."""

    def __init__(self, seed):
        self.seed, self.count = seed, 0

    def take(self, size):
        if self.seed is None:
            return os.urandom(size)
        self.count += 1
        return sha256(self.seed.encode(), struct.pack(">I", self.count))[:size]


def check_value(aes):
    encryptor = Cipher(algorithms.AES(aes), modes.ECB()).encryptor()
    return encryptor.update(bytes(16))[:3]


def make_part(kind, args, wrapped):
    name = args.label.encode()
    key_id = bytes.fromhex(args.id)
    check = b"" if args.no_check else check_value(bytes.fromhex(args.key))
    entry = struct.pack(">BB", kind, 0)
    for field in (key_id, name, check):
        entry += struct.pack(">B", len(field)) + field
    entry += struct.pack(">H", len(wrapped)) + wrapped
    part = struct.pack(">H", 1) + struct.pack(">H", len(entry)) + entry
    return struct.pack(">I", len(part)) + part


def wrap(kind, aes, data_key, container_id, random):
    if kind == GCM:
        iv = random.take(12)
        return iv + AESGCM(aes).encrypt(iv, data_key, wrap_aad(container_id))
    if kind == KW:
        return keywrap.aes_key_wrap(aes, data_key)
    return keywrap.aes_key_wrap_with_padding(aes, data_key)


def pack(chunk, chunk_size):
    """The packed chunk, or None if that is not shorter."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, window_log=max(10, (chunk_size - 1).bit_length()))
    frame = zstandard.ZstdCompressor(compression_params=parameters).compress(chunk)
    packed = frame.ljust(shortest(len(chunk)), b"\0")
    return packed if len(packed) < len(chunk) else None


def make_bodies(plain, args):
    """(plaintext length, body, flags but the last) of each chunk."""
    if args.packed_of is not None:
        return [(args.packed_of, plain, PACKED)]
    bodies = []
    for at in range(0, max(1, len(plain)), args.chunk_size):
        chunk = plain[at:at + args.chunk_size]
        packed = pack(chunk, args.chunk_size) if args.compress else None
        bodies.append((len(chunk), packed, PACKED) if packed else (len(chunk), chunk, 0))
    return bodies


def encode(plain, args):
    kind = {"gcm": GCM, "kw": KW, "kwp": KWP, "direct": DIRECT_KEY}[args.type]
    mode = DIRECT if kind == DIRECT_KEY else ENVELOPE
    compression = ZSTD if args.compress or args.packed_of is not None else NONE
    aes, random = bytes.fromhex(args.key), Randomness(args.seed)
    container_id = random.take(16)
    fixed = MAGIC + struct.pack(">BBBBI", 1, mode, 1, compression, args.chunk_size)
    fixed += container_id + context_hash(container_id, args.context)
    if mode == ENVELOPE:
        data_key = random.take(32)
        fixed += derive(data_key, fixed, "hsmpool v1 key commitment")
        part = make_part(kind, args, wrap(kind, aes, data_key, container_id, random))
        out = [fixed, part, header_mac(data_key, fixed, part)]
        key = derive(data_key, fixed, "hsmpool v1 payload key")
    else:
        fixed += bytes(32)
        part = make_part(kind, args, b"")
        out = [fixed, part]
        key = aes
    bodies = make_bodies(plain, args)
    for index, (plain_length, body, flags) in enumerate(bodies):
        is_last = index == len(bodies) - 1
        head = struct.pack(">BII", flags | (LAST if is_last else 0), plain_length,
                           len(body))
        if mode == DIRECT:
            iv = random.take(12)
        else:
            iv = index.to_bytes(11, "big") + bytes([1 if is_last else 0])
        sealed = AESGCM(key).encrypt(iv, body,
                                     chunk_aad(mode, fixed, part, index, head))
        out += [head, iv if mode == DIRECT else b"", sealed]
    if args.explain and mode == ENVELOPE:
        print("data key    " + data_key.hex())
        print("payload key " + key.hex())
        print("header key  " + derive(data_key, fixed, "hsmpool v1 header key").hex())
    return b"".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verb", choices=("decode", "encode"))
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--key", help="AES key in hex")
    parser.add_argument("--rsa", help="private RSA key, PEM file")
    parser.add_argument("--context")
    parser.add_argument("--type", default="gcm", choices=("gcm", "kw", "kwp", "direct"))
    parser.add_argument("--chunk-size", type=int, default=1024)
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--packed-of", type=int, help="the input is a packed body")
    parser.add_argument("--id", default="", help="key id in hex")
    parser.add_argument("--label", default="")
    parser.add_argument("--no-check", action="store_true", help="without check value")
    parser.add_argument("--seed", help="no randomness: for test vectors")
    parser.add_argument("--explain", action="store_true", help="print the keys")
    args = parser.parse_args()
    with open(args.input, "rb") as source:
        data = source.read()
    try:
        if args.verb == "encode":
            result = encode(data, args)
        else:
            rsa = None
            if args.rsa:
                with open(args.rsa, "rb") as pem:
                    rsa = serialization.load_pem_private_key(pem.read(), None)
            aes = bytes.fromhex(args.key) if args.key else None
            result = decode(data, aes, rsa, args.context)
    except Invalid as reason:
        print("invalid container: %s" % reason, file=sys.stderr)
        return 1
    with open(args.output, "wb") as target:
        target.write(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
