//! How HTTP/2 is set up on both sides.
//!
//! Each stream has a connection of its own, because streams of one connection share its flow-control window and wait
//! behind each other's bytes. The windows are far above HTTP/2's 64 KiB, which would cap a stream at one window per
//! round trip. They do not adapt: that would start small and let the peer's behaviour decide how large they become.

use std::{
    future::{Ready, ready},
    io,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tonic::{
    codegen::{Service, http::Uri},
    transport::{Channel, Endpoint, Server},
};

use super::socket::Socket;

/// The largest message that is decoded: a frame, with room for versions to come.
pub(super) const MESSAGE_LIMIT_BYTES: usize = 8 << 20;

const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// Larger than HTTP/2's 16 KiB: fewer headers per frame of ours.
const HTTP2_FRAME_BYTES: u32 = 256 << 10;
const HEADERS_LIMIT_BYTES: u32 = 8 << 10;

/// How long a connection is silent before HTTP/2 asks for a sign of life. The heartbeats above notice a dead peer
/// much earlier; this is for connections that nobody looks at.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The dialler's side of HTTP/2 over a connection that is open already. It begins with the first request.
pub(super) fn over(socket: Socket) -> Channel {
    // The address of the connection is known; this one only fills the header that HTTP/2 wants.
    Endpoint::from_static("http://peer")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .http2_max_header_list_size(HEADERS_LIMIT_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(Once(Some(socket)))
}

/// The acceptor's side of HTTP/2.
pub(super) fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .http2_max_header_list_size(HEADERS_LIMIT_BYTES)
        .max_concurrent_streams(1)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

/// Gives the connection away once. Asked again, after it broke, it fails: a session never goes on over another
/// connection.
struct Once(Option<Socket>);

impl Service<Uri> for Once {
    type Response = TokioIo<Socket>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Socket>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or_else(|| io::Error::other("the connection was lost")))
    }
}
