//! Where a node listens: `-l` as memcached writes it, `-p`, `-U`, `-s`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail, ensure};
use server::{ListenerTls, Protocol, UnixSocket};

use super::Started;
use super::flags::MemcachedFlags;

/// A port for which any free one is taken.
const ANY_PORT: &str = "-1";

/// memcached's port, if none is given.
const DEFAULT_PORT: u16 = 11211;

/// memcached's word for every address.
const ANY_HOST: &str = "*";

/// Where to listen on TCP, or on UDP.
#[derive(Debug, Default)]
pub(super) struct Listen {
    /// All addresses, each once, in the order given.
    pub(super) addresses: Vec<SocketAddr>,
    /// Those that have a TLS rule of their own.
    pub(super) tls: Vec<(SocketAddr, ListenerTls)>,
    /// Those that speak something of their own.
    pub(super) protocols: Vec<(SocketAddr, Protocol)>,
}

/// What the words before an address say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Words {
    tls: Option<ListenerTls>,
    protocol: Option<Protocol>,
}

/// All TCP addresses.
pub(super) fn tcp(flags: &MemcachedFlags, started: Started, notes: &mut Vec<String>) -> Result<Listen> {
    let mut listen = Listen::default();
    if flags.unix_socket.is_some() {
        return Ok(listen);
    }
    let udp = port("--udp-port", &flags.udp_port)?;
    let tcp = match &flags.port {
        Some(text) => port("--port", text)?,
        None => udp.or(Some(DEFAULT_PORT)),
    };
    let Some(port) = tcp else {
        ensure!(udp.is_some(), "--port 0: without a TCP port the node needs --unix-socket or --udp-port");
        return Ok(listen);
    };
    if flags.listen.is_empty() {
        listen.addresses = match started {
            Started::AsDoled => vec![(Ipv4Addr::LOCALHOST, port).into()],
            Started::AsMemcached => every_address(port),
        };
        return Ok(listen);
    }
    resolve_all(&flags.listen, port, notes)
}

/// All UDP addresses. Who sends datagrams can forge where they come from, and so make a server that everybody
/// reaches a weapon against anybody: it is served on loopback, or on addresses that are named.
pub(super) fn udp(flags: &MemcachedFlags, started: Started, notes: &mut Vec<String>) -> Result<Listen> {
    let Some(port) = port("--udp-port", &flags.udp_port)? else { return Ok(Listen::default()) };
    if flags.unix_socket.is_some() {
        notes.push("-U (--udp-port): -s turns the network off".to_owned());
        return Ok(Listen::default());
    }
    if flags.listen.is_empty() {
        if started == Started::AsMemcached {
            notes.push("-U (--udp-port): on loopback; other addresses have to be named with -l".to_owned());
        }
        return Ok(Listen::at(vec![(Ipv4Addr::LOCALHOST, port).into()]));
    }
    // What the words mean is noted for TCP.
    let listen = resolve_all(&flags.listen, port, &mut Vec::new())?;
    if let Some(address) = listen.addresses.iter().find(|address| address.ip().is_unspecified()) {
        bail!(
            "--udp-port {}: {address} is every address of this machine, where UDP would answer whomever a datagram claims to come from; name the addresses with --listen",
            flags.udp_port
        );
    }
    Ok(listen)
}

/// Each address once.
fn resolve_all(texts: &[String], port: u16, notes: &mut Vec<String>) -> Result<Listen> {
    let mut listen = Listen::default();
    for text in texts {
        let (words, address) = without_words(text, notes)?;
        for address in resolve(address, port)? {
            listen.add(text, address, words)?;
        }
    }
    Ok(listen)
}

impl Listen {
    fn at(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, ..Self::default() }
    }

    fn add(&mut self, text: &str, address: SocketAddr, words: Words) -> Result<()> {
        // Any number of free ports may be asked for, but by one rule.
        if self.addresses.contains(&address) {
            ensure!(
                self.words(address) == words,
                "--listen \"{text}\": {address} stands there twice, with different words before it"
            );
            return Ok(());
        }
        self.addresses.push(address);
        self.tls.extend(words.tls.map(|rule| (address, rule)));
        self.protocols.extend(words.protocol.map(|protocol| (address, protocol)));
        Ok(())
    }

    fn words(&self, address: SocketAddr) -> Words {
        let tls = self.tls.iter().find(|(listed, _)| *listed == address);
        let protocol = self.protocols.iter().find(|(listed, _)| *listed == address);
        Words { tls: tls.map(|(_, rule)| *rule), protocol: protocol.map(|(_, protocol)| *protocol) }
    }
}

/// The unix socket, if there is to be one.
pub(super) fn unix_socket(flags: &MemcachedFlags) -> Result<Option<UnixSocket>> {
    let mode = u32::from_str_radix(&flags.unix_mask, 8).ok().filter(|mode| *mode <= 0o777);
    let mode =
        mode.with_context(|| format!("--unix-mask \"{}\": an octal number up to 777", flags.unix_mask))?;
    let Some(path) = &flags.unix_socket else { return Ok(None) };
    let path = std::path::absolute(path).with_context(|| format!("--unix-socket \"{}\"", path.display()))?;
    Ok(Some(UnixSocket { path, mode }))
}

/// The port that a flag names, 0 for any free one; `None` when it turns its protocol off.
fn port(flag: &str, text: &str) -> Result<Option<u16>> {
    match text {
        ANY_PORT => Ok(Some(0)),
        "0" => Ok(None),
        text => {
            let port = text.parse().ok().with_context(|| {
                format!("{flag} \"{text}\": a number from 1 to 65535, -1 for any free port, or 0 for none")
            });
            port.map(Some)
        }
    }
}

