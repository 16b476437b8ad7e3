//! Memory and processor time of a process.

use super::{AREA_SIGN, LINE, LINE_SIGN, Markup, Plane, frame, legend, line};
use crate::insight::SECOND;
use crate::report::figure;
use crate::report::scene::Scene;
use crate::report::traffic::{Look, Process};
use maud::html;

/// The picture with what its colours mean.
pub(in super::super) fn process(process: &Process, scene: &Scene) -> Markup {
    let looks = &process.looks;
    let most = looks.iter().map(|l| l.memory).max().unwrap_or(1).max(1);
    let busiest = looks.iter().filter_map(|l| l.cpu).fold(1.0, f64::max);
    let plane = |top| Plane {
        seconds: scene.seconds,
        top,
        height: 56.0,
    };
    let (memory, cpu) = (plane(4.0), plane(70.0));
    let at = |look: &Look| memory.x(look.at as f64 / SECOND as f64);
    let bytes = |l: &Look| Some((at(l), memory.y(l.memory as f64 / most as f64)));
    let share = |l: &Look| Some((at(l), cpu.y(l.cpu? / busiest)));
    let felt = scene.all_felt();
    let content = html! {
        (memory.shade(&felt)) (cpu.shade(&felt))
        (memory.axis("0", &figure::megabytes(most)))
        (line("p95", &looks.iter().map(bytes).collect::<Vec<_>>()))
        (cpu.axis("0", &format!("{:.0} %", busiest * 100.0)))
        (line("p50", &looks.iter().map(share).collect::<Vec<_>>()))
        (cpu.ends())
    };
    let mut keys = vec![
        ("is-p95", LINE_SIGN, "memory"),
        ("is-p50", LINE_SIGN, "processor time, share of one core"),
    ];
    if !felt.is_empty() {
        keys.push(("is-fault", AREA_SIGN, "a fault was felt"));
    }
    let title = format!("what {} took", process.name);
    html! { (legend(&keys)) (frame(&title, cpu.y(0.0) + LINE + 2.0, &content)) }
}
