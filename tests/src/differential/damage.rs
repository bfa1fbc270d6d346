//! Damages commands: what a client with a mistake in it would send.

use fastrand::Rng;

use super::command::Command;
use super::keyspace::odd;

/// Damages the command in one way, or in two.
pub(super) fn damage(command: &mut Command, rng: &mut Rng) {
    once(command, rng);
    if rng.u8(..5) == 0 {
        once(command, rng);
    }
}

fn once(command: &mut Command, rng: &mut Rng) {
    let count = command.arguments.len();
    let any = |rng: &mut Rng| if count > 1 { rng.usize(1..count) } else { 0 };
    match rng.u8(..10) {
        0 => command.arguments.truncate(any(rng).max(1)),
        1 if count > 1 => drop(command.arguments.remove(any(rng))),
        2 | 3 => command.arguments.push(odd(rng)),
        4 if count > 1 => {
            let place = any(rng);
            command.arguments.insert(place, odd(rng));
        }
        5 | 6 if count > 1 => {
            let place = any(rng);
            command.arguments[place] = odd(rng);
        }
        7 if count > 1 => {
            let (one, other) = (any(rng), any(rng));
            command.arguments.swap(one, other);
        }
        8 if count > 1 => {
            // An option a second time, with its value or without.
            let place = any(rng);
            let again = command.arguments[place..].iter().take(rng.usize(1..3)).cloned().collect::<Vec<_>>();
            command.arguments.extend(again);
        }
        _ => {
            let place = any(rng).max(1);
            let bytes: Vec<u8> = (0..rng.usize(1..12)).map(|_| rng.u8(..)).collect();
            if place < count { command.arguments[place] = bytes } else { command.arguments.push(bytes) }
        }
    }
}

/// Writes the words of a command in another case: the name, and options, which are all of capital letters.
pub(super) fn change_case(command: &mut Command, rng: &mut Rng) {
    for argument in &mut command.arguments {
        let is_word = argument.len() > 1 && argument.iter().all(u8::is_ascii_uppercase);
        if is_word {
            argument.iter_mut().filter(|_| rng.bool()).for_each(|byte| byte.make_ascii_lowercase());
        }
    }
}