fn resolve(text: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if text == ANY_HOST {
        return Ok(every_address(port));
    }
    let address = crate::address::with_port("--listen", text, port)?;
    match address.strip_prefix("*:").map(str::parse) {
        Some(Ok(port)) => Ok(every_address(port)),
        _ => crate::address::resolve("--listen", &address),
    }
}

/// Both families; on a machine without IPv6, the other.
fn every_address(port: u16) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    if TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok() {
        addresses.push((Ipv6Addr::UNSPECIFIED, port).into());
    }
    addresses
}

/// Takes the words off that memcached lets stand before an address: TLS, protocol, tag.
fn without_words<'t>(text: &'t str, notes: &mut Vec<String>) -> Result<(Words, &'t str)> {
    let (mut rest, mut words) = (text, Words::default());
    loop {
        let Some((word, after)) = split_word(rest) else { return Ok((words, rest)) };
        match word.split_once(['[', '_']).map_or(word, |(kind, _)| kind) {
            "notls" => words.tls = Some(ListenerTls::Off),
            "btls" => words.tls = Some(ListenerTls::Basic),
            "mtls" => words.tls = Some(ListenerTls::Mutual),
            "tag" => notes.push(format!("--listen \"{text}\": tags mean something only in a proxy")),
            _ => words.protocol = Some(protocol_of(text, word)?),
        }
        rest = after;
    }
}

/// A leading `word:`, or `word[name]:`, or `tag_name_:`.
fn split_word(text: &str) -> Option<(&str, &str)> {
    for word in ["notls:", "btls:", "mtls:"] {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((word.trim_end_matches(':'), rest));
        }
    }
    let end = if text.starts_with("proto[") || text.starts_with("tag[") {
        "]:"
    } else if text.starts_with("tag_") {
        "_:"
    } else {
        return None;
    };
    let at = text.find(end)? + 1;
    Some((&text[..at], &text[at + 1..]))
}

fn protocol_of(text: &str, word: &str) -> Result<Protocol> {
    match word.trim_start_matches("proto[").trim_end_matches(']') {
        "ascii" => Ok(Protocol::Ascii),
        "binary" => Ok(Protocol::Binary),
        "auto" => Ok(Protocol::Auto),
        "proxy" => bail!("--listen \"{text}\": the proxy is a command of its own: doled proxy"),
        name => bail!(
            "--listen \"{text}\": \"{name}\" is no protocol; write proto[ascii], proto[binary] or proto[auto]"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let mut notes = Vec::new();
        let found = without_words(text, &mut notes).and_then(|(_, text)| resolve(text, 7)).expect(text);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expect, "{text}");
    }

    #[track_caller]
    fn refused(text: &str, expect: &str) {
        let error =
            without_words(text, &mut Vec::new()).and_then(|(_, text)| resolve(text, 7)).expect_err(text);
        assert!(format!("{error:#}").starts_with(expect), "{text}: {error:#}");
    }

    #[test]
    fn addresses_are_written_as_for_memcached() {
        check("127.0.0.1", &["127.0.0.1:7"]);
        check("127.0.0.1:9", &["127.0.0.1:9"]);
        check("::1", &["[::1]:7"]);
        check("[::1]", &["[::1]:7"]);
        check("[::1]:9", &["[::1]:9"]);
        check("notls:127.0.0.1:9", &["127.0.0.1:9"]);
        check("proto[ascii]:127.0.0.1", &["127.0.0.1:7"]);
        check("tag[a-b]:notls:[::1]:9", &["[::1]:9"]);
        check("tag_b_:127.0.0.1", &["127.0.0.1:7"]);
        assert_eq!(resolve("*:9", 7).expect("every address")[0], "0.0.0.0:9".parse().expect("an address"));
        assert_eq!(resolve("*", 7).expect("every address")[0], "0.0.0.0:7".parse().expect("an address"));
    }

    #[test]
    fn an_address_has_one_tls_rule() {
        let rule = |text| without_words(text, &mut Vec::new()).expect(text).0.tls;
        assert_eq!(rule("127.0.0.1"), None);
        assert_eq!(rule("notls:127.0.0.1"), Some(ListenerTls::Off));
        assert_eq!(rule("tag[a]:btls:proto[ascii]:127.0.0.1"), Some(ListenerTls::Basic));
        assert_eq!(rule("mtls:127.0.0.1"), Some(ListenerTls::Mutual));
        let mut listen = Listen::default();
        let basic = Words { tls: Some(ListenerTls::Basic), protocol: None };
        let address: SocketAddr = "127.0.0.1:5".parse().expect("an address");
        for _ in 0..2 {
            listen.add("text", address, basic).expect("the same again");
        }
        assert_eq!(listen.addresses, [address]);
        let error = listen.add("text", address, Words::default()).expect_err("another rule").to_string();
        assert!(error.contains("127.0.0.1:5 stands there twice"), "{error}");
    }

    #[test]
    fn mistakes_in_addresses_are_told() {
        refused("proto[udp]:127.0.0.1", "--listen \"proto[udp]:127.0.0.1\": \"udp\" is no protocol");
        refused("proto[proxy]:127.0.0.1", "--listen \"proto[proxy]:127.0.0.1\": the proxy is a command");
        refused("proto[ascii:127.0.0.1", "--listen \"");
        refused("tag[a:127.0.0.1", "--listen \"");
        refused("127.0.0.1:x", "--listen \"127.0.0.1:x\": the port \"x\"");
        refused("127.0.0.1:70000", "--listen \"127.0.0.1:70000\": the port");
        refused("", "--listen \"\"");
    }
}
