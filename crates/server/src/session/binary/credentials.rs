//! Who may use a node that asks for a password.
//!
//! **Invariant**: a look-up compares every user and every password over their full room, whatever was given
//! and whichever matches, so that its time tells nothing about them.

use std::fmt;
use std::hint::black_box;

use crate::limits::{CREDENTIAL_LEN_MAX, CREDENTIALS_MAX};

/// Users and their passwords, for SASL PLAIN.
#[derive(Clone)]
pub struct Credentials {
    users: Vec<(Secret, Secret)>,
}

/// Why users and passwords are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Nobody could get in.
    #[error("there is no user")]
    NoUser,
    /// More than are looked through for each attempt.
    #[error("there are more than {CREDENTIALS_MAX} users")]
    TooMany,
    /// By its place in the list, from 1.
    #[error("user {0} or its password is empty or longer than {CREDENTIAL_LEN_MAX} bytes")]
    Length(usize),
    /// PLAIN could not say it.
    #[error("user {0} or its password contains a zero byte")]
    ZeroByte(usize),
}

impl Credentials {
    /// Users with their passwords, 1 to [`CREDENTIALS_MAX`]. A user may have several passwords.
    pub fn new<'a>(users: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, CredentialsError> {
        let mut known = Vec::new();
        for (index, (user, password)) in users.into_iter().enumerate() {
            let number = index + 1;
            if number > CREDENTIALS_MAX {
                return Err(CredentialsError::TooMany);
            }
            if user.contains(&0) || password.contains(&0) {
                return Err(CredentialsError::ZeroByte(number));
            }
            let secrets = Secret::new(user).filter(|_| !user.is_empty() && !password.is_empty());
            known.push(secrets.zip(Secret::new(password)).ok_or(CredentialsError::Length(number))?);
        }
        if known.is_empty() {
            return Err(CredentialsError::NoUser);
        }
        Ok(Self { users: known })
    }

    /// Whether this is a user with its password.
    pub(crate) fn has(&self, user: &[u8], password: &[u8]) -> bool {
        let user = Secret::new(user).zip(Secret::new(password));
        let (user, password) = user.unwrap_or((Secret::NOBODY, Secret::NOBODY));
        let mut has = false;
        for known in &self.users {
            // No short cut: both are compared, and so is everybody behind the one who matches.
            has |= black_box(known.0.is(&user) & known.1.is(&password));
        }
        has
    }
}

/// Says how many there are, never who or what.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

/// A word, filled up with zeros, which it can't contain.
#[derive(Clone)]
struct Secret([u8; CREDENTIAL_LEN_MAX]);

impl Secret {
    /// Empty, as no user or password is.
    const NOBODY: Self = Self([0; CREDENTIAL_LEN_MAX]);

    /// `None` when it is too long.
    fn new(word: &[u8]) -> Option<Self> {
        let mut secret = Self::NOBODY;
        secret.0.get_mut(..word.len())?.copy_from_slice(word);
        Some(secret)
    }

    fn is(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        difference == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(users: &[(&[u8], &[u8])], why: CredentialsError) {
        assert_eq!(Credentials::new(users.iter().copied()).unwrap_err(), why);
    }

    #[test]
    fn only_a_user_with_its_own_password_is_one() {
        let long = [b'x'; CREDENTIAL_LEN_MAX];
        let too_long = [b'x'; CREDENTIAL_LEN_MAX + 1];
        let users: [(&[u8], &[u8]); 3] = [(b"anna", b"one"), (b"bert", b"two"), (&long, &long)];
        let known = Credentials::new(users).unwrap();
        for (user, password) in users {
            assert!(known.has(user, password));
        }
        let wrong: [(&[u8], &[u8]); 9] = [
            (b"anna", b"two"),
            (b"anna", b"on"),
            (b"anna", b"one "),
            (b"ann", b"one"),
            (b"anna", b""),
            (b"", b""),
            (b"", b"one"),
            (&too_long, &long),
            (&long, &too_long),
        ];
        for (user, password) in wrong {
            assert!(!known.has(user, password), "{} {}", user.escape_ascii(), password.escape_ascii());
        }
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        let too_long = [b'x'; CREDENTIAL_LEN_MAX + 1];
        refused(&[], CredentialsError::NoUser);
        refused(&[(b"a", b"b"), (b"", b"b")], CredentialsError::Length(2));
        refused(&[(b"a", b"")], CredentialsError::Length(1));
        refused(&[(b"a", &too_long)], CredentialsError::Length(1));
        refused(&[(b"a\0", b"b")], CredentialsError::ZeroByte(1));
        let user: (&[u8], &[u8]) = (b"a", b"b");
        refused(&[user; CREDENTIALS_MAX + 1], CredentialsError::TooMany);
    }

    #[test]
    fn debug_tells_no_password() {
        let known = Credentials::new([(&b"anna"[..], &b"secret"[..])]).unwrap();
        assert_eq!(format!("{known:?}"), "Credentials { users: 1, .. }");
    }
}
