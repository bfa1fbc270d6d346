//! Every place where a node reads bytes of others, for the fuzz targets in `tests/fuzz`; compiled for them and for tests
//! only.
//!
//! Each function takes any bytes and returns. What it asserts beside not panicking stands in it. The inputs that were
//! found worth keeping lie in `tests/fuzz/corpus`, and a test here reads all of them, so that what was mended stays so.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    sync::{Arc, LazyLock},
};

use bytes::{Bytes, BytesMut};
use ring::{
    codec::Reader,
    control::Message,
    facts::{Delta, Digest, Facts},
    id::{Incarnation, NodeId, Origin, Peer},
    slot::Slot,
};

use crate::{
    command::Table,
    config::{self, Machine},
    forward,
    resp::{Limits, Output, Protocol, Scanned, Scanner, array_elements},
    session::Mode,
    store::{Access, Claim, Executed, Settings, SnapshotReader, Store, read_finding},
    types::{MAX_STRING_BYTES, Policy, payload},
};

/// The time at which everything happens.
const NOW: u64 = 1_800_000_000_000;

/// Requests that a client sends: reading them in pieces must come to the same as reading them at once. The first byte
/// says how large the pieces are.
pub fn requests(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let limits = Limits::new(1 << 20, piece & 0x80 != 0);
    let piece = usize::from(piece & 0x7F) + 1;
    let at_once = scan(stream, &limits, stream.len().max(1));
    let in_pieces = scan(stream, &limits, piece);
    assert_eq!(at_once, in_pieces);
}

/// The requests in a stream of which so many bytes come at a time, and the error that ends it.
fn scan(stream: &[u8], limits: &Limits, piece: usize) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let (mut scanner, mut spans, mut buffer) = (Scanner::default(), Vec::new(), Vec::new());
    let mut requests = Vec::new();
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let length = match scanner.scan(&mut buffer, &mut spans, limits) {
                Ok(Scanned::Partial { missing }) => {
                    assert!(missing > 0);
                    break;
                }
                Ok(Scanned::Empty { length }) => length,
                Ok(Scanned::Request { args, length }) => {
                    let arguments =
                        spans[args].iter().map(|span| buffer[span.start as usize..span.end as usize].to_vec());
                    requests.push(arguments.collect::<Vec<_>>());
                    assert!(requests.last().is_some_and(|request| !request.is_empty()));
                    length
                }
                Err(error) => return (requests, Some(String::from_utf8_lossy(&error.0).into_owned())),
            };
            assert!(length > 0);
            spans.clear();
            buffer.drain(..length);
        }
    }
    (requests, None)
}

/// What other nodes answer to forwarded requests.
pub fn replies(bytes: &[u8]) {
    let whole = Bytes::copy_from_slice(bytes);
    if let Some(elements) = array_elements(&whole) {
        let mut out = Output::default();
        elements.into_iter().for_each(|element| out.reply(element, Protocol::Resp2));
    }
    forward::hostile::answers(&whole);
    forward::hostile::frames(&mut BytesMut::from(bytes));
}

/// What peers say that have proved the secret. The first byte says what kind of message it is.
pub fn peers(bytes: &[u8]) {
    let Some((&kind, body)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => messages(body),
        1 => gossip(body),
        2 => effect(body),
        3 => snapshot(body),
        4 => forward::hostile::frames(&mut BytesMut::from(body)),
        _ => crate::peer::hostile::greeting(body),
    }
}

fn messages(body: &[u8]) {
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let Ok(message) = Message::decode(&mut reader) else { return };
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(Message::decode(&mut Reader::new(&again)).as_ref(), Ok(&message), "read as it is written");
    }
}

fn gossip(body: &[u8]) {
    let mut facts = Facts::new(NodeId::from_bytes([1; 20]), Incarnation(1));
    if let Ok(digest) = Digest::decode(body) {
        let _ = facts.heed(&digest);
        let _ = facts.delta_for(&digest, 64 << 10);
    }
    if let Ok(delta) = Delta::decode(body) {
        let _ = facts.apply(delta);
    }
}

fn empty_store() -> Store {
    Store::new(Settings {
        seed: 1,
        max_memory_bytes: 0,
        policy: Policy::NoEviction,
        lane_window_bytes: 1 << 20,
        events: Arc::new(()),
        versions: None,
    })
}

/// A store that acts for every slot; what a target writes it removes again.
static STORE: LazyLock<Store> = LazyLock::new(|| {
    let store = empty_store();
    for slot in Slot::all() {
        store.with_replica(slot, |replica| {
            replica.open_empty(Origin(1));
            replica.act();
        });
    }
    store
});

fn effect(body: &[u8]) {
    static FOLLOWER: LazyLock<Store> = LazyLock::new(|| {
        let store = empty_store();
        Slot::all().for_each(|slot| store.with_replica(slot, |replica| replica.open_empty(Origin(2))));
        store
    });
    if let Ok((slot, claim)) = Claim::read(body) {
        FOLLOWER.check_claim(Peer(1), slot, &claim);
    }
    let _ = read_finding(body);
    if let Ok((slot, ..)) = FOLLOWER.receive(Peer(1), body, NOW) {
        check_fold(&FOLLOWER, slot);
        FOLLOWER.with_replica(slot, |replica| {
            replica.forget();
            replica.open_empty(Origin(2));
        });
    }
}

