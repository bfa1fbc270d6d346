//! `LOLWUT`: a ring, as it should be.

use super::{Answer, Context, NOT_AN_INTEGER};
use crate::{
    resp::{Reply, Request},
    types::parse_integer,
};

/// The ring is so wide, in characters, if nobody says how wide; and at most.
const USUAL_COLUMNS: usize = 32;
const MOST_COLUMNS: usize = 160;

/// `LOLWUT [VERSION version] [columns]`: there is one picture, whatever the version.
pub(super) fn lolwut<'a>(_: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    let is_versioned = request.len() > 2 && request.arg(1).eq_ignore_ascii_case(b"version");
    if is_versioned && parse_integer(request.arg(2)).is_none() {
        return NOT_AN_INTEGER.into();
    }
    let mut columns = USUAL_COLUMNS;
    if let Some(wanted) = request.args_from(if is_versioned { 3 } else { 1 }).next() {
        let Some(wanted) = parse_integer(wanted) else { return NOT_AN_INTEGER.into() };
        columns = wanted.clamp(8, MOST_COLUMNS as i64) as usize;
    }
    let version = env!("CARGO_PKG_VERSION");
    Reply::Verbatim(format!("{}\nCirclet ver. {version}\n", draw(columns))).into()
}

/// A circle of slots, each third of another node. A character is about twice as high as wide.
fn draw(columns: usize) -> String {
    let rows = columns / 2;
    let radius = columns as f64 / 2.0;
    let mut text = String::new();
    for row in 0..rows {
        let mark = |column: usize| {
            let x = column as f64 + 0.5 - radius;
            let y = (row as f64 + 0.5) * 2.0 - radius;
            let distance = (x * x + y * y).sqrt() / radius;
            if !(0.72..=1.0).contains(&distance) {
                return ' ';
            }
            let third = (y.atan2(x) / std::f64::consts::TAU + 0.5) * 3.0;
            ['o', '+', '*'][third as usize % 3]
        };
        text.push_str((0..columns).map(mark).collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_a_hole_and_three_nodes() {
        let text = draw(32);
        let middle: Vec<_> = text.lines().nth(8).unwrap().chars().collect();
        assert_eq!((text.lines().count(), middle[16]), (16, ' '));
        assert!(['o', '+', '*'].iter().all(|mark| text.contains(*mark)), "{text}");
        assert!(text.lines().all(|line| line.len() <= 32));
    }
}
