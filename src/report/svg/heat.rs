//! How many answers took how long, by time.

use super::{AREA_SIGN, LEFT, LINE, Markup, Plane, STRIP, f, frame, legend};
use crate::report::figure;
use crate::report::scene::Scene;
use crate::report::steps::Steps;
use crate::report::traffic::Traffic;
use maud::html;
use std::fmt::Write as _;

/// Shades of a heat map.
const SHADES: usize = 16;

/// The height of a row; every second has a label.
const ROW: f64 = 9.0;

/// The picture with what its colours mean.
pub(in super::super) fn heat(traffic: &Traffic, steps: &Steps, scene: &Scene) -> Markup {
    let buckets = || steps.all.iter().flat_map(|s| s.buckets.keys());
    let (Some(low), Some(high)) = (buckets().min().copied(), buckets().max().copied()) else {
        return html! { p { "Nothing was answered." } };
    };
    let plane = Plane {
        seconds: scene.seconds,
        top: STRIP + 4.0,
        height: f64::from(high - low + 1) * ROW,
    };
    let felt = scene.felt(&traffic.proxy);
    let content = html! {
        (plane.strip(&felt))
        @for (n, cells) in shades(&plane, steps, high).iter().enumerate().filter(|(_, cells)| !cells.is_empty()) {
            @let opacity = 0.15 + 0.85 * n as f64 / (SHADES - 1) as f64;
            path.heat d=(cells) fill-opacity=(format!("{opacity:.2}")) {}
        }
        @for bucket in (low..=high).step_by(2) {
            text.label x=(f(LEFT - 5.0)) y=(f(plane.top + f64::from(high - bucket) * ROW + 8.0)) text-anchor="end" { (figure::duration(1 << bucket.min(63))) }
        }
        (plane.ends())
    };
    let words = format!(
        "answers in {} by latency, the stronger the more",
        steps.words()
    );
    let mut keys = vec![("is-heat", AREA_SIGN, words.as_str())];
    if !felt.is_empty() {
        keys.push(("is-strip", AREA_SIGN, "a fault was felt"));
    }
    let title = format!("latencies of {} by time", traffic.proxy);
    let height = plane.top + plane.height + LINE + 2.0;
    html! { (legend(&keys)) (frame(&title, height, &content)) }
}

/// The cells of each shade as one path: a page has many of them.
fn shades(plane: &Plane, steps: &Steps, high: u8) -> Vec<String> {
    let counts = steps.all.iter().flat_map(|s| s.buckets.values());
    let most = counts.max().copied().unwrap_or(1);
    let mut shades = vec![String::new(); SHADES];
    for (n, step) in steps.all.iter().enumerate() {
        let (from, to) = steps.span(n);
        let (left, right) = (plane.x(from), plane.x(to));
        let width = (right - left).max(1.0);
        for (bucket, count) in &step.buckets {
            // What is rare is to be seen as well.
            let share = (1.0 + *count as f64).ln() / (1.0 + most as f64).ln();
            let shade = (share * (SHADES - 1) as f64).round() as usize;
            let top = plane.top + f64::from(high - bucket) * ROW;
            let cells = &mut shades[shade.min(SHADES - 1)];
            let _ = write!(
                cells,
                "M{left:.1} {top:.0}h{width:.1}v{ROW:.0}h-{width:.1}z"
            );
        }
    }
    shades
}
