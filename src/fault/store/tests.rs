use super::*;
use crate::fault::arguments::Said;
use crate::fault::plan::Subject;
use crate::protocol::{Class, Protocol, tcp};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fault(toml: &str) -> Fault {
    let spec: FaultSpec = toml::from_str(toml).unwrap();
    spec.compile("").unwrap_or_else(|e| panic!("{toml}: {e:?}"))
}

fn stall(name: &str) -> Fault {
    fault(&format!("name = '{name}'\naction = 'stall'"))
}

fn add(store: &mut Store, fault: Fault, now: Instant) -> Result<String, StoreError> {
    let name = store.add(fault, None, Source::AdHoc, now)?;
    Ok(name.to_string())
}

fn names(store: &Store, now: Instant) -> Vec<String> {
    store
        .list(now)
        .into_iter()
        .map(|listed| listed.name)
        .collect()
}

fn texts(names: &[Arc<str>]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}

fn hits(store: &Store, session: u64, now: Instant) -> Vec<String> {
    let plan = store.plan_for("p", &Catalog::new(Protocol::Tcp, &[]), now);
    let decision = plan.decide(&Subject {
        session,
        exchange: 0,
        operation: tcp::BURST,
        class: Class::Read,
        client: None,
        said: Said::default(),
        request: b"",
        now,
    });
    decision.faults.iter().map(ToString::to_string).collect()
}

#[test]
fn faults_come_and_go_by_name() {
    let (mut store, now) = (Store::new(0), Instant::now());
    assert_eq!(add(&mut store, stall("a"), now).unwrap(), "a");
    assert_eq!(
        add(&mut store, fault("action = 'stall'"), now).unwrap(),
        "stall-1"
    );
    assert_eq!(
        add(&mut store, fault("action = 'stall'"), now).unwrap(),
        "stall-2"
    );
    assert_eq!(
        add(&mut store, stall("a"), now),
        Err(StoreError::NameTaken("a".into()))
    );
    assert_eq!(names(&store, now), ["a", "stall-1", "stall-2"]);
    store.remove("stall-1").unwrap();
    assert_eq!(
        store.remove("stall-1"),
        Err(StoreError::NotFound("stall-1".into()))
    );
    assert_eq!(
        add(&mut store, fault("action = 'stall'"), now).unwrap(),
        "stall-1"
    );
}

#[test]
fn every_fault_ends() {
    let (mut store, now) = (Store::new(0), Instant::now());
    add(&mut store, stall("default"), now).unwrap();
    add(
        &mut store,
        fault("name = 'own'\naction = 'stall'\nttl = '1m'"),
        now,
    )
    .unwrap();
    let given = fault("name = 'given'\naction = 'stall'\nttl = '1m'");
    store.add(given, Some(s(30)), Source::AdHoc, now).unwrap();
    let left =
        |store: &Store, at| -> Vec<u64> { store.list(at).iter().map(|l| l.left_ms).collect() };
    assert_eq!(left(&store, now), [900_000, 60_000, 30_000]);
    assert_eq!(left(&store, now + s(31)), [869_000, 29_000, 0]);
    assert_eq!(store.next_expiry(), Some(now + s(30)));
    assert!(
        store
            .expire(now + Duration::from_nanos(29_999_999_999))
            .is_empty()
    );
    assert_eq!(texts(&store.expire(now + s(30))), ["given"]);
    assert_eq!(texts(&store.expire(now + s(900))), ["default", "own"]);
    assert_eq!(store.next_expiry(), None);
}

#[test]
fn times_to_live_are_bounded() {
    let (mut store, now) = (Store::new(0), Instant::now());
    let mut add = |ttl| {
        store
            .add(stall("a"), Some(ttl), Source::AdHoc, now)
            .map(|_| ())
    };
    assert_eq!(add(Duration::ZERO), Err(StoreError::TtlZero));
    let over = MAX_TTL + Duration::from_nanos(1);
    assert_eq!(add(over), Err(StoreError::TtlTooLong(over)));
    assert_eq!(
        add(Duration::MAX),
        Err(StoreError::TtlTooLong(Duration::MAX))
    );
    assert_eq!(add(MAX_TTL), Ok(()));
    let error = StoreError::TtlTooLong(s(13 * 3600)).to_string();
    assert_eq!(error, "a time to live of 13h is too long; at most 12h");
}

