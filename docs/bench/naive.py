#!/usr/bin/env python3
"""What most people write first: a CSV into an API, no record twice. naive.py FILE URL DATABASE"""
import csv, http.client, json, sqlite3, sys
from urllib.parse import urlsplit

BATCH = 500


def main(path, url, database):
    target = urlsplit(url)
    conn = http.client.HTTPConnection(target.netloc)
    db = sqlite3.connect(database)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
    batch, sent = [], 0

    def send():
        nonlocal sent
        body = json.dumps(batch, ensure_ascii=False).encode()
        conn.request("POST", target.path, body, {"Content-Type": "application/json"})
        answer = conn.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit(f"{answer.status} after {sent} records")
        db.commit()
        sent += len(batch)
        batch.clear()

    with open(path, newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            if db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (row["order_id"],)).rowcount:
                batch.append(row)
                if len(batch) == BATCH:
                    send()
    if batch:
        send()


main(*sys.argv[1:])
