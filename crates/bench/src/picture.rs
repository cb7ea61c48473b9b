//! Pictures of the latency distribution: lines of text, and SVG.

use std::fmt::Write;

use crate::report::{Latency, Step};

/// Width of the longest bar.
const WIDTH: f64 = 50.0;

/// A bar for each step of the histogram, as long as its share, and the quantiles.
pub fn latency_picture(latency: &Latency, histogram: &[Step]) -> String {
    let most = histogram.iter().map(|step| step.count).max().unwrap_or(0).max(1);
    let total = histogram.iter().map(|step| step.count).sum::<u64>().max(1);
    let mut picture = String::from("   up to us       batches  below\n");
    let mut below = 0;
    for step in histogram {
        below += step.count;
        let bar = "#".repeat((step.count as f64 / most as f64 * WIDTH).round() as usize);
        let percent = below as f64 / total as f64 * 100.0;
        // Writing to a String cannot fail.
        let _ = writeln!(picture, "{:>11.1} {:>13} {percent:>6.2}% {bar}", step.up_to_us, step.count);
    }
    for (name, us) in quantiles(latency) {
        let _ = writeln!(picture, "{name:>11} {us:>13.1} us");
    }
    picture
}

fn quantiles(latency: &Latency) -> [(&'static str, f64); 5] {
    [
        ("p50", latency.p50_us),
        ("p90", latency.p90_us),
        ("p99", latency.p99_us),
        ("p99.9", latency.p999_us),
        ("max", latency.max_us),
    ]
}

/// Size of the drawing, and of the space around it.
const SVG: (f64, f64, f64) = (800.0, 420.0, 60.0);

/// The share of batches that took longer, against the time; both axes logarithmic, so that the tail is to be seen.
pub fn latency_svg(latency: &Latency, histogram: &[Step]) -> String {
    let (width, height, margin) = SVG;
    let total = histogram.iter().map(|step| step.count).sum::<u64>().max(1) as f64;
    let low = histogram.first().map_or(1.0, |step| step.up_to_us).max(0.1).log10().floor();
    let high = latency.max_us.max(1.0).log10().ceil().max(low + 1.0);
    let depth = total.log10().ceil().max(1.0);
    let x = |us: f64| margin + (us.max(0.1).log10() - low) / (high - low) * (width - 2.0 * margin);
    let y = |share: f64| margin - share.log10() / depth * (height - 2.0 * margin);
    let mut lines = String::new();
    for power in low as i32..=high as i32 {
        let (at, us) = (x(10f64.powi(power)), 10f64.powi(power));
        let _ = writeln!(
            lines,
            r##"<path d="M{at:.1} {margin}V{:.1}" stroke="#ddd"/><text x="{at:.1}" y="{:.1}">{us} µs</text>"##,
            height - margin,
            height - margin + 18.0
        );
    }
    for power in 0..=depth as i32 {
        let (at, percent) = (y(10f64.powi(-power)), 10f64.powi(2 - power));
        let _ = writeln!(
            lines,
            r##"<path d="M{margin} {at:.1}H{:.1}" stroke="#ddd"/><text x="30" y="{:.1}">{percent} %</text>"##,
            width - margin,
            at + 4.0
        );
    }
    let mut longer = total;
    let mut points = String::new();
    for step in histogram {
        longer -= step.count as f64;
        if longer > 0.0 {
            let _ = write!(points, "{:.1},{:.1} ", x(step.up_to_us), y(longer / total));
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\" text-anchor=\"middle\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{:.0}\" y=\"30\" font-size=\"14\">share of batches that took longer</text>\n{lines}\
         <polyline points=\"{points}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"/>\n</svg>\n",
        width / 2.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_show_every_step() {
        let mut histogram = crate::report::empty_histogram();
        for ns in [10_000u64, 10_000, 20_000, 400_000] {
            histogram.saturating_record(ns);
        }
        let (latency, steps) = (Latency::of(&histogram), crate::report::steps(&histogram));
        assert_eq!(steps.iter().map(|step| step.count).sum::<u64>(), 4);
        let text = latency_picture(&latency, &steps);
        assert_eq!(text.lines().count(), 1 + steps.len() + 5);
        assert!(text.contains("100.00%"), "{text}");
        assert!(latency_svg(&latency, &steps).contains("polyline"));
        assert!(latency_svg(&latency, &[]).ends_with("</svg>\n"));
    }
}
