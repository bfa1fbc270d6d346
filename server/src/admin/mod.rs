//! The admin listener: HTTP for orchestrators, monitoring and people with `curl`.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | 200 as long as the process serves |
//! | `/ready` | 200 when the node serves every slot that it should; else 503 and one line why |
//! | `/metrics` | the figures, as Prometheus reads them |
//!
//! Nothing here changes anything, so there is no password; bind it where only operators reach. It must answer when the
//! node is busiest and must never become a load itself: each connection carries one request and lives for a few
//! seconds, few are open at a time, and the rest wait in the backlog.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::logging::Seldom;

/// What the admin listener asks the node.
pub trait Status: Send + Sync + 'static {
    /// Whether the node serves every slot that it should.
    fn readiness(&self) -> Readiness;

    /// All figures, in the text format of Prometheus.
    fn metrics(&self) -> String;
}

/// Whether a node is ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// It is.
    Ready,
    /// It is not, for this reason, in one line.
    NotReady(String),
}

/// What one connection, and all of them, may take.
#[derive(Clone, Copy)]
struct Limits {
    connections: usize,
    request_bytes: usize,
    time: Duration,
}

const LIMITS: Limits = Limits { connections: 64, request_bytes: 8192, time: Duration::from_secs(5) };

/// How long to wait when the operating system has no room for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until it is dropped, which ends its connections as well.
pub async fn serve(listener: TcpListener, status: Arc<dyn Status>) -> Infallible {
    serve_within(LIMITS, listener, status).await
}

async fn serve_within(limits: Limits, listener: TcpListener, status: Arc<dyn Status>) -> Infallible {
    let (mut connections, mut says_failed) = (JoinSet::new(), Seldom::new());
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok((stream, from)) => {
                    connections.spawn(connection(limits, stream, from, Arc::clone(&status)));
                }
                Err(error) => {
                    if let Some(unsaid) = says_failed.may() {
                        tracing::warn!(%error, unsaid, "the admin listener cannot accept");
                    }
                    sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(limits: Limits, stream: TcpStream, from: SocketAddr, status: Arc<dyn Status>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), status.as_ref());
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .auto_date_header(false)
        .max_buf_size(limits.request_bytes)
        .timer(TokioTimer::new())
        .header_read_timeout(limits.time)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limits.time, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%from, %error, "an admin request failed"),
        Err(_) => tracing::debug!(%from, "an admin request took too long"),
    }
}

fn answer(method: &Method, path: &str, status: &dyn Status) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/health" => page(StatusCode::OK, "ok\n".to_owned()),
        "/ready" => match status.readiness() {
            Readiness::Ready => page(StatusCode::OK, "ready\n".to_owned()),
            Readiness::NotReady(why) => page(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        },
        "/metrics" => page(StatusCode::OK, status.metrics()),
        _ => page(StatusCode::NOT_FOUND, "there are /health, /ready and /metrics\n".to_owned()),
    }
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let text_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text_type);
    response
}

#[cfg(test)]
mod tests;
