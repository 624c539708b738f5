"""Settings of benchmarks that run in seconds."""

from benchmark_settings import BenchmarkSettings

FEW = dict(
    batch_size=4,
    rounds=2,
    warmup=1,
    min_seconds=0,
    num_candidates=6,
    num_residuals=8,
    size=16,
)


def few_rounds(**changes) -> BenchmarkSettings:
    """Settings with small counts, and some changes."""
    return BenchmarkSettings(**{**FEW, **changes})
