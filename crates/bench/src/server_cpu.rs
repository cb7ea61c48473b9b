//! CPU time that other processes of this machine have used, from `/proc/PID/task/*/schedstat` (nanoseconds).

use std::fs;
use std::time::Duration;

/// CPU time of all threads of these processes that live now. Threads that ended in between are not in the
/// difference of two readings; servers keep theirs.
pub fn read(pids: &[u32]) -> Option<Duration> {
    let mut total = 0u64;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            total += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
    }
    (!pids.is_empty()).then(|| Duration::from_nanos(total))
}
