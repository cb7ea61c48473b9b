//! The latency distribution as lines of text.

use crate::report::Report;

/// Width of the longest bar.
const WIDTH: f64 = 50.0;

/// A bar for each quantile, on a logarithmic scale from 1 µs on.
pub fn latency_picture(report: &Report) -> String {
    let latency = &report.latency;
    let rows = [
        ("p50", latency.p50_us),
        ("p90", latency.p90_us),
        ("p99", latency.p99_us),
        ("p99.9", latency.p999_us),
        ("max", latency.max_us),
    ];
    let scale = WIDTH / latency.max_us.max(2.0).log10();
    let mut picture = String::new();
    for (name, us) in rows {
        let bar = "#".repeat((us.max(1.0).log10() * scale).round() as usize);
        picture.push_str(&format!("{name:>6} {us:>12.1} us {bar}\n"));
    }
    picture
}
