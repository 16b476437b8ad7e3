"""Medians over the rounds, as markdown."""

import statistics


def median(runs, figure):
    values = [run[figure] for run in runs if run.get(figure) is not None]
    return statistics.median(values) if values else None


def number(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def comparison(results, names, figures):
    """One row a figure: (title, work, figure, whether less is better). The last column sets brownout against the better peer."""
    rows = []
    for title, work, figure, less in figures:
        medians = {name: median(results.get(work, {}).get(name, []), figure) for name in names}
        if all(value is None for value in medians.values()):
            continue
        peers = [value for name, value in medians.items() if name in ("HAProxy", "nginx") and value]
        ours = medians.get("brownout")
        best = (min if less else max)(peers) if peers else None
        ratio = f"{ours / best:.2f}x" if ours and best else "-"
        rows.append([title, *(number(medians[name]) for name in names), ratio])
    return markdown(["median", *names, "brownout / better of HAProxy, nginx"], rows)


def against_first(results, names, figures):
    """One row a figure: (title, work, figure); what the first subject takes, and how many times that the others do."""
    rows = []
    for title, work, figure in figures:
        first, *others = (median(results.get(work, {}).get(name, []), figure) for name in names)
        if first and all(others):
            rows.append([title, number(first), *(f"{other / first:.2f}x" for other in others)])
    return markdown(["faults loaded that hit nothing", *names], rows) if rows else None
