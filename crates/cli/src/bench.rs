//! `doled bench`: load against any memcached server.

use std::process::ExitCode;
use std::time::Duration;

use ::bench::{BenchOptions, Ending, Popularity, ValueSize};
use anyhow::{Result, bail};
use clap::Args;

/// Flags of `doled bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The server
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:11211")]
    server: String,

    /// Load threads
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    threads: u32,

    /// Connections over all threads
    #[arg(short, long, value_name = "N", default_value_t = 50)]
    connections: u32,

    /// Requests in one write, awaited together
    #[arg(short = 'P', long, value_name = "N", default_value_t = 1)]
    pipeline: u32,

    /// Length of the run
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10.0, conflicts_with = "requests")]
    seconds: f64,

    /// End after this many requests instead
    #[arg(short = 'n', long, value_name = "N")]
    requests: Option<u64>,

    /// Open loop: requests a second, whether or not the server keeps up [default: as fast as it answers]
    #[arg(short, long, value_name = "PER_SECOND")]
    rate: Option<f64>,

    /// Different keys
    #[arg(short, long, value_name = "N", default_value_t = 100_000)]
    keys: u64,

    /// Length of a key
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    key_len: usize,

    /// Popularity of keys: uniform, or zipf:ALPHA such as zipf:0.99
    #[arg(long, value_name = "SHAPE", default_value = "uniform")]
    popularity: String,

    /// Length of values: BYTES, or FROM-TO
    #[arg(short, long, value_name = "BYTES", default_value = "100")]
    value_size: String,

    /// Share of sets among the requests
    #[arg(long, value_name = "0..1", default_value_t = 0.1)]
    sets: f64,

    /// Keys in each get
    #[arg(long, value_name = "N", default_value_t = 1)]
    multiget: u32,

    /// exptime of sets, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    exptime: u32,

    /// Do not store every key before the run
    #[arg(long)]
    no_preload: bool,

    /// Seed of all choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Also report the CPU time of these processes for each request: the server's, on this machine
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    server_pid: Vec<u32>,

    /// Pin the load to this processor
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    /// Draw the latency distribution
    #[arg(long)]
    picture: bool,
}

/// Runs the load and prints what it found.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let options = options(args)?;
    let report = ::bench::run(&options, |progress| {
        eprintln!("{:>4} s {:>12} requests", progress.elapsed.as_secs(), progress.requests);
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    if args.picture {
        print!("{}", ::bench::latency_picture(&report));
    }
    Ok(ExitCode::SUCCESS)
}

fn options(args: &BenchArgs) -> Result<BenchOptions> {
    let server = crate::address::with_port("HOST:PORT", &args.server, 11211)?;
    Ok(BenchOptions {
        address: crate::address::resolve("HOST:PORT", &server)?[0],
        threads: args.threads,
        connections: args.connections.max(args.threads),
        pipeline: args.pipeline,
        ending: match args.requests {
            Some(count) => Ending::Requests(count),
            None => Ending::After(seconds(args.seconds)?),
        },
        rate: args.rate,
        keys: args.keys,
        key_len: args.key_len,
        popularity: popularity(&args.popularity)?,
        value_size: value_size(&args.value_size)?,
        set_share: args.sets,
        multiget: args.multiget,
        exptime_s: args.exptime,
        preload: !args.no_preload,
        seed: args.seed,
        server_pids: args.server_pid.clone(),
        cpu: args.cpu,
    })
}

fn seconds(value: f64) -> Result<Duration> {
    if !(0.001..=86_400.0).contains(&value) {
        bail!("--seconds {value}: from 0.001 to 86400");
    }
    Ok(Duration::from_secs_f64(value))
}

fn popularity(text: &str) -> Result<Popularity> {
    if text == "uniform" {
        return Ok(Popularity::Uniform);
    }
    let alpha = text.strip_prefix("zipf:").and_then(|alpha| alpha.parse::<f64>().ok());
    match alpha.filter(|alpha| (0.01..=5.0).contains(alpha) && (*alpha - 1.0).abs() > 1e-6) {
        Some(alpha) => Ok(Popularity::Zipf(alpha)),
        None => bail!("--popularity \"{text}\": uniform, or zipf:ALPHA with ALPHA from 0.01 to 5 and not 1"),
    }
}

fn value_size(text: &str) -> Result<ValueSize> {
    let number = |part: &str| part.parse::<usize>().ok().filter(|&len| len <= 1 << 30);
    let size = match text.split_once('-') {
        None => number(text).map(ValueSize::Fixed),
        Some((from, to)) => number(from)
            .zip(number(to))
            .filter(|(from, to)| from <= to)
            .map(|(from, to)| ValueSize::Range(from, to)),
    };
    match size {
        Some(size) => Ok(size),
        None => bail!("--value-size \"{text}\": BYTES or FROM-TO, up to 1 GiB"),
    }
}

fn print(report: &::bench::Report) {
    let latency = &report.latency;
    println!("requests    {:>14}   {:.0} a second", report.requests, report.requests_per_second);
    if report.keys_asked > 0 {
        println!("hit ratio   {:>14.4}", report.hits as f64 / report.keys_asked as f64);
    }
    println!("errors      {:>14}   {}", report.errors, report.first_error.as_deref().unwrap_or_default());
    if let Some(cpu) = report.server_cpu_us_per_request {
        println!("server CPU  {cpu:>14.3}   us a request");
    }
    println!(
        "latency us   mean {:.0}  p50 {:.0}  p90 {:.0}  p99 {:.0}  p99.9 {:.0}  max {:.0}",
        latency.mean_us, latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us
    );
}
