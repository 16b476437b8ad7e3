use super::*;
use serde_json::json;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("brownout-audit-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn entry(what: &str) -> Entry {
    Entry {
        who: "admin:01234567".into(),
        what: what.into(),
        outcome: "done",
        new: json!({ "fault/a": { "action": "latency" } }),
        ..Entry::default()
    }
}

fn check(path: &Path) -> Result<Verified, Broken> {
    verify(io::BufReader::new(File::open(path).unwrap()))
}

#[test]
fn a_chain_goes_on_where_it_ended() {
    let path = folder("goes-on").join("audit.jsonl");
    for run in 0..3 {
        let audit = Audit::open(&path).unwrap();
        audit
            .record(&entry(&format!("run {run} says \",\"hash\":\"")))
            .unwrap();
        audit.record(&entry("more")).unwrap();
    }
    let verified = check(&path).unwrap();
    assert_eq!((verified.records, verified.torn), (6, false));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn whatever_is_changed_is_found() {
    let path = folder("changed").join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    for number in 0..5 {
        audit.record(&entry(&format!("number {number}"))).unwrap();
    }
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let broken_at = |lines: &[&str]| {
        let text = format!("{}\n", lines.join("\n"));
        match verify(text.as_bytes()) {
            Err(Broken::Line { line, .. }) => Some(line),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    };
    assert_eq!(broken_at(&lines), None);
    let changed = lines[2].replace("number 2", "number 7");
    assert_eq!(
        broken_at(&[lines[0], lines[1], &changed, lines[3]]),
        Some(3)
    );
    assert_eq!(broken_at(&[lines[0], lines[2]]), Some(2), "removed");
    assert_eq!(broken_at(&[lines[0], lines[0], lines[1]]), Some(2), "twice");
    assert_eq!(broken_at(&[lines[1], lines[0]]), Some(1), "exchanged");
    assert_eq!(broken_at(&["", lines[0]]), Some(1));
    // Every single character counts.
    for at in 0..lines[0].len() {
        let mut other = lines[0].as_bytes().to_vec();
        other[at] ^= 1;
        if let Ok(other) = std::str::from_utf8(&other)
            && !other.contains('\n')
        {
            assert_eq!(broken_at(&[other, lines[1]]), Some(1), "at {at}");
        }
    }
    assert!(matches!(
        verify(&b"\xff\n"[..]),
        Err(Broken::Line { line: 1, .. })
    ));
}

#[test]
fn what_a_crash_left_of_a_line_is_cut_off() {
    let path = folder("torn").join("audit.jsonl");
    Audit::open(&path).unwrap().record(&entry("one")).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"seq\":2,\"time\"").unwrap();
    assert!(check(&path).unwrap().torn);
    Audit::open(&path).unwrap().record(&entry("two")).unwrap();
    let verified = check(&path).unwrap();
    assert_eq!((verified.records, verified.torn), (2, false));
}

#[test]
fn another_file_is_not_written_into() {
    let path = folder("other").join("notes.txt");
    std::fs::write(&path, "dear diary\n").unwrap();
    assert!(Audit::open(&path).is_err());
}

#[test]
fn without_a_file_nothing_is_recorded_and_nothing_fails() {
    let audit = Audit::default();
    assert!(!audit.is_on());
    audit.record(&entry("x")).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told() {
    let audit = Audit::open(Path::new("/dev/full")).unwrap();
    assert!(audit.record(&entry("x")).is_err());
}
