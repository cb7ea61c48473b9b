//! From flags to a node's options: every check is here, and names the flag, the value and the rule.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use proto::Incarnation;
use server::{AuthFile, Discovery, Leased, ListenerTls, ManagedOptions, Protocol, ServerOptions};
use stdx::ByteSize;

use super::flags::{ClusterFlags, MemcachedFlags, ServeArgs};
use super::{Started, extended, listen, sasl, tls};

/// What the flags ask for.
#[derive(Debug)]
pub(super) struct Asked {
    /// For the node.
    pub(super) server: ServerOptions,
    /// What was accepted and means nothing here, and why.
    pub(super) notes: Vec<String>,
    /// What works and will yet surprise.
    pub(super) warnings: Vec<String>,
}

impl Asked {
    /// Reads and checks everything; nothing is started or written.
    pub(super) fn new(args: &ServeArgs, started: Started) -> Result<Self> {
        let flags = &args.memcached;
        let mut notes = Vec::new();
        args.foreign.check(&mut notes)?;
        let extended = extended::parse(&flags.extended, &mut notes)?;
        let memory = memory(&flags.memory_limit)?;
        let listen = listen::tcp(flags, started, &mut notes)?;
        let udp = listen::udp(flags, started, &mut notes)?;
        let defaults = ServerOptions::default();
        let requests_per_turn = flags.max_reqs_per_event.map_or(defaults.requests_per_turn, |n| n as usize);
        let rules: Vec<ListenerTls> = listen.tls.iter().map(|(_, rule)| *rule).collect();
        let tls = tls::open(flags.enable_ssl, &extended.tls, &rules, &mut notes)?;
        let (tls, warnings) = tls.map(|opened| (opened.tls, opened.warnings)).unzip();
        let server = ServerOptions {
            managed: managed(args, &listen.addresses)?,
            listen: listen.addresses,
            listen_tls: listen.tls,
            tls,
            udp: udp.addresses,
            listen_protocols: [listen.protocols, udp.protocols].concat(),
            unix_socket: listen::unix_socket(flags)?,
            backlog: flags.listen_backlog,
            memory,
            item_size_max: item_size_max(&flags.max_item_size, memory)?,
            evict: !flags.disable_evictions,
            threads: usize::from(flags.threads),
            max_connections: flags.conn_limit as usize,
            reject_when_full: !extended.wait_when_full,
            crawler_stats: !extended.no_crawler_stats,
            lru_stats: !extended.no_lru_stats,
            protocol: protocol(&flags.protocol, flags.auth_file.is_some())?,
            requests_per_turn,
            verbosity: flags.verbose,
            idle_timeout: extended.idle_timeout,
            shutdown_enabled: flags.enable_shutdown,
            flush_enabled: !flags.disable_flush_all,
            dump_enabled: !flags.disable_dumping,
            watch_enabled: !flags.disable_watch,
            watcher_log_len: extended.watcher_log_len.unwrap_or(defaults.watcher_log_len),
            worker_log_len: extended.worker_log_len.unwrap_or(defaults.worker_log_len),
            track_sizes: extended.track_sizes,
            prefix_delimiter: flags.delimiter.as_deref().map(delimiter).transpose()?,
            debug_time_enabled: args.enable_debugtime,
            discovery: args.discovery.as_deref().map(discovery).transpose()?,
            auth_file: auth_file(flags)?,
            memory_file: memory_file(args)?,
            sasl: flags.enable_sasl.then(sasl::credentials).transpose()?,
        };
        note_others(flags, &mut notes);
        Ok(Self { server, notes, warnings: warnings.unwrap_or_default() })
    }
}

fn note_others(flags: &MemcachedFlags, notes: &mut Vec<String>) {
    if flags.user.is_some() && !rustix::process::geteuid().is_root() {
        notes.push("-u (--user): only root can become another user".to_owned());
    }
}

fn memory(text: &str) -> Result<ByteSize> {
    let memory = match text.parse::<u64>() {
        Ok(megabytes) => ByteSize(megabytes.saturating_mul(1 << 20)),
        Err(_) => text.parse().with_context(|| format!("--memory-limit \"{text}\""))?,
    };
    ensure!(
        (ByteSize::mib(1)..=ByteSize::mib(1 << 24)).contains(&memory),
        "--memory-limit \"{text}\": from 1 to 16777216 megabytes"
    );
    Ok(memory)
}

fn item_size_max(text: &str, memory: ByteSize) -> Result<ByteSize> {
    let size: ByteSize = text.parse().with_context(|| format!("--max-item-size \"{text}\""))?;
    ensure!(
        (ByteSize::kib(1)..=ByteSize::mib(1024)).contains(&size),
        "--max-item-size {text}: from 1k to 1024m"
    );
    ensure!(
        size.0 <= memory.0 / 2,
        "--max-item-size {text}: at most half of --memory-limit, which is {memory}"
    );
    Ok(size)
}

