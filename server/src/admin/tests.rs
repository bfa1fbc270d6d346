//! The admin listener as it is seen from outside, byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Fixed(Readiness);

impl Status for Fixed {
    fn readiness(&self) -> Readiness {
        self.0.clone()
    }

    fn metrics(&self) -> String {
        "circlet_ready 1\n".to_owned()
    }
}

/// Starts a listener and says where.
async fn start(limits: Limits, readiness: Readiness) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_within(limits, listener, Arc::new(Fixed(readiness))));
    address
}

/// Sends these bytes and returns everything that comes until the end.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has refused may close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let answer = exchange(address, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn each_path_answers() {
    let address = start(LIMITS, Readiness::NotReady("12 slots are pulled".to_owned())).await;
    let cases = [
        ("/health", "HTTP/1.1 200 OK", "ok\n"),
        ("/ready", "HTTP/1.1 503 Service Unavailable", "not ready: 12 slots are pulled\n"),
        ("/metrics", "HTTP/1.1 200 OK", "circlet_ready 1\n"),
        ("/metrics?x=1", "HTTP/1.1 200 OK", "circlet_ready 1\n"),
        ("/", "HTTP/1.1 404 Not Found", "there are /health, /ready and /metrics\n"),
    ];
    for (path, status, body) in cases {
        assert_eq!(get(address, path).await, (status.to_owned(), body.to_owned()), "{path}");
    }
    let ready = start(LIMITS, Readiness::Ready).await;
    assert_eq!(get(ready, "/ready").await, ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned()));
}

#[tokio::test]
async fn what_is_no_plain_request_is_refused() {
    let address = start(LIMITS, Readiness::Ready).await;
    let post = exchange(address, b"POST /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
    let head = exchange(address, b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(exchange(address, b"*1\r\n$4\r\nPING\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let long = format!("GET /health HTTP/1.1\r\nX: {}", "x".repeat(20_000));
    let refused = exchange(address, long.as_bytes()).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
    assert_eq!(get(address, "/health").await.1, "ok\n", "and the listener goes on");
}

#[tokio::test]
async fn who_says_nothing_is_let_go_and_the_next_is_served() {
    let limits = Limits { connections: 1, time: Duration::from_millis(20), ..LIMITS };
    let address = start(limits, Readiness::Ready).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let _half = TcpStream::connect(address).await.unwrap().write_all(b"GET /hea").await;
    assert_eq!(get(address, "/health").await.1, "ok\n");
}
