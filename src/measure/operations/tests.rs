use super::*;
use crate::measure::buckets::lowest;
use crate::measure::fixture::{MS, sample};

fn key(operation: u16, class: Class) -> Key {
    Key {
        operation: Operation(operation),
        class,
    }
}

#[test]
fn a_key_keeps_its_slot_and_classes_are_kept_apart() {
    let mut operations = Operations::default();
    let mut slots = Vec::new();
    for operation in [0, 63, 64, 999, 65_534] {
        for class in Class::ALL {
            slots.push((
                key(operation, class),
                operations.slot(key(operation, class)),
            ));
        }
    }
    for (i, (key, slot)) in slots.into_iter().enumerate() {
        assert_eq!(slot, i);
        assert_eq!(operations.slot(key), slot);
    }
    assert!(operations.get(key(1, Class::Read)).is_none());
}

#[test]
fn beyond_the_bound_operations_count_as_other_of_their_class() {
    let mut operations = Operations::default();
    for operation in 0..u16::MAX {
        let class = Class::ALL[usize::from(operation) % 8];
        let slot = operations.slot(key(operation, class));
        operations.record(slot).tally.started += 1;
    }
    assert_eq!(operations.iter().count(), MAX_OPERATIONS + 8);
    let started: u64 = operations.iter().map(|(_, r)| r.tally.started).sum();
    assert_eq!(started, u64::from(u16::MAX), "none is lost");
    let other = operations.get(key(OTHER.0, Class::Read)).unwrap();
    assert_eq!(
        other.tally.started,
        (u64::from(u16::MAX) + 1) / 8 - MAX_OPERATIONS as u64 / 8
    );
    assert!(operations.memory() < 2 << 20, "{}", operations.memory());
}

#[test]
fn beyond_the_bound_statuses_count_as_other() {
    let mut record = Record::default();
    for _ in 0..2 {
        (1..=u16::MAX).for_each(|status| record.status(Status(status), 1));
    }
    assert_eq!(record.statuses.len(), MAX_STATUSES + 1);
    let all: u64 = record.statuses.iter().map(|(_, n)| n).sum();
    assert_eq!(all, 2 * u64::from(u16::MAX));
}

#[test]
fn a_duration_beyond_the_range_is_counted_so() {
    let mut record = Record::default();
    let hour = 3_600_000 * MS;
    record.add(&sample(0, hour), 1, Limits::default());
    assert_eq!(record.latencies.plain.len(), 1);
    assert_eq!(record.tally.saturated, 0);
    record.add(&sample(0, hour + 1), 2, Limits::default());
    assert_eq!(record.latencies.plain.len(), 1);
    assert_eq!(record.tally.saturated, 6, "on each of its sides");
    assert_eq!(record.tally.max, [hour + 1; 3], "the exact maximum is kept");
}

#[test]
fn durations_that_differ_below_a_microsecond_are_one_record() {
    let mut record = Record::default();
    let mut add = |sample: &Sample| {
        record.add(sample, 1, Limits::default());
        let plain = record.latencies.plain.entries();
        plain.map(|(i, n)| (lowest(i), n)).collect::<Vec<_>>()
    };
    let close = Sample {
        upstream: Some(4_999_001),
        first_byte: 4_999_500,
        ..sample(0, 5 * MS)
    };
    assert_eq!(add(&close), [(5000, 1)]);
    let apart = Sample {
        upstream: Some(4_999_000),
        ..close
    };
    assert_eq!(add(&apart), [(5000, 1)]);
    let unseen = Sample {
        upstream: None,
        ..close
    };
    assert_eq!(add(&unseen), [(5000, 1)]);
    assert_eq!(add(&sample(0, 5 * MS)), [(5000, 2)]);
    record.settle();
    assert_eq!((record.tally.completed, record.tally.max[0]), (4, 5 * MS));
    assert_eq!(record.latencies.side(Side::Client).len(), 4);
    assert_eq!(record.latencies.side(Side::Upstream).len(), 3);
    assert_eq!(record.tally.reached, 3);
}
