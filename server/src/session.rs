//! What a connection remembers from one request to the next.

use std::sync::Arc;

use crate::{
    clients::{Client, Trait},
    resp::{Limits, Protocol},
    router::Written,
    services::Settings,
    store::Access,
    types::{DATABASES, Database},
};

/// Which of the two client ports a connection came in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// For any client: the whole cluster looks like one server.
    Proxy,
    /// For cluster-aware clients: a request names keys of one slot, and goes to who acts for it.
    Cluster,
}

/// How requests of a connection are executed, wherever that is: what they mean beside what they say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// The version of the protocol that replies are in.
    pub protocol: Protocol,
    /// The database that keys are of.
    pub database: Database,
    /// Whether there is only the first database for this connection.
    pub has_one_database: bool,
    /// Whether reading a key does not count as a use of it (`CLIENT NO-TOUCH`).
    pub leaves_no_trace: bool,
}

impl Mode {
    /// How a client begins.
    pub const FIRST: Mode =
        Mode { protocol: Protocol::Resp2, database: Database::FIRST, has_one_database: false, leaves_no_trace: false };

    const RESP3: u8 = 1 << 4;
    const ONE_DATABASE: u8 = 1 << 5;
    const NO_TRACE: u8 = 1 << 6;

    /// As a byte, for another node.
    pub fn bits(self) -> u8 {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        self.database.number()
            | flag(self.protocol == Protocol::Resp3, Mode::RESP3)
            | flag(self.has_one_database, Mode::ONE_DATABASE)
            | flag(self.leaves_no_trace, Mode::NO_TRACE)
    }

    /// The mode of a byte; none if it is of a later version.
    pub fn from_bits(bits: u8) -> Option<Mode> {
        if bits & 0x80 != 0 {
            return None;
        }
        let protocol = if bits & Mode::RESP3 == 0 { Protocol::Resp2 } else { Protocol::Resp3 };
        let database = Database::new(u64::from(bits & 0x0F))?;
        let has_one_database = bits & Mode::ONE_DATABASE != 0;
        Some(Mode { protocol, database, has_one_database, leaves_no_trace: bits & Mode::NO_TRACE != 0 })
    }

    /// What of it concerns the store.
    pub fn access(self) -> Access {
        let databases = if self.has_one_database { 1 } else { DATABASES };
        Access { database: self.database, databases, leaves_no_trace: self.leaves_no_trace }
    }
}

/// What a connection remembers from one request to the next.
#[derive(Debug)]
pub struct Session {
    client: Arc<Client>,
    mode: Mode,
    is_authenticated: bool,
    is_closing: bool,
    is_read_only: bool,
    has_authenticated: bool,
    /// Whether replies are left out (`CLIENT REPLY`).
    silence: u8,
    /// Where it wrote; none if it did not.
    written: Option<Box<Written>>,
}

impl Session {
    /// A client that just connected. Where there is no password, everybody counts as known, and stays so if one is
    /// set later.
    pub fn new(client: Arc<Client>, settings: &dyn Settings) -> Session {
        let is_authenticated = settings.password().is_none();
        let mode = Mode { has_one_database: client.port() == Port::Cluster, ..Mode::FIRST };
        Session {
            client,
            mode,
            is_authenticated,
            is_closing: false,
            is_read_only: false,
            has_authenticated: is_authenticated,
            silence: 0,
            written: None,
        }
    }

    /// The client, as others see it.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The port it came in by.
    pub fn port(&self) -> Port {
        self.client.port()
    }

    /// The version of the protocol that it speaks.
    pub fn protocol(&self) -> Protocol {
        self.mode.protocol
    }

    /// How its requests are executed.
    #[inline]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// From now on it speaks this version.
    pub fn speak(&mut self, protocol: Protocol) {
        self.mode.protocol = protocol;
        self.client.speaks(protocol);
    }

    /// From now on its keys are of this database (`SELECT`).
    pub fn select(&mut self, database: Database) {
        self.mode.database = database;
        self.client.selects(database);
    }

    /// From now on its reads count as uses of the keys, or do not (`CLIENT NO-TOUCH`).
    pub fn leave_no_trace(&mut self, leaves_no_trace: bool) {
        self.mode.leaves_no_trace = leaves_no_trace;
        self.client.set(Trait::NoTouch, leaves_no_trace);
    }

    /// Whether it gave the password, or came when none was needed.
    #[inline]
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Whether it has still to give the password.
    pub fn must_authenticate(&self, settings: &dyn Settings) -> bool {
        !self.is_authenticated && settings.password().is_some()
    }

