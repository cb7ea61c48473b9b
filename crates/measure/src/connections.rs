//! What an idle process and idle connections cost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::Scale;
use crate::report::{Section, Table};
use crate::server::{Programs, RIVALS, Server, Setup};

/// For memory to settle after the last request.
const SETTLE: Duration = Duration::from_millis(500);

/// Adds the table.
pub(crate) fn run(programs: &Programs, scale: &Scale, section: &mut Section) -> Result<()> {
    let count = scale.connections;
    raise_limit(u64::from(count) + 100)?;
    let mut table = Table::new(
        "Idle",
        &format!(
            "Four threads, `-m 64`. {count} connections that each sent one get and then nothing. Memory of the \
             process; the kernel's own for sockets is the same for both."
        ),
        &["server", "empty process, RSS MiB", "per idle connection, bytes", "asked"],
    );
    for rival in RIVALS {
        let server = Server::start(programs, &Setup { threads: 4, pinned: false, ..Setup::new(rival, 64) })?;
        std::thread::sleep(SETTLE);
        let empty = server.rss_kib()?;
        let streams = (0..count).map(|number| idle(&server, number)).collect::<Result<Vec<TcpStream>>>()?;
        std::thread::sleep(SETTLE);
        let each = (server.rss_kib()?.saturating_sub(empty) << 10) as f64 / f64::from(count);
        drop(streams);
        section.raw(json!({
            "case": "idle", "server": rival.name(), "empty_rss_kib": empty, "connections": count,
            "bytes_each": each,
        }));
        table.row(vec![
            rival.name().to_owned(),
            format!("{:.1}", empty as f64 / 1024.0),
            format!("{each:.0}"),
            "≤ 8 MB, ≤ 2,048".to_owned(),
        ]);
    }
    section.table(table);
    Ok(())
}

fn idle(server: &Server, number: u32) -> Result<TcpStream> {
    let mut stream =
        TcpStream::connect(server.address()).with_context(|| format!("idle connection {number}"))?;
    stream.write_all(b"get nothing\r\n")?;
    let mut reply = [0; 5];
    stream.read_exact(&mut reply)?;
    if &reply != b"END\r\n" {
        bail!("the server answered \"{}\"", String::from_utf8_lossy(&reply));
    }
    Ok(stream)
}

fn raise_limit(files: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit { current: Some(files), maximum: limit.maximum.map(|most| most.max(files)) };
        setrlimit(Resource::Nofile, raised)
            .with_context(|| format!("{files} open files are needed (ulimit -n)"))?;
    }
    Ok(())
}
