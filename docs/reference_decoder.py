#!/usr/bin/env python3
"""Recovers an object from its shards with nothing but Python: reference_decoder.py OUT SHARD_FILE...
Give it at least k shard files of every segment of one object, in any order: segments are told apart, and put in order, by
the data id in the headers. A file with a bad header and a block with a bad checksum count as lost; a segment of which no
file is good goes unnoticed. Slow. Knows both codecs (1 novelpoly, 2 cauchy); inline objects have no shard files."""
import os, struct, sys
# BLAKE3 with 32 bytes of output (its paper, section 2). A word is a little-endian u32, cv a chaining value of 8 words.
IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
QUARTERS = [[i, 4 + (i + turn) % 4, 8 + (i + 2 * turn) % 4, 12 + (i + 3 * turn) % 4] for turn in (0, 1) for i in range(4)]
START, END, PARENT, ROOT, KEYED, CONTEXT, MATERIAL = 1, 2, 4, 8, 16, 32, 64

def compress(cv, words, counter, length, flags):
    v, mask = cv + IV[:4] + [counter & 0xFFFFFFFF, counter >> 32, length, flags], 0xFFFFFFFF
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(QUARTERS):
            for word, r, s in (words[2 * i], 16, 12), (words[2 * i + 1], 8, 7):
                v[a] = v[a] + v[b] + word & mask
                v[d] = ((x := v[d] ^ v[a]) >> r | x << 32 - r) & mask
                v[c] = v[c] + v[d] & mask
                v[b] = ((x := v[b] ^ v[c]) >> s | x << 32 - s) & mask
        words = [words[i] for i in PERMUTATION]
    return [low ^ high for low, high in zip(v[:8], v[8:])]

def blake3(data, cv, flags, root=ROOT, chunk=0):
    if len(data) > 1024:  # the left half is the largest power of two of whole chunks that leaves something to the right
        half = 1 << ((len(data) - 1) // 1024).bit_length() - 1
        children = [data[:1024 * half], chunk], [data[1024 * half:], chunk + half]
        words = [word for part, first in children for word in blake3(part, cv, flags, 0, first)]
        return compress(cv, words, 0, 64, flags | PARENT | root)
    for at in range(0, max(len(data), 1), 64):
        block, ends = data[at:at + 64], (0 if at else START) | (0 if at + 64 < len(data) else END | root)
        cv = compress(cv, struct.unpack("<16I", block.ljust(64, b"\0")), chunk, len(block), flags | ends)
    return cv

def crc32c(data):
    crc = 0xFFFFFFFF
    for bit in (byte >> i & 1 for byte in data for i in range(8)):
        crc = crc >> 1 ^ 0x82F63B78 * (crc & 1 ^ bit)
    return crc ^ 0xFFFFFFFF

# The fields. A number stands for the sum of the basis elements that its bits choose; logarithms are to the base x.
CANTOR = [1, 44234, 15374, 5694, 50562, 60718, 37196, 16402, 27800, 4312, 27250, 47360, 64952, 64308, 65336, 39198]

def field(bits, polynomial, basis):
    log_of, power, numbers, order = {}, 1, [0], 2 ** bits - 1
    for i in range(order):
        log_of[power], power = i, power << 1 ^ polynomial * (power >> bits - 1)
    for element in basis:
        numbers += [number ^ element for number in numbers]
    exps = dict((log_of[element], number) for number, element in enumerate(numbers) if number)
    return [log_of.get(element) for element in numbers], exps, order  # 0 has no logarithm: None

FIELDS = {1: field(16, 0x1002D, CANTOR), 2: field(8, 0x11D, [1 << i for i in range(8)])}  # by codec id

def restore(codec, k, width, blocks):
    """The k data blocks from any k blocks {index: bytes}. The shards are values of one polynomial, at the points 0..k for the
    data; in novelpoly the points up to the next power of two are zeros, in cauchy each value is divided by its scale."""
    (logs, exps, order), after = FIELDS[codec], 1 << (k - 1).bit_length() if codec == 1 else k
    point = {i: i if i < k else after + i - k for i in [*range(k), *blocks]}
    sources = [(point[i], block) for i, block in blocks.items()]
    known = [p for p, _ in sources] + [*range(k, after)]
    product = lambda x, points: sum(logs[x ^ y] for y in points if y != x)  # of the differences, as a logarithm
    scale = lambda x: product(x, range(k)) if codec == 2 else 0
    for want in set(range(k)) - set(blocks):  # Lagrange interpolation at the point of each missing data shard
        total = [0] * width
        for p, block in sources:
            log = product(want, known) - logs[want ^ p] - product(p, known) + scale(p) - scale(want)
            for i in range(width):  # the constant times byte i of all the (big-endian) symbols, by a table for each byte o
                products = [v and exps[(log + logs[v << 8 * (width - 1 - i)]) % order] for v in range(256)]
                for o in range(width):
                    table = bytes(product >> 8 * (width - 1 - o) & 255 for product in products)
                    total[o] ^= int.from_bytes(block[i::width].translate(table), "big")
        blocks[want] = bytearray(len(block))
        for o in range(width):
            blocks[want][o::width] = total[o].to_bytes(len(block) // width, "big")
    return b"".join(blocks[i] for i in range(k))

segments = {}  # header fields that the shards of a segment share, data id first -> [(index, path)]
for path in sys.argv[2:]:
    head = open(path, "rb").read(96).ljust(96, b"\0")
    *magic, codec, k, m, index, block, length, repository, data, width = struct.unpack_from("<8sHHHHHHIQ16s16sI", head)
    if magic == [b"RSBSHARD", 1, 96] and struct.pack("<I", crc32c(head[:92])) == head[92:] and codec in FIELDS:
        segments.setdefault((data, repository, codec, k, m, block, length, width), []).append((index, path))
with open(sys.argv[1] + ".part" if segments else sys.exit(__doc__), "wb") as out:
    for (data, repository, codec, k, m, block, length, width), shards in sorted(segments.items()):
        key = blake3(repository, blake3(b"RSBackup 1 checksum key", IV, CONTEXT), MATERIAL)
        for stripe, start in enumerate(range(0, length, k * block)):
            size, good = min(block, -(-(length - start) // (k * width)) * width), {}  # the last stripe's blocks are short
            for index, file in ((index, open(path, "rb")) for index, path in sorted(shards) if len(good) < k):
                file.seek(96 + stripe * (32 + block))
                checksum, body = file.read(32), file.read(size)
                place = b"B" + data + struct.pack("<HI", index, stripe)
                if struct.pack("<8I", *blake3(place + body, key, KEYED)) == checksum:
                    good[index] = body
            if len(good) < k:
                sys.exit(f"segment {data.hex()}, stripe {stripe}: {len(good)} good blocks, and it takes {k}")
            out.write(restore(codec, k, width, good)[:length - start])
os.replace(sys.argv[1] + ".part", sys.argv[1])
