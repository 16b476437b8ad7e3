//! The states of a breaker over time.

use super::{AREA_SIGN, LEFT, LINE, Markup, Plane, STRIP, f, frame, joined, legend};
use crate::insight::breaker::{Breaker, Episode};
use crate::report::scene::{Scene, closed_at};
use maud::html;

/// Marks of calls that were tried, at most: more of them would be a bar.
const PROBES: usize = 120;

/// The picture with what its colours mean.
pub(in super::super) fn breaker(breaker: &Breaker, scene: &Scene) -> Markup {
    let plane = Plane {
        seconds: scene.seconds,
        top: 12.0 + STRIP,
        height: 18.0,
    };
    let end = plane.x(scene.seconds);
    let episodes = &breaker.episodes;
    let open = episodes.iter().map(|episode| {
        let from = plane.at(episode.tripped_to);
        let to = episode.probed.map_or(end, |at| plane.at(at));
        (from, to.max(from + 1.0))
    });
    let tried = half_open(breaker, end, &plane);
    let area = |spans: Vec<(f64, f64)>| -> String {
        let (top, height) = (plane.top, plane.height);
        let one = |(from, to)| format!("M{from:.1} {top:.1}H{to:.1}v{height:.1}H{from:.1}z");
        spans.into_iter().map(one).collect()
    };
    let content = html! {
        rect.closed x=(f(LEFT)) y=(f(plane.top)) width=(f(end - LEFT)) height=(f(plane.height)) {}
        path.half d=(area(joined(tried))) {}
        path.open d=(area(joined(open))) {}
        (plane.strip(&scene.felt(&breaker.dependency)))
        path.probe.failed d=(probes(episodes, &plane, false)) {}
        path.probe.worked d=(probes(episodes, &plane, true)) {}
        (plane.ends())
    };
    let keys = [
        ("is-closed", AREA_SIGN, "closed"),
        ("is-open", AREA_SIGN, "open"),
        ("is-half", AREA_SIGN, "half open, or not told"),
        ("is-open", "\u{2715}", "a call was tried and failed"),
        ("is-closed", "\u{2191}", "it succeeded"),
        ("is-strip", AREA_SIGN, "a fault was felt"),
    ];
    let title = format!("states of the breaker before {}", breaker.dependency);
    html! { (legend(&keys)) (frame(&title, plane.y(0.0) + LINE + 2.0, &content)) }
}

/// From the first call that was tried until it opened again, or its calls were back.
fn half_open<'b>(
    breaker: &'b Breaker,
    end: f64,
    plane: &'b Plane,
) -> impl Iterator<Item = (f64, f64)> + use<'b> {
    let episodes = &breaker.episodes;
    let next = episodes.iter().skip(1).map(|e| Some(e.tripped_to));
    let back = closed_at(breaker);
    episodes
        .iter()
        .zip(next.chain([back]))
        .filter_map(move |(episode, until)| {
            let from = plane.at(episode.probed?);
            let to = match until {
                Some(until) => plane.at(until),
                // That one call worked does not say that others do, but nothing says otherwise.
                None if episode.probe_succeeded => from,
                None => end,
            };
            Some((from, to.max(from + 2.0)))
        })
}

/// Those calls after an open time that went this way, above the strip.
fn probes(episodes: &[Episode], plane: &Plane, worked: bool) -> String {
    let these = episodes.iter().filter(|e| e.probe_succeeded == worked);
    let at = these.filter_map(|e| Some(plane.at(e.probed?)));
    let mut last = f64::NEG_INFINITY;
    let apart = at.filter(|x| {
        let far = x - last >= 3.0;
        if far {
            last = *x;
        }
        far
    });
    let y = plane.top - STRIP - 10.0;
    let one = |x: f64| {
        if worked {
            format!("M{x:.1} {:.1}v-8m-3 3l3 -3l3 3", y + 8.0)
        } else {
            format!("M{:.1} {:.1}l6 6m0 -6l-6 6", x - 3.0, y + 1.0)
        }
    };
    apart.take(PROBES).map(one).collect()
}
