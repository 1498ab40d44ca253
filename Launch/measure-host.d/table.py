"""What was measured, as tables in Markdown."""


def formatted(result: dict) -> str:
    host = result["host"]
    parts = [
        f"{result['date']}, {host['processor']}, {host['cores']} cores, {host['numaNodes']} NUMA "
        f"nodes, {', '.join(host['instructions'])}; gyre {result['gyre']}."]
    parts += [part for part in (
        _answers(result["answers"]), _kernels(result["kernels"], result["torch"]),
        _splits(result["splits"]), _few_rows(result["fewRows"]), _cores(result["cores"]),
        _strong(result["strong"])) if part]
    if result["leftOut"]:
        parts.append(f"No time for all of: {', '.join(result['leftOut'])}.")
    parts += [f"Failed: {entry['what']}: {entry['why']}" for entry in result["failed"]]
    return "\n\n".join(parts)


def _table(title: str, header: list, rows: list) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return f"**{title}**\n\n" + "\n".join(f"| {' | '.join(map(str, row))} |" for row in lines)


def _rate(value: float) -> str:
    return f"{value / 1e9:.0f}" if value >= 99.5e9 else f"{value / 1e9:.1f}"


def _answers(rows: list) -> str:
    if not rows:
        return ""
    return _table("Answers, against double precision", [
        "instructions", "arithmetic", "threads", "", "said"], [
        [row["instructions"], row["arithmetic"], row["threads"],
         "refused" if row["refused"] else "right" if row["right"] else "WRONG", row["said"]]
        for row in rows])


def _kernels(rows: list, torch: list) -> str:
    if not rows and not torch:
        return ""
    body = [
        [row["arithmetic"], row["instructions"], row["pass"],
         "causal" if row["causal"] else "full", row["headDim"], row["threads"],
         _rate(row["flopsPerSecond"]), f"{row['fractionOfPeak']:.0%}"]
        for row in rows]
    body += [
        [row["arithmetic"], f"PyTorch {row['version']}, {row['capability']}", row["pass"], "causal",
         row["headDim"], row["threads"], _rate(row["flopsPerSecond"]), ""]
        for row in torch]
    body.sort(key=lambda row: (row[5], row[0], row[4], row[2] == "backward", row[3]))
    return _table("Kernels, useful GFLOP/s", [
        "type", "by", "pass", "mask", "head dim", "threads", "GFLOP/s", "of peak"], body)


def _splits(rows: list) -> str:
    if not rows:
        return ""
    best: dict = {}
    for row in rows:
        seconds = row["forwardSeconds"] + row["backwardSeconds"]
        key = row["ranks"], row["threads"]
        best[key] = min(best.get(key, seconds), seconds)
    return _table(f"Ranks × threads, {rows[0]['tokens']:,} tokens, both passes, the better of two", ["ranks", "threads", "s"], [
        [ranks, threads, f"{seconds:.2f}"] for (ranks, threads), seconds in best.items()])


def _few_rows(rows: list) -> str:
    if not rows:
        return ""
    return _table("One query row", ["type", "threads", "K/V GB/s", "memory GB/s", "of memory"], [
        [row["dtype"], row["threads"], _rate(row["bytesPerSecond"]),
         _rate(row["memoryBandwidthBytesPerSecond"]), f"{row['fractionOfBandwidth']:.0%}"]
        for row in rows])


def _cores(rows: list) -> str:
    if not rows:
        return ""
    return _table("Cores at once, one problem each", [
        "pass", "cores", "GFLOP/s of one", "of the slowest", "memory GB/s"], [
        [row["pass"], row["copies"], _rate(row["flopsPerSecond"]),
         _rate(row["slowestFlopsPerSecond"]), _rate(row["memoryBandwidthBytesPerSecond"])]
        for row in rows])


def _strong(rows: list) -> str:
    if not rows:
        return ""
    return _table("Strong scaling of 8,192 tokens", [
        "pass", "transport", "ranks", "s", "speedup", "computing alone, s"], [
        [row["pass"], row["transport"], row["ranks"], f"{row['seconds']:.3f}",
         f"{row['speedup']:.2f}",
         f"{row['computeOnlySeconds']:.3f}" if row["computeOnlySeconds"] else ""]
        for row in rows])
