use super::*;
use crate::measure::fixture::{MS, SECOND, exchange, meta, one, sample};
use crate::measure::{ProxyId, Sample, Shard};
use crate::protocol::{Class, Protocol};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use std::fs::OpenOptions;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

const STARTED: Duration = Duration::from_millis(1_800_000_000_250);

/// A directory of its own, gone at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("brownout-hlog-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for c in text.bytes().filter(|&c| c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("{c} is not base64"),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

struct Line {
    tag: String,
    start: Duration,
    length: Duration,
    histogram: Histogram<u64>,
}

/// The intervals of a log, and its start and base time.
fn read(text: &[u8]) -> (Vec<Line>, [Duration; 2]) {
    let (mut lines, mut times) = (Vec::new(), [Duration::ZERO; 2]);
    for entry in IntervalLogIterator::new(text) {
        match entry.unwrap() {
            LogEntry::StartTime(time) => times[0] = time,
            LogEntry::BaseTime(time) => times[1] = time,
            LogEntry::Interval(interval) => {
                let bytes = base64(interval.encoded_histogram());
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                assert_eq!(interval.max() as u64, histogram.max());
                lines.push(Line {
                    tag: interval.tag().unwrap().as_str().to_owned(),
                    start: interval.start_timestamp(),
                    length: interval.duration(),
                    histogram,
                });
            }
        }
    }
    (lines, times)
}

#[test]
fn what_was_written_is_read_back() {
    let dir = Dir::new("round");
    let meta = meta("my cache", Protocol::Redis);
    let (mut collector, mut shard) = one(&meta);
    let started = UNIX_EPOCH + STARTED;
    let mut log = HlogWriter::create(&dir.0, started).unwrap();
    for second in 1..=3 {
        for us in 1..=1000 {
            exchange(&mut shard, &sample(1, us * second * 1000));
        }
        let ping = Sample {
            class: Class::Ping,
            client: 7 * MS,
            ..sample(2, MS)
        };
        if second == 2 {
            exchange(&mut shard, &ping);
        }
        collector.absorb(&mut shard);
        collector.tick(Duration::from_millis(1500));
        log.write(&collector);
        log.write(&collector); // nothing new
    }
    collector.tick(SECOND);
    log.write(&collector); // nothing happened
    let text = std::fs::read(log.path()).unwrap();
    let head: Vec<_> = std::str::from_utf8(&text)
        .unwrap()
        .lines()
        .take(5)
        .collect();
    assert_eq!(head[0], "#[Histogram log format version 1.3]");
    assert_eq!(
        head[4],
        r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#
    );
    let (lines, times) = read(&text);
    assert_eq!(times, [STARTED; 2]);
    let usual = meta.catalog.operation_name(crate::protocol::Operation(1));
    let reads: Vec<_> = lines.iter().filter(|l| !l.tag.ends_with(":ping")).collect();
    assert_eq!(reads.len(), 3);
    for (second, line) in (1..).zip(reads) {
        assert!(
            line.tag.starts_with(&format!("my_cache:{usual}")),
            "{}",
            line.tag
        );
        assert_eq!(
            line.start,
            Duration::from_millis(1500) * (second as u32 - 1)
        );
        assert_eq!(line.length, Duration::from_millis(1500));
        assert_eq!(line.histogram.len(), 1000);
        assert_eq!(
            line.histogram.value_at_quantile(0.5),
            line.histogram.highest_equivalent(500 * second)
        );
    }
    let pings: Vec<_> = lines.iter().filter(|l| l.tag.ends_with(":ping")).collect();
    assert_eq!(pings.len(), 1);
    assert_eq!(pings[0].histogram.count_at(7000), 1, "as the client saw it");
    assert_eq!(log.lost(), 0);
}

#[test]
fn runs_of_the_same_second_have_files_of_their_own() {
    let dir = Dir::new("names");
    let started = UNIX_EPOCH + STARTED;
    let first = HlogWriter::create(&dir.0, started).unwrap();
    let second = HlogWriter::create(&dir.0, started).unwrap();
    assert!(
        first.path().ends_with("brownout-20270115T080000Z.hlog"),
        "{first:?}"
    );
    assert!(
        second.path().ends_with("brownout-20270115T080000Z-2.hlog"),
        "{second:?}"
    );
}

