//! A new version is above everything that its executor has incorporated, and no further ahead than the clocks are apart.

use ring::hlc::Hlc;

use super::Violation;
use crate::sim::World;

/// `latest` is the highest version in the executor's context, `now_ms` what its clock showed.
pub fn clock_is_right(world: &World, node: usize, number: usize, latest: Hlc, now_ms: u64) -> Result<(), Violation> {
    let dot = world.writes[number].dot;
    let fail = |what: String| Err(Violation::new("clock is right", format!("n{node} gives out {dot:?}, {what}")));
    if dot.hlc <= latest {
        return fail(format!("which is not above {latest:?}"));
    }
    if dot.hlc < Hlc::at_unix_ms(now_ms) {
        return fail(format!("which is before {now_ms} ms"));
    }
    // Every write takes one tick at most beyond what some clock has shown.
    let most = Hlc::at_unix_ms(world.observer.latest_ms).bits() + world.writes.len() as u64;
    match dot.hlc.bits() <= most {
        true => Ok(()),
        false => fail(format!("and no clock has shown more than {} ms", world.observer.latest_ms)),
    }
}
