//! What the kernel says about a process. Linux only, where `/proc` is.

use std::fs;
use std::time::Duration;

/// CPU time of all living threads of a process, user and system, to the nanosecond.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

/// Resident memory of a process, exactly (`smaps_rollup`; the counter in `status` may lag by megabytes on many cores).
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .map_or_else(|| panic!("no Rss in {path}"), |kib| kib * 1024)
}

/// How many file descriptors a process holds.
pub(crate) fn open_descriptors(pid: u32) -> usize {
    let path = format!("/proc/{pid}/fd");
    fs::read_dir(&path)
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .count()
}