fn check_fold(store: &Store, slot: Slot) {
    store.read(slot, NOW, |copy| {
        assert_eq!(copy.replica().fold(), copy.replica().entries().recomputed_fold());
    });
}

fn snapshot(body: &[u8]) {
    let mut reader = SnapshotReader::new(1 << 20);
    let (first, rest) = body.split_at(body.len() / 2);
    if reader.push(first).and_then(|()| reader.push(rest)).is_err() {
        return;
    }
    let Ok((slot, seen, entries)) = reader.finish() else { return };
    if matches!(STORE.join(slot, Origin(1), &seen, entries, NOW), Ok(Some(_))) {
        check_fold(&STORE, slot);
    }
    STORE.with_replica(slot, |replica| {
        replica.forget();
        replica.open_empty(Origin(1));
        replica.act();
    });
}

/// Requests of a client, executed on slots.
pub fn commands(bytes: &[u8]) {
    let Some((&mode, stream)) = bytes.split_first() else { return };
    let Some(mode) = Mode::from_bits(mode & 0x7F) else { return };
    let (requests, _) = scan(stream, &Limits::new(1 << 20, false), stream.len().max(1));
    let mut touched = BTreeSet::new();
    for arguments in requests {
        let request = crate::resp::OwnedRequest::new(arguments.iter().map(Vec::as_slice));
        touched.extend(execute(mode, &request.as_request()));
    }
    for slot in touched {
        check_fold(&STORE, slot);
        STORE.execute(slot, NOW, |txn| txn.clear_all());
    }
}

fn execute(mode: Mode, request: &crate::resp::Request<'_>) -> Option<Slot> {
    let (_, command) = Table::of_node().meant(request).ok()?;
    // A batch is looked at ahead, before any arity is checked.
    command.keys.places(request).for_each(drop);
    let run = command.run.on_slot().filter(|_| command.accepts(request.len()))?;
    if let crate::command::Keys::Counted { check, .. } = command.keys
        && check(request).is_err()
    {
        return None;
    }
    let mut slots = command.keys.places(request).map(|place| Slot::of(request.arg(place)));
    let slot = slots.next()?;
    if slots.any(|other| other != slot) {
        return None;
    }
    let mut out = Output::default();
    let executed = STORE.execute(slot, NOW, |txn| {
        txn.with(mode.access());
        out.reply(run(txn, request), mode.protocol);
        txn.with(Access::default());
    });
    assert!(matches!(executed, Executed::Done { .. }) && !out.is_empty());
    Some(slot)
}

/// What `RESTORE` is given: any bytes as they are, and as the body of a payload whose checksum holds, which chance would
/// not find. What is read is written and read again.
pub fn payloads(bytes: &[u8]) {
    let _ = payload::restore(bytes);
    if let Ok(value) = payload::restore(&payload::sealed(bytes)) {
        assert!(value.len() <= MAX_STRING_BYTES);
        assert_eq!(
            payload::dump(&value).map(|payload| payload::restore(&payload)),
            Some(Ok(value)),
            "read as it is written"
        );
    }
    assert_eq!(
        payload::dump(bytes).map(|payload| payload::restore(&payload)),
        Some(Ok(bytes.to_vec())),
        "every value is restored"
    );
}

/// Configuration: arguments, environment and file, up to the first zero byte, the second, and the rest.
pub fn configuration(bytes: &[u8]) {
    use std::os::unix::ffi::OsStringExt;
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    let arguments = parts.next().unwrap_or_default();
    let environment = parts.next().unwrap_or_default();
    let file = parts.next().unwrap_or_default();
    let lines = |text: &[u8]| -> Vec<OsString> {
        text.split(|&byte| byte == b'\n').map(|line| OsString::from_vec(line.to_vec())).collect()
    };
    let variables = lines(environment);
    let variable = |name: &str| {
        let prefix = format!("{name}=");
        let value = variables.iter().find_map(|line| line.as_encoded_bytes().strip_prefix(prefix.as_bytes()));
        value.map(|value| OsString::from_vec(value.to_vec()))
    };
    let program = ["circlet", "server"].into_iter().map(OsString::from);
    let machine = Machine { memory_bytes: Some(1 << 30), cores: 2 };
    // Files that settings name are the operator's; a fuzzer would find devices that never end.
    let names_a_file = |text: &[u8]| text.windows(5).any(|part| part == b"-file" || part == b"_FILE");
    if names_a_file(arguments) || names_a_file(environment) || names_a_file(file) || arguments.contains(&b'/') {
        return;
    }
    let path = format!("/tmp/circlet-hostile-{}.toml", std::process::id());
    if std::fs::write(&path, file).is_err() {
        return;
    }
    let config = [OsString::from("--config"), OsString::from(path.clone())];
    let given = lines(arguments).into_iter().filter(|argument| !argument.is_empty());
    let _ = config::parse(program.chain(config).chain(given), &variable, &machine);
    let _ = std::fs::remove_file(path);
}

/// A target: its name, and what it does with any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// The targets by their names.
pub const TARGETS: &[Target] = &[
    ("requests", requests),
    ("replies", replies),
    ("peers", peers),
    ("commands", commands),
    ("payloads", payloads),
    ("configuration", configuration),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_once_is_read_without_a_finding() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
        for (name, target) in TARGETS {
            let files: Vec<_> =
                std::fs::read_dir(folder.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
            assert!(!files.is_empty(), "no corpus of {name}");
            for file in files {
                target(&std::fs::read(file).unwrap());
            }
        }
    }
}
