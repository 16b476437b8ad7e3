//! A folder that reports and recordings are written into.
//!
//! Whoever else may write there can neither have us follow a link out of it, nor have us write into a file or a pipe of
//! theirs, nor read a file half written: names are ours and plain, a file is made anew with mode 0600 and takes its name when
//! it is whole, and the folder is opened once, so that swapping it meanwhile changes nothing.

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The longest name, in bytes.
const LONGEST: usize = 64;

/// How much of a name that somebody else chose is taken, beside its ending and a number.
const TAKEN: usize = 48;

/// Names of files that are made of names which others chose: each is given once.
#[derive(Debug, Default)]
pub(crate) struct FileNames(BTreeSet<String>);

impl FileNames {
    /// As much of a name as may be, and a number where it was given before. `otherwise`: where nothing is left of it.
    pub(crate) fn give(&mut self, of: &str, otherwise: &str, ending: &str) -> String {
        let may = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let lower = of.chars().flat_map(char::to_lowercase).take(TAKEN);
        let stem: String = lower.map(|c| if may(c) { c } else { '-' }).collect();
        let stem = stem.trim_start_matches('.');
        let stem = if stem.is_empty() { otherwise } else { stem };
        let mut name = format!("{stem}.{ending}");
        let mut number = 2_u32;
        while !self.0.insert(name.clone()) {
            name = format!("{stem}-{number}.{ending}");
            number += 1;
        }
        name
    }
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made, is no folder, or may not be entered.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let path = path.to_owned();
        Ok(Self { fd, path })
    }

    /// Whether files can be made in it, found out by making one.
    ///
    /// # Errors
    /// They cannot: it may not be written to, or there is no room.
    pub(crate) fn check(&self) -> io::Result<()> {
        let (name, _) = self.unfinished()?;
        Ok(unlinkat(&self.fd, &*name, AtFlags::empty())?)
    }

    /// Where a file of it is found.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a file to append to as things happen, mode 0600.
    ///
    /// # Errors
    /// Something has that name, or the system refuses.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        plain(name)?;
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(File::from(fd))
    }

    /// As [`create`](Self::create), in place of what has that name.
    ///
    /// # Errors
    /// A folder has that name, or the system refuses.
    pub(crate) fn anew(&self, name: &str) -> io::Result<File> {
        plain(name)?;
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => self.create(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a whole file, mode 0600, in place of what has that name; where it is then.
    ///
    /// # Errors
    /// The system refuses, or a folder has that name. What was there before stays.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        plain(name)?;
        self.replace(name.as_ref(), content.as_ref())?;
        Ok(self.at(name))
    }

    /// Puts a whole file in place of what has that name.
    fn replace(&self, name: &OsStr, content: &[u8]) -> io::Result<()> {
        let (unfinished, mut file) = self.unfinished()?;
        let done = file
            .write_all(content)
            .and_then(|()| Ok(renameat(&self.fd, &*unfinished, &self.fd, name)?));
        if done.is_err() {
            // It was ours alone; that it may stay behind is the smaller evil.
            let _ = unlinkat(&self.fd, &*unfinished, AtFlags::empty());
        }
        done
    }

    /// A file under a name that nobody has.
    fn unfinished(&self) -> io::Result<(String, File)> {
        const TRIES: u32 = 100;
        for number in 0..TRIES {
            let name = format!("unfinished-{}-{number}", std::process::id());
            match self.create(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok((name, made?)),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{TRIES} unfinished files are in {}", self.path.display()),
        ))
    }
}

/// Writes a whole file under a name that the user chose, mode 0600, in place of the file that has it.
///
/// # Errors
/// The system refuses, or a folder, a link, a device or a pipe has that name: to replace `/dev/stdout` is as wrong as to
/// follow a link.
pub(crate) fn write_file(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let other = path.symlink_metadata().is_ok_and(|there| !there.is_file());
    let name = path.file_name().filter(|_| !other);
    let name =
        name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // What is misspelt is not made.
    folder.metadata()?;
    Folder::open(folder)?.replace(name, content.as_ref())
}