    /// It gave the password.
    pub fn authenticate(&mut self) {
        (self.is_authenticated, self.has_authenticated) = (true, true);
    }

    /// The connection ends with the reply to the current request.
    pub fn close(&mut self) {
        self.is_closing = true;
    }

    /// Whether the connection ends with the replies so far.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Whether reads may be answered by this node's own copy (`READONLY`).
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// From now on reads may be answered by this node's own copy, or may not.
    pub fn set_read_only(&mut self, is_read_only: bool) {
        self.is_read_only = is_read_only;
        self.client.set(Trait::ReadOnly, is_read_only);
    }

    /// Back to how it was when the client connected, as `RESET` asks.
    pub fn reset(&mut self, settings: &dyn Settings) {
        self.speak(Protocol::Resp2);
        self.select(Database::FIRST);
        self.leave_no_trace(false);
        self.is_authenticated = settings.password().is_none();
        self.set_read_only(false);
        self.client.set(Trait::NoEvict, false);
        self.client.rename(Vec::new());
        self.silence &= Session::SKIP;
    }

    /// No reply is sent any more, not to this request either (`CLIENT REPLY OFF`).
    const OFF: u8 = 1;
    /// The next request gets no reply (`CLIENT REPLY SKIP`).
    const SKIP_NEXT: u8 = 2;
    /// This request gets no reply.
    const SKIP: u8 = 4;

    /// Whether every request gets its reply.
    #[inline]
    pub(crate) fn answers_all(&self) -> bool {
        self.silence == 0
    }

    /// Whether the current request gets a reply.
    pub(crate) fn answers(&self) -> bool {
        self.silence & (Session::OFF | Session::SKIP) == 0
    }

    /// A request begins, perhaps behind an empty line, which counts as a request. Called only where not every request
    /// gets its reply.
    pub(crate) fn begin_request(&mut self, is_behind_nothing: bool) {
        let skips = self.silence & Session::SKIP_NEXT != 0 && !is_behind_nothing;
        self.silence = self.silence & Session::OFF | if skips { Session::SKIP } else { 0 };
    }

    /// `CLIENT REPLY ON`.
    pub fn answer(&mut self) {
        self.silence = 0;
    }

    /// `CLIENT REPLY OFF`.
    pub fn be_silent(&mut self) {
        self.silence |= Session::OFF;
    }

    /// `CLIENT REPLY SKIP`.
    pub fn skip_next_reply(&mut self) {
        if self.silence & Session::OFF == 0 {
            self.silence |= Session::SKIP_NEXT;
        }
    }

    /// Where the client wrote, to add to it.
    pub(crate) fn written_mut(&mut self) -> &mut Written {
        self.written.get_or_insert_default()
    }

    /// Where the client wrote, if it did.
    pub(crate) fn written(&self) -> Option<Written> {
        self.written.as_deref().cloned()
    }

    /// What the client may send now.
    pub fn limits(&self, settings: &dyn Settings) -> Limits {
        let is_unknown = self.must_authenticate(settings);
        let limits = Limits::new(settings.max_bulk_bytes(), is_unknown);
        Limits { max_request_bytes: self.query_buffer_bytes(settings, is_unknown), ..limits }
    }

    /// How many bytes of requests that are not executed may be kept.
    pub(crate) fn max_input_bytes(&self, settings: &dyn Settings) -> usize {
        self.query_buffer_bytes(settings, self.must_authenticate(settings))
    }

    fn query_buffer_bytes(&self, settings: &dyn Settings, is_unknown: bool) -> usize {
        /// Whoever has not given the password has sent no request that is longer.
        const UNAUTHENTICATED_BYTES: usize = 1 << 20;
        let bytes = settings.client_limits().query_buffer_bytes();
        if is_unknown { bytes.min(UNAUTHENTICATED_BYTES) } else { bytes }
    }

    /// Whether it has never given the password and has still to do so.
    pub(crate) fn is_stranger(&self, settings: &dyn Settings) -> bool {
        !self.has_authenticated && self.must_authenticate(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_it_was_written() {
        for bits in 0..=u8::MAX {
            match Mode::from_bits(bits) {
                Some(mode) => assert_eq!(mode.bits(), bits),
                None => assert!(bits >= 0x80),
            }
        }
        assert_eq!(Mode::FIRST.bits(), 0);
    }
}