#[test]
fn a_directory_that_is_none_is_said() {
    let dir = Dir::new("none");
    std::fs::write(&dir.0, "a file").unwrap();
    let error = HlogWriter::create(&dir.0, UNIX_EPOCH).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot write {}: ", dir.0.display())),
        "{error}"
    );
    std::fs::remove_file(&dir.0).unwrap();
}

/// A disk with room for `room` bytes more, and whose files cannot always be cut.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, usize, bool)>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (written, room, _) = &mut *self.0.lock().unwrap();
        let n = bytes.len().min(*room);
        *room -= n;
        written.extend_from_slice(&bytes[..n]);
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Disk {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        let (written, _, cuts) = &mut *self.0.lock().unwrap();
        if !*cuts {
            return Err(io::ErrorKind::StorageFull.into());
        }
        written.truncate(len as usize);
        Ok(())
    }
}

#[test]
fn a_full_disk_loses_slices_and_tears_no_line() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    let disk = Disk::default();
    disk.0.lock().unwrap().1 = 1 << 20;
    let mut log = HlogWriter::begin(Box::new(disk.clone()), PathBuf::new(), UNIX_EPOCH).unwrap();
    let mut second = |log: &mut HlogWriter, room: usize, cuts: bool| {
        (disk.0.lock().unwrap().1, disk.0.lock().unwrap().2) = (room, cuts);
        (1..50).for_each(|ms| exchange(&mut shard, &sample(0, ms * MS)));
        collector.absorb(&mut shard);
        collector.tick(SECOND);
        log.write(&collector);
    };
    second(&mut log, 1 << 20, true);
    second(&mut log, 20, true);
    second(&mut log, 0, true);
    second(&mut log, 1 << 20, true);
    second(&mut log, 20, false);
    second(&mut log, 1 << 20, false); // a line after half a line would be lost too
    second(&mut log, 1 << 20, true);
    assert_eq!(log.lost(), 4);
    let text = disk.0.lock().unwrap().0.clone();
    let starts: Vec<_> = read(&text).0.iter().map(|l| l.start.as_secs()).collect();
    assert_eq!(starts, [0, 3, 6]);
}

#[test]
fn slices_that_went_unwritten_are_counted() {
    let (mut collector, _) = one(&meta("redis", Protocol::Redis));
    let disk = Disk::default();
    disk.0.lock().unwrap().1 = 1 << 20;
    let mut log = HlogWriter::begin(Box::new(disk), PathBuf::new(), UNIX_EPOCH).unwrap();
    (0..70).for_each(|_| collector.tick(SECOND));
    log.write(&collector);
    assert_eq!(log.lost(), 55, "the last 15 are still there");
}

#[test]
#[cfg(target_os = "linux")]
fn a_device_without_room_is_no_panic() {
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let error = HlogWriter::begin(Box::new(full), PathBuf::new(), UNIX_EPOCH).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn each_proxy_has_lines_of_its_own() {
    let mut collector = Collector::new();
    let mut shard = Shard::new();
    for (id, name) in [(0, "a"), (1, "b")] {
        collector.register(ProxyId(id), meta(name, Protocol::Redis));
        shard.register(ProxyId(id), meta(name, Protocol::Redis));
        shard.completed(ProxyId(id), &sample(0, MS));
    }
    collector.absorb(&mut shard);
    collector.tick(SECOND);
    let disk = Disk::default();
    disk.0.lock().unwrap().1 = 1 << 20;
    let mut log = HlogWriter::begin(Box::new(disk.clone()), PathBuf::new(), UNIX_EPOCH).unwrap();
    log.write(&collector);
    let text = disk.0.lock().unwrap().0.clone();
    let tags: Vec<_> = read(&text)
        .0
        .iter()
        .map(|l| l.tag[..2].to_owned())
        .collect();
    assert_eq!(tags, ["a:", "b:"]);
}
