//! What all connections take up together, and who has to go when it is too much.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::{Client, Clients, Trait, client::Buffers};

/// The largest buffers of a client are those of so many seconds.
const RECENT_SECS: u64 = 8;

/// What all connections take up together.
#[derive(Debug, Default)]
pub(super) struct Memory {
    kept_bytes: AtomicI64,
    /// Held by who ends connections because they take up too much.
    evicting: Mutex<()>,
    peaks: Mutex<[Peak; RECENT_SECS as usize]>,
}

/// The largest buffers of a client in a second.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    second: u64,
    input: usize,
    output: usize,
}

impl Clients {
    /// What all connections take up together, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.kept_bytes.load(Relaxed).max(0) as u64
    }

    /// For connections: they keep more, or less, by so much.
    pub(crate) fn note_memory(&self, change: i64) {
        self.memory.kept_bytes.fetch_add(change, Relaxed);
    }

    /// Ends connections, those that take up most before others, until what is left takes up no more than this; how
    /// many. Whoever asked not to be chosen (`CLIENT NO-EVICT`) stays.
    ///
    /// Takes a time proportional to the number of clients; what keeps memory calls it only above the limit.
    pub(crate) fn evict(&self, limit_bytes: u64) -> u64 {
        // One at a time is enough: the others would end the same.
        let Some(_evicting) = self.memory.evicting.try_lock() else { return 0 };
        let mut clients: Vec<(usize, Arc<Client>)> =
            self.all().into_iter().map(|client| (client.memory_bytes(), client)).collect();
        let mut total: u64 = clients.iter().map(|(bytes, _)| *bytes as u64).sum();
        clients.retain(|(_, client)| !client.is(Trait::NoEvict));
        clients.sort_unstable_by_key(|(bytes, client)| (*bytes, client.id()));
        let mut evicted = 0;
        while total > limit_bytes {
            let Some((bytes, client)) = clients.pop() else { break };
            if let Some(unsaid) = self.may_say_disconnected() {
                tracing::info!(client = client.id(), bytes, unsaid, "disconnected: clients take up too much memory");
            }
            client.kill();
            total -= bytes as u64;
            evicted += 1;
        }
        evicted
    }

    /// Looks how large the buffers are, in this second.
    pub(crate) fn sample(&self, second: u64) {
        let peak = self.peak_now(second);
        let mut peaks = self.memory.peaks.lock();
        let kept = &mut peaks[(second % RECENT_SECS) as usize];
        if kept.second != second {
            *kept = Peak { second, ..Peak::default() };
        }
        *kept = Peak { second, input: kept.input.max(peak.input), output: kept.output.max(peak.output) };
    }

    /// The largest input buffer and the largest output of a client in the last seconds, in bytes.
    pub fn recent_peaks(&self, second: u64) -> (usize, usize) {
        let now = self.peak_now(second);
        let peaks = self.memory.peaks.lock();
        let recent = peaks.iter().filter(|peak| peak.second + RECENT_SECS > second).chain([&now]);
        recent.fold((0, 0), |(input, output), peak| (input.max(peak.input), output.max(peak.output)))
    }

    fn peak_now(&self, second: u64) -> Peak {
        let buffers = self.all().into_iter().map(|client| client.buffers());
        buffers.fold(Peak { second, ..Peak::default() }, |peak, Buffers { input_capacity, output_memory, .. }| Peak {
            input: peak.input.max(input_capacity),
            output: peak.output.max(output_memory),
            ..peak
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clients::Registration, session::Port};

    fn client(clients: &Arc<Clients>, memory: usize) -> Registration {
        let address = ([127, 0, 0, 1], 1).into();
        let arrival = super::super::Arrival { peer: address, local: address, port: Port::Proxy, at_us: 0, file: 3 };
        let client = clients.register(arrival, 100).unwrap();
        client.note_buffers(&Buffers { input_capacity: memory, ..Buffers::default() });
        client
    }

    #[test]
    fn the_largest_go_first_and_no_more_than_have_to() {
        let clients = Arc::new(Clients::default());
        let all = [5 << 20, 9 << 20, 1 << 20, 7 << 20].map(|memory| client(&clients, memory));
        all[1].set(Trait::NoEvict, true);
        assert_eq!(clients.evict(30 << 20), 0);
        assert_eq!(clients.evict(16 << 20), 1);
        assert_eq!(all.each_ref().map(|client| client.is_killed()), [false, false, false, true]);
        assert_eq!(clients.evict(0), 2, "whoever is being ended counts no more");
        assert_eq!(all.each_ref().map(|client| client.is_killed()), [true, false, true, true]);
    }

    #[test]
    fn peaks_are_forgotten_after_a_while() {
        let clients = Arc::new(Clients::default());
        let one = client(&clients, 1000);
        clients.sample(100);
        one.note_buffers(&Buffers { output_memory: 7, ..Buffers::default() });
        clients.sample(101);
        assert_eq!(clients.recent_peaks(107), (1000, 7));
        one.note_buffers(&Buffers::default());
        assert_eq!(clients.recent_peaks(108), (0, 7));
        assert_eq!(clients.recent_peaks(109), (0, 0));
    }
}
