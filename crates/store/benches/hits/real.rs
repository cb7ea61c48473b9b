//! A real memcached over a Unix socket, under the same requests.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::trace::Trace;

pub(crate) struct Memcached {
    process: Child,
    socket: PathBuf,
    stream: BufReader<UnixStream>,
    line: String,
}

/// What a replay came to.
pub(crate) struct Outcome {
    pub(crate) misses: u64,
    /// Held on average.
    pub(crate) items: usize,
    /// Bytes at the end.
    pub(crate) rss: u64,
}

impl Memcached {
    pub(crate) fn start(program: &str, mib: u64) -> Self {
        let socket = std::env::temp_dir().join(format!("hits-{}.sock", std::process::id()));
        let mut command = Command::new(program);
        command.args(["-u", "nobody", "-t", "1", "-m", &mib.to_string(), "-s"]).arg(&socket);
        let process = command.stderr(Stdio::null()).spawn().expect("memcached is installed");
        let stream = (0..500)
            .find_map(|_| {
                std::thread::sleep(Duration::from_millis(10));
                UnixStream::connect(&socket).ok()
            })
            .expect("it listens");
        Self { process, socket, stream: BufReader::new(stream), line: String::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("it lives");
    }

    fn line(&mut self) -> &str {
        self.line.clear();
        self.stream.read_line(&mut self.line).expect("it answers");
        self.line.trim_end()
    }

    fn curr_items(&mut self) -> usize {
        self.send(b"stats\r\n");
        let mut items = 0;
        loop {
            match self.line() {
                "END" => return items,
                line => {
                    if let Some(count) = line.strip_prefix("STAT curr_items ") {
                        items = count.parse().expect("a number");
                    }
                }
            }
        }
    }

    pub(crate) fn replay(&mut self, trace: &Trace, value: usize) -> Outcome {
        let (mut misses, mut held, mut looks) = (0, 0, 0);
        let value = "v".repeat(value);
        for (n, request) in trace.keys.iter().enumerate() {
            self.send(format!("get {request:016x}\r\n").as_bytes());
            if self.line() == "END" {
                misses += 1;
                self.send(format!("set {request:016x} 0 0 {}\r\n{value}\r\n", value.len()).as_bytes());
                // "SERVER_ERROR out of memory" happens when a class of lengths has no page yet: one miss more.
                self.line();
            } else {
                self.line();
                assert_eq!(self.line(), "END");
            }
            if n > trace.keys.len() / 4 && n % 5000 == 0 {
                held += self.curr_items();
                looks += 1;
            }
        }
        let status = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id())).expect("it lives");
        let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Outcome { misses, items: held / looks, rss: pages.expect("a number of pages") * 4096 }
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
