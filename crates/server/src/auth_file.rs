//! The users of the text protocol (`-Y`): a file with a line `user:pass` for each, as memcached reads it.
//!
//! Owned by the options and shared by all workers; read at the start and again on SIGHUP, by the thread that
//! asks. A new file that is wrong changes nothing. Connections that have shown a password before keep theirs.
//!
//! **Invariant**: there is always at least one user, and every one of them can be shown on a connection.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::limits::{AUTH_FILE_LEN_MAX, AUTH_LINE_LEN_MAX, AUTH_USERS_MAX};
use crate::session::{Credentials, CredentialsError};

/// The users that a file names. Clones share what is read again.
#[derive(Clone, Debug)]
pub struct AuthFile {
    path: PathBuf,
    users: Arc<RwLock<Credentials>>,
}

/// Why a file names no users. Never tells a secret.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no such file.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: AuthContentError,
    },
}

/// What is wrong in a file of users. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthContentError {
    /// Not read to its end.
    #[error("longer than {AUTH_FILE_LEN_MAX} bytes")]
    TooLong,
    /// No colon.
    #[error("line {0}: write user:pass")]
    NoColon(usize),
    /// Too long for a line.
    #[error("line {0}: longer than {AUTH_LINE_LEN_MAX} bytes")]
    LineTooLong(usize),
    /// Half of it is missing.
    #[error("line {0}: the user or the password is empty")]
    Empty(usize),
    /// A connection shows user and password as two words.
    #[error("line {0}: a space or control character, which no client could show")]
    Unshowable(usize),
    /// More than are compared at each attempt.
    #[error("line {0}: a file has at most {AUTH_USERS_MAX} users")]
    TooMany(usize),
    /// Nobody, or what only the whole list shows.
    #[error(transparent)]
    Users(#[from] CredentialsError),
}

impl AuthFile {
    /// Reads and checks the file.
    pub fn open(path: &Path) -> Result<Self, AuthFileError> {
        let failed = |source| AuthFileError::Read { path: path.to_owned(), source };
        // Read again later, when a daemon has left this directory.
        let path = std::path::absolute(path).map_err(failed)?;
        let users = Arc::new(RwLock::new(read(&path)?));
        Ok(Self { path, users })
    }

    /// The file, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again. After an error the users are those of before.
    pub fn reload(&self) -> Result<(), AuthFileError> {
        let users = read(&self.path)?;
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = users;
        Ok(())
    }

    /// Whether this is a user with its password; takes the same time for every answer.
    pub(crate) fn has(&self, user: &[u8], password: &[u8]) -> bool {
        self.users.read().unwrap_or_else(PoisonError::into_inner).has(user, password)
    }
}

fn read(path: &Path) -> Result<Credentials, AuthFileError> {
    let failed = |source| AuthFileError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(AUTH_FILE_LEN_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    parse(&text).map_err(|source| AuthFileError::Content { path: path.to_owned(), source })
}

/// Empty lines name nobody; a password may contain colons.
fn parse(text: &[u8]) -> Result<Credentials, AuthContentError> {
    if text.len() as u64 > AUTH_FILE_LEN_MAX {
        return Err(AuthContentError::TooLong);
    }
    let mut users = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let (number, line) = (index + 1, line.strip_suffix(b"\r").unwrap_or(line));
        if line.is_empty() {
            continue;
        }
        if users.len() == AUTH_USERS_MAX {
            return Err(AuthContentError::TooMany(number));
        }
        users.push(parse_line(number, line)?);
    }
    Ok(Credentials::new(users)?)
}

fn parse_line(number: usize, line: &[u8]) -> Result<(&[u8], &[u8]), AuthContentError> {
    if line.len() > AUTH_LINE_LEN_MAX {
        return Err(AuthContentError::LineTooLong(number));
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(AuthContentError::NoColon(number))?;
    let (user, password) = line.split_at(colon);
    let password = password.get(1..).unwrap_or_default();
    if user.is_empty() || password.is_empty() {
        return Err(AuthContentError::Empty(number));
    }
    if line.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(AuthContentError::Unshowable(number));
    }
    Ok((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &[u8], why: AuthContentError) {
        let error = parse(text).expect_err("refused");
        assert_eq!(error, why);
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn users_are_read_as_memcached_reads_them() {
        let users = parse(b"anna:one\r\n\nbert:t:wo").expect("users");
        assert!(users.has(b"anna", b"one") && users.has(b"bert", b"t:wo"));
        assert!(!users.has(b"anna", b"t:wo") && !users.has(b"bert", b"t"));
        let longest = format!("a:{}\n", "x".repeat(AUTH_LINE_LEN_MAX - 2));
        assert!(parse(longest.as_bytes()).is_ok());
        assert!(parse("a:b\n".repeat(AUTH_USERS_MAX).as_bytes()).is_ok());
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_without_secrets() {
        refused(b"", AuthContentError::Users(CredentialsError::NoUser));
        refused(b"\n\r\n", AuthContentError::Users(CredentialsError::NoUser));
        refused(b"a:b\nsecret\n", AuthContentError::NoColon(2));
        refused(b"a:b\n\n:secret\n", AuthContentError::Empty(3));
        refused(b"secret:", AuthContentError::Empty(1));
        refused(b"a:sec ret", AuthContentError::Unshowable(1));
        refused(b"a:secret\0", AuthContentError::Unshowable(1));
        let long = format!("a:b\na:{}", "x".repeat(AUTH_LINE_LEN_MAX - 1));
        refused(long.as_bytes(), AuthContentError::LineTooLong(2));
        let many = "a:b\n".repeat(AUTH_USERS_MAX + 1);
        refused(many.as_bytes(), AuthContentError::TooMany(AUTH_USERS_MAX + 1));
        let len = usize::try_from(AUTH_FILE_LEN_MAX).expect("small");
        refused(&vec![b'\n'; len + 1], AuthContentError::TooLong);
    }

    #[test]
    fn a_wrong_new_file_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("users");
        let missing = AuthFile::open(&path).expect_err("no file").to_string();
        assert!(missing.contains("users"), "{missing}");
        std::fs::write(&path, "anna:one\n").expect("a file");
        let file = AuthFile::open(&path).expect("users");
        std::fs::write(&path, "anna:two\nrubbish\n").expect("a file");
        let error = file.reload().expect_err("wrong").to_string();
        assert!(error.contains("users: line 2: write user:pass"), "{error}");
        assert!(file.has(b"anna", b"one") && !file.has(b"anna", b"two"));
        std::fs::write(&path, "anna:two\n").expect("a file");
        file.clone().reload().expect("right again");
        assert!(!file.has(b"anna", b"one") && file.has(b"anna", b"two"));
    }
}