fn delimiter(text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte @ b'!'..=b'~'] => Ok(*byte),
        _ => bail!("-D \"{text}\": one visible ASCII character"),
    }
}

fn auth_file(flags: &MemcachedFlags) -> Result<Option<AuthFile>> {
    let open = |path: &PathBuf| AuthFile::open(path).context("-Y (--auth-file)");
    flags.auth_file.as_ref().map(open).transpose()
}

fn memory_file(args: &ServeArgs) -> Result<Option<PathBuf>> {
    let path = args.memcached.memory_file.clone();
    ensure!(
        path.is_none() || !args.cluster.managed,
        "-e (--memory-file) does not go with --managed: a node of a cluster owns nothing when it starts, so what it \
         had before would be of no use"
    );
    Ok(path)
}

/// A list, or a file: what has a slash, and what names a file that is there.
fn discovery(text: &str) -> Result<Discovery> {
    let path = Path::new(text);
    if text.contains('/') || path.is_file() {
        return Discovery::open(path).with_context(|| format!("--discovery \"{text}\""));
    }
    // Another start may come with another list, so a later start has the higher version.
    let version = stdx::clock::unix_millis() / 1000;
    Discovery::of(version, text).with_context(|| format!("--discovery \"{text}\""))
}

fn protocol(name: &str, is_text_only: bool) -> Result<Protocol> {
    match name {
        "auto" if is_text_only => Ok(Protocol::Ascii),
        "auto" => Ok(Protocol::Auto),
        "ascii" => Ok(Protocol::Ascii),
        "binary" => Ok(Protocol::Binary),
        _ => bail!("--protocol \"{name}\": ascii, binary or auto"),
    }
}

