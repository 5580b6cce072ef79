"""The tables of the bench: pairs of times, and the ratio of one to the other."""

import statistics


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]


def milliseconds(microseconds):
    return f"{microseconds / 1000:.2f}" if microseconds >= 1000 else f"{microseconds / 1000:.3f}"


def print_rows(samples, rows, first, second):
    """Of {metric: pairs in microseconds} those rows: (metric, what it is, bar of the ratio)."""
    print(f"{'':32}{'pairs':>6}{first:>9}{second:>9}{'ratio':>8}{'p90':>7}{'bar':>7}")
    for metric, text, bar in rows:
        pairs = samples.get(metric)
        if not pairs:
            continue
        floor, daemon = zip(*pairs)
        ratios = [ours / theirs for theirs, ours in pairs]
        ratio = statistics.median(ratios)
        print(f"{text:32}{len(pairs):6}{milliseconds(statistics.median(floor)):>9}"
              f"{milliseconds(statistics.median(daemon)):>9}{ratio:8.2f}"
              f"{percentile(ratios, 90):7.2f}" + (f"{bar:7.2f}" if bar else "")
              + ("  over" if bar and ratio > bar else ""))
