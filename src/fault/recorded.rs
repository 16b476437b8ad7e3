//! Delays as they were once measured: the histograms of an `.hlog` file, drawn from.

use super::dice::Draw;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry, LogIteratorError};
use std::time::Duration;

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 64 << 20;

/// Delays that were measured, with how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Microseconds, ascending, each with the number of samples up to it.
    steps: Vec<(u64, u64)>,
}

/// Why a file is no recording of delays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordedError {
    /// It is not an HdrHistogram log.
    #[error("line {0} is not one of an HdrHistogram log")]
    Malformed(usize),
    /// A histogram in it cannot be decoded.
    #[error("the histogram of interval {0} cannot be decoded")]
    Histogram(usize),
    /// There are no samples, of that tag where one was given.
    #[error("it has no samples{}", .0.as_ref().map_or_else(String::new, |tag| format!(" with the tag `{tag}`")))]
    Empty(Option<String>),
}

impl Recorded {
    /// Reads an HdrHistogram log (version 1.3, values in microseconds, as `--hlog` writes them), of one tag or of all.
    ///
    /// # Errors
    /// It is none, or has no samples.
    pub fn read(text: &[u8], tag: Option<&str>) -> Result<Self, RecordedError> {
        let mut all = Histogram::<u64>::new(3).map_err(|_| RecordedError::Histogram(0))?;
        let mut intervals = 0;
        let mut decoder = Deserializer::new();
        for entry in IntervalLogIterator::new(text) {
            let interval = match entry {
                Ok(LogEntry::Interval(interval)) => interval,
                Ok(LogEntry::StartTime(_) | LogEntry::BaseTime(_)) => continue,
                Err(LogIteratorError::ParseError { offset }) => {
                    let before = &text[..offset.min(text.len())];
                    let line = before.split(|b| *b == b'\n').count();
                    return Err(RecordedError::Malformed(line));
                }
            };
            intervals += 1;
            let own = interval.tag().map(|tag| tag.as_str());
            if tag.is_some() && own != tag {
                continue;
            }
            let broken = RecordedError::Histogram(intervals);
            let bytes = STANDARD
                .decode(interval.encoded_histogram())
                .map_err(|_| broken.clone())?;
            let one: Histogram<u64> = decoder
                .deserialize(&mut &bytes[..])
                .map_err(|_| broken.clone())?;
            all.add(one).map_err(|_| broken)?;
        }
        let mut steps = Vec::new();
        let mut below = 0;
        for value in all.iter_recorded() {
            below += value.count_at_value();
            steps.push((value.value_iterated_to(), below));
        }
        if steps.is_empty() {
            return Err(RecordedError::Empty(tag.map(str::to_owned)));
        }
        Ok(Self { steps })
    }

    /// One of the delays, as often as it was measured.
    pub fn sample(&self, draw: Draw) -> Duration {
        let all = self.steps.last().map_or(0, |step| step.1);
        let rank = (draw.uniform() * all as f64) as u64;
        let at = self.steps.partition_point(|step| step.1 <= rank);
        Duration::from_micros(self.steps.get(at).map_or(0, |step| step.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::dice::{Dice, Purpose};
    use hdrhistogram::serialization::V2Serializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

    /// A log of two intervals: one in ten of `slow` is 50 ms, all others are 2 ms.
    fn log() -> Vec<u8> {
        let mut text = Vec::new();
        let mut serializer = V2Serializer::new();
        let mut writer = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut text, &mut serializer)
            .unwrap();
        for (tag, slow) in [("slow", 100), ("fast", 0)] {
            let mut histogram = Histogram::<u64>::new(3).unwrap();
            histogram.record_n(2_000, 900).unwrap();
            histogram.record_n(50_000, slow).unwrap();
            let second = Duration::from_secs(1);
            let tag = Tag::new(tag);
            writer
                .write_histogram(&histogram, second, second, tag)
                .unwrap();
        }
        text
    }

    fn share_of_slow(recorded: &Recorded) -> f64 {
        let draw = |n| Dice::new(1, "f").exchange(0, n, Purpose::Delay);
        let slow = (0..20_000).filter(|n| recorded.sample(draw(*n)) > Duration::from_millis(40));
        slow.count() as f64 / 20_000.0
    }

    #[test]
    fn delays_come_as_often_as_they_were_measured() {
        let of = |tag| Recorded::read(&log(), tag).unwrap();
        assert!((share_of_slow(&of(Some("slow"))) - 0.1).abs() < 0.01);
        assert!((share_of_slow(&of(None)) - 100.0 / 1900.0).abs() < 0.01);
        let fast = of(Some("fast"));
        assert!(share_of_slow(&fast) < f64::EPSILON);
        let draw = Dice::new(1, "f").exchange(0, 0, Purpose::Delay);
        let delay = fast.sample(draw);
        assert!(
            delay.abs_diff(Duration::from_millis(2)) < Duration::from_micros(4),
            "{delay:?}"
        );
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let missing = Recorded::read(&log(), Some("none")).unwrap_err();
        assert_eq!(missing.to_string(), "it has no samples with the tag `none`");
        assert_eq!(Recorded::read(b"", None), Err(RecordedError::Empty(None)));
        assert!(matches!(
            Recorded::read(b"#comment\nnonsense\n", None),
            Err(RecordedError::Malformed(2))
        ));
        let torn = b"1.0,1.0,2.0,HISTFAAA\n";
        assert_eq!(Recorded::read(torn, None), Err(RecordedError::Histogram(1)));
    }
}
