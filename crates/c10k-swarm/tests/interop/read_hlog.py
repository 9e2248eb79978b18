"""Reads an HdrHistogram interval log by Python's `hdrhistogram`, and says as JSON what it found.

Argument: the log. Printed: when it begins, and of each tag how many values there are, the median, the 99th percentile and
the largest, and the first and last moment of its intervals, ms after the begin."""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

# Wider than any that is written, so that none is cut.
WIDEST = (1, 3_600_000_000, 3)

reader = HistogramLogReader(sys.argv[1], HdrHistogram(*WIDEST))
found = {}
while (interval := reader.get_next_interval_histogram()) is not None:
    seen = found.setdefault(interval.get_tag(), {"whole": HdrHistogram(*WIDEST), "intervals": 0})
    seen["whole"].add(interval)
    seen["intervals"] += 1
print(json.dumps({
    "start_s": reader.get_start_time_sec(),
    "tags": {
        tag: {
            "count": seen["whole"].get_total_count(),
            "intervals": seen["intervals"],
            "p50": seen["whole"].get_value_at_percentile(50),
            "p99": seen["whole"].get_value_at_percentile(99),
            "max": seen["whole"].get_max_value(),
        }
        for tag, seen in found.items()
    },
}))
