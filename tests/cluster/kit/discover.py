#!/usr/bin/env python3
"""Tells Prometheus which pods to scrape, as its own Kubernetes discovery would: Debian's build has none.

    discover.py TARGETS.json

Follows all pods with `kubectl get --watch` and keeps the file (file_sd) as they are. A pod is scraped that
says so with the usual annotations prometheus.io/scrape, /port and /path. Labels are those that clusters
usually give: namespace, pod, and the pod's own with `_` for what a label name can't hold.
"""
import json
import os
import re
import subprocess
import sys
import time


def target(pod):
    """The pod as a target, or None where it can't or won't be scraped."""
    meta, status = pod["metadata"], pod["status"]
    asked = meta.get("annotations", {})
    if asked.get("prometheus.io/scrape") != "true" or status.get("phase") != "Running" or "podIP" not in status:
        return None
    labels = {re.sub(r"\W", "_", name): value for name, value in meta.get("labels", {}).items()}
    labels |= {"namespace": meta["namespace"], "pod": meta["name"]}
    labels["__metrics_path__"] = asked.get("prometheus.io/path", "/metrics")
    return {"targets": [f"{status['podIP']}:{asked['prometheus.io/port']}"], "labels": labels}


def write(path, targets):
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump([targets[uid] for uid in sorted(targets)], file, indent=1)
    os.replace(path + ".new", path)


def follow(path):
    targets = {}
    command = ["kubectl", "get", "pods", "--all-namespaces", "--watch", "--output-watch-events", "--output=json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        for line in watch.stdout:
            event = json.loads(line)
            pod = event["object"]
            found = None if event["type"] == "DELETED" else target(pod)
            uid = pod["metadata"].get("uid")
            if found != targets.get(uid):
                targets.pop(uid, None)
                if found:
                    targets[uid] = found
                write(path, targets)


while True:  # the API server ends every watch after a while; a new one begins with all pods that there are
    follow(sys.argv[1])
    time.sleep(1)
