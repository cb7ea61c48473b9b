//! What the process may: limits of the kernel, the user it runs as, locked memory.
//!
//! **Invariant**: [`prepare`] runs while the process has one thread. Linux keeps the user by thread, and each
//! thread inherits it from the one that starts it.

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, geteuid, getrlimit, getuid, set_dumpable_behavior,
    setrlimit,
};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use super::Started;
use super::flags::MemcachedFlags;

/// Descriptors besides connections: listeners, standard streams, the manager's connection, and to spare.
const OTHER_DESCRIPTORS: u64 = 64;

/// Each thread's poller and waker.
const DESCRIPTORS_PER_THREAD: u64 = 2;

/// Who is who on this machine.
const PASSWD_PATH: &str = "/etc/passwd";

/// Raises limits and becomes the user of `-u`.
pub(super) fn prepare(flags: &MemcachedFlags, started: Started) -> Result<()> {
    raise_descriptors(flags)?;
    if flags.enable_coredumps {
        raise_core()?;
    }
    if flags.lock_memory {
        raise_to_most(Resource::Memlock);
    }
    change_user(flags.user.as_deref(), started)?;
    if flags.enable_coredumps {
        // Not any more after a change of the user, unless it is said.
        set_dumpable_behavior(DumpableBehavior::Dumpable).context("--enable-coredumps")?;
    }
    Ok(())
}

/// Locks all memory, now and later. A cache that can't be locked works as well: so it is said, and no more.
pub(super) fn lock_memory() {
    let limit = getrlimit(Resource::Memlock).current;
    if let (Some(limit), false) = (limit, geteuid().is_root()) {
        // Locking would succeed now, and later allocations would fail.
        eprintln!("doled: -k: not locked: this process may lock only {limit} bytes (ulimit -l)");
    } else if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        eprintln!("doled: -k: not locked: {error}");
    }
}

/// Never lowers a limit. What is needed besides the connections is taken if it is to be had; a hard limit that
/// has room for the connections alone must do, as it does with memcached.
fn raise_descriptors(flags: &MemcachedFlags) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let connections = u64::from(flags.conn_limit);
    let wanted = connections + OTHER_DESCRIPTORS + DESCRIPTORS_PER_THREAD * u64::from(flags.threads);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let hard = limit.maximum.map(|hard| hard.max(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: hard }).is_ok() {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(wanted);
    ensure!(
        most >= connections,
        "--conn-limit {connections}: this process may open only {most} files (ulimit -Hn); raise that limit, or ask for fewer connections"
    );
    let limit = Rlimit { current: Some(most.min(wanted)), maximum: limit.maximum };
    setrlimit(Resource::Nofile, limit)
        .with_context(|| format!("--conn-limit {connections}: raise the limit of open files"))
}

fn raise_core() -> Result<()> {
    raise_to_most(Resource::Core);
    ensure!(
        getrlimit(Resource::Core).current != Some(0),
        "--enable-coredumps: the limit of core files is 0 and cannot be raised (ulimit -Hc)"
    );
    Ok(())
}

/// To no limit at all, or where that is not allowed to the hard limit.
fn raise_to_most(resource: Resource) {
    if setrlimit(resource, Rlimit { current: None, maximum: None }).is_err() {
        let hard = getrlimit(resource).maximum;
        // Refused only where it is so already; the caller looks at what came of it.
        let _ = setrlimit(resource, Rlimit { current: hard, maximum: hard });
    }
}

fn change_user(name: Option<&str>, started: Started) -> Result<()> {
    if !getuid().is_root() && !geteuid().is_root() {
        return Ok(());
    }
    let Some(name) = name else {
        match started {
            Started::AsDoled => return Ok(()),
            Started::AsMemcached => {
                bail!("can't run as root without the -u switch: name the user with -u USER (root is one)")
            }
        }
    };
    let passwd = std::fs::read_to_string(PASSWD_PATH).with_context(|| PASSWD_PATH.to_owned())?;
    let (uid, gid) =
        find(&passwd, name).with_context(|| format!("--user \"{name}\": no such user in {PASSWD_PATH}"))?;
    let threads = std::fs::read_dir("/proc/self/task").context("/proc/self/task")?.count();
    assert!(threads == 1, "another thread would stay root");
    become_user(uid, gid).with_context(|| format!("--user \"{name}\": become this user"))?;
    // The kernel forgets the tie to a parent with the change of the user.
    crate::parent::die_with_parent()
}

fn become_user(uid: Uid, gid: Gid) -> rustix::io::Result<()> {
    match set_thread_groups(&[]) {
        // In a container with few privileges already there are no groups to lose.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    set_thread_gid(gid)?;
    set_thread_uid(uid)
}

/// `name:password:uid:gid:…`
fn find(passwd: &str, name: &str) -> Option<(Uid, Gid)> {
    let mut fields = passwd
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some((Uid::from_raw(uid), Gid::from_raw(gid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n\nmemcache2:x:7:8::/:\nmemcache:x:104:110::/:\nbad:x:y\n";
        let found = |name| find(passwd, name).map(|(uid, gid)| (uid.as_raw(), gid.as_raw()));
        assert_eq!(found("memcache"), Some((104, 110)));
        assert_eq!(found("root"), Some((0, 0)));
        for name in ["mem", "x", "bad", "nobody"] {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
