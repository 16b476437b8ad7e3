use proptest::prelude::*;

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn flapping() -> Schedule {
    Schedule {
        start: ms(100),
        duration: Some(ms(50)),
        repeat: Some(ms(200)),
        ramp: ms(10),
    }
}

#[test]
fn without_a_schedule_it_is_always_on() {
    let (schedule, enabled) = (Schedule::default(), Instant::now());
    assert_eq!(schedule.state(enabled, enabled), State::On(1.0));
    assert_eq!(
        schedule.state(enabled, enabled + ms(1_000_000)),
        State::On(1.0)
    );
    assert_eq!(schedule.next_change(enabled, enabled), None);
}

#[test]
fn a_clock_that_reads_earlier_than_the_moment_of_enabling_is_taken_as_it() {
    let now = Instant::now();
    let schedule = Schedule::default();
    assert_eq!(schedule.state(now + ms(1), now), State::On(1.0));
}

#[test]
fn starts_and_ends_at_exactly_its_edges() {
    let enabled = Instant::now();
    let schedule = Schedule {
        start: ms(100),
        duration: Some(ms(50)),
        ..Schedule::default()
    };
    let at = |nanos: u64| schedule.state(enabled, enabled + Duration::from_nanos(nanos));
    assert_eq!(at(0), State::Off);
    assert_eq!(at(99_999_999), State::Off);
    assert_eq!(at(100_000_000), State::On(1.0));
    assert_eq!(at(149_999_999), State::On(1.0));
    assert_eq!(at(150_000_000), State::Off);
    let next = |millis| schedule.next_change(enabled, enabled + ms(millis));
    assert_eq!(next(0), Some(enabled + ms(100)));
    assert_eq!(next(100), Some(enabled + ms(150)));
    assert_eq!(next(150), None);
}

#[test]
fn flaps_with_its_period() {
    let (schedule, enabled) = (flapping(), Instant::now());
    for cycle in 0..1000 {
        let begin = enabled + ms(100 + cycle * 200);
        assert_eq!(schedule.state(enabled, begin + ms(10)), State::On(1.0));
        assert_eq!(schedule.state(enabled, begin + ms(49)), State::On(1.0));
        assert_eq!(schedule.state(enabled, begin + ms(50)), State::Off);
        assert_eq!(schedule.state(enabled, begin + ms(199)), State::Off);
        let next = |at| schedule.next_change(enabled, at);
        assert_eq!(next(begin), Some(begin + ms(50)));
        assert_eq!(next(begin + ms(50)), Some(begin + ms(200)));
        assert_eq!(next(begin + ms(199)), Some(begin + ms(200)));
    }
}

#[test]
fn ramps_up_each_time_it_comes_on() {
    let (schedule, enabled) = (flapping(), Instant::now());
    for begin in [enabled + ms(100), enabled + ms(300)] {
        assert_eq!(schedule.state(enabled, begin), State::On(0.0));
        assert_eq!(schedule.state(enabled, begin + ms(5)), State::On(0.5));
        assert_eq!(schedule.state(enabled, begin + ms(10)), State::On(1.0));
    }
}

fn schedules() -> impl Strategy<Value = Schedule> {
    (
        0..50_u64,
        prop::option::of((1..50_u64, prop::option::of(1..50_u64))),
        0..20_u64,
    )
        .prop_map(|(start, window, ramp)| Schedule {
            start: ms(start),
            duration: window.map(|(duration, _)| ms(duration)),
            repeat: window.and_then(|(duration, gap)| gap.map(|gap| ms(duration + gap))),
            ramp: ms(ramp),
        })
}

proptest! {
    /// From one change to the next nothing changes, and at the change something does.
    #[test]
    fn changes_happen_when_they_are_announced(schedule in schedules(), at in 0..500_u64) {
        let enabled = Instant::now();
        let on = |now| schedule.state(enabled, now) != State::Off;
        let now = enabled + ms(at);
        if let Some(change) = schedule.next_change(enabled, now) {
            prop_assert!(change > now || at < schedule.start.as_millis() as u64);
            for step in 0..(change - now).as_millis() as u64 {
                prop_assert_eq!(on(now + ms(step)), on(now));
            }
            prop_assert_ne!(on(change), on(now));
        } else {
            for step in 0..200 {
                prop_assert_eq!(on(now + ms(step)), on(now));
            }
        }
    }

    #[test]
    fn strength_is_a_share_and_grows(schedule in schedules(), at in 0..500_u64) {
        let enabled = Instant::now();
        let strength = |at| match schedule.state(enabled, enabled + ms(at)) {
            State::On(strength) => Some(strength),
            State::Off => None,
        };
        if let (Some(now), Some(then)) = (strength(at), strength(at + 1)) {
            prop_assert!((0.0..=1.0).contains(&now));
            prop_assert!(then >= now);
        }
    }
}
