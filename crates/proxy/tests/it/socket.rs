//! A client's socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Socket(pub(crate) TcpStream);

impl Socket {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: impl AsRef<[u8]>) {
        let wanted = wanted.as_ref();
        let mut got = vec![0; wanted.len()];
        let mut len = 0;
        while len < got.len() {
            match self.0.read(&mut got[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        got.truncate(len);
        if got != wanted {
            let at = got.iter().zip(wanted).take_while(|(got, wanted)| got == wanted).count();
            let around = |bytes: &[u8]| bytes[at.saturating_sub(100)..].escape_ascii().to_string();
            let (got, wanted) = (around(&got), around(wanted));
            panic!("at byte {at}\n   got {got:.400}\nwanted {wanted:.400}");
        }
    }

    #[track_caller]
    pub(crate) fn check(&mut self, sent: impl AsRef<[u8]>, wanted: impl AsRef<[u8]>) {
        self.send(sent);
        self.expect(wanted);
    }

    /// All up to and with `last`.
    pub(crate) fn read_to(&mut self, last: &str) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(last.as_bytes()) {
            self.0.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    /// Sends no more; replies still come.
    pub(crate) fn finish(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}
