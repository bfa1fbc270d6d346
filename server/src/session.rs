//! What a connection remembers from one request to the next.

use std::sync::Arc;

use crate::{
    clients::Client,
    resp::{Limits, Protocol},
    router::Written,
    services::Settings,
};

/// Which of the two client ports a connection came in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// For any client: the whole cluster looks like one server.
    Proxy,
    /// For cluster-aware clients: a request names keys of one slot, and goes to who acts for it.
    Cluster,
}

/// What a connection remembers from one request to the next.
#[derive(Debug)]
pub struct Session {
    client: Arc<Client>,
    protocol: Protocol,
    is_authenticated: bool,
    is_closing: bool,
    is_read_only: bool,
    is_asking: bool,
    /// Where it wrote; none if it did not.
    written: Option<Box<Written>>,
}

impl Session {
    /// A client that just connected. Where there is no password, everybody counts as known, and stays so if one is
    /// set later.
    pub fn new(client: Arc<Client>, settings: &dyn Settings) -> Session {
        let is_authenticated = settings.password().is_none();
        let protocol = Protocol::Resp2;
        Session {
            client,
            protocol,
            is_authenticated,
            is_closing: false,
            is_read_only: false,
            is_asking: false,
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
        self.protocol
    }

    /// From now on it speaks this version.
    pub fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.speaks(protocol);
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
        self.is_authenticated = true;
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
    }

    /// The next request is not to be sent elsewhere (`ASKING`).
    pub fn ask(&mut self) {
        self.is_asking = true;
    }

    /// Whether the request that begins now is not to be sent elsewhere; it holds for this one only.
    pub fn take_asking(&mut self) -> bool {
        std::mem::take(&mut self.is_asking)
    }

    /// Back to how it was when the client connected, as `RESET` asks.
    pub fn reset(&mut self, settings: &dyn Settings) {
        self.speak(Protocol::Resp2);
        self.is_authenticated = settings.password().is_none();
        (self.is_read_only, self.is_asking) = (false, false);
        self.client.rename(Vec::new());
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
        Limits::new(settings.max_bulk_bytes(), self.must_authenticate(settings))
    }
}
