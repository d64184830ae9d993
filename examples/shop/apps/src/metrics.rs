//! What an app counts about its requests, as Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the duration histogram, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Requests answered so far.
#[derive(Debug, Default)]
pub struct Metrics {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: BTreeMap<(String, u16), u64>,
    errors: u64,
    buckets: [u64; BUCKETS.len()],
    total: u64,
    seconds: f64,
}

impl Metrics {
    /// Counts one answered request.
    pub fn record(&self, method: &str, status: u16, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts
            .requests
            .entry((method.to_owned(), status))
            .or_default() += 1;
        counts.errors += u64::from(status >= 500);
        counts.total += 1;
        counts.seconds += took.as_secs_f64();
        for (bound, bucket) in BUCKETS.iter().zip(counts.buckets.iter_mut()) {
            *bucket += u64::from(took.as_secs_f64() <= *bound);
        }
    }

    /// The counts in the Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from("# TYPE http_requests_total counter\n");
        for ((method, status), count) in &counts.requests {
            let _ = writeln!(
                text,
                "http_requests_total{{method=\"{method}\",status=\"{status}\"}} {count}"
            );
        }
        let _ = writeln!(
            text,
            "# TYPE http_request_errors_total counter\nhttp_request_errors_total {}",
            counts.errors
        );
        text.push_str("# TYPE http_request_duration_seconds histogram\n");
        for (bound, bucket) in BUCKETS.iter().zip(counts.buckets) {
            let _ = writeln!(
                text,
                "http_request_duration_seconds_bucket{{le=\"{bound}\"}} {bucket}"
            );
        }
        let _ = writeln!(
            text,
            "http_request_duration_seconds_bucket{{le=\"+Inf\"}} {total}\n\
             http_request_duration_seconds_sum {sum}\nhttp_request_duration_seconds_count {total}",
            total = counts.total,
            sum = counts.seconds
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_cumulative_and_server_errors_counted() {
        let metrics = Metrics::default();
        metrics.record("GET", 200, Duration::from_millis(3));
        metrics.record("GET", 503, Duration::from_millis(30));
        let text = metrics.render();
        assert!(
            text.contains("http_requests_total{method=\"GET\",status=\"503\"} 1"),
            "{text}"
        );
        assert!(text.contains("http_request_errors_total 1"), "{text}");
        assert!(text.contains("bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("bucket{le=\"0.05\"} 2"), "{text}");
    }
}
