//! What a process says that a test starts: into a file beside the report, and its last words kept, to tell why it died. Read by a
//! thread of its own, so that neither the process nor the load waits for it.

use crate::folder::{FileNames, Folder};
use crate::report::figure::plain;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of the begin that a file holds.
const HEAD: u64 = 4 << 20;
/// Bytes of the end that are kept, and that a file holds beside its begin.
const TAIL: usize = 64 << 10;
/// Lines that are shown of it, and the columns of each.
const LINES: usize = 20;
const COLUMNS: usize = 300;

/// Where it goes.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    folder: Option<Arc<Folder>>,
    names: FileNames,
}

impl Outputs {
    /// Into files of this folder; `None`: nowhere.
    pub(crate) fn into(folder: Option<Arc<Folder>>) -> Self {
        let names = FileNames::default();
        Self { folder, names }
    }

    /// What is written into the pipe is read from now on. `name`: of the file, `NAME.log` as far as such names may be.
    pub(super) fn open(&mut self, name: &str) -> io::Result<(Output, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let (mut file, mut path) = (None, None);
        if let Some(folder) = self.folder.clone() {
            let name = self.names.give(name, "process", "log");
            file = Some(folder.anew(&name)?);
            path = Some(folder.at(&name));
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        std::thread::Builder::new()
            .name("output".into())
            .spawn(move || listen(reader, file, &shared))?;
        Ok((Output { heard, path }, writer))
    }
}

/// What one process says.
#[derive(Debug)]
pub(super) struct Output {
    heard: Arc<Mutex<Heard>>,
    path: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Heard {
    tail: VecDeque<u8>,
    bytes: u64,
    ended: bool,
}

impl Output {
    /// Until all is read that was said, or whoever inherited the pipe keeps it open for longer.
    pub(super) async fn end(&self, within: Duration) {
        let began = Instant::now();
        while !lock(&self.heard).ended && began.elapsed() < within {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The last lines, for people.
    pub(super) fn last_words(&self) -> String {
        let (mut tail, bytes) = {
            let heard = lock(&self.heard);
            (heard.tail.clone(), heard.bytes)
        };
        let text = String::from_utf8_lossy(tail.make_contiguous());
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(LINES);
        let mut words = match lines.get(first..) {
            None | Some([]) => "it said nothing".to_owned(),
            Some(shown) => {
                let cut = |line: &&str| line.chars().take(COLUMNS).collect::<String>();
                let shown = shown
                    .iter()
                    .map(|line| format!("\n  | {}", plain(&cut(line))));
                format!("it said last:{}", shown.collect::<String>())
            }
        };
        if let Some(path) = self.path.as_ref().filter(|_| bytes > 0) {
            words += &format!("\n  all of it: {}", path.display());
        }
        words
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads to the end. The process must not wait for us: what cannot be written is read all the same.
fn listen(mut reader: impl Read, mut file: Option<File>, heard: &Mutex<Heard>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let before = {
            let mut heard = lock(heard);
            let before = heard.bytes;
            heard.bytes += read.len() as u64;
            heard.tail.extend(read);
            let over = heard.tail.len().saturating_sub(TAIL);
            heard.tail.drain(..over);
            before
        };
        let room = usize::try_from(HEAD.saturating_sub(before)).unwrap_or(usize::MAX);
        write(&mut file, &read[..room.min(read.len())]);
    }
    let (tail, beyond) = {
        let heard = lock(heard);
        let tail: Vec<u8> = heard.tail.iter().copied().collect();
        (tail, heard.bytes.saturating_sub(HEAD))
    };
    let end = usize::try_from(beyond)
        .unwrap_or(usize::MAX)
        .min(tail.len());
    if beyond > end as u64 {
        let left_out = beyond - end as u64;
        let note = format!("\n[brownout: {left_out} bytes are left out here]\n");
        write(&mut file, note.as_bytes());
    }
    write(&mut file, &tail[tail.len() - end..]);
    lock(heard).ended = true;
}

/// A full disk ends the file, and nothing else.
fn write(file: &mut Option<File>, bytes: &[u8]) {
    if let Some(open) = file
        && open.write_all(bytes).is_err()
    {
        *file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(said: &[u8]) -> (Vec<u8>, Mutex<Heard>) {
        let heard = Mutex::new(Heard::default());
        let path = std::env::temp_dir().join(format!(
            "brownout-output-{}-{}",
            std::process::id(),
            said.len()
        ));
        let file = File::create(&path).expect("a file");
        listen(said, Some(file), &heard);
        let written = std::fs::read(&path).expect("it is there");
        std::fs::remove_file(&path).expect("removed");
        (written, heard)
    }

    #[test]
    fn all_is_written_up_to_the_bound() {
        for more in [0, 1, TAIL] {
            let said = vec![b'x'; usize::try_from(HEAD).expect("small") + more];
            assert_eq!(heard(&said).0, said, "{more} beyond the bound");
        }
    }

    #[test]
    fn of_more_the_begin_and_the_end_are_written() {
        let head = usize::try_from(HEAD).expect("small");
        let mut said = vec![b'a'; head];
        said.extend(vec![b'b'; 1_000]);
        said.extend(vec![b'c'; TAIL]);
        let (written, heard) = heard(&said);
        let note = b"\n[brownout: 1000 bytes are left out here]\n";
        let expected = [&said[..head], note, &said[head + 1_000..]].concat();
        assert!(written == expected, "{} bytes", written.len());
        assert_eq!(lock(&heard).tail.len(), TAIL, "no more is kept");
    }

    fn output(said: &str) -> Output {
        let heard = Mutex::new(Heard::default());
        listen(said.as_bytes(), None, &heard);
        let heard = Arc::new(heard);
        Output { heard, path: None }
    }

    #[test]
    fn the_last_lines_are_told_and_steer_no_terminal() {
        let mut lines = String::new();
        for n in 0..30 {
            lines += &format!("\u{1b}[31m{n}\n");
        }
        lines += &"y".repeat(1_000);
        let words = output(&lines).last_words();
        assert!(
            words.starts_with("it said last:\n  | \u{fffd}[31m11\n"),
            "{words}"
        );
        assert_eq!(words.lines().count(), LINES + 1);
        let last = words.lines().last().expect("a line");
        assert_eq!(last.chars().count(), COLUMNS + "  | ".len());
        assert!(!words.contains('\u{1b}'));
    }

    #[test]
    fn whoever_said_nothing_is_said_to() {
        assert_eq!(output("").last_words(), "it said nothing");
    }
}