#[test]
fn their_number_is_bounded() {
    let (mut store, now) = (Store::new(0), Instant::now());
    for _ in 0..MAX_FAULTS {
        add(&mut store, fault("action = 'stall'"), now).unwrap();
    }
    assert_eq!(
        add(&mut store, stall("one-more"), now),
        Err(StoreError::TooMany)
    );
    store.remove("stall-7").unwrap();
    assert_eq!(
        add(&mut store, fault("action = 'stall'"), now).unwrap(),
        "stall-7"
    );
    let one = vec![stall("p")];
    let enabled = store.enable_profile("p", one.clone(), None, None, now);
    assert_eq!(enabled, Err(StoreError::TooMany));
    store.remove("stall-7").unwrap();
    store
        .enable_profile("p", one.clone(), None, None, now)
        .unwrap();
    store
        .enable_profile("p", one, None, None, now)
        .expect("it replaces itself");
}

#[test]
fn a_profile_is_switched_on_whole_or_not_at_all() {
    let (mut store, now) = (Store::new(0), Instant::now());
    add(&mut store, stall("b"), now).unwrap();
    let clash = vec![stall("a"), stall("b")];
    let taken = Err(StoreError::NameTaken("b".into()));
    assert_eq!(store.enable_profile("p", clash, None, None, now), taken);
    assert_eq!(names(&store, now), ["b"]);
    let twice = vec![stall("a"), stall("a")];
    let taken = Err(StoreError::NameTaken("a".into()));
    assert_eq!(store.enable_profile("p", twice, None, None, now), taken);
    let late = vec![stall("a"), stall("c")];
    let long = store.enable_profile("p", late, Some(s(99 * 3600)), None, now);
    assert!(matches!(long, Err(StoreError::TtlTooLong(_))));
    assert_eq!(names(&store, now), ["b"]);
}

#[test]
fn unnamed_faults_of_a_profile_are_called_by_their_place() {
    let (mut store, now) = (Store::new(0), Instant::now());
    let faults = || {
        vec![
            fault("action = 'stall'"),
            fault("name = 'stall-3'\naction = 'stall'"),
            fault("action = 'stall'"),
            fault("action = 'disconnect'"),
        ]
    };
    let enabled = store
        .enable_profile("p", faults(), None, None, now)
        .unwrap();
    assert_eq!(
        texts(&enabled),
        ["stall-1", "stall-3", "stall-4", "disconnect-4"]
    );
    let again = store
        .enable_profile("p", faults(), None, None, now)
        .unwrap();
    assert_eq!(again, enabled);
    assert_eq!(names(&store, now).len(), 4);
    let mut unnamed = faults();
    unnamed.remove(1);
    let other = store.enable_profile("q", unnamed, None, None, now).unwrap();
    assert_eq!(texts(&other), ["stall-2", "stall-5", "disconnect-3"]);
    assert_eq!(texts(&store.profiles()), ["p", "q"]);
    assert_eq!(store.list(now)[0].profile.as_deref(), Some("p"));
    assert_eq!(store.disable_profile("p").unwrap().len(), 4);
    let off = Err(StoreError::ProfileNotFound("p".into()));
    assert_eq!(store.disable_profile("p"), off);
    assert_eq!(texts(&store.profiles()), ["q"]);
}

/// The draws of a profile are its own: neither another profile nor an ad hoc fault changes them.
#[test]
fn a_profile_draws_the_same_whatever_else_is_on() {
    let profile = || vec![fault("action = 'stall'\nprobability = 0.5")];
    let now = Instant::now();
    let drawn = |store: &Store, own: &str| -> Vec<bool> {
        (0..64)
            .map(|session| hits(store, session, now).contains(&own.to_owned()))
            .collect()
    };
    let mut alone = Store::new(9);
    alone
        .enable_profile("p", profile(), None, None, now)
        .unwrap();
    let mut crowded = Store::new(9);
    add(
        &mut crowded,
        fault("name = 'stall-1'\naction = 'stall'\nfirst = 1\nmatch = { client = '::1' }"),
        now,
    )
    .unwrap();
    let names = crowded
        .enable_profile("p", profile(), None, None, now)
        .unwrap();
    assert_eq!(texts(&names), ["stall-2"]);
    assert_eq!(drawn(&crowded, "stall-2"), drawn(&alone, "stall-1"));
    let mut seeded = Store::new(9);
    seeded
        .enable_profile("p", profile(), None, Some(10), now)
        .unwrap();
    assert_ne!(drawn(&seeded, "stall-1"), drawn(&alone, "stall-1"));
    let mut same_seed = Store::new(10);
    same_seed
        .enable_profile("p", profile(), None, None, now)
        .unwrap();
    assert_eq!(drawn(&same_seed, "stall-1"), drawn(&seeded, "stall-1"));
    let mut own_seed = Store::new(9);
    let own = vec![fault("action = 'stall'\nprobability = 0.5\nseed = 10")];
    own_seed.enable_profile("p", own, None, None, now).unwrap();
    assert_eq!(drawn(&own_seed, "stall-1"), drawn(&seeded, "stall-1"));
}

