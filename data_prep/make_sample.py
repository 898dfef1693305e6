#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the bundled sample (data_prep/sample/) from larger public files. The pick depends on the content alone: records are
ordered by the SHA-256 of their id, so the same inputs give the same sample on every machine.

  data_prep/make_sample.py --uniprot uniprot_mmseqs2_examples.fasta.gz --swissprot swissprot_rep50.fasta.gz \
      --deeploc deeploc_cls10.csv.gz --out data_prep/sample
"""
import argparse
import csv
import gzip
import hashlib
import io
import pathlib


def key(name):
    return hashlib.sha256(name.encode()).hexdigest()


def read_fasta(path):
    """(header, sequence) of every record."""
    header, lines = None, []
    with gzip.open(path, "rt") as file:
        for line in file:
            line = line.rstrip("\n")
            if line.startswith(">"):
                if header is not None:
                    yield header, "".join(lines)
                header, lines = line[1:], []
            else:
                lines.append(line)
    yield header, "".join(lines)


def write_gzip(path, text):
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(text.encode("ascii"))
    print(f"{path}: {path.stat().st_size} bytes")


def pick_fasta(path, count, longest):
    records = [record for record in read_fasta(path) if 30 <= len(record[1]) <= longest]
    records.sort(key=lambda record: key(record[0].split()[0]))
    return records[:count]


def make_fasta(arguments):
    records = pick_fasta(arguments.uniprot, arguments.records // 2, 512)
    records += pick_fasta(arguments.swissprot, arguments.records - len(records), 512)
    records.sort(key=lambda record: key(record[0].split()[0]))
    out = io.StringIO()
    for header, sequence in records:
        out.write(f">{header}\n")
        out.writelines(sequence[start : start + 60] + "\n" for start in range(0, len(sequence), 60))
    write_gzip(arguments.out / "proteins.fasta.gz", out.getvalue())


def apportion(counts, total):
    """`total` seats in proportion to `counts` by largest remainders, at least two a class."""
    whole = sum(counts.values())
    exact = {label: total * count / whole for label, count in counts.items()}
    seats = {label: max(2, int(share)) for label, share in exact.items()}
    by_remainder = sorted(exact, key=lambda label: (int(exact[label]) - exact[label], label))
    for label in by_remainder[: total - sum(seats.values())]:
        seats[label] += 1
    return seats


def make_deeploc(arguments):
    with gzip.open(arguments.deeploc, "rt") as file:
        rows = list(csv.DictReader(file))
    out = io.StringIO()
    out.write("id,sequence,label,split\n")
    for split, total in (("train", 600), ("valid", 200), ("test", 300)):
        group = sorted((row for row in rows if row["split"] == split), key=lambda row: key(row["id"]))
        counts = {}
        for row in group:
            counts[row["label"]] = counts.get(row["label"], 0) + 1
        seats = apportion(counts, total)
        for row in group:
            if len(row["sequence"]) <= 1000 and seats[row["label"]] > 0:
                seats[row["label"]] -= 1
                out.write(f"{row['id']},{row['sequence']},{row['label']},{split}\n")
    write_gzip(arguments.out / "deeploc_cls10.csv.gz", out.getvalue())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("uniprot", "swissprot", "deeploc", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--records", type=int, default=4000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    make_fasta(arguments)
    make_deeploc(arguments)


if __name__ == "__main__":
    main()
