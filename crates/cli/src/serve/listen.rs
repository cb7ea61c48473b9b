//! Where a node listens: `-l` as memcached writes it, `-p`, `-U`, `-s`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail, ensure};
use server::{ListenerTls, UnixSocket};

use super::Started;
use super::flags::MemcachedFlags;

/// A port for which any free one is taken.
const ANY_PORT: &str = "-1";

/// memcached's port, if none is given.
const DEFAULT_PORT: u16 = 11211;

/// memcached's word for every address.
const ANY_HOST: &str = "*";

/// Where to listen on TCP.
#[derive(Debug, Default)]
pub(super) struct Listen {
    /// All addresses, each once, in the order given.
    pub(super) addresses: Vec<SocketAddr>,
    /// Those that have a TLS rule of their own.
    pub(super) tls: Vec<(SocketAddr, ListenerTls)>,
}

/// All TCP addresses.
pub(super) fn addresses(flags: &MemcachedFlags, started: Started, notes: &mut Vec<String>) -> Result<Listen> {
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
pub(super) fn udp_addresses(
    flags: &MemcachedFlags,
    started: Started,
    notes: &mut Vec<String>,
) -> Result<Vec<SocketAddr>> {
    let Some(port) = port("--udp-port", &flags.udp_port)? else { return Ok(Vec::new()) };
    if flags.unix_socket.is_some() {
        notes.push("-U (--udp-port): -s turns the network off".to_owned());
        return Ok(Vec::new());
    }
    if flags.listen.is_empty() {
        if started == Started::AsMemcached {
            notes.push("-U (--udp-port): on loopback; other addresses have to be named with -l".to_owned());
        }
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]);
    }
    // What the words mean is noted for TCP.
    let addresses = resolve_all(&flags.listen, port, &mut Vec::new())?.addresses;
    if let Some(address) = addresses.iter().find(|address| address.ip().is_unspecified()) {
        bail!(
            "--udp-port {}: {address} is every address of this machine, where UDP would answer whomever a datagram claims to come from; name the addresses with --listen",
            flags.udp_port
        );
    }
    Ok(addresses)
}

/// Each address once.
fn resolve_all(texts: &[String], port: u16, notes: &mut Vec<String>) -> Result<Listen> {
    let mut listen = Listen::default();
    for text in texts {
        let (rule, address) = without_words(text, notes)?;
        for address in resolve(address, port)? {
            listen.add(text, address, rule)?;
        }
    }
    Ok(listen)
}

impl Listen {
    fn add(&mut self, text: &str, address: SocketAddr, rule: Option<ListenerTls>) -> Result<()> {
        let listed = self.tls.iter().find(|(listed, _)| *listed == address).map(|(_, rule)| *rule);
        // Any number of free ports may be asked for, but by one rule.
        if self.addresses.contains(&address) {
            ensure!(
                listed == rule,
                "--listen \"{text}\": {address} stands there twice, with and without TLS"
            );
            return Ok(());
        }
        self.addresses.push(address);
        self.tls.extend(rule.map(|rule| (address, rule)));
        Ok(())
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
fn without_words<'t>(text: &'t str, notes: &mut Vec<String>) -> Result<(Option<ListenerTls>, &'t str)> {
    let (mut rest, mut rule) = (text, None);
    loop {
        let Some((word, after)) = split_word(rest) else { return Ok((rule, rest)) };
        match word.split_once(['[', '_']).map_or(word, |(kind, _)| kind) {
            "notls" => rule = Some(ListenerTls::Off),
            "btls" => rule = Some(ListenerTls::Basic),
            "mtls" => rule = Some(ListenerTls::Mutual),
            "tag" => notes.push(format!("--listen \"{text}\": tags mean something only in a proxy")),
            _ => check_protocol(text, word, notes)?,
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

fn check_protocol(text: &str, word: &str, notes: &mut Vec<String>) -> Result<()> {
    let name = word.trim_start_matches("proto[").trim_end_matches(']');
    ensure!(
        ["ascii", "binary"].contains(&name),
        "--listen \"{text}\": \"{name}\" is no protocol; write proto[ascii] or proto[binary]"
    );
    notes.push(format!("--listen \"{text}\": all addresses speak what -B says"));
    Ok(())
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
        let rule = |text| without_words(text, &mut Vec::new()).expect(text).0;
        assert_eq!(rule("127.0.0.1"), None);
        assert_eq!(rule("notls:127.0.0.1"), Some(ListenerTls::Off));
        assert_eq!(rule("tag[a]:btls:proto[ascii]:127.0.0.1"), Some(ListenerTls::Basic));
        assert_eq!(rule("mtls:127.0.0.1"), Some(ListenerTls::Mutual));
        let mut listen = Listen::default();
        let address: SocketAddr = "127.0.0.1:5".parse().expect("an address");
        for _ in 0..2 {
            listen.add("text", address, Some(ListenerTls::Basic)).expect("the same again");
        }
        assert_eq!(listen.addresses, [address]);
        let error = listen.add("text", address, None).expect_err("another rule").to_string();
        assert!(error.contains("127.0.0.1:5 stands there twice"), "{error}");
    }

    #[test]
    fn mistakes_in_addresses_are_told() {
        refused("proto[udp]:127.0.0.1", "--listen \"proto[udp]:127.0.0.1\": \"udp\" is no protocol");
        refused("proto[ascii:127.0.0.1", "--listen \"");
        refused("tag[a:127.0.0.1", "--listen \"");
        refused("127.0.0.1:x", "--listen \"127.0.0.1:x\": the port \"x\"");
        refused("127.0.0.1:70000", "--listen \"127.0.0.1:70000\": the port");
        refused("", "--listen \"\"");
    }
}