#[test]
fn counts_live_on_when_others_come_and_go() {
    let (mut store, now) = (Store::new(0), Instant::now());
    add(
        &mut store,
        fault("name = 'a'\naction = 'stall'\nfirst = 3"),
        now,
    )
    .unwrap();
    assert_eq!(hits(&store, 0, now), ["a"]);
    add(&mut store, stall("b"), now).unwrap();
    assert_eq!(hits(&store, 1, now), ["a"]);
    store.remove("b").unwrap();
    assert_eq!(hits(&store, 2, now), ["a"]);
    assert!(
        hits(&store, 3, now).is_empty(),
        "three in all, over three plans"
    );
    let listed = store.get("a", now).unwrap();
    assert_eq!((listed.matched, listed.injected), (4, 3));
    store.remove("a").unwrap();
    assert!(store.get("a", now).is_none());
}

#[test]
fn halting_ends_everything_and_stays() {
    let (mut store, now) = (Store::new(0), Instant::now());
    add(&mut store, stall("a"), now).unwrap();
    store
        .enable_profile("p", vec![stall("b")], None, None, now)
        .unwrap();
    assert_eq!(texts(&store.halt()), ["a", "b"]);
    assert!(store.is_halted());
    assert!(store.list(now).is_empty());
    assert!(hits(&store, 0, now).is_empty());
    assert_eq!(add(&mut store, stall("a"), now), Err(StoreError::Halted));
    let enabled = store.enable_profile("p", vec![stall("b")], None, None, now);
    assert_eq!(enabled, Err(StoreError::Halted));
    assert!(store.halt().is_empty());
    store.resume();
    assert!(store.list(now).is_empty(), "nothing comes back by itself");
    assert_eq!(add(&mut store, stall("a"), now).unwrap(), "a");
}

#[test]
fn a_plan_leaves_out_what_is_over() {
    let (mut store, now) = (Store::new(0), Instant::now());
    store
        .add(stall("a"), Some(s(1)), Source::AdHoc, now)
        .unwrap();
    let catalog = Catalog::new(Protocol::Tcp, &[]);
    assert!(!store.plan_for("p", &catalog, now).is_empty());
    assert!(store.plan_for("p", &catalog, now + s(1)).is_empty());
}

#[test]
fn the_list_is_written_with_units_in_its_keys() {
    let (mut store, now) = (Store::new(0), Instant::now());
    add(
        &mut store,
        fault("name = 'a'\naction = 'stall'\nschedule = { start = '1s' }"),
        now,
    )
    .unwrap();
    let json = serde_json::to_value(store.list(now + Duration::from_millis(10))).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "name": "a",
            "profile": null,
            "in_force": false,
            "age_ms": 10,
            "left_ms": 899_990, "ttl_ms": 900_000,
            "matched": 0,
            "injected": 0,
            "skipped": 0,
            "skipped_by_reason": {},
            "seed": 0,
            "draws_as": "a",
            "offered": 0,
            "hits": 0,
            "fault": { "name": "a", "proxy": "*", "action": "stall", "schedule": { "start": "1s" } },
        }])
    );
}

#[test]
fn what_is_put_in_its_place_draws_as_before() {
    let now = Instant::now();
    let mut store = Store::new(1);
    let half = |probability: f64| fault(&format!("action = 'stall'\nprobability = {probability}"));
    let faults = vec![half(0.5)];
    let enabled = store.enable_profile("mine", faults, None, Some(7), now);
    let name = enabled.unwrap()[0].to_string();
    let hit = |store: &Store| -> Vec<u64> {
        let sessions = 0..200;
        sessions
            .filter(|n| !hits(store, *n, now).is_empty())
            .collect()
    };
    let before = hit(&store);
    store.replace(&name, half(0.5), None, now).unwrap();
    assert_eq!(hit(&store), before);
    store.replace(&name, half(0.4), None, now).unwrap();
    let fewer = hit(&store);
    assert!(fewer.len() < before.len() && fewer.iter().all(|n| before.contains(n)));
    // One that was called otherwise than it draws as, too.
    add(
        &mut store,
        fault("name = 'stall-2'\naction = 'stall'\nprobability = 0.5"),
        now,
    )
    .unwrap();
    let before = hit(&store);
    store.replace("stall-2", half(0.5), None, now).unwrap();
    assert_eq!(hit(&store), before);
}
