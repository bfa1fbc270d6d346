//! `CLIENT PAUSE`: requests that wait until a time, or until somebody says that they need not.

use std::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Release},
};

use parking_lot::Mutex;

/// What is paused. More is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Paused {
    /// Nothing.
    #[default]
    Nothing,
    /// Commands that may change data.
    Writes,
    /// Every command.
    Everything,
}

impl Paused {
    /// The word for it in INFO.
    pub fn name(self) -> &'static str {
        match self {
            Paused::Nothing => "none",
            Paused::Writes => "write",
            Paused::Everything => "all",
        }
    }

    fn from_number(number: u8) -> Paused {
        match number {
            0 => Paused::Nothing,
            1 => Paused::Writes,
            _ => Paused::Everything,
        }
    }
}

/// What is paused, and until when.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// A copy of what is below for those who look once per batch. It may say more than is paused, when the time is
    /// over, and never less.
    now: AtomicU8,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    paused: Paused,
    until_us: u64,
}

impl Pause {
    /// Whether there may be a pause.
    #[inline]
    pub(super) fn now(&self) -> Paused {
        Paused::from_number(self.now.load(Acquire))
    }

    /// What is paused at this time and for how many microseconds more.
    pub(super) fn at(&self, now_us: u64) -> Option<(Paused, u64)> {
        let mut state = self.state.lock();
        self.forget_what_is_over(&mut state, now_us);
        (state.paused > Paused::Nothing).then(|| (state.paused, state.until_us - now_us))
    }

    /// Pauses until then. Of two pauses at a time that counts which pauses more, and the one that lasts longer.
    pub(super) fn begin(&self, paused: Paused, now_us: u64, until_us: u64) {
        let mut state = self.state.lock();
        self.forget_what_is_over(&mut state, now_us);
        let (paused, until_us) = (paused.max(state.paused), until_us.max(state.until_us));
        *state = State { paused, until_us };
        self.forget_what_is_over(&mut state, now_us);
        self.now.store(state.paused as u8, Release);
    }

    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        *state = State::default();
        self.now.store(0, Release);
    }

    fn forget_what_is_over(&self, state: &mut State, now_us: u64) {
        if state.until_us <= now_us {
            *state = State::default();
            self.now.store(0, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_and_the_stricter_pause_counts() {
        let pause = Pause::default();
        assert_eq!((pause.now(), pause.at(0)), (Paused::Nothing, None));
        pause.begin(Paused::Writes, 5, 105);
        assert_eq!((pause.now(), pause.at(10)), (Paused::Writes, Some((Paused::Writes, 95))));
        pause.begin(Paused::Everything, 10, 20);
        assert_eq!(pause.at(15), Some((Paused::Everything, 90)));
        pause.begin(Paused::Writes, 15, 200);
        assert_eq!(pause.at(15), Some((Paused::Everything, 185)));
        assert_eq!((pause.at(200), pause.now()), (None, Paused::Nothing));
        pause.begin(Paused::Writes, 200, 300);
        assert_eq!(pause.at(200), Some((Paused::Writes, 100)), "a pause that is over counts no more");
        pause.end();
        assert_eq!((pause.now(), pause.at(200)), (Paused::Nothing, None));
    }

    #[test]
    fn a_pause_of_no_time_is_none() {
        let pause = Pause::default();
        pause.begin(Paused::Everything, 7, 7);
        assert_eq!((pause.now(), pause.at(7)), (Paused::Nothing, None));
    }
}
