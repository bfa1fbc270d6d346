//! A forwarder between two nodes, which keeps what went over it, and damages it if it is told to.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use fastrand::Rng;

/// So much is kept of a connection.
const KEPT_BYTES: usize = 16 << 10;
/// So many connections are kept.
const KEPT_CONNECTIONS: usize = 64;

/// A forwarder.
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    /// What was sent first, connection by connection.
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
    /// One of so many pieces is damaged; 0: none.
    damage_one_in: Arc<AtomicU64>,
    /// How many pieces were damaged.
    damaged: Arc<AtomicU64>,
    target: Arc<Mutex<Option<SocketAddr>>>,
}

impl Recorder {
    /// Listens on a free port. Where it forwards to is said later.
    pub(super) fn start(seed: u64) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener has an address");
        let recorder = Recorder {
            address,
            kept: Arc::default(),
            damage_one_in: Arc::default(),
            damaged: Arc::default(),
            target: Arc::default(),
        };
        let shared = (recorder.kept.clone(), recorder.damage_one_in.clone(), recorder.damaged.clone());
        let target = recorder.target.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let target = *target.lock().unwrap_or_else(PoisonError::into_inner);
                let (Ok(from), Some(target)) = (stream, target) else { continue };
                let Ok(to) = TcpStream::connect(target) else { continue };
                let (Ok(from_back), Ok(to_back)) = (from.try_clone(), to.try_clone()) else { continue };
                let (kept, one_in, damaged) = shared.clone();
                let (one_in_back, damaged_back) = (one_in.clone(), damaged.clone());
                let random = Rng::with_seed(seed ^ number as u64);
                let random_back = Rng::with_seed(!seed ^ number as u64);
                thread::spawn(move || carry(from, to, Some(&kept), &one_in, &damaged, random));
                thread::spawn(move || carry(to_back, from_back, None, &one_in_back, &damaged_back, random_back));
            }
        });
        recorder
    }

    pub(super) fn forward_to(&self, address: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    pub(super) fn damage_one_in(&self, pieces: u64) {
        self.damage_one_in.store(pieces, Relaxed);
    }

    pub(super) fn damaged(&self) -> u64 {
        self.damaged.load(Relaxed)
    }

    pub(super) fn kept(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    kept: Option<&Mutex<Vec<Vec<u8>>>>,
    one_in: &AtomicU64,
    damaged: &AtomicU64,
    mut random: Rng,
) {
    let place = kept.and_then(|kept| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.len() < KEPT_CONNECTIONS).then(|| {
            kept.push(Vec::new());
            kept.len() - 1
        })
    });
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if let (Some(kept), Some(place)) = (kept, place) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let room = KEPT_BYTES.saturating_sub(kept[place].len());
            kept[place].extend_from_slice(&bytes[..count.min(room)]);
        }
        let one_in = one_in.load(Relaxed);
        if one_in > 0 && random.u64(..one_in) == 0 {
            // Lengths stay, so that the damage is in what is said and not only in how it is framed.
            let at = random.usize(..count);
            bytes[at] ^= 1 << random.u8(..8);
            damaged.fetch_add(1, Relaxed);
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
