//! `doled bench`: load against any memcached server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::bench::{
    BenchOptions, Cachebench, Ending, Mix, Popularity, Progress, Protocol, ReplayOptions, Report, Sizes,
    Target, TraceFile, Ttl, Weighted,
};
use anyhow::{Context, Result, bail};
use clap::Args;

/// Flags of `doled bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The server; what holds a slash is the path of a Unix socket
    #[arg(value_name = "HOST:PORT|PATH", default_value = "127.0.0.1:11211")]
    server: String,

    /// text, or meta for mg, ms and md
    #[arg(long, value_name = "NAME", default_value = "text")]
    protocol: String,

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

    /// Different keys [default: 100000, or what --cachebench says]
    #[arg(short, long, value_name = "N")]
    keys: Option<u64>,

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

    /// Share of deletes among the requests
    #[arg(long, value_name = "0..1", default_value_t = 0.0)]
    deletes: f64,

    /// Store what a get missed
    #[arg(long)]
    set_on_miss: bool,

    /// Keys in each get
    #[arg(long, value_name = "N", default_value_t = 1)]
    multiget: u32,

    /// exptime of sets: SECONDS, or a mix SECONDS:WEIGHT,... such as 60:0.5,300:0.3,0:0.2; 0 is never
    #[arg(long, alias = "ttl", value_name = "SECONDS", default_value = "0")]
    exptime: String,

    /// A cachebench workload (config.json or its directory): sizes, popularity and mix of operations are its own
    #[arg(long, value_name = "PATH", conflicts_with_all = ["key_len", "popularity", "value_size", "sets", "deletes"])]
    cachebench: Option<PathBuf>,

    /// Replay a trace over one connection: get, then set on a miss; [FORMAT:]FILE, FORMAT: keys, lis, twitter, i32, i64
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "cachebench", "threads", "connections", "pipeline", "seconds", "rate", "keys", "key_len", "popularity",
        "sets", "deletes", "set_on_miss", "no_preload", "seed", "protocol",
    ])]
    trace: Option<String>,

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

    /// Draw the latency distribution; into FILE as SVG, if one is named
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    picture: Option<Option<PathBuf>>,

    /// Say nothing while it runs
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the load and prints what it found.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let quiet = args.quiet;
    let tell = move |progress: Progress| {
        if !quiet {
            eprintln!("{}", progress_line(progress));
        }
    };
    let (json, latency, histogram) = match &args.trace {
        Some(trace) => {
            let Ok(file) = trace.parse::<TraceFile>();
            let report = ::bench::replay(&replay_options(args)?, file.open()?, tell)?;
            if !args.json {
                print_replay(&report);
            }
            (serde_json::to_value(&report)?, report.latency, report.histogram)
        }
        None => {
            let report = ::bench::run(&options(args)?, tell)?;
            if !args.json {
                print(&report);
            }
            (serde_json::to_value(&report)?, report.latency, report.histogram)
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&with_origin(json))?);
    }
    match &args.picture {
        None => {}
        Some(None) => print!("{}", ::bench::latency_picture(&latency, &histogram)),
        Some(Some(path)) => std::fs::write(path, ::bench::latency_svg(&latency, &histogram))
            .with_context(|| format!("--picture {}", path.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn progress_line(progress: Progress) -> String {
    let seconds = progress.elapsed.as_secs();
    if progress.requests == 0 && progress.stored > 0 {
        return format!("{seconds:>4} s {:>12} keys stored", progress.stored);
    }
    format!("{seconds:>4} s {:>12} requests {:>10} in this second", progress.requests, progress.last_second)
}

/// The report, and what it is a report of.
fn with_origin(mut report: serde_json::Value) -> serde_json::Value {
    report["version"] = env!("CARGO_PKG_VERSION").into();
    report["command"] = std::env::args().collect::<Vec<_>>().into();
    report
}

fn options(args: &BenchArgs) -> Result<BenchOptions> {
    let plain = BenchOptions {
        target: target(&args.server)?,
        protocol: protocol(&args.protocol)?,
        threads: args.threads,
        connections: args.connections.max(args.threads),
        pipeline: args.pipeline,
        ending: match args.requests {
            Some(count) => Ending::Requests(count),
            None => Ending::After(seconds(args.seconds)?),
        },
        rate: args.rate,
        keys: args.keys.unwrap_or(100_000),
        key_size: Sizes::Fixed(args.key_len),
        popularity: popularity(&args.popularity)?,
        value_size: value_size(&args.value_size)?,
        mix: Mix { sets: args.sets, deletes: args.deletes, lone_gets: 0.0, set_on_miss: args.set_on_miss },
        multiget: args.multiget,
        ttl: ttl(&args.exptime)?,
        preload: !args.no_preload,
        seed: args.seed,
        server_pids: args.server_pid.clone(),
        cpu: args.cpu,
    };
    let Some(path) = &args.cachebench else { return Ok(plain) };
    let workload = Cachebench::read(path).context("--cachebench")?;
    Ok(BenchOptions {
        keys: args.keys.unwrap_or(workload.keys),
        key_size: workload.key_size,
        value_size: workload.value_size,
        popularity: workload.popularity,
        mix: Mix { set_on_miss: workload.mix.set_on_miss || args.set_on_miss, ..workload.mix },
        ..plain
    })
}

fn replay_options(args: &BenchArgs) -> Result<ReplayOptions> {
    Ok(ReplayOptions {
        target: target(&args.server)?,
        batch: args.multiget,
        value_size: value_size(&args.value_size)?,
        ttl: ttl(&args.exptime)?,
        requests: args.requests,
        server_pids: args.server_pid.clone(),
        cpu: args.cpu,
    })
}

fn target(text: &str) -> Result<Target> {
    if text.contains('/') {
        return Ok(Target::Unix(text.into()));
    }
    let server = crate::address::with_port("HOST:PORT", text, 11211)?;
    Ok(Target::Tcp(crate::address::resolve("HOST:PORT", &server)?[0]))
}

fn protocol(text: &str) -> Result<Protocol> {
    match text {
        "text" => Ok(Protocol::Text),
        "meta" => Ok(Protocol::Meta),
        _ => bail!("--protocol \"{text}\": text or meta"),
    }
}

fn ttl(text: &str) -> Result<Ttl> {
    if let Ok(seconds) = text.parse() {
        return Ok(Ttl::Fixed(seconds));
    }
    let parts: Option<Vec<(u32, f64)>> = text
        .split(',')
        .map(|part| {
            let (seconds, weight) = part.split_once(':')?;
            Some((seconds.parse().ok()?, weight.parse().ok()?))
        })
        .collect();
    let (seconds, weights): (Vec<u32>, Vec<f64>) = parts.unwrap_or_default().into_iter().unzip();
    match Weighted::new(&weights) {
        Some(weights) => Ok(Ttl::Mix(weights, seconds.into())),
        None => {
            bail!("--exptime \"{text}\": SECONDS, or SECONDS:WEIGHT,... with weights from 0 on, not all 0")
        }
    }
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

fn value_size(text: &str) -> Result<Sizes> {
    let number = |part: &str| part.parse::<usize>().ok().filter(|&len| len <= 1 << 30);
    let size = match text.split_once('-') {
        None => number(text).map(Sizes::Fixed),
        Some((from, to)) => number(from)
            .zip(number(to))
            .filter(|(from, to)| from <= to)
            .map(|(from, to)| Sizes::Range(from, to)),
    };
    match size {
        Some(size) => Ok(size),
        None => bail!("--value-size \"{text}\": BYTES or FROM-TO, up to 1 GiB"),
    }
}

fn print(report: &Report) {
    println!("requests    {:>14}   {:.0} a second", report.requests, report.requests_per_second);
    if report.keys_asked > 0 {
        println!("hit ratio   {:>14.4}", report.hits as f64 / report.keys_asked as f64);
    }
    print_rest(
        report.errors,
        report.first_error.as_deref(),
        report.server_cpu_us_per_request,
        &report.latency,
    );
}

fn print_replay(report: &::bench::ReplayReport) {
    println!("requests    {:>14}   {:.0} a second", report.requests, report.requests_per_second);
    println!("misses      {:>14}   of {} gets", report.misses, report.gets);
    println!("miss ratio  {:>14.4}", report.miss_ratio);
    print_rest(
        report.errors,
        report.first_error.as_deref(),
        report.server_cpu_us_per_request,
        &report.latency,
    );
}

fn print_rest(errors: u64, first_error: Option<&str>, cpu: Option<f64>, latency: &::bench::Latency) {
    println!("errors      {errors:>14}   {}", first_error.unwrap_or_default());
    if let Some(cpu) = cpu {
        println!("server CPU  {cpu:>14.3}   us a request");
    }
    println!(
        "latency us   mean {:.0}  p50 {:.0}  p90 {:.0}  p99 {:.0}  p99.9 {:.0}  max {:.0}",
        latency.mean_us, latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us
    );
}
