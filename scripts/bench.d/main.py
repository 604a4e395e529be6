"""Runs a benchmark and shows its rows: `scripts/bench` calls it once all that it needs is there."""

import argparse
import json
import platform
import sys

import find
import heap
import processes
import symbols
import threads

BENCHES = {"find": find.rows, "heap": heap.rows, "multiprocessing": processes.rows, "symbols": symbols.rows, "threads": threads.rows}


def machine():
    """The processor, how many of them, and the kernel."""
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(models)} × {models[0] if models else platform.machine()}, Linux {platform.release()}"


def number(value):
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(document):
    lines = [f"{document['bench']}, on {document['machine']}", ""]
    for row in document["rows"]:
        goal = ""
        if row["ours"] is None:
            goal = "  MISSING"
        elif row.get("goal") is not None:
            less = row["better"] == "less"
            met = row["ours"] <= row["goal"] if less else row["ours"] >= row["goal"]
            goal = f"  goal {'≤' if less else '≥'} {number(row['goal'])}: {'met' if met else 'MISSED'}"
        placement = f" ({row['placement']})" if "placement" in row else ""
        ours = "-" if row["ours"] is None else number(row["ours"])
        lines.append(f"{row['row']}{placement}: {ours} {row['unit']}{goal}")
        others = [(name, value) for name, value in row["peers"].items()]
        if row["limit"] is not None:
            others.insert(0, ("the machine's limit", row["limit"]))
        for name in ("wall", "scan"):
            if name in row:
                what = {"wall": "as the user waits", "scan": "the scan alone"}[name]
                lines.append(f"    {what}: {number(row[name])} {row['unit']}")
        for name, value in others:
            if value is None:
                lines.append(f"    {name}: {row.get('nothing', {}).get(name, 'missing')}")
                continue
            if row["ours"] is None:
                lines.append(f"    {name}: {number(value)} {row['unit']}")
                continue
            ratio = value / row["ours"] if row["better"] == "less" else row["ours"] / value
            lines.append(f"    {name}: {number(value)} {row['unit']} (× {ratio:.2f})")
        memory = ", ".join(f"{name} {number(value / 2**20)} MiB" for name, value in row["memory"].items())
        if memory:
            lines.append(f"    peak memory: {memory}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("bench", choices=BENCHES)
    parser.add_argument("--quick", action="store_true", help="less of everything, in about a minute")
    parser.add_argument("--json", action="store_true", help="one JSON document in the place of a table")
    parser.add_argument("--row", action="append", help="only this row of `multiprocessing`; repeatable")
    arguments = parser.parse_args()
    options = {"only": arguments.row} if arguments.row else {}
    rows = BENCHES[arguments.bench](arguments.quick, **options)
    document = {"bench": arguments.bench, "machine": machine(), "rows": rows}
    print(json.dumps(document, ensure_ascii=False) if arguments.json else table(document))
    missed = [row["row"] for row in rows if row["ours"] is None]
    sys.exit(1 if missed else 0)


main()
