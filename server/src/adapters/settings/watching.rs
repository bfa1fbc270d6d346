//! The settings of what is watched: logs of commands, and events.

use crate::{
    config::{WATCH_SETTINGS, Watching},
    watch::{Watch, Which},
};

/// Gives the setting at this place of [`WATCH_SETTINGS`] a value.
pub(super) fn set(watch: &Watch, place: usize, value: i64) {
    match place {
        0 => watch.log(Which::Slow).set_threshold(value),
        1 => watch.log(Which::LargeReply).set_max_entries(value.unsigned_abs()),
        2 => watch.log(Which::LargeRequest).set_max_entries(value.unsigned_abs()),
        3 => watch.log(Which::LargeReply).set_threshold(value),
        4 => watch.log(Which::LargeRequest).set_threshold(value),
        5 => watch.log(Which::Slow).set_max_entries(value.unsigned_abs()),
        _ => watch.set_event_threshold_ms(value),
    }
}

fn value(watch: &Watch, place: usize) -> i64 {
    // No more entries are asked for than an i64 can count.
    let entries = |which| watch.log(which).max_entries() as i64;
    match place {
        0 => watch.log(Which::Slow).threshold(),
        1 => entries(Which::LargeReply),
        2 => entries(Which::LargeRequest),
        3 => watch.log(Which::LargeReply).threshold(),
        4 => watch.log(Which::LargeRequest).threshold(),
        5 => entries(Which::Slow),
        _ => watch.event_threshold_ms(),
    }
}

/// Gives all of them the values that the node was started with.
pub(super) fn begin(watch: &Watch, watching: Watching) {
    watching.0.into_iter().enumerate().for_each(|(place, value)| set(watch, place, value));
}

/// All of them, as `CONFIG GET` shows them.
pub(super) fn all(watch: &Watch) -> impl Iterator<Item = (&'static str, String)> {
    WATCH_SETTINGS.iter().enumerate().map(|(place, (name, _))| (*name, value(watch, place).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_place_of_its_own() {
        let watch = Watch::default();
        let values = [10_000, 128, 128, 1 << 20, 1 << 20, 128, 0];
        assert_eq!(all(&watch).map(|(_, value)| value).collect::<Vec<_>>(), values.map(|value: i64| value.to_string()));
        begin(&watch, Watching([1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(all(&watch).map(|(_, value)| value).collect::<Vec<_>>(), ["1", "2", "3", "4", "5", "6", "7"]);
    }
}