fn plain(name: &str) -> io::Result<()> {
    let may = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-TZ".contains(&c);
    if name.is_empty() || name.len() > LONGEST || name.starts_with('.') || !name.bytes().all(may) {
        let why = format!(
            "{name:?} is no file name of ours: at most {LONGEST} small letters, digits, `.`, `_` and `-`"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn scratch(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("brownout-folder-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a scratch folder");
        path
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).expect("it is there")
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let folder = Folder::open(&scratch("names")).expect("it opens");
        let long = "a".repeat(65);
        for name in [
            "", ".", "..", "../x", "/etc/x", "a/b", "a\0b", ".hidden", "Ä", "a b", &long,
        ] {
            let refused = folder.write(name, "x").expect_err(name);
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name:?}");
            assert!(folder.create(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_of_files_are_plain_and_of_one_alone() {
        let mut names = FileNames::default();
        let mut name = |of: &str| names.give(of, "process", "log");
        assert_eq!(name("service"), "service.log");
        assert_eq!(name("Service"), "service-2.log");
        assert_eq!(name("../cos/Ä"), "-cos--.log");
        assert_eq!(name(""), "process.log");
        let longest = name(&"z".repeat(200));
        assert_eq!(longest.len(), TAKEN + 4, "{longest}");
    }

    #[test]
    fn only_the_owner_can_read_what_is_written() {
        let path = scratch("mode");
        let folder = Folder::open(&path).expect("it opens");
        folder.write("a", "x").expect("written");
        folder.create("b").expect("made");
        for name in ["a", "b"] {
            let mode = path
                .join(name)
                .metadata()
                .expect("it is there")
                .permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_of_any_name_is_its_owners_alone_and_no_link_is_followed() {
        let path = scratch("any-name");
        let (victim, out) = (path.join("victim"), path.join("My Report.HTML"));
        std::fs::write(&victim, "theirs").expect("written");
        symlink(&victim, &out).expect("linked");
        write_file(&out, "ours").expect_err("a link");
        assert_eq!(read(&victim), "theirs");
        std::fs::remove_file(&out).expect("removed");
        write_file(&out, "ours").expect("written");
        assert_eq!(read(&out), "ours");
        let mode = out.symlink_metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o644)).expect("changed");
        write_file(&out, "anew").expect("written");
        assert_eq!(
            out.metadata().expect("there").permissions().mode() & 0o777,
            0o600
        );
        let pipe = path.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo runs").success());
        for other in [&path, &pipe, &path.join("nowhere/out"), Path::new("/")] {
            write_file(other, "x").expect_err("refused");
        }
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let path = scratch("link");
        let victim = path.join("victim");
        std::fs::write(&victim, "theirs").expect("written");
        symlink(&victim, path.join("report.json")).expect("linked");
        let folder = Folder::open(&path).expect("it opens");
        assert!(folder.create("report.json").is_err());
        folder.write("report.json", "ours").expect("written");
        assert_eq!(read(&victim), "theirs");
        assert_eq!(read(&path.join("report.json")), "ours");
        symlink(&victim, path.join("service.log")).expect("linked");
        let mut log = folder.anew("service.log").expect("made");
        log.write_all(b"ours").expect("written");
        assert_eq!(read(&victim), "theirs");
        assert_eq!(read(&path.join("service.log")), "ours");
        std::fs::create_dir(path.join("folder")).expect("made");
        folder.anew("folder").expect_err("a folder has that name");
    }

    #[test]
    fn who_holds_another_link_to_the_file_keeps_the_old_one() {
        let path = scratch("hard-link");
        let theirs = path.join("theirs");
        std::fs::write(&theirs, "old").expect("written");
        std::fs::hard_link(&theirs, path.join("report.json")).expect("linked");
        let folder = Folder::open(&path).expect("it opens");
        folder.write("report.json", "new").expect("written");
        assert_eq!(read(&theirs), "old");
        assert_ne!(
            theirs.metadata().expect("there").ino(),
            path.join("report.json").metadata().expect("there").ino()
        );
    }

    #[test]
    fn a_pipe_does_not_stop_us() {
        let path = scratch("pipe");
        let pipe = path.join("report.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo runs").success());
        let folder = Folder::open(&path).expect("it opens");
        assert!(folder.create("report.json").is_err());
        folder.write("report.json", "ours").expect("written");
        assert_eq!(read(&pipe), "ours");
    }

    #[test]
    fn a_folder_that_is_swapped_for_a_link_is_still_the_one_that_was_opened() {
        let (path, other) = (scratch("swapped"), scratch("other"));
        let folder = Folder::open(&path).expect("it opens");
        let moved = path.with_extension("moved");
        let _ = std::fs::remove_dir_all(&moved);
        std::fs::rename(&path, &moved).expect("moved");
        symlink(&other, &path).expect("linked");
        folder.write("report.json", "ours").expect("written");
        assert_eq!(read(&moved.join("report.json")), "ours");
        assert!(!other.join("report.json").exists());
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let path = scratch("refused");
        let folder = Folder::open(&path).expect("it opens");
        std::fs::create_dir(path.join("report.json")).expect("made");
        folder
            .write("report.json", "x")
            .expect_err("a folder has that name");
        let left: Vec<_> = path.read_dir().expect("readable").collect();
        assert_eq!(left.len(), 1, "nothing unfinished stays: {left:?}");
    }
}
