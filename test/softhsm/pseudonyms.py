#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pseudonyms computed anew, from docs/pseudonyms.md and NIST SP 800-38G alone.

It shares no line with the library: where the two disagree, one of them or the document
is wrong. Only for tests: the HSM's key is on its command line.

  pseudonyms.py answers FILE      each line: what was asked, and what the library answered
  pseudonyms.py document FILE.md  the rows of its section of test vectors
  pseudonyms.py token KEY DOMAIN ALPHABET LENGTH VALUE     KEY in hexadecimal digits
  pseudonyms.py fpe KEY DOMAIN ALPHABET VALUE

Exit code 0, or 1 with a line on stderr for each answer that is another.
"""
import hashlib
import hmac
import re
import string
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALPHABETS = {
    "digits": DIGITS, "hex": "0123456789abcdef", "lower": LOWER, "upper": UPPER,
    "base32": UPPER + "234567", "alnum": DIGITS + LOWER,
    "base62": DIGITS + UPPER + LOWER, "base64url": UPPER + LOWER + DIGITS + "-_",
    "printable": "".join(map(chr, range(32, 127))),
}


def alphabet(name):
    return name[len("chars:"):] if name.startswith("chars:") else ALPHABETS[name]


def keyed(key, label, domain, rest=b""):
    domain = domain.encode()
    message = label.encode() + b"\0" + len(domain).to_bytes(4, "big") + domain + rest
    return hmac.new(key, message, hashlib.sha256).digest()


def token(key, domain, characters, length, value):
    fraction = int.from_bytes(
        keyed(key, "hsmpool v1 pseudonym token", domain, value.encode()), "big")
    digits = fraction * len(characters) ** length >> 256
    made = ""
    for _ in range(length):
        digits, digit = divmod(digits, len(characters))
        made = characters[digit] + made
    return made


# ---- FF1, step by step as the standard has it ----

def cbc_mac(key, data):
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return encryptor.update(data)[-16:]


def aes(key, block):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def num(numerals, radix):
    x = 0
    for numeral in numerals:
        x = x * radix + numeral
    return x


def strm(x, radix, m):
    numerals = []
    for _ in range(m):
        x, numeral = divmod(x, radix)
        numerals.append(numeral)
    return numerals[::-1]


def ff1(key, tweak, radix, numerals):
    n, t = len(numerals), len(tweak)
    u = n // 2
    v = n - u
    left, right = numerals[:u], numerals[u:]
    bits = 0
    while 1 << bits < radix ** v:
        bits += 1
    b = (bits + 7) // 8
    d = 4 * ((b + 3) // 4) + 4
    p = (bytes([1, 2, 1]) + radix.to_bytes(3, "big") + bytes([10, u % 256]) +
         n.to_bytes(4, "big") + t.to_bytes(4, "big"))
    for i in range(10):
        q = (tweak + bytes((-t - b - 1) % 16) + bytes([i]) +
             num(right, radix).to_bytes(b, "big"))
        r = cbc_mac(key, p + q)
        s = r
        for j in range(1, (d + 15) // 16):
            s += aes(key, (int.from_bytes(r, "big") ^ j).to_bytes(16, "big"))
        m = v if i % 2 else u
        c = (num(left, radix) + int.from_bytes(s[:d], "big")) % radix ** m
        left, right = right, strm(c, radix, m)
    return left + right


def fpe(key, domain, characters, value):
    ff1_key = keyed(key, "hsmpool v1 pseudonym FF1 key", domain)
    numerals = ff1(ff1_key, domain.encode(), len(characters),
                   [characters.index(c) for c in value])
    return "".join(characters[numeral] for numeral in numerals)


# ---- verbs ----

def asked(fields):
    """The right answer to one question."""
    kind, key, *rest = fields
    key = bytes.fromhex(key)
    if kind == "ff1":
        tweak, radix, numerals = rest
        made = ff1(key, bytes.fromhex(tweak), int(radix),
                   [int(numeral) for numeral in numerals.split(",")])
        return ",".join(map(str, made))
    if kind == "token":
        domain, name, length, value = rest
        return token(key, domain, alphabet(name), int(length), value)
    domain, name, value = rest
    return fpe(key, domain, alphabet(name), value)


def compare(questions):
    """The exit code; questions are pairs of fields and an answer."""
    wrong = count = 0
    for fields, answer in questions:
        count += 1
        right = asked(fields)
        if right != answer:
            wrong += 1
            print(f"{' '.join(fields)}: {answer}, right is {right}", file=sys.stderr)
    if count == 0:
        print("nothing was asked", file=sys.stderr)
    return 0 if count and not wrong else 1


def of_file(path):
    """Lines of fields between tabs, the answer last."""
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            *fields, answer = line.rstrip("\n").split("\t")
            yield fields, answer


def of_document(path):
    """The rows `| token | domain | alphabet | length | value | answer |`."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    key = re.search(r"`([0-9a-f]{64})`", text)[1]
    for row in re.findall(r"^\| (token|fpe) \| (.*) \|$", text, re.MULTILINE):
        domain, name, length, value, answer = (
            cell.strip().strip("`") for cell in row[1].split(" | "))
        length = [length] if row[0] == "token" else []
        yield [row[0], key, domain, name, *length, value], answer


def main():
    verb, *rest = sys.argv[1:]
    if verb == "answers":
        return compare(of_file(rest[0]))
    if verb == "document":
        return compare(of_document(rest[0]))
    print(asked([verb, *rest]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
