//! `-S`: who may use the node, from the file that memcached's simple password check reads.

use std::path::PathBuf;

use anyhow::{Context, Result};
use server::Credentials;

/// Names the file.
const FILE_ENV: &str = "MEMCACHED_SASL_PWDB";

/// Reads the file of users.
pub(super) fn credentials() -> Result<Credentials> {
    let path = std::env::var_os(FILE_ENV).map(PathBuf::from).with_context(|| {
        format!("-S (--enable-sasl): name a file in the environment as {FILE_ENV}, with a line user:password for each user")
    })?;
    let text = std::fs::read(&path).with_context(|| format!("{FILE_ENV} {}", path.display()))?;
    parse(&text).with_context(|| format!("{FILE_ENV} {}", path.display()))
}

/// `user:password` a line, and what follows a second colon is not looked at. Errors name the line, not its secret.
fn parse(text: &[u8]) -> Result<Credentials> {
    let mut users = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let mut fields = line.split(|byte| *byte == b':');
        let user = fields.next().zip(fields.next());
        users.push(user.with_context(|| format!("line {}: write user:password", index + 1))?);
    }
    Ok(Credentials::new(users)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_and_mistakes_told_without_secrets() {
        for text in ["a:b", "a:b\n", "a:b:\r\n\nc:d:rest\n"] {
            assert!(parse(text.as_bytes()).is_ok(), "{text:?}");
        }
        let check = |text: &str, expect: &str| {
            let error = format!("{:#}", parse(text.as_bytes()).expect_err(text));
            assert!(error.contains(expect) && !error.contains("secret"), "{text:?}: {error}");
        };
        check("", "there is no user");
        check("a:b\nsecret\n", "line 2: write user:password");
        check(":secret", "user 1 or its password is empty");
        check("secret:", "user 1 or its password is empty");
    }
}
