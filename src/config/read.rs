//! The text of a file, bounded, with a clear word where it cannot be had.

use super::problem::{Problem, Problems};
use std::io::Read as _;
use std::path::Path;

/// The largest file that is read: people write these by hand.
pub const MAX_FILE: u64 = 1 << 20;

/// Reads a file as text, without a byte order mark.
///
/// # Errors
/// That it is missing, unreadable, a directory, not a plain file, larger than [`MAX_FILE`], not UTF-8, or without content.
pub fn text(path: &Path) -> Result<String, Problems> {
    let origin = path.display().to_string();
    let refuse = |message: &str, remedy: &str| Problems::of_file(&origin, message, remedy);
    let failed = |e: &std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => refuse("there is no such file", "check the path"),
        std::io::ErrorKind::PermissionDenied => {
            refuse("it may not be read", "check its permissions")
        }
        _ => refuse(&format!("it cannot be read: {e}"), ""),
    };
    // Looked at before it is opened: opening a named pipe would wait for a writer.
    let meta = std::fs::metadata(path).map_err(|e| failed(&e))?;
    if meta.is_dir() {
        return Err(refuse("it is a directory", "name a file in it"));
    }
    if !meta.is_file() {
        return Err(refuse("it is not a plain file", "name a file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| failed(&e))?;
    // One byte more than allowed shows that there is more, whatever the size was when it was looked at.
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| failed(&e))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(refuse("it is larger than 1 MiB", "is it the right file?"));
    }
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                text.drain(..'\u{feff}'.len_utf8());
            }
            Ok(text)
        }
        Err(e) => Err(not_utf8(
            &origin,
            e.as_bytes(),
            e.utf8_error().valid_up_to(),
        )),
    }
}

fn not_utf8(origin: &str, bytes: &[u8], valid: usize) -> Problems {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    Problem::of_file(origin, "this byte is not UTF-8", "save the file as UTF-8")
        .at(&before, valid..valid)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, bytes: &[u8]) -> Result<String, String> {
        let dir = std::env::temp_dir().join(format!("brownout-read-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("f.toml");
        std::fs::write(&path, bytes).unwrap();
        let result = text(&path).map_err(|p| p.to_string().replace(dir.to_str().unwrap(), ""));
        std::fs::remove_dir_all(&dir).unwrap();
        result
    }

    #[test]
    fn reads_text() {
        assert_eq!(of("plain", b"a = 1"), Ok("a = 1".into()));
        assert_eq!(of("bom", b"\xef\xbb\xbfa = 1"), Ok("a = 1".into()));
        let largest = vec![b'#'; MAX_FILE as usize];
        assert_eq!(
            of("largest", &largest).map(|t| t.len()),
            Ok(MAX_FILE as usize)
        );
    }

    #[test]
    fn refuses_what_is_no_text_file() {
        assert_eq!(
            of("latin1", b"a = 1\nb = 'f\xfcr'\n").unwrap_err(),
            "/f.toml:2:7: this byte is not UTF-8; save the file as UTF-8\n 2 | b = 'f"
        );
        let huge = vec![b'#'; MAX_FILE as usize + 1];
        assert_eq!(
            of("huge", &huge).unwrap_err(),
            "/f.toml: it is larger than 1 MiB; is it the right file?"
        );
        let shown = |path: &str| text(Path::new(path)).unwrap_err().to_string();
        assert_eq!(shown("/"), "/: it is a directory; name a file in it");
        assert_eq!(
            shown("/nowhere"),
            "/nowhere: there is no such file; check the path"
        );
        assert_eq!(
            shown("/dev/null"),
            "/dev/null: it is not a plain file; name a file"
        );
    }
}