fn managed(args: &ServeArgs, listen: &[SocketAddr]) -> Result<Option<ManagedOptions>> {
    let flags: &ClusterFlags = &args.cluster;
    if !flags.managed {
        return Ok(None);
    }
    let name = match &flags.node {
        Some(name) => name.clone(),
        None => format!("node-{}", listen.first().map_or(0, SocketAddr::port)).parse()?,
    };
    if let Some(managers) = &flags.manager {
        let advertise =
            flags.advertise.as_deref().map(|text| crate::address::with_port("--advertise", text, 11211));
        return Ok(Some(ManagedOptions::Leased(Leased {
            managers: crate::address::list("--manager", managers, 11311)?,
            node: name,
            data: flags.data.clone(),
            advertise: advertise.transpose()?,
            incarnation: args.guarded_incarnation.map(Incarnation),
        })));
    }
    let Some(admin) = &flags.admin else {
        bail!(
            "--managed: name the managers with --manager, or an --admin address where buckets are owned by hand"
        );
    };
    let admin = crate::address::with_port("--admin", admin, 11210)?;
    Ok(Some(ManagedOptions::ByHand { admin: crate::address::resolve("--admin", &admin)?[0], node: name }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn read(line: &str) -> Result<Asked> {
        let words = ["memcached"].into_iter().chain(line.split_whitespace());
        Asked::new(&Cli::try_parse_from(words)?.args, Started::AsDoled)
    }

    #[track_caller]
    fn check(line: &str, holds: impl Fn(&ServerOptions) -> bool) {
        let asked = read(line).expect(line);
        assert!(holds(&asked.server), "{line}: {:?}", asked.server);
    }

    #[track_caller]
    fn refused(line: &str, parts: &[&str]) {
        let error = format!("{:#}", read(line).expect_err(line));
        for part in parts {
            assert!(error.contains(part), "{line}: \"{part}\" is missing in: {error}");
        }
    }

    #[test]
    fn flags_of_memcached_set_options() {
        check("", |o| o.listen == ["127.0.0.1:11211".parse().expect("an address")]);
        check("", |o| o.threads == 4 && o.max_connections == 1024 && o.memory == ByteSize::mib(64));
        check("", |o| {
            o.evict
                && o.flush_enabled
                && o.dump_enabled
                && !o.shutdown_enabled
                && o.protocol == Protocol::Auto
        });
        check("-p 5 --port=6", |o| o.listen[0].port() == 6);
        check("-p-1", |o| o.listen[0].port() == 0);
        check("-p -1", |o| o.listen[0].port() == 0);
        check("-U 0 -p 5", |o| o.listen[0].port() == 5);
        check("-l 127.0.0.1:5,127.0.0.2 -l [::1]:6 -p 7", |o| {
            let listen: Vec<String> = o.listen.iter().map(ToString::to_string).collect();
            listen == ["127.0.0.1:5", "127.0.0.2:7", "[::1]:6"]
        });
        check("-s /s -a 0777", |o| {
            o.listen.is_empty() && o.unix_socket.as_ref().is_some_and(|socket| socket.mode == 0o777)
        });
        check("-m 128 -I 64m", |o| o.item_size_max == ByteSize::mib(64));
        check("-m 1g -I 512k", |o| o.memory == ByteSize::mib(1024) && o.item_size_max == ByteSize::kib(512));
        check("-m 2 -I 1024", |o| o.memory == ByteSize::mib(2) && o.item_size_max == ByteSize::kib(1));
        check("-MFAX", |o| !o.evict && !o.flush_enabled && o.shutdown_enabled && !o.dump_enabled);
        check("-t 2 -c 10 -R 20 -b 5", |o| {
            o.threads == 2 && o.max_connections == 10 && o.requests_per_turn == 20 && o.backlog == 5
        });
        check("--conn-limit=10 --threads 2 --max-reqs-per-event=3 --listen-backlog=9", |o| {
            o.threads == 2 && o.max_connections == 10 && o.requests_per_turn == 3 && o.backlog == 9
        });
        check("", |o| !o.debug_time_enabled);
        check("--enable-debugtime", |o| o.debug_time_enabled);
        check("-B ascii", |o| o.protocol == Protocol::Ascii);
        check("--protocol=binary", |o| o.protocol == Protocol::Binary);
        check("-e /f", |o| o.memory_file.as_deref() == Some(Path::new("/f")));
        check("-D /", |o| o.prefix_delimiter == Some(b'/'));
        check("", |o| o.discovery.is_none());
        check("--discovery 10.0.0.1:11211,10.0.0.2:11211", |o| o.discovery.is_some());
        check("-vvv", |o| o.verbosity == 3);
        check("-o idle_timeout=5 -o maxconns_fast,hashpower=20", |o| {
            o.idle_timeout == Some(Duration::from_secs(5))
        });
        check("-d -P /p -u nobody -r -k -f 1.25 -n 48 -L -N 2 -C -X -W", |o| o.managed.is_none());
    }

    #[test]
    fn udp_is_where_l_says() {
        let check = |line: &str, tcp: &[&str], udp: &[&str]| {
            check(line, |o| {
                let all = |list: &[SocketAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
                all(&o.listen) == tcp && all(&o.udp) == udp
            });
        };
        check("-p 5", &["127.0.0.1:5"], &[]);
        check("-U 0 -p 5", &["127.0.0.1:5"], &[]);
        check("-U 6", &["127.0.0.1:6"], &["127.0.0.1:6"]);
        check("-U 6 -p 5", &["127.0.0.1:5"], &["127.0.0.1:6"]);
        check("-U -1", &["127.0.0.1:0"], &["127.0.0.1:0"]);
        check("-U 6 -p 0", &[], &["127.0.0.1:6"]);
        // As memcached: a port of its own is for both.
        check("-U 6 -p 5 -l 127.0.0.1:7,[::1]", &["127.0.0.1:7", "[::1]:5"], &["127.0.0.1:7", "[::1]:6"]);
        check("-U 6 -s /s", &[], &[]);
        let args = Cli::try_parse_from(["memcached", "-U", "6"]).expect("flags").args;
        let asked = Asked::new(&args, Started::AsMemcached).expect("options");
        assert_eq!(asked.server.udp, ["127.0.0.1:6".parse().expect("an address")]);
        let notes = read("-U 6 -s /s").expect("accepted").notes;
        assert!(notes[0].starts_with("-U (--udp-port)"), "{notes:?}");
    }

    #[test]
    fn an_address_may_have_a_protocol_of_its_own() {
        check("-l proto[ascii]:127.0.0.1:7,proto[auto]:tag[x]:[::1]:8,127.0.0.1:9 -B binary", |o| {
            o.listen_protocols
                == [
                    ("127.0.0.1:7".parse().expect("an address"), Protocol::Ascii),
                    ("[::1]:8".parse().expect("an address"), Protocol::Auto),
                ]
        });
    }

    #[test]
    fn every_long_flag_is_taken() {
        check(
            "--unix-mask=700 --enable-shutdown --port=1 --udp-port=0 --memory-limit=64 --disable-evictions \
             --conn-limit=5 --lock-memory --enable-coredumps --verbose --daemon --listen=127.0.0.1 --user=a \
             --pidfile=/p --slab-growth-factor=1.1 --slab-min-size=9 --threads=1 --enable-largepages \
             --max-reqs-per-event=1 --disable-cas --listen-backlog=1 --protocol=auto --max-item-size=1m \
             --disable-flush-all --disable-dumping --disable-watch --extended=modern --napi-ids=1 --license \
             --version --unix-socket=/s",
            |o| o.unix_socket.is_some(),
        );
        // As getopt takes them: shortened.
        check("--memory-l=32 --disable-ev", |o| o.memory == ByteSize::mib(32) && !o.evict);
    }

    #[test]
    fn mistakes_name_the_flag_the_value_and_the_rule() {
        refused("-p x", &["--port \"x\"", "from 1 to 65535"]);
        refused("-p 70000", &["--port \"70000\"", "from 1 to 65535"]);
        refused("-p 0", &["--port 0", "--unix-socket", "--udp-port"]);
        refused("-m x", &["--memory-limit \"x\"", "not a size"]);
        refused("-m 0", &["--memory-limit \"0\"", "from 1"]);
        refused("-m 1", &["--max-item-size 1m", "at most half of --memory-limit", "1 MiB"]);
        refused("-I 512", &["--max-item-size 512", "from 1k to 1024m"]);
        refused("-m 8g -I 1025m", &["--max-item-size 1025m", "from 1k to 1024m"]);
        refused("-I 40m", &["--max-item-size 40m", "at most half of --memory-limit"]);
        refused("-I x", &["--max-item-size \"x\""]);
        refused("-s /s -a 999", &["--unix-mask \"999\"", "octal"]);
        refused("-a 1000", &["--unix-mask \"1000\"", "up to 777"]);
        refused("-B foo", &["--protocol \"foo\"", "ascii, binary or auto"]);
        refused("-t 0", &["--threads", "'0'", "1..=256"]);
        refused("-c 0", &["--conn-limit", "'0'", "1..=1000000"]);
        refused("-R 0", &["--max-reqs-per-event", "'0'"]);
        refused("-b 0", &["--listen-backlog", "'0'"]);
        refused("-f 1", &["--slab-growth-factor", "above 1"]);
        refused("-n 0", &["--slab-min-size", "'0'"]);
        refused("-U x", &["--udp-port \"x\"", "from 1 to 65535"]);
        refused("-U 5 -l 0.0.0.0", &["--udp-port 5", "0.0.0.0:5", "every address", "--listen"]);
        refused("-U 5 -l *", &["--udp-port 5", "every address"]);
        refused("-o foo", &["-o \"foo\"", "no such option"]);
        refused("--discovery a", &["--discovery \"a\"", "host:port"]);
        refused("--discovery ./no/such/file", &["--discovery \"./no/such/file\"", "No such file"]);
        refused("-P", &["--pidfile"]);
        refused("--foo", &["--foo"]);
        refused("-E", &["-E"]);
        refused("bar", &["bar"]);
        refused("--managed --admin 127.0.0.1:0 -e /f", &["-e (--memory-file)", "--managed"]);
        refused("-D ab", &["-D \"ab\"", "one visible"]);
        refused("-S", &["-S (--enable-sasl)", "MEMCACHED_SASL_PWDB"]);
    }

    #[test]
    fn what_does_not_exist_yet_is_refused_by_name() {
        refused("-Z", &["-Z (--enable-ssl)", "ssl_chain_cert=FILE"]);
        refused(
            "-Z -o ssl_chain_cert=/no/such",
            &["Z (--enable-ssl)", "loading the certificate chain: /no/such:"],
        );
        refused("-Z -o ssl_chain_cert=/a,ssl_keyformat=ENGINE", &["ssl_keyformat=ENGINE", "no engines"]);
        refused("-Z -o ssl_chain_cert=/a,ssl_verify_mode=2", &["required", "ssl_ca_cert=FILE"]);
        refused("-Z -o ssl_chain_cert=/a,ssl_verify_mode=4", &["ssl_verify_mode=4", "0 to 3"]);
        refused("-Z -l mtls:127.0.0.1 -o ssl_chain_cert=/a", &["required", "ssl_ca_cert=FILE"]);
        refused("-l btls:127.0.0.1", &["btls: and mtls: need TLS", "-Z"]);
        check("-l notls:127.0.0.1 -o ssl_chain_cert=/a", |o| o.tls.is_none());
        refused("-Y /no/such/file", &["-Y (--auth-file)", "/no/such/file"]);
    }

    #[test]
    fn what_means_nothing_here_is_noted() {
        let notes = read("-f 1.1 -L -C -o lru_crawler").expect("accepted flags").notes;
        let named: Vec<&str> = notes.iter().filter_map(|note| note.split([' ', ':']).next()).collect();
        assert_eq!(named, ["-f", "-L", "-C", "-o"]);
        assert_eq!(read("-m 64 -c 10").expect("plain flags").notes, [""; 0]);
    }

    #[test]
    fn as_memcached_every_address_is_the_default() {
        let args = Cli::try_parse_from(["memcached", "-p", "5"]).expect("flags").args;
        let asked = Asked::new(&args, Started::AsMemcached).expect("options");
        assert_eq!(asked.server.listen[0], "0.0.0.0:5".parse().expect("an address"));
    }
}
