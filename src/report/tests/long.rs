//! Pages of long runs and of suites of many parts: what they put together, and what they leave out, to stay below a megabyte.

use super::*;

/// An hour of eight proxies with 64 operations each in five phases, and two watched processes.
fn an_hour() -> Suite {
    let mut suite = fixed();
    let run = &mut suite.runs[0];
    let second = traffic::tests::second;
    let mut seconds: Vec<traffic::Second> = Vec::new();
    for n in 0..traffic::LONGEST {
        // From 50 us to 1.6 s, in another mixture each second.
        let latencies = (0..16).map(|octave| (50 + n % 7) << octave);
        seconds.push(second(&latencies.collect::<Vec<_>>()));
    }
    let operation = run.traffic[0].operations[0].clone();
    let mut operations = Vec::new();
    for (number, phase) in (0..64).flat_map(|n| (0..5).map(move |phase| (n, phase))) {
        let histogram = match number {
            0 => operation.histogram.clone(),
            _ => String::new(),
        };
        operations.push(traffic::Operation {
            operation: format!("GET /modules/{{id}}/part-{number}"),
            phase: format!("phase-{phase}"),
            histogram,
            ..operation.clone()
        });
    }
    let proxy = |n: u64| traffic::Traffic {
        proxy: format!("proxy-{n}"),
        seconds: seconds.clone(),
        operations: operations.clone(),
        ..run.traffic[0].clone()
    };
    run.traffic = (0..8).map(proxy).collect();
    run.traffic[3].seconds[1_234] = second(&[7_654_321]);
    run.traffic[3].seconds[1_235] = second(&[]);
    let look = run.watched[0].looks[0].clone();
    let looks = (0..traffic::LONGEST).map(|n| traffic::Look {
        at: n * 1_000_000_000,
        memory: 1_000_000 + n,
        ..look.clone()
    });
    run.watched[0].looks = looks.collect();
    run.watched.push(run.watched[0].clone());
    run.insights.length = traffic::LONGEST * 1_000_000_000;
    suite
}

#[test]
fn an_hour_of_many_proxies_is_a_page_below_a_megabyte_that_says_what_it_puts_together() {
    let suite = an_hour();
    let page = render(&Html, &suite);
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert!(
        page.len() > 300_000,
        "no less than can be shown: {}",
        page.len()
    );
    let told = "one step is 1m: counts are sums, what waits is the most of any second, percentiles are those of all its answers (1 % at most above)";
    assert_eq!(
        page.matches(told).count(),
        16,
        "at each timeline and each heat map"
    );
    assert_eq!(
        page.matches("one step is 1m: the most of each figure")
            .count(),
        2,
        "at each process"
    );
    assert!(page.contains("further rows, of what is less frequent, stand in report.json alone"));
    // The largest of the one second, of that step, in that table.
    let part = page
        .split("<figcaption>proxy-3 (redis)")
        .nth(1)
        .expect("its timeline");
    let rows: Vec<Vec<&str>> = part
        .split("</table>")
        .next()
        .expect("its table")
        .split("<tr><td>")
        .skip(1)
        .map(|row| {
            row.split("</td>")
                .map(|c| c.trim_start_matches("<td>"))
                .collect()
        })
        .collect();
    assert_eq!(rows.len(), 60);
    assert_eq!(rows[20][0], "1200 to 1259");
    assert_eq!(
        (rows[20][1], rows[20][9]),
        ("929", "7.65 s"),
        "58 seconds of 16, one of 1, one of 0"
    );
    assert_eq!((rows[19][1], rows[19][9]), ("960", "1.84 s"));
    let all: u64 = rows
        .iter()
        .map(|row| row[1].parse::<u64>().expect("a count"))
        .sum();
    assert_eq!(all, traffic::LONGEST * 16 - 31, "nothing is lost");
}

/// A suite of so many parts, each of two proxies and some minutes; so many of them failed.
fn many(parts: usize, failed: usize) -> Suite {
    let mut suite = an_hour();
    let run = &mut suite.runs[0];
    run.traffic.truncate(2);
    for traffic in &mut run.traffic {
        traffic.seconds.truncate(200);
    }
    run.result = Counts::Passed;
    let run = suite.runs[0].clone();
    suite.runs.resize(parts, run);
    for run in &mut suite.runs[..failed] {
        run.result = Counts::Failed;
    }
    suite
}

#[test]
fn a_suite_of_many_parts_shows_first_what_did_not_pass() {
    let page = render(&Html, &many(60, 3));
    assert!(page.len() < 1_000_000, "{}", page.len());
    let left_out = |page: &str| page.matches("would make this page larger").count();
    assert_eq!(left_out(&page), 57);
    let page = render(&Html, &many(60, 60));
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert_eq!(left_out(&page), 60);
    assert_eq!(page.matches("<section class=\"run\"").count(), 60);
}

#[test]
fn what_is_shorter_is_shown_by_second() {
    let mut suite = an_hour();
    let run = &mut suite.runs[0];
    run.traffic.truncate(1);
    run.traffic[0].seconds.truncate(240);
    run.watched.clear();
    let page = render(&Html, &suite);
    assert!(
        !page.contains("one step is") && !page.contains("further rows"),
        "{}",
        page.len()
    );
    assert!(page.contains("<tr><td>239</td>"));
}

#[test]
fn a_breaker_that_flaps_for_an_hour_is_no_larger_than_its_picture() {
    let mut suite = fixed();
    let run = &mut suite.runs[0];
    run.insights.length = traffic::LONGEST * 1_000_000_000;
    let breaker = &mut run.insights.dependencies[0].breakers[0];
    let episode = breaker.episodes[0];
    breaker.episodes = (0..36_000)
        .map(|n| {
            let mut next = episode;
            next.tripped_from += n * 100_000_000;
            next.tripped_to += n * 100_000_000;
            next.probed = Some(next.tripped_to + 50_000_000);
            next
        })
        .collect();
    let page = render(&Html, &suite);
    assert!(page.contains("the first 240 of 36000 times"));
    assert!(page.len() < 150_000, "{}", page.len());
}
