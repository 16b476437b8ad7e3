//! Looks at a container by its cgroup (the kernel's `admin-guide/cgroup-v2.rst`): files of one folder, each with figures of all its
//! processes.

use super::watch::Look;
use std::fs;
use std::io;
use std::path::Path;

/// What is read.
const FILES: [&str; 4] = ["memory.current", "memory.stat", "cpu.stat", "pids.current"];

/// Whether it is one whose figures can be read.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    for file in FILES {
        fs::read(folder.join(file)).map_err(|error| {
            let message = format!(
                "{} is no cgroup v2 of a container: {file} cannot be read: {error}",
                folder.display()
            );
            io::Error::new(error.kind(), message)
        })?;
    }
    Ok(())
}

/// The oldest number of a process in it, or 0, and what all of them use. Memory is what cannot be given back at once: pages of files
/// that nobody used lately are not in it.
pub(super) fn look(folder: &Path) -> io::Result<(u32, Look)> {
    let read = |file: &str| fs::read_to_string(folder.join(file));
    let current = number(&read("memory.current")?)?;
    let inactive = keyed(&read("memory.stat")?, "inactive_file").unwrap_or(0);
    let cpu = read("cpu.stat")?;
    let usage = keyed(&cpu, "usage_usec").ok_or_else(|| invalid("cpu.stat has no usage_usec"))?;
    let threads = number(&read("pids.current")?)?;
    let pids: Vec<u32> = read("cgroup.procs")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect();
    // Those of other users cannot be counted, and those of another namespace are 0.
    let descriptors = pids
        .iter()
        .map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count))
        .sum::<usize>();
    let look = Look {
        memory: current.saturating_sub(inactive),
        cpu: usage.saturating_mul(1000),
        descriptors: u32::try_from(descriptors).unwrap_or(u32::MAX),
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
    };
    Ok((pids.into_iter().min().unwrap_or(0), look))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn number(text: &str) -> io::Result<u64> {
    let number = text.trim().parse();
    number.map_err(|_| invalid("found something else than a number"))
}

/// The figure behind a key: one of each stands on a line of its own.
fn keyed(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, that is gone in the end.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path = std::env::temp_dir().join(format!("brownout-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("created");
            for (file, text) in files {
                fs::write(path.join(file), text).expect("written");
            }
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const STAT: &str = "anon 300\ninactive_anon 7\ninactive_file 1000\nactive_file 5\n";

    #[test]
    fn memory_is_what_cannot_be_given_back() {
        let cpu = "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\n";
        let files = [
            ("memory.current", "50000\n"),
            ("memory.stat", STAT),
            ("cpu.stat", cpu),
            ("pids.current", "12\n"),
            ("cgroup.procs", "4194999\n4194303\n"),
        ];
        let folder = Folder::new("cgroup", &files);
        check(&folder.0).expect("complete");
        let (pid, seen) = look(&folder.0).expect("complete");
        assert_eq!(pid, 4_194_303);
        assert_eq!(
            (seen.memory, seen.cpu, seen.threads),
            (49_000, 2_500_000, 12)
        );
        fs::write(folder.0.join("memory.current"), "max\n").expect("written");
        assert!(look(&folder.0).is_err());
        fs::remove_file(folder.0.join("pids.current")).expect("removed");
        let error = check(&folder.0).expect_err("incomplete").to_string();
        assert!(
            error.contains("pids.current") && error.contains("no cgroup v2"),
            "{error}"
        );
    }

    /// The cgroup of this process, where the kernel shows one with figures.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_real_one_is_read_where_there_is_one() {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .unwrap_or("/");
        let folders = [format!("/sys/fs/cgroup{own}"), "/sys/fs/cgroup".to_owned()];
        let real = folders
            .iter()
            .map(Path::new)
            .find(|folder| check(folder).is_ok());
        if let Some(real) = real {
            let (_, seen) = look(real).expect("checked");
            assert!(
                seen.memory > 100_000 && seen.cpu > 0 && seen.threads >= 1,
                "{seen:?}"
            );
        }
    }
}
