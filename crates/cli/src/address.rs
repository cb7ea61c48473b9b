//! Addresses as people write them: `host:port`, `host`, `[::1]:port`, comma lists.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};

/// Splits a comma list of `host[:port]` and gives a port to those without one. Names are not resolved.
pub(crate) fn list(flag: &str, text: &str, default_port: u16) -> Result<Vec<String>> {
    let mut addresses = Vec::new();
    for part in text.split(',').map(str::trim) {
        if part.is_empty() {
            bail!("{flag} \"{text}\": an address is empty; write host:port,host:port");
        }
        let address = with_port(flag, part, default_port)?;
        if addresses.contains(&address) {
            bail!("{flag} \"{text}\": {address} stands there twice");
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// One `host[:port]`, with a port in the end.
pub(crate) fn with_port(flag: &str, text: &str, default_port: u16) -> Result<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => {
            let port: u16 = port.parse().with_context(|| {
                format!("{flag} \"{text}\": the port \"{port}\" is not a number up to 65535")
            })?;
            (host, port)
        }
        _ => (text, default_port),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        bail!("{flag} \"{text}\": write host:port");
    }
    if host.contains(':') && !host.starts_with('[') {
        Ok(format!("[{host}]:{port}"))
    } else {
        Ok(format!("{host}:{port}"))
    }
}

/// Resolves one `host:port` to all its socket addresses.
pub(crate) fn resolve(flag: &str, address: &str) -> Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = address
        .to_socket_addrs()
        .with_context(|| format!("{flag} \"{address}\": cannot be resolved"))?
        .collect();
    if found.is_empty() {
        bail!("{flag} \"{address}\": the name has no address");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_filled_in() {
        let check = |text: &str, expect: &[&str]| {
            let expect: Vec<String> = expect.iter().map(ToString::to_string).collect();
            assert_eq!(list("-l", text, 11211).ok(), Some(expect), "{text}");
        };
        check("a", &["a:11211"]);
        check("a:1, b:2", &["a:1", "b:2"]);
        check("::1", &["[::1]:11211"]);
        check("[::1]:7", &["[::1]:7"]);
    }

    #[test]
    fn mistakes_name_the_flag_and_the_value() {
        for text in ["", "a,,b", "a:x", "a:70000", ":1", "a,a", "a b"] {
            let error = format!("{:#}", list("--pool", text, 1).expect_err(text));
            assert!(error.starts_with("--pool \""), "{error}");
        }
    }
}
